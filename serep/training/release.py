"""Puts fitted models into the registry: checked, with pinned requirements, the tags that trace them to commit and data, and the gate before `champion`.

Beside tracking.py this is the only library module that imports mlflow (late); the pyfunc_* files are run by MLflow itself, out of the released model.
"""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serep.training.champions import CAPTURE, CHALLENGER, SEMANTIC, champions, finish_move, promote, refuse_taken_back, release_lock
from serep.training.gate import Bar, Verdict, judge, refusal
from serep.training.interfaces import Interface, capture_interface, pinned, semantic_interface
from serep.training.tracking import Tracker, locked_hashes, open_store, provenance, released_files, tracking_uri, valid_key

SCORED = {SEMANTIC: ("score_semantic",), CAPTURE: ("score_capture", "benchmark")}  # whose metrics belong to which model
DOCUMENTS = "provenance"  # folder in the release's run: params.yaml, dvc.lock, the report, …


@dataclass(frozen=True)
class ModelVersion:
    """A version in the registry; `created` is False when the same files had been registered before."""

    name: str
    version: int
    created: bool


@dataclass(frozen=True)
class Release:
    """What a release came to: the versions of both models, what the gate said, and the reason when they did not become champions.

    `other_data` are the test data that the champion was measured on with other content: its numbers are of another test.
    """

    versions: tuple[ModelVersion, ...]
    verdicts: tuple[Verdict, ...]
    refused: str | None
    other_data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """What is to be released: each model's folder, which `scores` (see `read_scores`) it got on which outputs, and documents to keep (name to content)."""

    folders: Mapping[str, Path]
    scores: Mapping[str, float]
    test_data: tuple[str, ...]
    documents: Mapping[str, str]


def release_models(root: Path, candidate: Candidate, *, gate: Mapping[str, Bar], again: bool = False) -> Release:
    """Registers both models as `challenger`, and makes them `champion` unless the gate finds them worse than the present ones.

    Files that are registered already make no new version. `again` also promotes versions that were rolled back.
    """
    with release_lock(root):
        client, _ = open_store(root)
        finish_move(client)
        versions = register_models(root, candidate)
        numbers = {version.name: version.version for version in versions}
        for name, number in numbers.items():
            client.set_registered_model_alias(name, CHALLENGER, str(number))
        now = champions(client)
        others = {} if now == numbers else now
        other_data = _other_data(client, others, candidate.test_data, locked_hashes(root))
        verdicts = judge(gate, candidate.scores, champion_scores(root, others))
        refused = refusal(verdicts)
        if refused is None and now != numbers:
            refuse_taken_back(client, numbers, again=again)
            promote(client, numbers)
        return Release(tuple(versions), tuple(verdicts), refused, other_data)


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


def _scores_of(client: Any, version: ModelVersion) -> dict[str, float]:
    return _scores_for(version.name, _scored(client, version.name, version.version).data.metrics)


def _scored(client: Any, name: str, number: int) -> Any:
    """The run that holds a version's latest scores, and the tags of the data they were measured on."""
    version = client.get_model_version(name, str(number))
    return client.get_run(version.tags.get("scores_run") or version.run_id)


def _other_data(client: Any, versions: Mapping[str, int], paths: tuple[str, ...], hashes: Mapping[str, str]) -> tuple[str, ...]:
    runs = [_scored(client, name, number).data.tags for name, number in versions.items()]
    return tuple(path for path in paths if any(tags.get(valid_key(f"data.{path}")) != hashes.get(path) for tags in runs))


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
