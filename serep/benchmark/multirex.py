"""The MultiREX region protocol on arrays: rigid alignment per frame and region, then the mean vertex distance.

Two answers stand side by side. `official` reproduces the published script to the number. `fixed` takes the same formula without its quirks:
the alignment may not mirror the prediction, every camera is in exactly one view, and people (not frames) weigh the same in the macro mean.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from serep.benchmark.multirex_alignment import FRAMES_AT_ONCE, AlignedFrames, Aligner
from serep.benchmark.multirex_summary import Interval, ScoreSummary, VideoScore, summarise
from serep.data.multirex_recordings import MULTIFACE_VERTICES
from serep.faces.topology import FaceTopology

__all__ = [
    "FIXED_VIEWS", "MULTIFACE_VERTICES", "OFFICIAL_REGIONS", "OFFICIAL_VIEWS", "Interval", "RegionProtocol", "ScoreSummary", "VideoScore",
    "aligned_frames", "corrupt_frames", "mirrored_frames", "protocol_from_masks", "protocol_from_topology", "region_errors", "summarise",
]  # fmt: skip

logger = logging.getLogger(__name__)

SAMPLES = 32  # vertices of each region whose paths are looked at in time

OFFICIAL_REGIONS = {"mouth": "mouth_cheek", "nose": "nose", "cheek": "mouth_cheek", "eyes_forehead": "eyes_forehead"}
OFFICIAL_VIEWS = {
    "Frontal": ("#400030", "#400291"),
    "Angled": ("#400017", "#400039", "#400347", "#400436"),
    "Profile": ("#400275", "#400347", "#400018", "#400042"),
}
# The benchmark films one frontal, two angled and two profile views of each person: #400485 mirrors #400275, #400347 mirrors #400436.
FIXED_VIEWS = {
    "Frontal": ("#400030", "#400291"),
    "Angled": ("#400017", "#400039", "#400347", "#400436"),
    "Profile": ("#400018", "#400042", "#400275", "#400485"),
}


@dataclass(frozen=True, eq=False)
class RegionProtocol:
    """What is measured and what is aligned, as vertex ids of one topology: `metric[r]` and `alignment[r]` belong to `regions[r]`."""

    regions: tuple[str, ...]
    metric: tuple[Int[np.ndarray, " _"], ...]
    alignment: tuple[Int[np.ndarray, " _"], ...]
    vertex_count: int

    def __post_init__(self) -> None:
        if not len(self.regions) == len(self.metric) == len(self.alignment) or not self.regions:
            counts = f"{len(self.regions)} regions, {len(self.metric)} metric and {len(self.alignment)} alignment masks"
            raise ValueError(f"a protocol needs one metric and one alignment mask a region, got {counts}")
        for name, metric, alignment in zip(self.regions, self.metric, self.alignment, strict=True):
            if len(metric) == 0 or len(alignment) < 4:
                counts = f"measures {len(metric)} and aligns {len(alignment)} vertices"
                raise ValueError(f"region '{name}' {counts}, needs at least 1 and 4: use another topology")
            for ids in (metric, alignment):
                if ids.min() < 0 or ids.max() >= self.vertex_count:
                    span = f"{ids.min()} to {ids.max()}"
                    raise ValueError(f"region '{name}' names vertices {span}, the topology has {self.vertex_count}: masks of another one?")

    def compact(self) -> tuple[RegionProtocol, Int[np.ndarray, " n"]]:
        """The same protocol on only the vertices that it reads, and their ids: convert and store no others (2,901 of the official 7,306)."""
        used = np.unique(np.concatenate(self.metric + self.alignment))
        row = np.full(self.vertex_count, -1)
        row[used] = np.arange(len(used))
        return RegionProtocol(self.regions, tuple(row[ids] for ids in self.metric), tuple(row[ids] for ids in self.alignment), len(used)), used

    def aligner(self) -> Aligner:
        return Aligner(self.metric, self.alignment)

    def samples(self) -> tuple[Int[np.ndarray, " S"], ...]:
        """A few vertices of each region's metric mask, spread evenly: enough to see how the region moves."""
        return tuple(ids[np.unique(np.linspace(0, len(ids) - 1, SAMPLES).astype(int))] for ids in self.metric)


def protocol_from_topology(topology: FaceTopology) -> RegionProtocol:
    """The protocol on a face topology of our own, whose hard regions have the official names."""
    missing = sorted({*OFFICIAL_REGIONS, *OFFICIAL_REGIONS.values()} - set(topology.regions))
    if missing:
        raise ValueError(f"topology '{topology.name}' has no region {', '.join(missing)} (found: {', '.join(sorted(topology.regions))})")
    ids = {name: np.flatnonzero(topology.regions[name] > 0.5) for name in {*OFFICIAL_REGIONS, *OFFICIAL_REGIONS.values()}}
    return protocol_from_masks(ids, len(topology.template))


def protocol_from_masks(masks: Mapping[str, Int[np.ndarray, " _"]], vertex_count: int) -> RegionProtocol:
    """The protocol on vertex ids of a topology, named as in OFFICIAL_REGIONS."""
    metric, alignment = (tuple(masks[name] for name in names) for names in (OFFICIAL_REGIONS, OFFICIAL_REGIONS.values()))
    return RegionProtocol(tuple(OFFICIAL_REGIONS), metric, alignment, vertex_count)


def region_errors(
    predicted: Float[np.ndarray, "T V 3"], reference: Float[np.ndarray, "_ _ 3"], protocol: RegionProtocol, *, mode: str
) -> Float[np.ndarray, "T R"]:
    """Mean vertex distance in mm, per frame and region, after rigid alignment without scale on the region's alignment mask.

    `official` lets the alignment mirror the prediction, as the published script does; `fixed` does not, and warns where mirroring would fit better.
    """
    if mode not in ("official", "fixed"):
        raise ValueError(f"mode must be 'official' or 'fixed', got '{mode}'")
    found = aligned_frames(predicted, reference, protocol)
    mirrored = found.mirrored.all(axis=1)
    if mode == "fixed" and mirrored.any():
        text = "%d of %d frames fit better mirrored: check the handedness of the predicted meshes (x to the subject's left)"
        logger.warning(text, mirrored.sum(), len(mirrored))
    return found.official if mode == "official" else found.fixed


def mirrored_frames(
    predicted: Float[np.ndarray, "T V 3"], reference: Float[np.ndarray, "_ _ 3"], protocol: RegionProtocol
) -> Bool[np.ndarray, "T R"]:
    """True where the unconstrained best alignment is a reflection: the handedness check.

    A face with right handedness never does this in all regions of a frame, a mirrored one always does.
    """
    return aligned_frames(predicted, reference, protocol).mirrored


def aligned_frames(predicted: Float[np.ndarray, "T V 3"], reference: Float[np.ndarray, "_ _ 3"], protocol: RegionProtocol) -> AlignedFrames:
    """Both answers for a whole sequence. ValueError when the two do not pair, or a number is not finite."""
    _check_sequences(predicted, reference, protocol)
    small, used = protocol.compact()
    aligner = small.aligner()
    blocks = (slice(start, start + FRAMES_AT_ONCE) for start in range(0, len(predicted), FRAMES_AT_ONCE))
    found = [aligner.align(predicted[block, used].astype(np.float64), reference[block, used].astype(np.float64)) for block in blocks]
    return AlignedFrames(*(np.concatenate([getattr(block, field.name) for block in found]) for field in fields(AlignedFrames)))


def _check_sequences(predicted: np.ndarray, reference: np.ndarray, protocol: RegionProtocol) -> None:
    if predicted.shape != reference.shape:
        shapes = f"predicted has shape {predicted.shape}, reference {reference.shape}"
        raise ValueError(f"{shapes}: frames and vertices must match, nothing is cut to the shorter")
    if predicted.shape[1] != protocol.vertex_count:
        raise ValueError(f"the meshes have {predicted.shape[1]} vertices, the protocol's topology has {protocol.vertex_count}: convert them first")
    for name, vertices in (("predicted", predicted), ("reference", reference)):
        bad = ~np.isfinite(vertices).all(axis=(1, 2))
        if bad.any():
            count = f"{bad.sum()} of {len(bad)} frames (first: frame {bad.argmax()})"
            raise ValueError(f"{name} has NaN or infinite vertices in {count}: predict every frame, a score would hide it")


def corrupt_frames(identity: str, camera: str, frame_count: int) -> Bool[np.ndarray, " T"]:
    """True for the frames that the official script leaves out: two videos of person 002645310 are damaged."""
    frames = np.arange(frame_count)
    if identity.lstrip("0") != "2645310":
        return np.zeros(frame_count, dtype=bool)
    return (frames <= 214) if camera == "#400347" else (frames >= 1117) if camera == "#400275" else np.zeros(frame_count, dtype=bool)
