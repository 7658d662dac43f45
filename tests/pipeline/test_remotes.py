"""The whole chain as a studio runs it: renders, artifacts and DVC's remote in a bucket, MLflow and Prefect on PostgreSQL; and no password in any of it."""
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from postgres_server import Postgres, postgres_server
from prefect_server import Prefect, kill_family
from s3_server import S3, s3_server
from small_project import ROOT, Project, copy_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RETRAIN_S = 1500
DRIVER = "postgresql+psycopg2"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        server.create("mlflow", "prefect")
        yield server


def documented(s3: S3, postgres: Postgres) -> list[str]:
    """The commands of docs/studio.md, section Remotes, for the servers of this test."""
    section = (ROOT / "docs" / "studio.md").read_text().partition("\n## Remotes\n")[2].partition("\n## ")[0]
    names = {"http://s3.studio:9000": s3.endpoint, "s3://studio": f"s3://{s3.bucket}", "db.studio:5432": f"127.0.0.1:{postgres.port}",
             "SECRET_ACCESS_KEY=…": "SECRET_ACCESS_KEY=" + os.environ["AWS_SECRET_ACCESS_KEY"], "PGPASSWORD=…": f"PGPASSWORD={postgres.password}"}
    for name, here in names.items():
        assert name in section, name
        section = section.replace(name, here)
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def shell(project: Project, commands: str) -> str:
    return project.run("bash", "-euc", commands).stdout


@pytest.fixture(scope="module")
def commands(s3, postgres) -> list[str]:
    exports, *rest = documented(s3, postgres)
    assert len(rest) == 3
    return [exports, *rest]


@pytest.fixture(scope="module")
def studio(commands, tmp_path_factory) -> tuple[Project, Path]:
    """A project whose first `retrain` ran as a deployment; and the folder of all that was said meanwhile."""
    said = tmp_path_factory.mktemp("said")
    project = copy_project(tmp_path_factory.mktemp("studio"))
    exports, once, after, _ = commands
    project.settings |= dict(re.findall(r"(\w+)=(\S+)", exports)) | {
        f"GIT_{who}_{what}": "studio" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    database = {name: project.settings.pop(name) for name in ("PREFECT_SERVER_DATABASE_CONNECTION_URL",)}
    shell(project, once)
    prefect = Prefect.on_a_free_port(said, project.environment(), database)
    prefect.start()
    worker = None
    try:
        for words in (("work-pool", "create", "serep", "--type", "process"), ("--no-prompt", "deploy", "--all")):
            done = prefect.run(*words, cwd=project.root)
            assert done.returncode == 0, done.stdout + done.stderr
        worker = prefect.start_worker(project.root)
        done = prefect.run("deployment", "run", "retrain/serep", "--watch", cwd=project.root, timeout_s=RETRAIN_S)
        assert done.returncode == 0, done.stdout + done.stderr + (said / "worker.log").read_text()[-8000:]
        for words in (("flow-run", "ls"), ("artifact", "ls"), ("config", "view")):
            (said / f"{words[0]}.txt").write_text(prefect.run(*words, cwd=project.root).stdout)
    finally:
        if worker is not None:
            kill_family(worker)
        prefect.kill()
    (said / "after.txt").write_text(shell(project, after))
    return project, said


def test_first_retraining_released_both_models(studio, postgres):
    aliases = postgres.run("psql", "-d", "mlflow", "-tAc", "select name, alias, version from registered_model_aliases order by 1, 2").split()
    assert aliases == [f"serep-{name}|{alias}|1" for name in ("capture", "semantic") for alias in ("challenger", "champion")]
    assert int(postgres.run("psql", "-d", "prefect", "-tAc", "select count(*) from flow_run where state_type = 'COMPLETED'")) == 3  # retrain and its two parts


def test_bytes_are_in_the_bucket_and_not_here(studio, s3):
    project, _ = studio
    stored = fsspec.filesystem("s3").find(f"{s3.bucket}/mlflow")
    assert any(name.endswith("provenance/dvc.lock") for name in stored) and any(name.endswith("weights.safetensors") for name in stored)
    assert not (project.root / "mlflow.db").exists() and not (project.root / "mlartifacts").exists()
    assert {file.name for file in (project.root / "data/renders/train-0").iterdir()} - {"records.partial"} == {"index.parquet", "part.json"}
    assert any(name.endswith("images.zarr/zarr.json") for name in fsspec.filesystem("s3").find(f"{s3.bucket}/renders"))


def test_contact_sheets_are_in_prefect_s_database(studio, postgres):
    rows = postgres.run("psql", "-d", "prefect", "-tAc", "select key, length(data::text) from artifact where type = 'markdown' order by 1").split()
    sizes = {key: int(size) for key, size in (row.split("|") for row in rows)}
    assert sizes.pop("report") < 1000
    assert sizes.keys() == {"capture", "renders"} and all(10_000 < size < 220_000 for size in sizes.values()), sizes


def test_champion_is_confirmed_here_and_on_another_machine(studio, commands, tmp_path):
    """From git, the bucket and the registry alone."""
    project, said = studio
    assert " 0 changed, 0 not here" in (said / "after.txt").read_text()
    other = Project(tmp_path / "other", project.settings)
    subprocess.run(["git", "clone", "-q", str(project.root), str(other.root)], check=True)
    assert " 0 changed, 0 not here" in shell(other, commands[-1])
    assert json.loads(other.dvc("status", "--json").stdout) == {}
    assert other.lock() == project.lock()
    loaded = "import serep; print(serep.load_model('models:/serep-capture@champion').semantic.code_size)"
    assert other.run(sys.executable, "-c", loaded).stdout.split()[-1] == "12"
    assert "up to date" in other.dvc("repro").stdout


def test_no_password_is_written_anywhere(studio, s3, postgres):
    project, said = studio
    secret = postgres.password
    # The worst case, which nobody needs: an address with the password in it.
    worst = Project(project.root, project.settings | {"MLFLOW_TRACKING_URI": postgres.url("mlflow", scheme=DRIVER, with_password=True)})
    for words in ((sys.executable, "-m", "flows.release"), ("serep", "trace", "models:/serep-capture@champion")):
        done = worst.run(*words)
        assert secret not in done.stdout + done.stderr, words
    for database in ("mlflow", "prefect"):
        assert secret not in postgres.run("pg_dump", database), database
    places = [*said.rglob("*"), *(file for file in project.root.rglob("*") if ".dvc/cache" not in str(file))]
    assert [str(file) for file in places if file.is_file() and secret.encode() in file.read_bytes()] == []
    bucket = fsspec.filesystem("s3")
    assert [name for name in bucket.find(s3.bucket) if secret.encode() in bucket.cat_file(name)] == []
    assert secret not in (postgres.folder / "server.log").read_text()


def test_a_failed_release_does_not_say_the_password_either(studio, postgres):
    project, _ = studio
    wrong = Project(project.root, project.settings | {"MLFLOW_TRACKING_URI": postgres.url("mlflow", scheme="postgres+odd", with_password=True)})
    failed = wrong.run(sys.executable, "-m", "flows.release", check=False)
    assert failed.returncode == 1
    assert postgres.password not in failed.stdout + failed.stderr
    assert "MLFLOW_TRACKING_URI is no address of a registry" in failed.stderr
