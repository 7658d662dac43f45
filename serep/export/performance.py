"""From footage to a captured performance, and from that to files: the animated target, and the footage beside it."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from serep.data.video import VideoWriter
from serep.export.gltf import even_reach, write_glb
from serep.export.overlay import HeadView, clay_colours, draw_landmarks, panel_px, side_by_side
from serep.faces.topology import FaceTopology
from serep.geometry.mesh import Mesh
from serep.models.capture import CaptureModel, CaptureResult, CaptureStream
from serep.models.rig import Rig

BATCH_BYTES, BATCH_FRAMES = 256e6, 64  # most that is held of the footage at once: 41 frames in full HD


def capture_frames(
    model: CaptureModel, frames: Iterable[UInt8[np.ndarray, "H W 3"]], *, target: Mesh | None = None, fps: float
) -> CaptureResult:
    """The capture of footage of any length, read in pieces. Frames without a face are part of the result, even if that is all of them."""
    stream = CaptureStream(model, target=target, fps=fps)
    return CaptureResult.join([stream.push(piece) for piece in _pieces(frames)])


def _pieces(frames: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    piece: list[np.ndarray] = []
    for frame in frames:
        piece.append(frame)
        if len(piece) >= BATCH_FRAMES or len(piece) * frame.nbytes >= BATCH_BYTES:
            yield piece
            piece = []
    if piece:
        yield piece


def write_animation(path: Path, rig: Rig, result: CaptureResult, *, topology: FaceTopology) -> None:
    """The rig's basis as morph targets mode_000, mode_001, … with the capture's weights, and the head's motion, as .glb."""
    if result.codes.shape[1] != rig.code_size:
        raise ValueError(f"the capture has codes of {result.codes.shape[1]} numbers, the model's have {rig.code_size}: give the model that made it")
    weights = rig_weights(rig, result.codes, result.found)
    basis, weights = even_reach(rig.basis, weights)
    pose = np.where(result.found[:, None, None], result.head_pose, np.nan)
    names = [f"mode_{mode:03d}" for mode in range(len(basis))]
    write_glb(
        path, rig.neutral, morph_targets=basis, names=names, weights=weights, fps=result.fps, head_pose=pose, colours=clay_colours(topology)
    )


def rig_weights(rig: Rig, codes: Float[np.ndarray, "T Z"], found: np.ndarray) -> Float[np.ndarray, "T K"]:
    """Weights of the rig's basis, NaN in frames without a face."""
    weights = np.full((len(codes), len(rig.basis)), np.nan, np.float32)
    with torch.no_grad():
        weights[found] = rig.coefficients(torch.from_numpy(codes[found].astype(np.float32))).cpu().numpy()
    return weights


def write_overlay(
    path: Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], result: CaptureResult, neutral: Mesh, *, topology: FaceTopology
) -> None:
    """Frames with landmarks beside the posed target: .mp4 (or .mov, .mkv), or a picture by any other suffix for a single frame."""
    pictures = _pictures(frames, result, neutral, topology)
    first = next(pictures)
    if path.suffix.lower() in (".mp4", ".mov", ".mkv"):
        with VideoWriter(path, result.fps, first.shape[:2]) as writer:
            writer.write(first)
            for picture in pictures:
                writer.write(picture)
        return
    partial = path.with_name(path.stem + ".partial" + path.suffix)  # Pillow goes by the suffix
    Image.fromarray(first).save(partial)
    partial.replace(path)


def _pictures(frames: Iterable[np.ndarray], result: CaptureResult, neutral: Mesh, topology: FaceTopology) -> Iterator[np.ndarray]:
    view = None
    for row, frame in enumerate(frames):
        if row >= len(result.found):
            raise ValueError(f"the footage has more frames than the capture, which has {len(result.found)}: capture it again")
        if view is None:
            view = HeadView(topology, neutral, size_px=panel_px(frame.shape[0]))
        if result.found[row]:
            drawn = draw_landmarks(frame, result.landmarks[row], result.boxes[row])
            yield side_by_side(drawn, view.draw(result.vertices[row], result.head_pose[row]))
        else:
            yield side_by_side(draw_landmarks(frame, None, None), view.draw(None, None))
    if view is None:
        raise ValueError("there is not one frame to draw")
