"""Puts fitted models into the registry: checked, with pinned requirements, the tags that trace them to commit and data, and the gate before `champion`.

Beside tracking.py this is the only library module that imports mlflow (late); the pyfunc_* files are run by MLflow itself, out of the released model.
"""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from serep.training.champions import CAPTURE, CHALLENGER, SEMANTIC, champions, finish_move, promote, refuse_taken_back, release_lock
from serep.training.gate import Bar, Verdict, judge, refusal
from serep.training.interfaces import Interface, capture_interface, pinned, semantic_interface
from serep.training.lineage import differences
from serep.training.tracking import Tracker, locked_hashes, open_store, provenance, released_files, tracking_uri, valid_key

SCORED = {SEMANTIC: ("score_semantic",), CAPTURE: ("score_capture", "benchmark")}  # whose metrics belong to which model
DOCUMENTS = "provenance"  # folder in the release's run: params.yaml, dvc.lock, the report, …
LOCK = "dvc.lock"
Rescore = Callable[[str, Path], Mapping[str, float]]  # a model's name and its files to what the present test gives them; RuntimeError when it cannot


@dataclass(frozen=True)
class ModelVersion:
    """A version in the registry; `created` is False when the same files had been registered before."""

    name: str
    version: int
    created: bool


@dataclass(frozen=True)
class Release:
    """What a release came to: the versions of both models, what the gate said, and the reason when they did not become champions.

    `other_tests` has, for each champion that was measured by another test than the present one, what differs; `rescored` says that the verdicts compare
    with what the present test gives it.
    """

    versions: tuple[ModelVersion, ...]
    verdicts: tuple[Verdict, ...]
    refused: str | None
    other_tests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rescored: bool = False


@dataclass(frozen=True)
class Candidate:
    """What is to be released: each model's folder, which `scores` (see `read_scores`) it got, and documents to keep (name to content), dvc.lock among them.

    `models` are the paths and keys by which dvc.lock names the models themselves: all else that the scoring stages read is the test.
    """

    folders: Mapping[str, Path]
    scores: Mapping[str, float]
    models: tuple[str, ...]
    documents: Mapping[str, str]


def release_models(root: Path, candidate: Candidate, *, gate: Mapping[str, Bar], again: bool = False, rescore: Rescore | None = None) -> Release:
    """Registers both models as `challenger`, and makes them `champion` unless the gate finds them worse than the present ones.

    Files that are registered already make no new version. `again` also promotes versions that were rolled back. A champion that was measured by another
    test is measured by the present one with `rescore`, and nothing is promoted where that fails; without `rescore` its stored numbers stand.
    """
    other_tests: dict[str, tuple[str, ...]] = {}
    new: set[str] = set()
    while True:
        with release_lock(root):
            client, _ = open_store(root)
            finish_move(client)
            versions = register_models(root, candidate)
            new |= {version.name for version in versions if version.created}
            versions = [replace(version, created=version.name in new) for version in versions]
            numbers = {version.name: version.version for version in versions}
            for name, number in numbers.items():
                client.set_registered_model_alias(name, CHALLENGER, str(number))
            now = champions(client)
            others = {} if now == numbers else now
            unlike = _other_tests(client, others, candidate, root)
            other_tests |= {version.name: changed for version, changed in unlike.items()}
            if not unlike or rescore is None:
                verdicts = judge(gate, candidate.scores, champion_scores(root, others))
                refused = refusal(verdicts)
                if refused is None and now != numbers:
                    refuse_taken_back(client, numbers, again=again)
                    promote(client, numbers)
                return Release(tuple(versions), tuple(verdicts), refused, other_tests, rescored=bool(other_tests) and rescore is not None)
        # Minutes of work, so not under the lock: a rollback must not wait for it.
        for version, changed in unlike.items():
            try:
                scores = rescore(version.name, released_files(client, version.name, version.version, root))
            except (RuntimeError, FileNotFoundError) as error:
                verdicts = judge(gate, candidate.scores, champion_scores(root, others))
                return Release(tuple(versions), tuple(verdicts), _not_comparable(version, changed, error), other_tests)
            _keep_scores(root, version, scores, candidate)


def _not_comparable(version: ModelVersion, changed: tuple[str, ...], error: Exception) -> str:
    return (f"the champion, version {version.version} of {version.name}, was measured by another test (what differs: {', '.join(changed)}), and cannot be "
            f"measured by this one: {error}\nMend that, or compare with its stored numbers: python -m flows.release --stored-scores")


def _other_tests(client: Any, versions: Mapping[str, int], candidate: Candidate, root: Path) -> dict[ModelVersion, tuple[str, ...]]:
    """Those of the versions that were measured by another test, and what differs."""
    changed = {ModelVersion(name, number, created=False): _other_test(client, name, number, candidate, root) for name, number in versions.items()}
    return {version: differing for version, differing in changed.items() if differing}


def _other_test(client: Any, name: str, number: int, candidate: Candidate, root: Path) -> tuple[str, ...]:
    """What differs between the test that a version's latest scores come from and the present one."""
    try:
        then = yaml.safe_load(stored_document(client, _scored(client, name, number).info.run_id, LOCK, root)) or {}
    except FileNotFoundError:
        return ("no record of its test is left",)
    now = yaml.safe_load(candidate.documents[LOCK]) or {}
    return tuple(f"{stage}: {change}" for stage in SCORED[name] for change in differences(then, now, stage, apart=candidate.models))


def _keep_scores(root: Path, version: ModelVersion, scores: Mapping[str, float], candidate: Candidate) -> None:
    """As the version's latest scores, with the record of the test they come from."""
    client, _ = open_store(root)
    tags = {**provenance(root), "rescored": f"{version.name}/{version.version}"}
    with release_run("rescore", root=root, tags=tags, metrics=_scores_for(version.name, scores)) as run:
        client.log_text(run, candidate.documents[LOCK], f"{DOCUMENTS}/{LOCK}")
    client.set_model_version_tag(version.name, str(version.version), "scores_run", run)


def register_models(root: Path, candidate: Candidate) -> list[ModelVersion]:
    """A version of each model with these files: the one there is, or a new one, once all of the new ones load again and answer their example."""
    digests = {name: folder_digest(folder) for name, folder in candidate.folders.items()}
    versions = {name: registered_version(name, root=root, digest=digest) for name, digest in digests.items()}
    missing = [name for name, version in versions.items() if version is None]
    client, _ = open_store(root)
    if missing or any(_scores_of(client, version) != _scores_for(version.name, candidate.scores) for version in versions.values()):
        tags = {**provenance(root), **{valid_key(f"data.{path}"): md5 for path, md5 in locked_hashes(root).items()}}
        interfaces = {SEMANTIC: semantic_interface, CAPTURE: capture_interface}
        with release_run("release", root=root, tags=tags, metrics=candidate.scores) as run:
            for name, content in candidate.documents.items():
                client.log_text(run, content, f"{DOCUMENTS}/{name}")
            for name in missing:
                folder = candidate.folders[name]
                interface = interfaces[name](folder)
                own_tags = {**tags, "files_sha256": digests[name], "made_from": os.path.relpath(folder, root)}
                requirements = pinned(interface.packages, root=root)
                versions[name] = register(name, interface, folder=folder, requirements=requirements, tags=own_tags)
                packed = released_files(client, name, versions[name].version, root)
                if folder_digest(packed) != digests[name]:
                    raise RuntimeError(f"{folder} changed while it was released: version {versions[name].version} of {name} is not promoted. Run it again")
            for name, version in versions.items():
                client.set_model_version_tag(name, str(version.version), "scores_run", run)
    return list(versions.values())


def champion_scores(root: Path, versions: Mapping[str, int]) -> dict[str, float]:
    """What these versions were last measured by, each model by its own stages."""
    client, _ = open_store(root)
    return {metric: value for name, number in versions.items() for metric, value in _scores_of(client, ModelVersion(name, number, created=False)).items()}


def register(name: str, interface: Interface, *, folder: Path, requirements: list[str], tags: Mapping[str, str]) -> ModelVersion:
    """A new version of `name` in the active `release_run`: a pyfunc model from code, no pickle, `folder` as its files and `serep` beside them.

    The logged model must load again and answer the example, or nothing is registered.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    import serep

    kinds = {str: "string", float: "double"}
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(interface.inputs[0]), interface.inputs[1])]),
        outputs=Schema([TensorSpec(np.dtype(kind), shape, name=key) for key, (kind, shape) in interface.outputs.items()]),
        params=ParamSchema([ParamSpec(key, kinds[type(value)], value) for key, value in interface.options.items()]),
    )
    logged = mlflow.pyfunc.log_model(
        name=name, python_model=str(interface.script), artifacts={"model": str(folder)}, code_paths=[str(Path(serep.__file__).parent)],
        signature=signature, input_example=interface.example, pip_requirements=requirements, tags=dict(tags),
    )
    mlflow.pyfunc.load_model(logged.model_uri).predict(interface.example)
    version = mlflow.register_model(logged.model_uri, name, tags=dict(tags))
    return ModelVersion(name, int(version.version), created=True)


def registered_version(name: str, *, root: Path, digest: str) -> ModelVersion | None:
    """The newest version of `name` with the files of this digest, if its own copy of them is still in its place and whole, and its origin known."""
    client, _ = open_store(root)
    for found in sorted(client.search_model_versions(f"name='{name}'"), key=lambda version: -int(version.version)):
        if found.tags.get("files_sha256") == digest and "made_from" in found.tags:
            try:
                kept = folder_digest(released_files(client, name, int(found.version), root))
            except FileNotFoundError:
                continue
            if kept == digest:
                return ModelVersion(name, int(found.version), created=False)
    return None


@contextmanager
def release_run(name: str, *, root: Path, tags: Mapping[str, str], metrics: Mapping[str, float | int]) -> Iterator[str]:
    """A run that what is registered inside belongs to, by its id; MLflow's global functions work on this project's store, without pickle, until it ends."""
    client, experiment = open_store(root)
    import mlflow

    # MLflow puts the first two into the environment itself; without the second, the registry is where the runs are.
    settings = {
        "MLFLOW_TRACKING_URI": tracking_uri(root), "MLFLOW_REGISTRY_URI": None,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    kept = {name: os.environ.get(name) for name in settings}
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    _set_environment(settings)
    mlflow.set_tracking_uri(tracking_uri(root))
    try:
        with mlflow.start_run(experiment_id=experiment, run_name=name, tags=dict(tags)) as run:
            Tracker(client, run.info.run_id).log_metrics(metrics)
            yield run.info.run_id
    finally:
        mlflow.set_tracking_uri(before)
        _set_environment(kept)


def folder_digest(folder: Path) -> str:
    """sha256 over names and bytes of all files of a model's folder; refuses one that holds no model."""
    if not (folder / "config.json").is_file():
        found = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else "no such folder"
        raise FileNotFoundError(f"no model in {folder}: config.json is missing (found: {found or 'nothing'}). Run: make repro")
    digest = hashlib.sha256()
    for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def read_scores(files: Mapping[str, Path], *, released: str) -> dict[str, float]:
    """Every number in the metrics files, under `<stage>.<dotted name>`; those of the released kind of semantic model once more under `released`."""
    if missing := [f"{stage} ({file})" for stage, file in files.items() if not file.is_file()]:
        raise FileNotFoundError(f"metrics of {', '.join(missing)} are missing: an unmeasured model is not released. Run: make repro")
    scores = {valid_key(name): value for stage, file in files.items() for name, value in _numbers(json.loads(file.read_text()), stage)}
    return scores | {name.replace(f".{released}.", ".released.", 1): value for name, value in scores.items() if f".{released}." in name}


def stored_document(client: Any, run: str, name: str, root: Path) -> str:
    """What a release kept beside its models; FileNotFoundError when it is there no more."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(download_artifacts(run_id=run, artifact_path=f"{DOCUMENTS}/{name}", tracking_uri=tracking_uri(root))).read_text(encoding="utf-8")
    except (MlflowException, OSError) as error:
        raise FileNotFoundError(f"the release's run {run} no longer has {DOCUMENTS}/{name}: bring MLflow's artifacts back from a copy") from error


def _scores_of(client: Any, version: ModelVersion) -> dict[str, float]:
    return _scores_for(version.name, _scored(client, version.name, version.version).data.metrics)


def _scored(client: Any, name: str, number: int) -> Any:
    """The run that holds a version's latest scores."""
    version = client.get_model_version(name, str(number))
    return client.get_run(version.tags.get("scores_run") or version.run_id)


def _scores_for(name: str, scores: Mapping[str, float]) -> dict[str, float]:
    return {metric: value for metric, value in scores.items() if metric.startswith(SCORED[name])}


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _numbers(tree: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _numbers(value, f"{name}.{key}")
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield name, float(tree)
