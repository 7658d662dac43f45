"""A comparison of methods as tables and files."""
from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from serep.benchmark.compare import Comparison, PairedDifference
from serep.benchmark.multirex_summary import Interval
from serep.benchmark.tables import TextTable, html_page, markdown, number, with_interval
from serep.files import write_file

FOOT = (
    "Ranked by the fixed mean over people. A method's rank is one more than the number of methods that beat it by more than noise, so methods that "
    "cannot be told apart share a rank. Differences are paired: both methods on the same people. p: two-sided sign-flip test over people, exact up to 16 "
    "people; a difference counts when p < 0.05 and the interval leaves zero out. Pairs are not corrected for their number. "
    "Mirrored frames have the wrong handedness, which the official number forgives."
)


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    best = comparison.methods[0].method
    regions, views = list(comparison.methods[0].regions), list(comparison.methods[0].views)
    ranks = []
    for one in comparison.methods:
        pair = None if one.method == best else comparison.pairs[best, one.method]
        behind = ("", "", "") if pair is None else (with_interval(-pair.mean, -pair.high, -pair.low), f"{pair.p_value:.3f}", verdict(pair))
        temporal = (number(one.temporal.get("jitter_ratio"), 2), number(one.temporal.get("lag_frames"), 1))
        ranks.append((one.method, str(one.rank), _interval(one.overall), *behind, number(one.official_mean), *temporal, str(one.mirrored_frames)))
    by_region = [(one.method, *(_interval(one.regions[name]) for name in regions)) for one in comparison.methods]
    by_view = [(one.method, *(_interval(one.views[name]) for name in views)) for one in comparison.methods]
    pairs = [(f"{worse} - {better}", with_interval(-pair.mean, -pair.high, -pair.low), f"{pair.p_value:.3f}", verdict(pair))
             for (better, worse), pair in comparison.pairs.items()]  # fmt: skip
    columns = ("method", "rank", "fixed, mean over people [95 %]", "behind the best [95 %]", "p", "verdict", "official", "jitter", "lag (frames)", "mirrored frames")
    names = (name.removesuffix("_region").replace("_", " and ") for name in regions)
    return [
        TextTable(f"Ranking on {len(comparison.people)} people (mm)", columns, tuple(ranks), FOOT, frozenset({0})),
        TextTable("Regions (fixed, mm, mean over people [95 %])", ("method", *names), tuple(by_region)),
        TextTable("Views (fixed, mm, mean over people [95 %])", ("method", *views), tuple(by_view)),
        TextTable("Every pair (mm)", ("pair", "difference [95 %]", "p", "verdict"), tuple(pairs)),
    ]


def verdict(pair: PairedDifference) -> str:
    return "noise" if pair.is_noise else "real"


def comparison_content(comparison: Comparison) -> dict[str, Any]:
    return {
        "people": list(comparison.people),
        "ranking": [{"method": one.method, "rank": one.rank, "macro_mean_mm": _finite(one.overall), "official_mean_mm": one.official_mean,
                     "macro_region_mm": {name: _finite(value) for name, value in one.regions.items()},
                     "macro_view_mm": {name: _finite(value) for name, value in one.views.items()},
                     "jitter_ratio": one.temporal.get("jitter_ratio"), "lag_frames": one.temporal.get("lag_frames"),
                     "mirrored_frames": one.mirrored_frames} for one in comparison.methods],
        "pairs": [{"better": better, "worse": worse, "difference_mm": -pair.mean, "interval_mm": [_number(-pair.high), _number(-pair.low)],
                   "p_value": pair.p_value, "noise": pair.is_noise} for (better, worse), pair in comparison.pairs.items()],
    }  # fmt: skip


def write_comparison(out: Path, comparison: Comparison) -> None:
    """comparison.md, comparison.html and, last, comparison.json."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: give the name of a folder")
    tables, title = comparison_tables(comparison), "Comparison of " + ", ".join(one.method for one in comparison.methods)
    write_file(out / "comparison.md", markdown(title, [], tables).encode())
    write_file(out / "comparison.html", html_page(title, [], tables).encode())
    write_file(out / "comparison.json", (json.dumps(comparison_content(comparison), indent=1, allow_nan=False) + "\n").encode())


def _interval(one: Interval) -> str:
    return with_interval(one.mean, one.low, one.high)


def _finite(one: Interval) -> dict[str, float | None]:
    return {name: _number(value) for name, value in vars(one).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
