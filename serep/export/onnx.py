"""The per-frame path as ONNX, for programs without torch: crops to codes, landmarks and presence; codes to vertices of one target."""
from __future__ import annotations

import copy
import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from serep.files import write_file
from serep.models.capture import CaptureModel
from serep.models.capture_network import CaptureNetwork
from serep.models.engine import CONFIG_FILE, NETWORK_FILE, ONNX_FORMAT, RIG_FILE, network_hash, onnx_session
from serep.models.rig import Rig

OPSET = 18
EXAMPLE_BATCH = 2  # of the inputs that are traced; any other number works too
# How far the graphs may be from torch. Codes: in spreads of the training set; landmarks: shares of the crop's side; presence: probability; vertices: mm.
ALLOWED = {"codes": 1e-3, "landmarks": 1e-4, "presence": 1e-3, "vertices": 1e-3}
CROP = ("images: uint8 sRGB crops (B, S, S, 3), the face upright in the middle: turned so that the line between its eyes, and across it that from eyes to "
        "mouth, are level on average; then the square around its landmarks (middle of their bounding box, its longer side) "
        "times crop_scale, bilinear, black beyond the picture. codes: in the model's units. landmarks: shares of the crop's side from its top left corner, "
        "in the order of landmark_ids (MediaPipe face mesh). presence: probability of a whole face. vertices: mm, without head motion.")


class CropNetwork(nn.Module):
    """The network as an engine calls it: uint8 pictures in, probabilities out."""

    def __init__(self, network: CaptureNetwork):
        super().__init__()
        self.network = copy.deepcopy(network).to("cpu", memory_format=torch.contiguous_format).eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.network(images.permute(0, 3, 1, 2).float() / 255.0)
        return output.codes, output.landmarks, output.presence.sigmoid()


class PosedVertices(nn.Module):
    """A rig as one graph."""

    def __init__(self, rig: Rig):
        super().__init__()
        self.decoder = copy.deepcopy(rig.decoder).eval()
        self.register_buffer("basis", torch.from_numpy(rig.basis.reshape(len(rig.basis), -1).copy()))
        self.register_buffer("neutral", torch.from_numpy(rig.neutral.vertices.astype("float32").reshape(-1)))

    def forward(self, codes: Tensor) -> Tensor:
        return (self.decoder(codes) @ self.basis + self.neutral).unflatten(1, (-1, 3))


def export_onnx(folder: Path, model: CaptureModel, rig: Rig) -> list[str]:
    """Writes what `onnx_files` makes; returns the files' names. Nothing is written after an error."""
    contents = onnx_files(model, rig)
    for name, content in contents.items():  # config.json last: a folder without it is not complete
        write_file(Path(folder) / name, content)
    return list(contents)


def onnx_files(model: CaptureModel, rig: Rig) -> dict[str, bytes]:
    """network.onnx, rig.onnx and config.json, which says how crops are cut and how values are smoothed. The same model gives the same bytes.

    RuntimeError where packages are missing that the export needs, or where a graph does not answer as torch does.
    """
    network = model.network
    whole, posed = CropNetwork(network), PosedVertices(rig)
    crops = torch.zeros(EXAMPLE_BATCH, network.image_size, network.image_size, 3, dtype=torch.uint8)
    contents = {
        NETWORK_FILE: _graph(whole, {"images": crops}, ["codes", "landmarks", "presence"]),
        RIG_FILE: _graph(posed, {"codes": torch.zeros(EXAMPLE_BATCH, rig.code_size)}, ["vertices"]),
    }
    _check_parity(contents, whole, posed)
    config = {
        "format": ONNX_FORMAT, "contract": CROP, "image_size": network.image_size, "code_size": rig.code_size, "vertices": len(rig.neutral.vertices),
        "landmark_ids": model.landmark_ids.tolist(), "settings": asdict(model.settings), "code_spread": network.code_spread.cpu().tolist(),
        "weights_sha256": network_hash(network), "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    return {**contents, CONFIG_FILE: (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()}


def _check_parity(contents: Mapping[str, bytes], network: CropNetwork, posed: PosedVertices) -> None:
    """RuntimeError unless ONNX Runtime answers as torch does, on noise and on soft shapes, in a batch of another size than the one that was traced."""
    side, spread = network.network.image_size, network.network.code_spread.cpu()
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(EXAMPLE_BATCH, 3, side, side, generator=generator)
    soft = nn.functional.interpolate(torch.rand(EXAMPLE_BATCH + 1, 3, 4, 4, generator=generator), size=(side, side), mode="bilinear")
    crops = (255 * torch.cat([noise, soft])).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    with torch.inference_mode():
        codes, landmarks, presence = network(crops)
        vertices = posed(codes)
    seen = onnx_session(contents[NETWORK_FILE]).run(("codes", "landmarks", "presence"), {"images": crops.numpy()})
    seen += onnx_session(contents[RIG_FILE]).run(("vertices",), {"codes": codes.numpy()})
    for name, expected, found in zip(ALLOWED, (codes, landmarks, presence, vertices), seen, strict=True):
        unit = spread.numpy() if name == "codes" else 1.0
        off = float(np.abs((found - expected.numpy()) / unit).max())
        if not off <= ALLOWED[name]:
            raise RuntimeError(f"the ONNX export is wrong: its {name} are up to {off:.2g} off torch's, {ALLOWED[name]:g} is allowed. "
                               "Use the versions of torch, onnx, onnxscript and onnxruntime in requirements.lock")


def _graph(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> bytes:
    """A checked ONNX file whose first axes may have any length."""
    try:
        import onnx
        import onnxscript  # noqa: F401 what torch translates its operators with
    except ImportError as error:
        raise RuntimeError(f"the package {error.name} is not installed, which torch exports ONNX with. Install it: pip install onnx onnxscript") from error
    with _quiet():
        program = torch.onnx.export(
            module, tuple(inputs.values()), dynamo=True, verbose=False, opset_version=OPSET, input_names=list(inputs), output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},))
    graph = program.model_proto
    del graph.metadata_props[:]
    for node in graph.graph.node:
        del node.metadata_props[:]  # where in the exporter's machine each node came from
        node.doc_string = ""
    onnx.checker.check_model(graph)
    return graph.SerializeToString(deterministic=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's remarks on operators of packages that are not installed, and on its own deprecations, say nothing to a user."""
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for name in names:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
