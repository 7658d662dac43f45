"""What each released model is called with and answers, and the packages that it needs, at the versions it was made with."""
from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PACKAGES = ("mlflow", "numpy", "scipy", "torch", "safetensors", "jaxtyping")
CAPTURE_PACKAGES = (*PACKAGES, "onnxruntime", "opencv-python-headless")
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

    model = CaptureModel.load(folder, engine="torch")
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


def pinned(packages: Iterable[str], *, root: Path) -> list[str]:
    """`name==version` of each package, from requirements.lock, or from pyproject.toml for what is left out there (torch)."""
    lines = (root / "requirements.lock").read_text().splitlines()
    lines += tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    matches = (re.match(r"([\w.-]+)==([\w.+!-]+)", line) for line in lines)
    versions = {match[1].lower().replace("_", "-"): match[2] for match in matches if match}
    if missing := [package for package in packages if package not in versions]:
        raise ValueError(f"no exact version of {', '.join(missing)} in {root}/requirements.lock or pyproject.toml. Add it there (make lock)")
    return [f"{package}=={versions[package]}" for package in packages]
