"""Models by name: from the registry of the project, or from a folder."""
from __future__ import annotations

import os
from pathlib import Path

import torch

from serep.models.capture import CaptureModel
from serep.models.semantic import SEMANTIC_KINDS, SemanticModel
from serep.models.store import load_config
from serep.training.tracking import find_project_root, model_folder


def load_model(
    source: str | Path, *, root: Path | None = None, device: torch.device | None = None, engine: str = "auto"
) -> SemanticModel | CaptureModel:
    """The model `models:/<name>@<alias>`, `models:/<name>/<version>`, or in a local folder that a model's save() wrote.

    Registered models are those of the project at `root`, by default the one that the working folder is in. A capture model's network goes
    to `device`, by default the processor, where ONNX Runtime runs it if it can, else torch; `engine` "onnx" or "torch" asks for one of them.
    FileNotFoundError or ValueError when there is no such model, or its files are not complete and unchanged.
    """
    if str(source).startswith("models:"):
        folder = model_folder(str(source), root=root or registry_root())
    else:
        folder = Path(source)
        if not folder.is_dir():
            raise FileNotFoundError(f"no model folder {folder}: give one that a model's save() wrote, or models:/serep-capture@champion")
    kind = load_config(folder).get("kind")
    return SemanticModel.load(folder) if kind in SEMANTIC_KINDS else CaptureModel.load(folder, device=device, engine=engine)


def registry_root() -> Path:
    """The project around the working folder; any folder will do where MLFLOW_TRACKING_URI names the registry."""
    try:
        return find_project_root(Path.cwd())
    except FileNotFoundError as problem:
        if os.environ.get("MLFLOW_TRACKING_URI"):
            return Path.cwd()
        raise FileNotFoundError(f"{problem}, set MLFLOW_TRACKING_URI to the registry's address, or give a model's folder") from None
