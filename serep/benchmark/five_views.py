"""The synthetic MultiREX: performances of people never seen, filmed from five views, measured as the real one is."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from serep.benchmark.compare import paired_difference
from serep.benchmark.multirex import RegionProtocol, VideoScore, aligned_frames, summarise
from serep.benchmark.multirex_summary import Interval
from serep.benchmark.sequences import VIEW_GROUPS
from serep.benchmark.temporal import held_still, jitter_ratio, lag, lag_over_people, shake

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class MeasuredVideo:
    """One method's answer to one video: errors (mm) a frame and region, frames that fit better mirrored in every region, and its motion."""

    identity: str
    view: str
    official: Float[np.ndarray, "T R"]
    fixed: Float[np.ndarray, "T R"]
    mirrored: Bool[np.ndarray, " T"]
    shake_predicted: float
    shake_reference: float
    lag: float


def measure(
    predicted: Float[np.ndarray, "T V 3"], truth: Float[np.ndarray, "_ _ 3"], neutral: Float[np.ndarray, "V 3"], protocol: RegionProtocol, *,
    identity: str, view: str,
) -> MeasuredVideo:  # fmt: skip
    aligned = aligned_frames(predicted, truth, protocol)
    samples = protocol.samples()
    moved, true = ([held_still(meshes[:, ids].astype(np.float64), neutral[ids]) for ids in samples] for meshes in (predicted, truth))
    return MeasuredVideo(
        identity, view, aligned.official, aligned.fixed, aligned.mirrored.all(axis=1), sum(map(shake, moved)), sum(map(shake, true)),
        lag(np.concatenate(moved, axis=1), np.concatenate(true, axis=1)),
    )  # fmt: skip


def best_of(videos: Mapping[T, Sequence[MeasuredVideo]]) -> T:
    """Which of several settings of one method errs least, frames weighing the same."""
    return min(videos, key=lambda setting: float(np.concatenate([one.fixed for one in videos[setting]]).mean()))


def per_frame_table(videos: Mapping[str, Sequence[MeasuredVideo]], regions: Sequence[str]) -> pa.Table:
    """The columns of the real benchmark's per_frame.parquet, and the method before them."""
    rows = [{"method": method, "source_video": f"{one.identity}#{one.view}", "camera": one.view, "region": region, "identity": one.identity,
             "frame": frame, "official_mm": official[r], "fixed_mm": fixed[r]}
            for method, measured in videos.items() for one in measured for r, region in enumerate(regions)
            for frame, (official, fixed) in enumerate(zip(one.official, one.fixed, strict=True))]  # fmt: skip
    return pa.Table.from_pylist(rows)


def method_scores(
    videos: Mapping[str, Sequence[MeasuredVideo]], regions: tuple[str, ...], *, own: str, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Of each method means over frames, means over people with 95 % intervals (mm), motion, and by how much it errs more than `own` on the same people."""
    summaries = {method: summarise([VideoScore(one.identity, one.view, one.fixed) for one in measured], regions, views=VIEW_GROUPS, resamples=resamples,
                                   rng=np.random.default_rng(seed)) for method, measured in videos.items()}  # fmt: skip
    own_people = np.array(list(summaries[own].person_means.values()))
    draws = np.random.default_rng(seed).integers(len(own_people), size=(resamples, len(own_people)))
    scores: dict[str, dict[str, Any]] = {}
    for method, one in summaries.items():
        measured = videos[method]
        people = {video.identity for video in measured}
        scores[method] = {
            "mean_mm": one.headline, "macro_mean_mm": one.macro_mean, "interval_mm": [one.macro_low, one.macro_high],
            "regions_mm": one.region_means, "views_mm": one.view_means,
            "macro_regions_mm": {name: _bounds(part) for name, part in one.macro_regions.items()},
            "macro_views_mm": {name: _bounds(part) for name, part in one.macro_views.items()},
            "jitter_ratio": jitter_ratio(sum(video.shake_predicted for video in measured), sum(video.shake_reference for video in measured)),
            "lag_frames": lag_over_people({name: [video.lag for video in measured if video.identity == name] for name in people}),
            "mirrored_frames": int(sum(video.mirrored.sum() for video in measured)),
        }  # fmt: skip
        if method != own:
            apart = paired_difference(np.array(list(one.person_means.values())), own_people, draws=draws, rng=np.random.default_rng([seed, 1]))
            several = len(own_people) > 1
            scores[method]["more_than_own"] = {"mean_mm": apart.mean, "interval_mm": [apart.low, apart.high] if several else [None, None],
                                               "p_value": apart.p_value, "noise": apart.is_noise}  # fmt: skip
    return scores


def _bounds(one: Interval) -> dict[str, float]:
    return {"mean": one.mean, "low": one.low, "high": one.high}
