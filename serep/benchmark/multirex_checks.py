"""What is looked at before anything is computed: length, vertex count, unit and every number of each file, so that no score hides a fault."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from serep.benchmark.multirex import MULTIFACE_VERTICES
from serep.benchmark.multirex_alignment import gathered
from serep.benchmark.multirex_assets import Conversion
from serep.benchmark.multirex_predictions import DecodedMeshes, MeshSequence, StoredMeshes, read_meshes
from serep.data.multirex_recordings import Recording

FRAMES_AT_ONCE = 64
SAME_HEAD, ANY_HEAD = (0.5, 2.0), (0.25, 8.0)  # size over that of the neutral: of the same topology, and of another one (with a body, or a mask)
UNIT_STEP = 1000.0


@dataclass(frozen=True, eq=False)
class Truth:
    """A checked true sequence: its length, and the mean over its frames of the vertices that the protocol reads (mm)."""

    path: Path
    frame_count: int
    mean: Float[np.ndarray, "n 3"]

    def open(self) -> StoredMeshes:
        return StoredMeshes(read_meshes(self.path), 1.0)


def check_truth(path: Path, recording: Recording, neutral: Float[np.ndarray, "V 3"], used: Int[np.ndarray, " n"]) -> Truth:
    """ValueError naming the file when it is not a Multiface sequence of this person in mm."""
    meshes = StoredMeshes(read_meshes(path), 1.0)
    if meshes.vertex_count != MULTIFACE_VERTICES:
        raise ValueError(f"{path} has {meshes.vertex_count} vertices, the truth has {MULTIFACE_VERTICES} (Multiface topology): fetch it again")
    if recording.frames is not None and meshes.frame_count > recording.frames:
        raise ValueError(f"{path} has {meshes.frame_count} frames, the published sequence has {recording.frames}: fetch it again")
    total = np.zeros((len(used), 3))
    for block in _finite_blocks(meshes, path):
        total += gathered(np.ascontiguousarray(block), used).sum(axis=0)
    _check_size(meshes, path, neutral, SAME_HEAD, "the truth must be in millimetres, as serep fetch multirex writes it")
    return Truth(path, meshes.frame_count, total / meshes.frame_count)


def check_prediction(
    meshes: MeshSequence, path: Path, truth: Truth, conversion: Conversion, multiface_neutral: Float[np.ndarray, "V 3"]
) -> None:
    """ValueError naming the file when its frames do not pair with the truth's, its vertices with the map's, or its numbers with a head in its unit."""
    if meshes.frame_count != truth.frame_count:
        counts = f"{path} has {meshes.frame_count} frames, its truth {truth.path.name} has {truth.frame_count}"
        raise ValueError(f"{counts}: predict every frame, nothing is cut to the shorter")
    if meshes.vertex_count != conversion.vertex_count:
        counts = f"{path} has {meshes.vertex_count} vertices, {conversion.source.name} maps {conversion.vertex_count}"
        raise ValueError(f"{counts}: predict in that topology, or give the map of your own with --map")
    if isinstance(meshes, DecodedMeshes):
        return  # its parameters were checked when they were read
    for _ in _finite_blocks(meshes, path):
        pass
    known = conversion.neutral is not None
    other_unit = "m" if meshes.scale == 1 else "mm"
    _check_size(meshes, path, conversion.neutral if known else multiface_neutral, SAME_HEAD if known else ANY_HEAD, f"give --unit {other_unit}")


def _finite_blocks(meshes: MeshSequence, path: Path) -> Iterator[np.ndarray]:
    for start in range(0, meshes.frame_count, FRAMES_AT_ONCE):
        block = meshes.block(start, start + FRAMES_AT_ONCE)
        with np.errstate(over="ignore"):
            total = block.sum()
        if not np.isfinite(total):  # one number that is not finite is enough for that: one pass over the file, not three
            bad = np.flatnonzero(~np.isfinite(block).all(axis=(1, 2)))
            first = f"first: frame {start + bad[0]}" if len(bad) else f"numbers beyond all measure from frame {start} on"
            raise ValueError(f"{path} has NaN or infinite vertices ({first}): predict every frame, a score would hide it")
        yield block


def _check_size(meshes: MeshSequence, path: Path, neutral: Float[np.ndarray, "V 3"], tolerance: tuple[float, float], advice: str) -> None:
    low, high = tolerance
    expected = _across(neutral)
    for frame in (0, meshes.frame_count // 2, meshes.frame_count - 1):
        size = meshes.scale * _across(meshes.block(frame, frame + 1)[0])
        share = size / expected
        if low <= share <= high:
            continue
        found = f"{path} is {size:.4g} mm across in frame {frame}, the neutral is {expected:.0f} mm"
        if low <= share * UNIT_STEP <= high:
            raise ValueError(f"{found}: it looks like metres where millimetres are expected; {advice}")
        if low <= share / UNIT_STEP <= high:
            raise ValueError(f"{found}: it looks like millimetres where metres are expected; {advice}")
        raise ValueError(f"{found}: that is no head of this person in this unit")


def _across(vertices: Float[np.ndarray, "V 3"]) -> float:
    """The diagonal of the bounding box."""
    return float(np.linalg.norm(np.ptp(vertices.astype(np.float64), axis=0)))
