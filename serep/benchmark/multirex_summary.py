"""From errors a frame to means over regions, views and people, with intervals by bootstrap over people."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class VideoScore:
    """The errors of one video: (T, R) mm in the order of the protocol's regions; `identity` is the person, `camera` the view's camera."""

    identity: str
    camera: str
    errors: Float[np.ndarray, "T R"]


@dataclass(frozen=True)
class Interval:
    """A mean over people (mm) and the 2.5 to 97.5 % range of its bootstrap; NaN bounds for fewer than two people."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ScoreSummary:
    """Means in mm. Frames weigh the same, except in the `macro` means, where people do; NaN where a view has no frame.

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
    macro_regions: dict[str, Interval]
    macro_views: dict[str, Interval]
    people: int
    videos: int
    frames: int


def summarise(
    scores: Sequence[VideoScore], regions: tuple[str, ...], *, views: Mapping[str, Sequence[str]], resamples: int, rng: np.random.Generator
) -> ScoreSummary:
    """Means over regions, views and people; the intervals of the macro means are the 2.5 to 97.5 % range of a bootstrap over people.

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
    people = sorted({score.identity for score in scores})
    draws = rng.integers(len(people), size=(resamples, len(people))) if len(people) > 1 else None
    view_regions, view_frames, view_people, macro_views = {}, {}, {}, {}
    for view, cameras in views.items():
        inside = [score for score in scores if score.camera in cameras]
        view_frames[view] = sum(len(score.errors) for score in inside)
        view_people[view] = len({score.identity for score in inside})
        means = np.concatenate([score.errors for score in inside]).mean(axis=0) if inside else np.full(len(regions), np.nan)
        view_regions[view] = dict(zip(regions, means.tolist(), strict=True))
        macro_views[view] = bootstrap_mean(_person_means(inside, people).mean(axis=1), draws)
    person_regions = _person_means(scores, people)
    person_means = person_regions.mean(axis=1)
    overall = bootstrap_mean(person_means, draws)
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
        macro_mean=overall.mean,
        macro_low=overall.low,
        macro_high=overall.high,
        macro_regions={region: bootstrap_mean(values, draws) for region, values in zip(regions, person_regions.T, strict=True)},
        macro_views=macro_views,
        people=len(people),
        videos=len(scores),
        frames=len(everything),
    )


def bootstrap_mean(person_values: Float[np.ndarray, " P"], draws: Int[np.ndarray, "N P"] | None) -> Interval:
    """Mean over people with the range of the means of the drawn people; people without a value (NaN) are left out of it.

    `draws` None, or fewer than two people with a value: no interval, for one person says nothing about others.
    """
    seen = np.isfinite(person_values)
    if not seen.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(person_values[seen].mean())
    if draws is None or seen.sum() < 2:
        return Interval(mean, float("nan"), float("nan"))
    counts = seen[draws].sum(axis=1)
    sums = np.where(seen, person_values, 0.0)[draws].sum(axis=1)
    low, high = np.percentile(sums[counts > 0] / counts[counts > 0], [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def _person_means(scores: Sequence[VideoScore], people: Sequence[str]) -> Float[np.ndarray, "P R"]:
    """Mean over all frames of each person, NaN for people without any."""
    rows = []
    for person in people:
        own = [score.errors for score in scores if score.identity == person]
        rows.append(np.concatenate(own).mean(axis=0) if own else None)
    width = next((len(row) for row in rows if row is not None), 1)
    return np.array([np.full(width, np.nan) if row is None else row for row in rows])
