"""What runs the capture network on crops: torch, or ONNX Runtime with the exported network."""
from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import save as save_tensors

from serep.models.capture_network import CaptureNetwork

log = logging.getLogger(__name__)
ENGINES = ("auto", "onnx", "torch")
ONNX_FORMAT = "serep-onnx/1"
NETWORK_FILE, RIG_FILE, CONFIG_FILE = "network.onnx", "rig.onnx", "config.json"


@dataclass(frozen=True, eq=False)
class Seen:
    """What the network says of a batch of crops."""

    codes: Float[np.ndarray, "B Z"]
    landmarks: Float[np.ndarray, "B L 2"]
    """Shares of the crop's side, origin at its top-left corner."""
    presence: Float[np.ndarray, " B"]
    """Probability of a whole face."""


@runtime_checkable
class Engine(Protocol):
    """Runs the network on uint8 RGB crops of its own size."""

    image_size: int

    def __call__(self, crops: UInt8[np.ndarray, "B S S 3"]) -> Seen:
        """Every crop on its own: the batch makes no difference."""
        ...


class TorchEngine:
    """On whatever device the network is."""

    def __init__(self, network: CaptureNetwork):
        self._network, self._device = network, next(network.parameters()).device
        self.image_size = network.image_size

    def __call__(self, crops: UInt8[np.ndarray, "B S S 3"]) -> Seen:
        with torch.inference_mode():
            output = self._network(images_to_network(crops, self._device))
            return Seen(*(one.cpu().numpy() for one in (output.codes, output.landmarks, output.presence.sigmoid())))


class OnnxEngine:
    """ONNX Runtime on the processor, with an exported folder: a released model's own, or one that `serep export --onnx` wrote."""

    def __init__(self, folder: Path, *, threads: int | None = None):
        """`threads` of this process, by default as many as torch uses. RuntimeError without ONNX Runtime, FileNotFoundError or ValueError for a bad folder."""
        config = read_onnx_config(folder)
        content = (Path(folder) / NETWORK_FILE).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != config["sha256"][NETWORK_FILE]:
            raise ValueError(f"{Path(folder) / NETWORK_FILE} is not the file that was exported: its sha256 is {found[:12]}…. Export it again")
        self._session = onnx_session(content, threads=threads)
        self.image_size, self.weights_sha256 = int(config["image_size"]), str(config["weights_sha256"])

    def __call__(self, crops: UInt8[np.ndarray, "B S S 3"]) -> Seen:
        return Seen(*self._session.run(("codes", "landmarks", "presence"), {"images": crops}))


def choose_engine(network: CaptureNetwork, exported: Path | None, wanted: str = "auto") -> Engine:
    """What runs a network on its device: torch, or ONNX Runtime where the model's export lies in the folder `exported` (None: it has none).

    `wanted` is one of ENGINES. "auto" takes ONNX Runtime on the processor, and torch with a warning where that cannot be; torch elsewhere. ValueError or
    RuntimeError where "onnx" cannot be had.
    """
    if wanted not in ENGINES:
        raise ValueError(f"unknown engine {wanted!r}. Use {', '.join(ENGINES[:-1])} or {ENGINES[-1]}")
    device = next(network.parameters()).device
    if wanted == "onnx" and device.type != "cpu":
        raise ValueError(f"the engine onnx runs on the processor, but the network was asked to run on {device}. Ask for the device cpu, or the engine torch")
    if wanted == "torch" or device.type != "cpu":
        return TorchEngine(network)
    try:
        if exported is None:
            raise ValueError("this model carries no ONNX export. Train it again with this version, or write one beside it: serep export --onnx DIR")
        engine = OnnxEngine(exported)
        if engine.weights_sha256 != network_hash(network):
            raise ValueError(f"{exported} was exported from another capture model. Train the model again, or export this one: serep export --onnx DIR")
        return engine
    except (ValueError, RuntimeError) as problem:
        if wanted == "onnx":
            raise
        log.warning("torch runs the capture network, more slowly than ONNX Runtime would: %s", problem)
        return TorchEngine(network)


def onnx_session(content: bytes, *, threads: int | None = None) -> Any:
    """A graph on the processor, with as many threads as torch unless `threads` says otherwise. RuntimeError without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeError("ONNX Runtime is not installed. Install it (pip install onnxruntime), or let torch run the network") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads or torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait would take the time of the one that decodes
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def read_onnx_config(folder: Path) -> dict:
    """The config.json of an exported folder; FileNotFoundError or ValueError naming what is wrong."""
    file = Path(folder) / CONFIG_FILE
    missing = [name for name in (CONFIG_FILE, NETWORK_FILE) if not (Path(folder) / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} is no exported network: {', '.join(missing)} missing. Give the folder that `serep export --onnx` wrote")
    try:
        config = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is not JSON ({error}). Export it again") from error
    if not isinstance(config, dict) or config.get("format") != ONNX_FORMAT:
        raise ValueError(f"{file} is not of the format {ONNX_FORMAT}. Give the folder that this version's `serep export --onnx` wrote")
    return config


def network_hash(network: CaptureNetwork) -> str:
    """Of the weights alone; equal for a network and its export."""
    return hashlib.sha256(save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(network.state_dict().items())})).hexdigest()


def images_to_network(images: UInt8[np.ndarray, "B S S 3"], device: torch.device) -> torch.Tensor:
    """uint8 crops as the network reads them: (B, 3, S, S) in 0..1, channels last in memory."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255.0)
