"""Tables of the report out of the benchmark's scores."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from serep.benchmark.report_content import Cell, Column, Interval, Row, Table

Metrics = Mapping[str, object]
BOOTSTRAP_INTERVALS = "Small: 95 % intervals of the mean over people (bootstrap over people)."


def region_table(methods: Mapping[str, Metrics], *, own: str, roles: Mapping[str, str], note: str) -> Table:
    """Means over people by region and of all, how much more each method errs than `own` on the same people, and how it moves; a row a method."""
    regions = list(methods[own]["macro_regions_mm"])
    columns = (*(Column(name.replace("_", " "), "mm", "low", 2) for name in regions), Column("all", "mm", "low", 2),
               Column(f"more than {own}", "mm", decimals=2, difference=True), Column("p"),
               Column("jitter", "of the truth's", decimals=2), Column("lag", "frames", decimals=1))
    rows = []
    for name, one in methods.items():
        apart = one.get("more_than_own")
        cells = [*_measured(one["macro_regions_mm"], regions), (one["macro_mean_mm"], known_interval(one["interval_mm"])),
                 (apart["mean_mm"], known_interval(apart["interval_mm"])) if apart else (None, None),
                 (apart["p_value"] if apart else None, None), (one["jitter_ratio"], None), (one["lag_frames"], None)]
        rows.append(_row(name, cells, roles[name]))
    return _table("By region", columns, rows, note)


def view_table(methods: Mapping[str, Metrics], *, own: str, roles: Mapping[str, str]) -> Table:
    """Means over people by view, a row a method."""
    views = list(methods[own]["macro_views_mm"])
    rows = [_row(name, _measured(one["macro_views_mm"], views), roles[name]) for name, one in methods.items()]
    return _table("By view", tuple(Column(view, "mm", "low", 2) for view in views), rows, "")


def _measured(parts: Mapping[str, Mapping[str, float | None]], names: Sequence[str]) -> list[tuple[Cell, Interval | None]]:
    return [(parts[name]["mean"], known_interval((parts[name]["low"], parts[name]["high"]))) for name in names]


def _row(label: str, cells: Sequence[tuple[Cell, Interval | None]], role: str) -> Row:
    values, intervals = zip(*cells, strict=True)
    return Row(label, values, role, intervals=intervals if any(intervals) else ())


def _table(title: str, columns: tuple[Column, ...], rows: Sequence[Row], note: str) -> Table:
    return Table(title, columns, tuple(rows), "method", note, BOOTSTRAP_INTERVALS if any(any(row.intervals) for row in rows) else "")


def known_interval(bounds: Sequence[float | None]) -> Interval | None:
    """None where it was not measured: one person says nothing about others."""
    low, high = bounds
    return None if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)) else (low, high)
