"""Model folders: weights.safetensors, further array files, and a config.json that names the sha256 of each."""
from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "weights.safetensors"


def save_weights(
    folder: Path,
    state: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    *,
    arrays: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> None:
    """Write a model folder; `arrays` maps further files (`topology.npz`) to their arrays.

    config.json is written last and holds the sha256 of every other file, so a half-written or mixed folder is refused by `load_weights`.
    The same state gives the same bytes.
    """
    folder = Path(folder)
    contents = {WEIGHTS_FILE: save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())})}
    for file_name, named in (arrays or {}).items():
        contents[file_name] = npz_bytes(named)
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, data in contents.items():
        _write(folder / file_name, data)
    hashes = {file_name: hashlib.sha256(data).hexdigest() for file_name, data in contents.items()}
    document = {**config, "format_version": FORMAT_VERSION, "sha256": hashes}
    _write(folder / CONFIG_FILE, (json.dumps(document, indent=2, sort_keys=True) + "\n").encode())


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz file of the arrays, sorted by name. The same arrays give the same bytes; NumPy's own writer stamps each with the time of day."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


def load_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder. Raises FileNotFoundError or ValueError."""
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no model in {folder}: {CONFIG_FILE} is missing. Give the folder that a model's save() wrote")
    try:
        config = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}). Fetch or train the model again") from error
    if config.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path} has format version {config.get('format_version')}, this serep reads {FORMAT_VERSION}. Train the model again")
    return config


def load_weights(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(state, config) of a model folder.

    Raises FileNotFoundError when a file is missing and ValueError when one is not the file that was saved.
    """
    config = load_config(folder)
    data = read_checked(folder, WEIGHTS_FILE, config)
    try:
        return load_tensors(data), config
    except SafetensorError as error:
        raise ValueError(f"{Path(folder) / WEIGHTS_FILE} cannot be read ({error}). Fetch or train the model again") from error


def load_arrays(folder: Path, file_name: str, config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a further file of a model folder; raises as `load_weights`."""
    with np.load(io.BytesIO(read_checked(folder, file_name, config)), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_checked(folder: Path, file_name: str, config: Mapping[str, Any]) -> bytes:
    """The bytes of one file, compared with the sha256 in the config."""
    path = Path(folder) / file_name
    if not path.is_file():
        raise FileNotFoundError(f"the model folder {folder} is incomplete: {file_name} is missing. Fetch or train the model again")
    data = path.read_bytes()
    expected, found = config["sha256"].get(file_name), hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is not the file that was saved: its sha256 is {found[:12]}…, config.json says {str(expected)[:12]}…. Fetch or train the model again"
        )
    return data


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
