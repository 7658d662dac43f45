"""Stage runs on a real store in a temporary project: grouping, endings, tags, and what is said when a released model is not there."""
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from serep.training import tracking

SOURCE_ROOT = Path(tracking.__file__).parents[2]
STAGE = """
    import sys
    from pathlib import Path
    from serep.training.tracking import find_project_root, stage_run

    with stage_run(sys.argv[1], root=find_project_root(Path.cwd()), params={}, inputs={}) as tracker:
        tracker.log_curve([{"step": step, "loss": 1 / (step + 1)} for step in range(50)])
        Path(sys.argv[1] + ".txt").write_text(tracker.run_id)
"""


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments], cwd=root, check=True, capture_output=True)


def make_project(root: Path) -> Path:
    (root / "params.yaml").write_text("seed: 1\n")
    (root / "dvc.yaml").write_text("stages:\n  one:\n    cmd: python stage.py one\n    params: [seed]\n    outs: [one.txt]\n")
    (root / "stage.py").write_text(textwrap.dedent(STAGE))
    return root


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """One project for all tests here: making its database costs seconds."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)


def children(root: Path, pipeline: str):
    client, experiment = tracking.open_store(root)
    (parent,) = client.search_runs([experiment], f"tags.pipeline_run = '{pipeline}'")
    return parent, client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["attributes.start_time"])


def stage(root: Path, name: str = "heads", **content):
    return tracking.stage_run(name, root=root, params=content.get("params", {}), inputs=content.get("inputs", {}))


def test_project_root_is_found_from_below(project):
    (project / "a" / "b").mkdir(parents=True)
    assert tracking.find_project_root(project / "a" / "b") == project


def test_no_project_root_says_what_is_needed(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(FileNotFoundError, match=r"no dvc\.yaml beside a params\.yaml in .* or above it"):
        tracking.find_project_root(tmp_path)


def test_store_is_absolute_and_an_explicit_one_wins(project, monkeypatch):
    monkeypatch.chdir(project)
    assert tracking.tracking_uri(Path()) == f"sqlite:///{project}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking.tracking_uri(project) == "http://127.0.0.1:5000"


def test_experiment_copy_uses_the_store_of_its_project(project, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert tracking.store_root(project / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1") == project
    assert tracking.store_root(tmp_path) == tmp_path  # a project of its own, run from within a stage of another
    monkeypatch.delenv("DVC_ROOT")
    assert tracking.store_root(project / ".dvc" / "tmp" / "serep-retrain") == project


def test_stages_of_one_pipeline_run_share_a_parent(project, monkeypatch):
    monkeypatch.setenv(tracking.PIPELINE_RUN, "flow-grouping")
    for name in ("heads", "renders"):
        with stage(project, name):
            pass
    parent, runs = children(project, "flow-grouping")
    assert [run.info.run_name for run in runs] == ["heads", "renders"]
    assert {run.info.status for run in (parent, *runs)} == {"FINISHED"}


def test_run_holds_params_metrics_curve_inputs_and_files(project, monkeypatch, tmp_path):
    monkeypatch.setenv(tracking.PIPELINE_RUN, "flow-content")
    monkeypatch.setenv("DVC_STAGE", "train@a")
    (tmp_path / "plot.csv").write_text("x\n")
    params = {"semantic": {"layers": [1, 2], "rate": 0.001}, "text": "x" * 900}
    with stage(project, params=params, inputs={"data/heads@1": "0a1b"}) as tracker:
        tracker.log_metrics({"error_mm": 1.5, "worst/cheek": 3})
        tracker.log_curve([{"step": step, "loss": 1 / (step + 1), "val_loss": 2.0 if step % 10 == 0 else None} for step in range(1200)])
        tracker.log_inputs({"data/late": "ff"})
        tracker.log_file(tmp_path / "plot.csv", "plots")
    _, (run,) = children(project, "flow-content")
    client, _ = tracking.open_store(project)
    assert run.data.params["semantic.layers"] == "[1, 2]"
    assert run.data.params["semantic.rate"] == "0.001"
    assert len(run.data.params["text"]) == 500
    assert run.data.metrics["error_mm"] == 1.5
    assert run.data.metrics["worst/cheek"] == 3
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val_loss")] == list(range(0, 1200, 10))
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 1200
    assert run.data.tags["input.data/heads_1"] == "0a1b"
    assert run.data.tags["input.data/late"] == "ff"
    assert run.data.tags["DVC_STAGE"] == "train@a"
    assert (project / "mlartifacts" / run.info.run_id / "artifacts" / "plots" / "plot.csv").is_file()


def test_failure_is_marked_named_and_made_up_for_by_a_retry(project, monkeypatch):
    monkeypatch.setenv(tracking.PIPELINE_RUN, "flow-failure")
    with pytest.raises(ValueError, match="no heads"), stage(project):
        raise ValueError("no heads")
    parent, (run,) = children(project, "flow-failure")
    assert run.info.status == parent.info.status == "FAILED"
    assert run.data.tags["error"] == "ValueError: no heads"
    with stage(project):
        assert children(project, "flow-failure")[0].info.status == "RUNNING"
    parent, runs = children(project, "flow-failure")
    assert [run.info.status for run in runs] == ["FAILED", "FINISHED"]
    assert parent.info.status == "FINISHED"


def test_failed_part_of_a_foreach_stage_is_not_hidden_by_the_next_part(project, monkeypatch):
    monkeypatch.setenv(tracking.PIPELINE_RUN, "flow-parts")
    monkeypatch.setenv("DVC_STAGE", "render@a")
    with pytest.raises(OSError, match="disk full"), stage(project, "render"):
        raise OSError("disk full")
    monkeypatch.setenv("DVC_STAGE", "render@b")
    with stage(project, "render"):
        pass
    assert children(project, "flow-parts")[0].info.status == "FAILED"


def test_interruption_is_no_failure(project, monkeypatch):
    monkeypatch.setenv(tracking.PIPELINE_RUN, "flow-interrupt")
    with pytest.raises(KeyboardInterrupt), stage(project):
        raise KeyboardInterrupt
    assert children(project, "flow-interrupt")[1][0].info.status == "KILLED"


def test_provenance_follows_code_but_not_what_the_pipeline_writes(tmp_path):
    root = make_project(tmp_path)
    lock = "schema: '2.0'\nstages:\n  one:\n    outs:\n    - path: one.txt\n      md5: abc\n"
    (root / "dvc.lock").write_text(lock)
    (root / "one.txt").write_text("1")
    assert set(tracking.provenance(root)) == {"dvc_lock"}
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    assert tracking.locked_hashes(root) == {"one.txt": "abc"}
    clean = tracking.provenance(root)
    assert clean["git_dirty"] == "false"
    (root / "dvc.lock").write_text(lock + "\n")
    (root / "one.txt").write_text("2")
    after = tracking.provenance(root)
    assert after["git_dirty"] == "false"
    assert after["git_commit"] == clean["git_commit"]
    assert after["dvc_lock"] != clean["dvc_lock"]
    (root / "params.yaml").write_text("seed: 2\n")
    assert tracking.provenance(root)["git_dirty"] == "true"


def test_no_released_model_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mlflow\.db does not exist\. Run: make repro, then python -m flows\.release"):
        tracking.model_folder("models:/serep-capture@champion", root=tmp_path)


def test_uri_of_no_model_is_refused(project):
    with pytest.raises(ValueError, match="'serep-capture' names no released model"):
        tracking.model_folder("serep-capture", root=project)


def test_unknown_model_alias_and_version_are_named_with_what_exists(project):
    client, _ = tracking.open_store(project)
    with pytest.raises(FileNotFoundError, match=r"no released model 'other' \(found: .*\)"):
        tracking.model_folder("models:/other@champion", root=project)
    client.create_registered_model("known")
    client.create_model_version("known", source=str(project / "mlartifacts" / "gone"))
    with pytest.raises(FileNotFoundError, match=r"no alias 'champion' \(found: none; versions \[1\]\)"):
        tracking.model_folder("models:/known@champion", root=project)
    with pytest.raises(FileNotFoundError, match=r"no version 7 \(found: \[1\]\)"):
        tracking.model_folder("models:/known/7", root=project)
    with pytest.raises(FileNotFoundError, match=r"files of model 'known' version 1 are not at .*gone any more"):
        tracking.model_folder("models:/known/1", root=project)


def run_python(root: Path, *arguments: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE_ROOT), "PATH": path, "DVC_NO_ANALYTICS": "1"}
    answer = subprocess.run([sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_stages_below_one_dvc_process_meet_in_a_fresh_store(tmp_path):
    root = make_project(tmp_path)
    (root / "dvc").write_text(textwrap.dedent("""
        import subprocess, sys

        stages = [subprocess.Popen([sys.executable, "stage.py", name]) for name in ("one", "two")]
        sys.exit(max(stage.wait() for stage in stages))
    """))
    run_python(root, "dvc")
    client, experiment = tracking.open_store(root)
    runs = {run.info.run_name.split(" ")[0]: run for run in client.search_runs([experiment])}
    assert set(runs) == {"dvc", "one", "two"}
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs.values()} == {None, runs["dvc"].info.run_id}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


@pytest.mark.slow
def test_dvc_experiment_in_a_copy_writes_to_the_project(tmp_path):
    root = make_project(tmp_path)
    git(root, "init", "-q")
    git(root, "config", "user.name", "a")
    git(root, "config", "user.email", "a@example.org")
    run_python(root, "-m", "dvc", "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    run_python(root, "-m", "dvc", "exp", "run", "--temp", "--name", "tried", "-S", "seed=2")
    client, experiment = tracking.open_store(root)
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {"tried", "one"}
    assert runs["one"].data.tags["DVC_EXP_NAME"] == "tried"
    assert not (root / "one.txt").exists()


def test_passwords_are_in_no_param_tag_or_error(project, monkeypatch):
    monkeypatch.setenv(tracking.PIPELINE_RUN, "flow-secret")
    monkeypatch.setenv("PGPASSWORD", "long-secret-value")
    with pytest.raises(ValueError, match="refused"), tracking.stage_run("train", root=project, params={"store": "s3://anna:s3cret@bucket"}, inputs={}) as tracker:
        tracker.log_tags({"from": "postgresql://anna:s3cret@host/db"})
        raise ValueError("long-secret-value refused by postgresql://anna:s3cret@host/db")
    _, (run,) = children(project, "flow-secret")
    assert run.data.params["store"] == "s3://anna:***@bucket"
    assert run.data.tags["from"] == "postgresql://anna:***@host/db"
    assert run.data.tags["error"] == "ValueError: *** refused by postgresql://anna:***@host/db"


def test_address_that_is_none_is_said_without_its_password(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgres+odd://anna:s3cret@host/db")
    with pytest.raises(ValueError, match=r"MLFLOW_TRACKING_URI is no address of a registry: .*For PostgreSQL write postgresql\+psycopg2://") as error:
        tracking.open_client(project).search_experiments()
    assert "s3cret" not in str(error.value)


def test_artifacts_lie_where_the_environment_says_or_a_server_knows(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", raising=False)
    assert tracking.artifact_root(tmp_path) == (tmp_path / "mlartifacts").as_uri()
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "s3://studio/mlflow")
    assert tracking.artifact_root(tmp_path) == "s3://studio/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking.artifact_root(tmp_path) is None
