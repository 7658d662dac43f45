"""Tables of the report out of the benchmark's summaries."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from serep.benchmark.multirex import ScoreSummary
from serep.benchmark.report_content import Column, Row, Table

BOOTSTRAP_INTERVALS = "Small: 95 % intervals of the mean over people (bootstrap over people)."


def benchmark_table(title: str, summaries: Mapping[str, ScoreSummary], *, own: str, note: str) -> Table:
    """Region errors by view, one group a view and one for all frames, with a row a method: `own` against all others as baselines."""
    first = next(iter(summaries.values()))
    columns = (*(Column(region.replace("_", " "), "mm", "low", 2) for region in (*first.regions, "mean")), Column("frames"), Column("people"))
    rows = []
    for view in (*first.view_means, "All"):
        for method, summary in summaries.items():
            regions, mean, counts = summary.region_means, summary.headline, (summary.frames, summary.people)
            if view != "All":
                regions, mean, counts = summary.view_regions[view], summary.view_means[view], (summary.view_frames[view], summary.view_people[view])
            values = (*(regions[region] for region in first.regions), mean, *counts)
            rows.append(Row(method, values, "own" if method == own else "baseline", view))
    return Table(title, columns, tuple(rows), "method", note)


def people_table(title: str, summaries: Mapping[str, ScoreSummary], *, own: str, note: str) -> Table:
    """Means over people (each weighs the same) by region, by view and of all, with their intervals, a row a method."""
    first = next(iter(summaries.values()))
    names = (*first.macro_regions, *first.macro_views, "all")
    columns = (*(Column(name.replace("_", " "), "mm", "low", 2) for name in names), Column("people"), Column("videos"), Column("frames"))
    rows = []
    for method, summary in summaries.items():
        parts = [*summary.macro_regions.values(), *summary.macro_views.values()]
        bounds = [(part.low, part.high) for part in parts] + [(summary.macro_low, summary.macro_high)]
        values = (*(part.mean for part in parts), summary.macro_mean, summary.people, summary.videos, summary.frames)
        rows.append(Row(method, values, "own" if method == own else "baseline", intervals=(*map(known_interval, bounds), None, None, None)))
    return Table(title, columns, tuple(rows), "method", note, BOOTSTRAP_INTERVALS if any(any(row.intervals) for row in rows) else "")


def known_interval(bounds: Sequence[float | None]) -> tuple[float, float] | None:
    """None where it was not measured: one person says nothing about others."""
    low, high = bounds
    return None if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)) else (low, high)
