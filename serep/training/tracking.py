"""The door to MLflow: a run per stage under one parent per pipeline run, and the files of released models (release.py makes those).

The store is SQLite, always named by its absolute path beside dvc.yaml (MLFLOW_TRACKING_URI wins when it is set), so that experiments which
DVC runs in a copy of the project write to the project's own store. Artifacts lie beside it, or below MLFLOW_DEFAULT_ARTIFACT_ROOT; a server has its
own place for them. MLflow is imported late: it costs more than a second.
"""
from __future__ import annotations

import hashlib
import json
import logging
import os
import posixpath
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from filelock import FileLock

from serep.redaction import redacted

EXPERIMENT = "serep"
PIPELINE_RUN = "SEREP_PIPELINE_RUN"
VALUE_LENGTH = 500
PARAMS_PER_CALL, METRICS_PER_CALL = 100, 1000
HOW_TO_RELEASE = "Run: make repro, then python -m flows.release"
MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[\w-]+)|/(?P<version>\d+))")


def find_project_root(start: Path) -> Path:
    """The nearest folder at or above `start` that holds dvc.yaml and params.yaml."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no dvc.yaml beside a params.yaml in {start.resolve()} or above it. Run this inside the project")


def store_root(root: Path) -> Path:
    """The folder that holds the store of the project at `root`.

    `dvc exp run --temp` and `--queue` work in a throw-away copy below the project's .dvc/tmp/exps, where DVC_ROOT still names the project.
    A DVC_ROOT that does not enclose `root` belongs to some other project and is ignored; a folder in a project's .dvc/tmp is a copy of it anyway.
    """
    enclosing = os.environ.get("DVC_ROOT")
    if enclosing and root.resolve().is_relative_to(Path(enclosing).resolve()):
        return Path(enclosing).resolve()
    outer = next((folder.parents[1] for folder in root.resolve().parents if folder.parts[-2:] == (".dvc", "tmp")), None)
    return outer or root.resolve()


def tracking_uri(root: Path) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(store_root(root) / 'mlflow.db').as_posix()}"


def artifact_root(root: Path) -> str | None:
    """Where a new store keeps its artifacts; None leaves it to the server that MLFLOW_TRACKING_URI names."""
    if tracking_uri(root).startswith("http"):
        return None
    return os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or (store_root(root) / "mlartifacts").as_uri()


@dataclass(frozen=True)
class Tracker:
    """Writes to one MLflow run."""

    client: Any
    run_id: str

    def log_metrics(self, metrics: Mapping[str, float | int], step: int | None = None) -> None:
        self.log_curve([{**metrics, "step": step or 0}])

    def log_curve(self, rows: Sequence[Mapping[str, float | int | None]]) -> None:
        """Rows with a `step` and any number of values each (missing ones may be None), in few large calls: single ones take long."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [
            Metric(valid_key(name), float(value), now, int(row["step"]))
            for row in rows for name, value in row.items() if name != "step" and value is not None
        ]
        for first in range(0, len(points), METRICS_PER_CALL):
            self.client.log_batch(self.run_id, metrics=points[first : first + METRICS_PER_CALL])

    def log_params(self, params: Mapping) -> None:
        """Nested values under dotted names; text beyond 500 characters is cut (the whole is in params.yaml at the run's commit)."""
        from mlflow.entities import Param

        entries = [Param(valid_key(name), value) for name, value in _flat(params)]
        for first in range(0, len(entries), PARAMS_PER_CALL):
            self.client.log_batch(self.run_id, params=entries[first : first + PARAMS_PER_CALL])

    def log_inputs(self, inputs: Mapping[str, str]) -> None:
        """Path and md5 of each file or folder that the run reads, one tag each, so that runs can be searched by their data."""
        self.log_tags({f"input.{path}": md5 for path, md5 in inputs.items()})

    def log_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(valid_key(name), redacted(value)) for name, value in tags.items()]
        for first in range(0, len(entries), PARAMS_PER_CALL):
            self.client.log_batch(self.run_id, tags=entries[first : first + PARAMS_PER_CALL])

    def log_file(self, path: Path, folder: str = "") -> None:
        self.client.log_artifact(self.run_id, str(path), folder or None)


@contextmanager
def stage_run(stage: str, *, root: Path, params: Mapping, inputs: Mapping[str, str]) -> Iterator[Tracker]:
    """A run named after the stage, below the parent run of the pipeline run that this process belongs to.

    It ends FINISHED, KILLED when interrupted, or FAILED with the error in the tag `error`. The parent is RUNNING while any stage is, then FAILED if
    one failed.
    """
    client, experiment = open_store(root)
    parent = _pipeline_run(client, experiment, root)
    tags = {
        "mlflow.parentRunId": parent,
        "stage": stage,
        **provenance(root),
        **{name: os.environ[name] for name in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV") if name in os.environ},
    }
    with _lock(root):
        tracker = Tracker(client, client.create_run(experiment, run_name=stage, tags=tags).info.run_id)
        client.update_run(parent, status="RUNNING")
    status = "FAILED"
    try:
        tracker.log_params(params)
        tracker.log_inputs(inputs)
        yield tracker
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        if status != "FINISHED":
            error = sys.exception()
            client.set_tag(tracker.run_id, "error", redacted(f"{type(error).__name__}: {error}")[:VALUE_LENGTH])
        client.set_terminated(tracker.run_id, status)
        with _lock(root):
            _settle_parent(client, experiment, parent)


def open_store(root: Path) -> tuple[Any, str]:
    """MLflow client and experiment id; makes the database and the experiment when they are not there.

    Under a lock: of several processes that open a fresh database at once, all but one fail.
    """
    with _lock(root):
        client = open_client(root)
        if experiment := client.get_experiment_by_name(EXPERIMENT):
            return client, experiment.experiment_id
        return client, client.create_experiment(EXPERIMENT, artifact_location=artifact_root(root))


def open_client(root: Path) -> Any:
    """MLflow client of the project's store, telemetry off; changes none of MLflow's global settings."""
    # MLflow accepts only the word "true" here, and reads it when it is imported.
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for noisy in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return MlflowClient(tracking_uri=tracking_uri(root), registry_uri=tracking_uri(root))
    except (MlflowException, ImportError) as error:  # which may quote the address, password and all
        raise ValueError(f"MLFLOW_TRACKING_URI is no address of a registry: {redacted(str(error))}. For PostgreSQL write "
                         "postgresql+psycopg2://USER@HOST/DATABASE, for a server http://HOST:5000") from None


def provenance(root: Path) -> dict[str, str]:
    """Tags that say what code and data made a run: git commit, whether files under version control differ from it, sha256 of dvc.lock."""
    tags = {}
    if commit := _git(root, "rev-parse", "HEAD"):
        # What the pipeline itself writes does not make its code dirty.
        written = [f":(exclude){path}" for path in ("dvc.lock", *locked_hashes(root))]
        tags["git_commit"] = commit
        tags["git_dirty"] = str(bool(_git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *written))).lower()
    if (root / "dvc.lock").is_file():
        tags["dvc_lock"] = hashlib.sha256((root / "dvc.lock").read_bytes()).hexdigest()
    return tags


def locked_hashes(root: Path) -> dict[str, str]:
    """Path and md5 of every output in dvc.lock; empty when nothing has run yet."""
    lock = root / "dvc.lock"
    stages = (yaml.safe_load(lock.read_text()) or {}).get("stages", {}) if lock.is_file() else {}
    return {out["path"]: out.get("md5", "") for stage in stages.values() for out in stage.get("outs", [])}


def valid_key(name: str) -> str:
    """`name` as MLflow takes it: a normal path of letters, digits and `_-./: `."""
    return re.sub(r"[^\w\-./: ]", "_", posixpath.normpath(name))[:250]


def model_folder(uri: str, *, root: Path) -> Path:
    """Local folder with the model files of a released model, `models:/<name>@<alias>` or `models:/<name>/<version>`."""
    client, name, version = find_version(uri, root=root)
    return released_files(client, name, version, root)


def find_version(uri: str, *, root: Path) -> tuple[Any, str, int]:
    """MLflow client, name and number of a released model; FileNotFoundError naming what there is instead."""
    parts = MODEL_URI.fullmatch(uri)
    if parts is None:
        raise ValueError(f"{uri!r} names no released model. Write models:/serep-capture@champion or models:/serep-capture/3")
    name = parts["name"]
    database = store_root(root) / "mlflow.db"
    if not os.environ.get("MLFLOW_TRACKING_URI") and not database.is_file():
        raise FileNotFoundError(f"no model has been released: {database} does not exist. {HOW_TO_RELEASE}")
    with _lock(root):
        client = open_client(root)
    models = {model.name: model for model in client.search_registered_models()}
    if name not in models:
        raise FileNotFoundError(f"no released model {name!r} (found: {', '.join(sorted(models)) or 'none'}). {HOW_TO_RELEASE}")
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name='{name}'"))
    aliases = {alias: int(version) for alias, version in models[name].aliases.items()}
    version = int(parts["version"]) if parts["version"] else aliases.get(parts["alias"])
    if version is None:
        raise FileNotFoundError(f"model {name!r} has no alias {parts['alias']!r} (found: {aliases or 'none'}; versions {versions}). {HOW_TO_RELEASE}")
    if version not in versions:
        raise FileNotFoundError(f"model {name!r} has no version {version} (found: {versions}). {HOW_TO_RELEASE}")
    return client, name, version


def released_files(client: Any, name: str, version: int, root: Path) -> Path:
    """Folder of the artifact that the pyfunc's model files are in."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        # By its place, because a `models:/` address would be looked up in whatever registry MLflow's global settings name.
        source = client.get_model_version_download_uri(name, str(version))
    except MlflowException as error:
        raise FileNotFoundError(f"model {name!r} has no version {version}, it was deleted. {HOW_TO_RELEASE}") from error
    try:
        files = Path(download_artifacts(f"{source}/artifacts", tracking_uri=tracking_uri(root)))
    except (MlflowException, OSError) as error:
        reason = f"the files of model {name!r} version {version} are not at {source} any more (project moved?)"
        raise FileNotFoundError(f"{reason}. {HOW_TO_RELEASE}") from error
    (folder,) = (entry for entry in files.iterdir() if entry.is_dir())
    return folder


def _lock(root: Path) -> FileLock:
    return FileLock(store_root(root) / "mlflow.db.lock")


def _pipeline_run(client: Any, experiment: str, root: Path) -> str:
    """Id of the parent run that all stages of one pipeline run share, made by the first of them.

    It is known by the flow run that SEREP_PIPELINE_RUN names, else by the nearest `dvc` process above this one, else by this process.
    """
    if key := os.environ.get(PIPELINE_RUN, "").replace("'", ""):
        name, started = key, 0.0
    else:
        me = psutil.Process()
        owner = next((process for process in me.parents() if _is_dvc(process)), me)
        key, started = f"{socket.gethostname()}-{owner.pid}", owner.create_time()
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started))
        name = os.environ.get("DVC_EXP_NAME") or f"{'by hand' if owner == me else 'dvc'} {clock}"
    with _lock(root):
        for run in client.search_runs([experiment], f"tags.pipeline_run = '{key}'"):
            # Process ids come back; the start time read by two processes may differ by the kernel's rounding of its boot time.
            if abs(float(run.data.tags["pipeline_started"]) - started) < 5:
                return run.info.run_id
        tags = {"pipeline_run": key, "pipeline_started": str(started), **provenance(root)}
        return client.create_run(experiment, run_name=name, tags=tags).info.run_id


def _is_dvc(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return any(Path(word).stem == "dvc" for word in command[:2]) or command[1:3] == ["-m", "dvc"]


def _settle_parent(client: Any, experiment: str, parent: str) -> None:
    last: dict[str, str] = {}  # of each stage: a retry that works makes up for the failure before it
    for run in client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'", order_by=["attributes.start_time DESC"]):
        last.setdefault(run.data.tags.get("DVC_STAGE", run.data.tags["stage"]), run.info.status)
    if "RUNNING" not in last.values():
        client.set_terminated(parent, next((state for state in ("FAILED", "KILLED") if state in last.values()), "FINISHED"))


def _flat(tree: Mapping, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = redacted(json.dumps(value) if isinstance(value, list | tuple) else str(value))
            yield f"{prefix}{key}", text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command, None outside a repository."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
