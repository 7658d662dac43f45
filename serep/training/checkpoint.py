"""Where an interrupted training goes on: weights, optimiser and curve in one safetensors file, which only the same training on the same data takes up."""
from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import serep

LOGGER = logging.getLogger(__name__)
FORMAT = "serep-checkpoint/1"
EVERY_S = 30.0  # a killed training loses at most this much and one step


@dataclass(frozen=True, eq=False)
class Progress:
    """A training after `step` steps."""

    step: int
    tensors: dict[str, Tensor]
    rows: list[dict[str, float]]
    """The curve so far."""


@dataclass(eq=False)
class Checkpoint:
    """One file for one training; `key` says which (see `training_key`)."""

    file: Path
    key: str
    every_s: float = field(default_factory=lambda: EVERY_S)
    _last: float = field(default_factory=time.monotonic, init=False)

    @property
    def due(self) -> bool:
        return time.monotonic() - self._last >= self.every_s

    def save(self, progress: Progress) -> None:
        """Replaces what was saved before; a kill in the middle leaves the older one."""
        metadata = {"format": FORMAT, "key": self.key, "step": str(progress.step), "rows": json.dumps(progress.rows)}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_name(self.file.name + ".partial")
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in progress.tensors.items()}, partial, metadata)
        partial.replace(self.file)
        self._last = time.monotonic()

    def load(self) -> Progress | None:
        """What was saved; None where nothing was, or where it belongs to another training or cannot be read (a log line says so)."""
        if not self.file.is_file():
            return None
        try:
            with safe_open(self.file, "pt") as stored:
                metadata = stored.metadata() or {}
                if metadata.get("format") != FORMAT or metadata.get("key") != self.key:
                    LOGGER.info("%s is of a training with other settings, data, code or devices: starting from the beginning", self.file)
                    return None
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}
                return Progress(int(metadata["step"]), tensors, json.loads(metadata["rows"]))
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            LOGGER.warning("%s cannot be read (%s): starting from the beginning", self.file, error)
            return None

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)


def training_key(settings: Mapping, *data: np.ndarray | Tensor) -> str:
    """Of everything that decides how a training goes on: its settings (plain values), its data, this package's code and torch's version."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(f"{_code_hash()} {torch.__version__}".encode())
    for one in data:
        array = np.ascontiguousarray(one.detach().cpu().numpy() if isinstance(one, Tensor) else one)
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


@cache
def _code_hash() -> str:
    digest, package = hashlib.sha256(), Path(serep.__file__).parent
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes())
    return digest.hexdigest()
