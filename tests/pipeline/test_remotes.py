"""The whole chain as a studio runs it: renders, artifacts and DVC's remote in a bucket, MLflow and Prefect on PostgreSQL; and no password in any of it."""
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from postgres_server import Postgres, postgres_server
from prefect_server import Prefect, kill_family
from s3_server import S3, s3_server
from small_project import Project, commit, copy_project

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


@pytest.fixture(scope="module")
def studio(s3, postgres, tmp_path_factory) -> tuple[Project, Path]:
    """A project whose first `retrain` ran as a deployment; and the folder of all that was said meanwhile."""
    said = tmp_path_factory.mktemp("said")
    project = copy_project(tmp_path_factory.mktemp("studio"))
    project.edit_params(render__store=s3.url("renders"))
    # The address with its password in it is the worst case; a studio leaves it to PGPASSWORD.
    project.settings |= {"MLFLOW_TRACKING_URI": postgres.url("mlflow", scheme=DRIVER, with_password=True), "MLFLOW_DEFAULT_ARTIFACT_ROOT": s3.url("mlflow")}
    project.dvc("remote", "add", "--default", "studio", s3.url("dvc"))
    commit(project, "remotes")
    database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url("prefect", scheme="postgresql+asyncpg"), "PGPASSWORD": postgres.password}
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
    commit(project, "ran")
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
    assert sorted(file.name for file in (project.root / "data/renders/train-0").iterdir()) == ["index.parquet", "part.json"]


def test_another_machine_gets_the_same_bytes_and_confirms_the_champions(studio, tmp_path):
    """From git, the bucket and the registry alone."""
    project, _ = studio
    pushed = project.dvc("push")
    assert "pushed" in pushed.stdout
    other = Project(tmp_path / "other", project.settings)
    subprocess.run(["git", "clone", "-q", str(project.root), str(other.root)], check=True)
    other.dvc("pull")
    assert json.loads(other.dvc("status", "--json").stdout) == {}
    assert other.lock() == project.lock()
    for model in ("semantic", "capture"):
        told = other.run("serep", "trace", f"models:/serep-{model}@champion", "--verify")
        assert " 0 changed, 0 not here" in told.stdout, told.stdout + told.stderr
    loaded = "import serep; print(serep.load_model('models:/serep-capture@champion').semantic.code_size)"
    assert other.run(sys.executable, "-c", loaded).stdout.split()[-1] == "12"
    assert "up to date" in other.dvc("repro").stdout


def test_no_password_is_written_anywhere(studio, s3, postgres):
    project, said = studio
    secret = postgres.password
    for database in ("mlflow", "prefect"):
        assert secret not in postgres.run("pg_dump", database), database
    places = [*said.rglob("*"), *(file for file in project.root.rglob("*") if ".dvc/cache" not in str(file))]
    assert [str(file) for file in places if file.is_file() and secret.encode() in file.read_bytes()] == []
    bucket = fsspec.filesystem("s3")
    assert [name for name in bucket.find(s3.bucket) if secret.encode() in bucket.cat_file(name)] == []
    assert secret not in (postgres.folder / "server.log").read_text()
    told = project.run("serep", "trace", "models:/serep-capture@champion")
    assert secret not in told.stdout + told.stderr


def test_a_failed_release_does_not_say_the_password_either(studio, postgres):
    project, _ = studio
    wrong = Project(project.root, project.settings | {"MLFLOW_TRACKING_URI": postgres.url("mlflow", scheme="postgres+odd", with_password=True)})
    failed = wrong.run(sys.executable, "-m", "flows.release", check=False)
    assert failed.returncode == 1
    assert postgres.password not in failed.stdout + failed.stderr
    assert "MLFLOW_TRACKING_URI is no address of a registry" in failed.stderr
