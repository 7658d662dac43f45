"""Puts fitted models into the registry: checked, with pinned requirements and the tags that trace them to commit and data.

Beside tracking.py this is the only library module that imports mlflow (late); the pyfunc_* files are run by MLflow itself, out of the released model.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serep.training.tracking import Tracker, locked_hashes, open_store, provenance, released_files, tracking_uri, valid_key

SEMANTIC, CAPTURE = "serep-semantic", "serep-capture"
ALIAS = "champion"
PACKAGES = ("mlflow", "numpy", "scipy", "torch", "safetensors", "jaxtyping")
CAPTURE_PACKAGES = (*PACKAGES, "opencv-python-headless")
Tensor = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Interface:
    """What a released model is called with and answers: numpy type and shape each (-1 for a free length), options with their usual value."""

    script: Path
    packages: tuple[str, ...]
    inputs: Tensor
    outputs: Mapping[str, Tensor]
    options: Mapping[str, str | float]
    example: np.ndarray


@dataclass(frozen=True)
class ModelVersion:
    """A version in the registry; `created` is False when the same files had been registered before."""

    name: str
    version: int
    created: bool


def register_models(root: Path, *, semantic_folder: Path, capture_folder: Path, metrics: Mapping[str, Path]) -> list[ModelVersion]:
    """Registers both models and makes them `champion`; files that are registered already make no new version.

    `metrics` names the JSON file of each score stage. Nothing is promoted unless both models load again and answer their example.
    """
    folders = {SEMANTIC: semantic_folder, CAPTURE: capture_folder}
    scores = read_scores(metrics)
    digests = {name: folder_digest(folder) for name, folder in folders.items()}
    versions = {name: registered_version(name, root=root, digest=digest) for name, digest in digests.items()}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        tags = {**provenance(root), **{valid_key(f"data.{path}"): md5 for path, md5 in locked_hashes(root).items()}}
        interfaces = {SEMANTIC: semantic_interface, CAPTURE: capture_interface}
        with release_run("release", root=root, tags=tags, metrics=scores):
            for name in missing:
                interface, own_tags = interfaces[name](folders[name]), {**tags, "files_sha256": digests[name]}
                requirements = pinned(interface.packages, root=root)
                versions[name] = register(name, interface, folder=folders[name], requirements=requirements, tags=own_tags)
    client, _ = open_store(root)
    for version in versions.values():
        client.set_registered_model_alias(version.name, ALIAS, str(version.version))
    return list(versions.values())


def semantic_interface(folder: Path) -> Interface:
    from serep.models.semantic import SemanticModel

    model = SemanticModel.load(folder)
    vertices = len(model.mean_neutral.vertices)
    return Interface(
        script=Path(__file__).with_name("pyfunc_semantic.py"), packages=PACKAGES,
        # The width is free because `mode` chooses between codes and flattened vertices; the model checks it.
        inputs=("float32", (-1, -1)), outputs={"vertices": ("float32", (-1, vertices, 3))}, options={"mode": "decode"},
        example=np.zeros((1, model.code_size), np.float32),
    )


def capture_interface(folder: Path) -> Interface:
    from serep.models.capture import CaptureModel

    model = CaptureModel.load(folder)
    vertices, landmarks = len(model.semantic.mean_neutral.vertices), len(model.landmark_ids)
    return Interface(
        script=Path(__file__).with_name("pyfunc_capture.py"), packages=CAPTURE_PACKAGES,
        inputs=("uint8", (-1, -1, -1, 3)),
        outputs={
            "codes": ("float32", (-1, model.semantic.code_size)), "vertices": ("float32", (-1, vertices, 3)),
            "landmarks": ("float32", (-1, landmarks, 2)), "found": ("bool", (-1,)),
        },
        options={"fps": 25.0},
        example=np.full((2, 96, 96, 3), 128, np.uint8),
    )


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
    """The newest version of `name` made from the files with this digest, if its own files are still in their place."""
    client, _ = open_store(root)
    for found in sorted(client.search_model_versions(f"name='{name}'"), key=lambda version: -int(version.version)):
        if found.tags.get("files_sha256") == digest:
            try:
                released_files(client, name, int(found.version), root)
            except FileNotFoundError:
                continue
            return ModelVersion(name, int(found.version), created=False)
    return None


@contextmanager
def release_run(name: str, *, root: Path, tags: Mapping[str, str], metrics: Mapping[str, float | int]) -> Iterator[None]:
    """A run that what is registered inside belongs to; MLflow's global functions work on this project's store, without pickle, until it ends."""
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
            yield
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


def read_scores(files: Mapping[str, Path]) -> dict[str, float]:
    """Every number in the metrics files, under `<stage>.<dotted name>`."""
    if missing := [f"{stage} ({file})" for stage, file in files.items() if not file.is_file()]:
        raise FileNotFoundError(f"metrics of {', '.join(missing)} are missing: an unmeasured model is not released. Run: make repro")
    return {name: value for stage, file in files.items() for name, value in _numbers(json.loads(file.read_text()), stage)}


def pinned(packages: Iterable[str], *, root: Path) -> list[str]:
    """`name==version` of each package, from requirements.lock, or from pyproject.toml for what is left out there (torch)."""
    lines = (root / "requirements.lock").read_text().splitlines()
    lines += tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    matches = (re.match(r"([\w.-]+)==([\w.+!-]+)", line) for line in lines)
    versions = {match[1].lower().replace("_", "-"): match[2] for match in matches if match}
    if missing := [package for package in packages if package not in versions]:
        raise ValueError(f"no exact version of {', '.join(missing)} in {root}/requirements.lock or pyproject.toml. Add it there (make lock)")
    return [f"{package}=={versions[package]}" for package in packages]


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
