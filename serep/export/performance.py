"""From footage to a captured performance, and from that to files: the animated target, and the footage beside it."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from serep.data.read_ahead import read_ahead
from serep.data.video import VideoWriter
from serep.export.gltf import even_reach, write_glb
from serep.export.overlay import HeadView, draw_landmarks, panel_px, side_by_side
from serep.export.person import Person
from serep.files import partial_file
from serep.geometry.mesh import Mesh
from serep.models.capture import CaptureModel, CaptureResult, CaptureStream
from serep.models.rig import Rig

BATCH_BYTES, BATCH_FRAMES = 100e6, 16  # of the footage in one piece, at most: 16 frames in full HD, 4 in 4K
PIECES_AHEAD = 2  # decoded while another is looked at


def capture_frames(
    model: CaptureModel, frames: Iterable[UInt8[np.ndarray, "H W 3"]], *, target: Mesh | None = None, fps: float
) -> CaptureResult:
    """The capture of footage of any length, read in pieces ahead of their use, in a thread of its own.

    Frames without a face are part of the result, even if that is all of them.
    """
    stream = CaptureStream(model, target=target, fps=fps)
    return CaptureResult.join([stream.push(piece) for piece in read_ahead(_pieces(frames), depth=PIECES_AHEAD)])


def _pieces(frames: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    piece: list[np.ndarray] = []
    for frame in frames:
        piece.append(frame)
        if len(piece) >= BATCH_FRAMES or len(piece) * frame.nbytes >= BATCH_BYTES:
            yield piece
            piece = []
    if piece:
        yield piece


def on_person(result: CaptureResult, person: Person) -> CaptureResult:
    """The capture with the meshes and landmarks of another person, in that person's frame. The head's pose stays that of the model's frame."""
    vertices = person.rig.pose(result.codes)
    return replace(result, vertices=vertices, mesh_landmarks=person.landmarks(vertices).astype(np.float32))


def pose_of_person(head_pose: Float[np.ndarray, "T 4 4"], person: Person) -> Float[np.ndarray, "T 4 4"]:
    """Model's frame → camera as the person's own frame → camera."""
    to_frame = np.eye(4)
    to_frame[:3, :3], to_frame[:3, 3] = person.registration.to_frame
    return head_pose @ to_frame


def write_animation(path: Path, person: Person, result: CaptureResult) -> None:
    """The person's rig as morph targets mode_000, mode_001, … with the capture's weights, and the head's motion, as .glb."""
    rig = person.rig
    if result.codes.shape[1] != rig.code_size:
        raise ValueError(f"the capture has codes of {result.codes.shape[1]} numbers, the model's have {rig.code_size}: give the model that made it")
    weights = rig_weights(rig, result.codes, result.found)
    basis, weights = even_reach(rig.basis, weights)
    pose = pose_of_person(np.where(result.found[:, None, None], result.head_pose, np.nan), person)
    names = [f"mode_{mode:03d}" for mode in range(len(basis))]
    write_glb(path, rig.neutral, morph_targets=basis, names=names, weights=weights, fps=result.fps, head_pose=pose, colours=person.colours)


def rig_weights(rig: Rig, codes: Float[np.ndarray, "T Z"], found: np.ndarray) -> Float[np.ndarray, "T K"]:
    """Weights of the rig's basis, NaN in frames without a face."""
    weights = np.full((len(codes), len(rig.basis)), np.nan, np.float32)
    with torch.no_grad():
        weights[found] = rig.coefficients(torch.from_numpy(codes[found].astype(np.float32))).cpu().numpy()
    return weights


def write_overlay(path: Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], result: CaptureResult, person: Person) -> None:
    """Frames with landmarks beside the posed person (whose meshes the capture holds): .mp4 (or .mov, .mkv), or one picture by any other suffix."""
    pictures = _pictures(frames, result, person)
    first = next(pictures)
    if path.suffix.lower() in (".mp4", ".mov", ".mkv"):
        with VideoWriter(path, result.fps, first.shape[:2]) as writer:
            writer.write(first)
            for picture in pictures:
                writer.write(picture)
        return
    with partial_file(path) as partial:
        Image.fromarray(first).save(partial, format=Image.registered_extensions()[path.suffix.lower()])


def _pictures(frames: Iterable[np.ndarray], result: CaptureResult, person: Person) -> Iterator[np.ndarray]:
    view, poses = None, pose_of_person(result.head_pose, person)
    for row, frame in enumerate(frames):
        if row >= len(result.found):
            raise ValueError(f"the footage has more frames than the capture, which has {len(result.found)}: capture it again")
        if view is None:
            view = HeadView(person.neutral, person.colours, size_px=panel_px(frame.shape[0]))
        if result.found[row]:
            drawn = draw_landmarks(frame, result.landmarks[row], result.boxes[row])
            yield side_by_side(drawn, view.draw(result.vertices[row], poses[row]))
        else:
            yield side_by_side(draw_landmarks(frame, None, None), view.draw(None, None))
    if view is None:
        raise ValueError("there is not one frame to draw")
