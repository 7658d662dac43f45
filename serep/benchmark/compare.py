"""Methods scored on the same videos, ranked: each difference with its paired interval over people, and whether it is more than noise."""
from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from serep.benchmark.multirex import FIXED_VIEWS, corrupt_frames
from serep.benchmark.multirex_summary import Interval, bootstrap_mean

COLUMNS = ("source_video", "camera", "region", "identity", "frame", "official_mm", "fixed_mm")
SIGNIFICANCE = 0.05
MAX_EXACT_PEOPLE = 16  # 65,536 sign patterns
SAMPLED_PATTERNS = 50_000


@dataclass(frozen=True)
class PairedDifference:
    """First minus second (mm), both measured on the same people: mean, 95 % bootstrap interval over people, and p of a two-sided sign-flip test."""

    mean: float
    low: float
    high: float
    p_value: float
    people: int

    @property
    def is_noise(self) -> bool:
        """True unless both agree: the interval leaves zero out, and chance would give as much in fewer than 5 % of sign patterns.

        The test is exact for few people, where the bootstrap is too sure; below six people no difference can pass it.
        """
        return not (self.p_value < SIGNIFICANCE and (self.low > 0 or self.high < 0))


def paired_difference(
    first: Float[np.ndarray, " P"], second: Float[np.ndarray, " P"], *, draws: Int[np.ndarray, "N P"], rng: np.random.Generator
) -> PairedDifference:
    """Of values per person in the same order; `draws` are rows of a bootstrap over people, the same for all comparisons."""
    apart = first - second
    interval = bootstrap_mean(apart, draws)
    return PairedDifference(interval.mean, interval.low, interval.high, sign_flip_p(apart, rng=rng), len(apart))


def sign_flip_p(differences: Float[np.ndarray, " P"], *, rng: np.random.Generator) -> float:
    """Share of sign patterns whose mean is at least as far from zero as the one found (Fisher's randomisation test, two-sided)."""
    count = len(differences)
    if count <= MAX_EXACT_PEOPLE:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    else:
        signs = np.concatenate([np.ones((1, count)), rng.choice([-1.0, 1.0], size=(SAMPLED_PATTERNS, count))])  # the found pattern is one of them
    means = np.abs(signs @ differences)
    return float((means >= np.abs(differences.sum()) * (1 - 1e-12)).mean())


@dataclass(frozen=True, eq=False)
class MethodScores:
    """One scored method: means (mm) of each person, of the kept frames; NaN where a person was not filmed in a view.

    `temporal` holds jitter_ratio and lag_frames of the method's summary, `mirrored_frames` those that fit better mirrored.
    """

    method: str
    people: tuple[str, ...]
    regions: tuple[str, ...]
    fixed: Float[np.ndarray, "P R"]
    official_mean: float
    views: dict[str, Float[np.ndarray, " P"]]
    frames: Mapping[str, int]
    temporal: Mapping[str, float | None]
    mirrored_frames: int


def read_scores(folder: Path) -> MethodScores:
    """What `serep score multirex --out` left in a folder. FileNotFoundError or ValueError naming the file when it is something else."""
    path, summary_path = folder / "per_frame.parquet", folder / "summary.json"
    for needed in (path, summary_path):
        if not needed.is_file():
            raise FileNotFoundError(f"{folder} holds no score: {needed.name} is missing; run serep score multirex --out {folder}")
    table, summary = pq.read_table(path), json.loads(summary_path.read_text())
    if not set(COLUMNS) <= set(table.column_names):
        raise ValueError(f"{path} has columns {', '.join(table.column_names)}, needs {', '.join(COLUMNS)}: score the method again")
    text = {name: np.asarray(table[name].combine_chunks().cast("string").to_numpy(zero_copy_only=False)) for name in COLUMNS[:4]}
    values, frames = {name: table[name].to_numpy() for name in COLUMNS[5:]}, table["frame"].to_numpy()
    videos, video_row = np.unique(text["source_video"], return_inverse=True)
    people, person_row = np.unique(text["identity"], return_inverse=True)
    regions = tuple(dict.fromkeys(text["region"].tolist()))
    region_row = _rows(text["region"], regions)
    kept = np.ones(len(frames), dtype=bool)
    for video in range(len(videos)):
        own = np.flatnonzero(video_row == video)
        kept[own] = ~corrupt_frames(text["identity"][own[0]], text["camera"][own[0]], int(frames[own].max()) + 1)[frames[own]]
    shape = (len(people), len(regions))
    fixed = _means(values["fixed_mm"], person_row * shape[1] + region_row, kept, shape)
    views = {view: _means(values["fixed_mm"], person_row, kept & np.isin(text["camera"], cameras), shape[:1]) for view, cameras in FIXED_VIEWS.items()}
    official = np.mean([values["official_mm"][kept & (region_row == r)].mean() for r in range(len(regions))])
    lengths = {str(video): int((video_row == row).sum()) // len(regions) for row, video in enumerate(videos)}
    mirrored = summary.get("fixed", {}).get("mirrored", {}).get("frames", 0)
    return MethodScores(str(summary["method"]), tuple(map(str, people)), regions, fixed, float(official), views, lengths, summary.get("temporal", {}), mirrored)


@dataclass(frozen=True)
class Ranked:
    """A method's place: `rank` is one more than the number of methods that beat it by more than noise, so ties share a rank."""

    method: str
    rank: int
    overall: Interval
    regions: dict[str, Interval]
    views: dict[str, Interval]
    official_mean: float
    temporal: Mapping[str, float | None]
    mirrored_frames: int


@dataclass(frozen=True)
class Comparison:
    """Methods from best to worst by the macro mean (fixed), and the difference of every pair, the better one first."""

    methods: tuple[Ranked, ...]
    pairs: dict[tuple[str, str], PairedDifference]
    people: tuple[str, ...]


def compare(scores: Sequence[MethodScores], *, resamples: int, seed: int) -> Comparison:
    """ValueError when fewer than two methods are given, two have one name, or they were not scored on the same frames."""
    if len(scores) < 2:
        raise ValueError(f"a comparison needs at least two scored methods, got {len(scores)}")
    names = [score.method for score in scores]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two methods are called '{twice}': score them again with different --name")
    first = scores[0]
    for other in scores[1:]:
        _check_same_frames(first, other)
    people = len(first.people)
    draws = np.random.default_rng(seed).integers(people, size=(resamples, people))
    order = sorted(scores, key=lambda score: float(score.fixed.mean()))
    overall = {score.method: score.fixed.mean(axis=1) for score in order}
    pairs = {(a.method, b.method): paired_difference(overall[a.method], overall[b.method], draws=draws, rng=np.random.default_rng([seed, 1]))
             for a, b in itertools.combinations(order, 2)}  # fmt: skip
    interval_draws = draws if people > 1 else None
    methods = []
    for place, score in enumerate(order):
        beaten_by = sum(not pairs[better.method, score.method].is_noise for better in order[:place])
        methods.append(Ranked(
            score.method, 1 + beaten_by, bootstrap_mean(overall[score.method], interval_draws),
            {region: bootstrap_mean(score.fixed[:, r], interval_draws) for r, region in enumerate(score.regions)},
            {view: bootstrap_mean(values, interval_draws) for view, values in score.views.items()}, score.official_mean, score.temporal,
            score.mirrored_frames,
        ))  # fmt: skip
    return Comparison(tuple(methods), pairs, first.people)


def _check_same_frames(first: MethodScores, other: MethodScores) -> None:
    if first.regions != other.regions or first.frames != other.frames:
        videos = sorted(set(first.frames) | set(other.frames))
        video = next((name for name in videos if first.frames.get(name) != other.frames.get(name)), "")
        counts = f"{video}: {first.frames.get(video, 'no')} and {other.frames.get(video, 'no')} frames" if video else "other regions"
        raise ValueError(f"'{first.method}' and '{other.method}' were not scored on the same frames ({counts}): score both on the same ground truth")


def _rows(values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    found, inverse = np.unique(values, return_inverse=True)
    return np.array([names.index(str(name)) for name in found])[inverse]


def _means(values: np.ndarray, row: np.ndarray, counted: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mean of the counted values of each row number, NaN where there is none."""
    size = int(np.prod(shape))
    sums, counts = (np.bincount(row[counted], weights, minlength=size) for weights in (values[counted], None))
    return np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0).reshape(shape)
