"""The MultiREX region protocol on arrays: rigid alignment per frame and region, mean vertex distance, tables over views and people.

Two answers stand side by side. `official` reproduces the published script to the number. `fixed` takes the same formula without its three quirks:
the alignment may not mirror the prediction, every camera is in exactly one view, and people (not frames) weigh the same in the macro mean.
The published assets (CC BY-NC-ND 4.0) are read from the user's own copy and never shipped.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int

from serep.faces.topology import FaceTopology
from serep.geometry.rigid import apply_rigid, rigid_align

logger = logging.getLogger(__name__)

MULTIFACE_VERTICES = 7306
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
_FRAMES_AT_ONCE = 64


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


def protocol_from_assets(folder: Path) -> RegionProtocol:
    """The official protocol on the Multiface topology, out of `<folder>/regions/*.npy` of the published assets."""
    masks = {}
    for name in sorted(set(OFFICIAL_REGIONS) | set(OFFICIAL_REGIONS.values())):
        path = folder / "regions" / f"{name}_region.npy"
        if not path.is_file():
            raise FileNotFoundError(f"no region mask {path}: give the `assets` folder of a MultiREX checkout")
        masks[name] = np.load(path, allow_pickle=False).astype(np.int64)
    return _protocol(masks, MULTIFACE_VERTICES)


def protocol_from_topology(topology: FaceTopology) -> RegionProtocol:
    """The same protocol on a face topology of our own, whose hard regions have the official names."""
    missing = sorted({*OFFICIAL_REGIONS, *OFFICIAL_REGIONS.values()} - set(topology.regions))
    if missing:
        raise ValueError(f"topology '{topology.name}' has no region {', '.join(missing)} (found: {', '.join(sorted(topology.regions))})")
    ids = {name: np.flatnonzero(topology.regions[name] > 0.5) for name in {*OFFICIAL_REGIONS, *OFFICIAL_REGIONS.values()}}
    return _protocol(ids, len(topology.template))


def _protocol(masks: Mapping[str, Int[np.ndarray, " _"]], vertex_count: int) -> RegionProtocol:
    metric, alignment = (tuple(masks[name] for name in names) for names in (OFFICIAL_REGIONS, OFFICIAL_REGIONS.values()))
    return RegionProtocol(tuple(OFFICIAL_REGIONS), metric, alignment, vertex_count)


def conversion_from_assets(folder: Path, identity: str) -> scipy.sparse.csr_matrix:
    """The published sparse map FLAME -> Multiface of one person, (7306, 5023); rows are barycentric weights."""
    found = sorted((folder / "conversion_matrices").glob(f"{identity}_*_FLAME_to_multiface_weights_sparse_v1.npz"))
    if len(found) != 1:
        raise FileNotFoundError(f"{len(found)} conversion matrices of person {identity} in {folder / 'conversion_matrices'}, needs exactly one")
    return scipy.sparse.csr_matrix(scipy.sparse.load_npz(found[0]))


def convert_vertices(weights: scipy.sparse.csr_matrix, vertices: Float[np.ndarray, "T V 3"]) -> Float[np.ndarray, "T W 3"]:
    """`weights @ vertices[t]` for all frames in one sparse product, float64."""
    if weights.shape[1] != vertices.shape[1]:
        raise ValueError(f"the conversion matrix maps {weights.shape[1]} vertices, the meshes have {vertices.shape[1]}: meshes of another topology?")
    flat = np.ascontiguousarray(vertices.transpose(1, 0, 2), dtype=np.float64).reshape(vertices.shape[1], -1)
    return (weights @ flat).reshape(weights.shape[0], len(vertices), 3).transpose(1, 0, 2)


def region_errors(
    predicted: Float[np.ndarray, "T V 3"], reference: Float[np.ndarray, "_ _ 3"], protocol: RegionProtocol, *, mode: str
) -> Float[np.ndarray, "T R"]:
    """Mean vertex distance in mm, per frame and region, after rigid alignment without scale on the region's alignment mask.

    `official` lets the alignment mirror the prediction, as the published script does; `fixed` does not, and warns where mirroring would fit better.
    """
    if mode not in ("official", "fixed"):
        raise ValueError(f"mode must be 'official' or 'fixed', got '{mode}'")
    _check_sequences(predicted, reference, protocol)
    errors = np.empty((len(predicted), len(protocol.regions)))
    groups = _regions_by_alignment(protocol)
    for start in range(0, len(predicted), _FRAMES_AT_ONCE):
        frames = slice(start, start + _FRAMES_AT_ONCE)
        for alignment, regions in groups:
            rotation, translation = rigid_align(
                predicted[frames, alignment].astype(np.float64), reference[frames, alignment].astype(np.float64), allow_reflection=mode == "official"
            )
            for r in regions:
                moved = apply_rigid(predicted[frames, protocol.metric[r]].astype(np.float64), rotation, translation)
                errors[frames, r] = np.linalg.norm(moved - reference[frames, protocol.metric[r]], axis=-1).mean(axis=-1)
    if mode == "fixed":
        mirrored = mirrored_frames(predicted, reference, protocol).all(axis=1)
        if mirrored.any():
            text = "%d of %d frames fit better mirrored: check the handedness of the predicted meshes (x to the subject's left)"
            logger.warning(text, mirrored.sum(), len(mirrored))
    return errors


def mirrored_frames(
    predicted: Float[np.ndarray, "T V 3"], reference: Float[np.ndarray, "_ _ 3"], protocol: RegionProtocol
) -> Bool[np.ndarray, "T R"]:
    """True where the unconstrained best alignment is a reflection: the handedness check.

    A face with right handedness never does this in all regions of a frame, a mirrored one always does.
    """
    _check_sequences(predicted, reference, protocol)
    mirrored = np.empty((len(predicted), len(protocol.regions)), dtype=bool)
    for alignment, regions in _regions_by_alignment(protocol):
        for start in range(0, len(predicted), _FRAMES_AT_ONCE):
            frames = slice(start, start + _FRAMES_AT_ONCE)
            source, target = predicted[frames, alignment].astype(np.float64), reference[frames, alignment].astype(np.float64)
            covariance = (target - target.mean(axis=1, keepdims=True)).transpose(0, 2, 1) @ (source - source.mean(axis=1, keepdims=True))
            mirrored[frames, regions] = (np.linalg.det(covariance) < 0)[:, None]
    return mirrored


def _regions_by_alignment(protocol: RegionProtocol) -> list[tuple[Int[np.ndarray, " _"], list[int]]]:
    """Each different alignment mask once, with the regions that use it: mouth and cheek share theirs."""
    groups: dict[bytes, list[int]] = {}
    for r, ids in enumerate(protocol.alignment):
        groups.setdefault(ids.astype(np.int64).tobytes(), []).append(r)
    return [(protocol.alignment[regions[0]], regions) for regions in groups.values()]


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


@dataclass(frozen=True, eq=False)
class VideoScore:
    """The errors of one video: (T, R) mm in the order of the protocol's regions; `identity` is the person, `camera` the view's camera."""

    identity: str
    camera: str
    errors: Float[np.ndarray, "T R"]


@dataclass(frozen=True)
class ScoreSummary:
    """Means in mm. Frames weigh the same, except in `macro_mean`, where people do; NaN where a view has no frame.

    `view_means`: view -> mean over its frames and regions; `view_regions`: view -> region -> mean; `person_means`: person -> mean over the regions.
    """

    regions: tuple[str, ...]
    region_means: dict[str, float]
    headline: float
    view_means: dict[str, float]
    view_regions: dict[str, dict[str, float]]
    view_frames: dict[str, int]
    view_people: dict[str, int]
    person_means: dict[str, float]
    macro_mean: float
    macro_low: float
    macro_high: float
    people: int
    videos: int
    frames: int


def summarise(
    scores: Sequence[VideoScore], regions: tuple[str, ...], *, views: Mapping[str, Sequence[str]], resamples: int, rng: np.random.Generator
) -> ScoreSummary:
    """Means over regions, views and people; the interval of the macro mean is the 2.5 to 97.5 % range of a bootstrap over people.

    With OFFICIAL_VIEWS on official errors this is what the published script prints.
    Raises ValueError when a score has no frame or another region count.
    """
    if not scores:
        raise ValueError("no scores to summarise: score at least one video")
    for score in scores:
        if score.errors.shape[0] == 0 or score.errors.shape[1] != len(regions):
            shape = f"errors have shape {score.errors.shape}, needs (frames > 0, {len(regions)} regions)"
            raise ValueError(f"video of {score.identity} {score.camera}: {shape}")
    everything = np.concatenate([score.errors for score in scores])
    view_regions, view_frames, view_people = {}, {}, {}
    for view, cameras in views.items():
        inside = [score for score in scores if score.camera in cameras]
        view_frames[view] = sum(len(score.errors) for score in inside)
        view_people[view] = len({score.identity for score in inside})
        means = np.concatenate([score.errors for score in inside]).mean(axis=0) if inside else np.full(len(regions), np.nan)
        view_regions[view] = dict(zip(regions, means.tolist(), strict=True))
    people = sorted({score.identity for score in scores})
    person_means = np.array([np.concatenate([score.errors for score in scores if score.identity == person]).mean() for person in people])
    low = high = np.nan  # one person says nothing about others
    if len(people) > 1:
        low, high = np.percentile(person_means[rng.integers(len(people), size=(resamples, len(people)))].mean(axis=1), [2.5, 97.5])
    region_means = everything.mean(axis=0)
    return ScoreSummary(
        regions=regions,
        region_means=dict(zip(regions, region_means.tolist(), strict=True)),
        headline=float(region_means.mean()),
        view_means={view: float(np.mean(list(means.values()))) for view, means in view_regions.items()},
        view_regions=view_regions,
        view_frames=view_frames,
        view_people=view_people,
        person_means=dict(zip(people, person_means.tolist(), strict=True)),
        macro_mean=float(person_means.mean()),
        macro_low=float(low),
        macro_high=float(high),
        people=len(people),
        videos=len(scores),
        frames=len(everything),
    )
