"""The rule by which a new model becomes champion: what is measured, how much worse it may be, and what it must reach at all."""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Bar:
    """One gated metric. `bound` is a number or the name of another metric of the same model (null: none); `margin` is in the metric's unit."""

    metric: str
    better: Literal["lower", "higher"]
    margin: float
    bound: float | str | None


@dataclass(frozen=True)
class Verdict:
    """What one bar says: the values compared (None where there is none) and, when the model misses it, why."""

    bar: Bar
    value: float | None
    champion: float | None
    bound: float | None
    miss: str | None


def judge(gate: Mapping[str, Bar], scores: Mapping[str, float], champion: Mapping[str, float]) -> list[Verdict]:
    """One verdict a bar. A metric that is missing or not finite is a miss; one that the champion was never measured by has only its bound."""
    return [_judge(bar, scores, champion) for bar in gate.values()]


def refusal(verdicts: list[Verdict]) -> str | None:
    """All misses in one sentence each; None when the model passes."""
    misses = [verdict.miss for verdict in verdicts if verdict.miss]
    return "; ".join(misses) or None


def _judge(bar: Bar, scores: Mapping[str, float], champion: Mapping[str, float]) -> Verdict:
    value, best = scores.get(bar.metric), champion.get(bar.metric)
    bound = scores.get(bar.bound) if isinstance(bar.bound, str) else bar.bound
    best = best if best is not None and math.isfinite(best) else None
    misses = []
    if value is None or not math.isfinite(value):
        misses.append(f"{bar.metric} {'is missing' if value is None else f'is {value}'}: an unmeasured model is not released")
    elif bar.bound is not None and (bound is None or not math.isfinite(bound)):
        misses.append(f"{bar.metric} cannot be compared with {bar.bound}, which is {'missing' if bound is None else bound}")
    else:
        sign = 1 if bar.better == "lower" else -1
        if best is not None and (behind := sign * (value - best)) > bar.margin:
            misses.append(f"{bar.metric} is {value:.6g}, worse than the champion's {best:.6g} by {behind:.3g} (margin {bar.margin:g})")
        if bound is not None and (behind := sign * (value - bound)) > 0:
            name = f"{bar.bound} = {bound:.6g}" if isinstance(bar.bound, str) else f"{bound:.6g}"
            misses.append(f"{bar.metric} is {value:.6g}, beyond its bound {name} by {behind:.3g}")
    return Verdict(bar, value, best, bound, "; ".join(misses) or None)
