"""The benchmark scored whole: every file checked, then every video measured in blocks of frames, with the trivial answers beside it.

Memory does not grow with the number of videos: one block of meshes is held at a time, and of each video only its errors stay.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from serep.benchmark.multirex import corrupt_frames
from serep.benchmark.multirex_alignment import FRAMES_AT_ONCE, Aligner, converted, gathered
from serep.benchmark.multirex_assets import (
    Conversion,
    conversion_from_assets,
    conversion_from_maps,
    multiface_neutral,
    protocol_from_assets,
)
from serep.benchmark.multirex_checks import Truth, check_prediction, check_truth
from serep.benchmark.multirex_flame import FlameModel
from serep.benchmark.multirex_predictions import MeshSequence, find_predictions, find_truth, open_prediction
from serep.benchmark.temporal import held_still, lag, shake
from serep.data.multirex_recordings import Recording, read_recordings
from serep.geometry.rigid import apply_rigid, rigid_align

REGION_NAMES = "{}_region"  # as the published script names them


@dataclass(frozen=True, eq=False)
class VideoErrors:
    """Of one video: errors (mm) of both answers and of the trivial ones, a frame and region; R regions, M metric vertices.

    neutral, mean    errors of the person's neutral, and of the neutral with the other people's mean expression (None with one person)
    mirrored         frames that fit better mirrored in every region
    kept             False where the published script leaves damaged frames out
    vertex_sums      distances (fixed) summed over the kept frames
    shake_predicted, shake_reference  mean squared second differences (mm²) of each region; `lag` in frames
    """

    recording: Recording
    camera: str
    official: Float[np.ndarray, "T R"]
    fixed: Float[np.ndarray, "T R"]
    neutral: Float[np.ndarray, "T R"]
    mean: Float[np.ndarray, "T R"] | None
    mirrored: Bool[np.ndarray, " T"]
    kept: Bool[np.ndarray, " T"]
    lost_frames: int
    vertex_sums: Float[np.ndarray, " M"]
    shake_predicted: Float[np.ndarray, " R"]
    shake_reference: Float[np.ndarray, " R"]
    lag: float

    @property
    def name(self) -> str:
        return f"{self.recording.sequence}{self.camera}"


@dataclass(frozen=True, eq=False)
class BenchmarkScore:
    """Everything measured.

    floor        what the conversion alone costs on each person's neutral (mm; NaN where a map has no neutral)
    neutral_map  mean distance (mm) of the neutral answer at each metric vertex, over all videos
    metric_ids   the Multiface vertices of `neutral_map` and of `VideoErrors.vertex_sums`
    """

    method: str
    regions: tuple[str, ...]
    videos: tuple[VideoErrors, ...]
    floor: dict[str, Float[np.ndarray, " R"]]
    neutral_map: Float[np.ndarray, " M"]
    metric_ids: Int[np.ndarray, " M"]
    published_frames: int | None


@dataclass(frozen=True, eq=False)
class _Person:
    """What scoring one person needs: the map's rows that the protocol reads, in compressed form."""

    recording: Recording
    conversion: Conversion
    truth: Truth
    rest: Float[np.ndarray, "n 3"]
    weights: Float[np.ndarray, " E"]
    columns: Int[np.ndarray, " E"]
    starts: Int[np.ndarray, " N"]

    def to_multiface(self, block: Float[np.ndarray, "T V 3"], scale: float) -> Float[np.ndarray, "T n 3"]:
        """The vertices that the protocol reads, mm."""
        return converted(np.ascontiguousarray(block), scale * self.weights, self.columns, self.starts)


def score_multirex(
    predictions: Path,
    ground_truth: Path,
    assets: Path,
    *,
    method: str,
    unit: str = "m",
    maps: Path | None = None,
    flame: FlameModel | None = None,
    on_video: Callable[[int, int], None] = lambda done, of: None,
) -> BenchmarkScore:
    """Both answers on every video of the benchmark. Nothing is computed before every file was found, read and checked.

    unit   of meshes in .npy and .npz: "m" as the published script expects, or "mm"
    maps   sparse maps of another topology than FLAME (`multirex_assets.conversion_from_maps`)
    flame  the model that decodes FLAME parameters
    """
    if unit not in ("m", "mm"):
        raise ValueError(f"unit must be m or mm, got {unit}")
    recordings = read_recordings(assets)
    protocol, used = protocol_from_assets(assets).compact()
    truth_files, files = find_truth(ground_truth, recordings), find_predictions(predictions, recordings)

    def opened(video: str, conversion: Conversion) -> MeshSequence:
        return open_prediction(files[video], unit=unit, flame=flame, neutral=conversion.neutral)

    people = []
    for recording in recordings:
        whole = multiface_neutral(assets, recording)
        conversion = conversion_from_maps(maps, recording.identity) if maps else conversion_from_assets(assets, recording.identity)
        truth = check_truth(truth_files[recording.sequence], recording, whole, used)
        for video in recording.videos:
            check_prediction(opened(video, conversion), files[video], truth, conversion, whole)
        people.append(_prepared(recording, conversion, truth, whole[used], used))
    means = _mean_expressions(people)
    aligner, sampled = protocol.aligner(), protocol.samples()
    videos, neutral_sums = [], np.zeros(len(aligner.metric_ids))
    for person, mean in zip(people, means, strict=True):
        trivial, sums, paths = _whole_person(person, mean, aligner, sampled, used)
        neutral_sums += len(person.recording.cameras) * sums
        for video, camera in zip(person.recording.videos, person.recording.cameras, strict=True):
            videos.append(_video_errors(person, camera, opened(video, person.conversion), aligner, sampled, used, trivial, paths))
            on_video(len(videos), len(files))
    lengths = [one.frames * len(one.cameras) if one.frames is not None else None for one in recordings]
    return BenchmarkScore(
        method=method,
        regions=tuple(REGION_NAMES.format(name) for name in protocol.regions),
        videos=tuple(videos),
        floor={person.recording.identity: _floor(person, aligner, len(protocol.regions)) for person in people},
        neutral_map=neutral_sums / sum(len(one.fixed) for one in videos),
        metric_ids=used[np.concatenate(protocol.metric)],
        published_frames=None if None in lengths else sum(length for length in lengths if length is not None),
    )


def _prepared(recording: Recording, conversion: Conversion, truth: Truth, rest: np.ndarray, used: np.ndarray) -> _Person:
    rows = conversion.matrix[used]
    return _Person(recording, conversion, truth, rest, rows.data.astype(np.float64), rows.indices.astype(np.int64), rows.indptr.astype(np.int64))


def _mean_expressions(people: list[_Person]) -> list[Float[np.ndarray, "n 3"] | None]:
    """For each person the mean displacement over the others' frames: nothing of the scored person is in it. None when there is nobody else."""
    own = [apply_rigid(person.truth.mean, *rigid_align(person.truth.mean, person.rest)) - person.rest for person in people]
    return [np.mean([other for k, other in enumerate(own) if k != row], axis=0) if len(own) > 1 else None for row in range(len(own))]


def _truth_blocks(person: _Person, used: np.ndarray) -> Iterator[tuple[int, Float[np.ndarray, "T n 3"]]]:
    truth = person.truth.open()
    for start in range(0, truth.frame_count, FRAMES_AT_ONCE):
        yield start, gathered(np.ascontiguousarray(truth.block(start, start + FRAMES_AT_ONCE)), used)


def _whole_person(
    person: _Person, mean: np.ndarray | None, aligner: Aligner, sampled: tuple[np.ndarray, ...], used: np.ndarray
) -> tuple[Mapping[str, Float[np.ndarray, "T R"]], Float[np.ndarray, " M"], list[Float[np.ndarray, "T S 3"]]]:
    """What all videos of a person share.

    Errors of two answers that never look at them, `neutral`, and `mean` where other people are known; the neutral's distances, summed over the
    frames; and each region's true paths without head motion.
    """
    neutral = person.rest if person.conversion.neutral is None else person.to_multiface(person.conversion.neutral[None], 1.0)[0]
    answers = {"neutral": neutral} if mean is None else {"neutral": neutral, "mean": neutral + mean}
    errors: dict[str, list[np.ndarray]] = {name: [] for name in answers}
    paths: list[list[np.ndarray]] = [[] for _ in sampled]
    sums = np.zeros(len(aligner.metric_ids))
    for _, truth in _truth_blocks(person, used):
        for name, still in answers.items():
            aligned = aligner.align(np.ascontiguousarray(np.broadcast_to(still, truth.shape)), truth)
            errors[name].append(aligned.fixed)
            if name == "neutral":
                sums += aligned.distances.sum(axis=0)
        for ids, path in zip(sampled, paths, strict=True):
            path.append(truth[:, ids])
    stills = [held_still(np.concatenate(path), person.rest[ids]) for ids, path in zip(sampled, paths, strict=True)]
    return {name: np.concatenate(blocks) for name, blocks in errors.items()}, sums, stills


def _floor(person: _Person, aligner: Aligner, regions: int) -> Float[np.ndarray, " R"]:
    if person.conversion.neutral is None:
        return np.full(regions, np.nan)
    return aligner.align(person.to_multiface(person.conversion.neutral[None], 1.0), person.rest[None]).fixed[0]


def _video_errors(
    person: _Person, camera: str, meshes: MeshSequence, aligner: Aligner, sampled: tuple[np.ndarray, ...], used: np.ndarray,
    trivial: Mapping[str, np.ndarray], true_paths: list[np.ndarray],
) -> VideoErrors:  # fmt: skip
    kept = ~corrupt_frames(person.recording.identity, camera, person.truth.frame_count)
    official, fixed, mirrored = [], [], []
    vertex_sums = np.zeros(len(aligner.metric_ids))
    paths: list[list[np.ndarray]] = [[] for _ in sampled]
    for start, truth in _truth_blocks(person, used):
        predicted = person.to_multiface(meshes.block(start, start + FRAMES_AT_ONCE), meshes.scale)
        aligned = aligner.align(predicted, truth)
        official.append(aligned.official)
        fixed.append(aligned.fixed)
        mirrored.append(aligned.mirrored.all(axis=1))
        vertex_sums += kept[start : start + len(truth)].astype(np.float64) @ aligned.distances
        for ids, path in zip(sampled, paths, strict=True):
            path.append(predicted[:, ids])
    moved = [held_still(np.concatenate(path)[kept], person.rest[ids]) for ids, path in zip(sampled, paths, strict=True)]
    true = [path[kept] for path in true_paths]
    return VideoErrors(
        recording=person.recording,
        camera=camera,
        official=np.concatenate(official),
        fixed=np.concatenate(fixed),
        neutral=trivial["neutral"],
        mean=trivial.get("mean"),
        mirrored=np.concatenate(mirrored),
        kept=kept,
        lost_frames=0 if meshes.lost is None else int(meshes.lost.sum()),
        vertex_sums=vertex_sums,
        shake_predicted=np.array([shake(path) for path in moved]),
        shake_reference=np.array([shake(path) for path in true]),
        lag=lag(np.concatenate(moved, axis=1), np.concatenate(true, axis=1)) if kept.any() else float("nan"),
    )
