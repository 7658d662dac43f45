"""The tables of the experiments: every kind of expression model by variant, or the metrics that a plan names, over its seeds."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from serep.benchmark.report_content import Column, Row, Section, Table
from serep.benchmark.report_sections import KIND_NAMES

SEMANTIC_COLUMNS = (
    Column("reconstruction", "mm", decimals=3), Column("retargeting", "mm", decimals=3), Column("identity leak", decimals=5),
    Column("leak per number", decimals=5), Column("neutral leak", "mm", decimals=3), Column("code cycle", decimals=4),
)
SEMANTIC_KEYS = ("reconstruction_mm", "retargeting_mm", "identity_leak", "identity_leak_per_number", "neutral_leak_mm", "code_cycle")
DEFAULT_TARGET = "score_semantic"


def experiments_section(results: Mapping[str, Mapping], *, codes: Mapping[str, str]) -> Section:
    """The experiments' tables, and which of them were measured with other code than now: `codes` has a hash for each stage that gives scores."""
    tables: list[Table] = []
    for name, result in results.items():
        target = result.get("target", DEFAULT_TARGET)
        age = f" Measured at {result['commit']}, with other code than this report's: `make experiment NAME={name}` measures anew."
        note = f"{result['note']}{'' if result['code'] == codes[target] else age}".strip()
        tables += _metric_tables(result, note) if "table" in result else [_kinds_table(result, note)]
    text = "" if tables else "No experiment has been run here. `make experiments` runs all, `make experiment NAME=cycle` one."
    return Section(text, tuple(tables))


def _kinds_table(result: Mapping, note: str) -> Table:
    rows = tuple(Row(KIND_NAMES[kind], tuple(one[key] for key in SEMANTIC_KEYS), "", variant["label"])
                 for variant in result["variants"] for kind, one in variant["scores"].items())
    return Table(result["title"], SEMANTIC_COLUMNS, rows, "model", note)


def _metric_tables(result: Mapping, note: str) -> list[Table]:
    """Means over the seeds; and, where there are several variants and seeds, what each has more than the first, against the seeds' spread."""
    measured = _measured(result)
    wanted = [one for one in result["table"] if any(_known(values[one["metric"]]) for values in measured.values())]
    columns = tuple(Column(one["name"], one.get("unit", ""), decimals=one["decimals"]) for one in wanted)
    rows, differences, first = [], [], next(iter(measured))
    for label, values in measured.items():
        found = [_known(values[one["metric"]]) for one in wanted]
        rows.append(Row(label, tuple(_mean(one) for one in found), intervals=tuple((min(one), max(one)) if len(one) > 1 else None for one in found)))
        if label != first:
            pairs = [(one, _known(measured[first][column["metric"]])) for one, column in zip(found, wanted, strict=True)]
            more = tuple(_mean(one) - _mean(other) if one and other else None for one, other in pairs)
            spreads = [max(max(one) - min(one), max(other) - min(other)) if min(len(one), len(other)) > 1 else None for one, other in pairs]
            bounds = tuple(None if value is None or spread is None else (value - spread, value + spread) for value, spread in zip(more, spreads, strict=True))
            differences.append(Row(label, more, intervals=bounds))
    has_seeds = any(any(row.intervals) for row in rows)
    tables = [Table(result["title"], columns, tuple(rows), "variant", note, "Small: least and greatest of the seeds." if has_seeds else "")]
    if any(any(row.intervals) for row in differences):
        columns = tuple(Column(one["name"], one.get("unit", ""), decimals=one["decimals"], difference=True) for one in wanted)
        tables.append(Table(f"{result['title']}: against \"{first}\"", columns, tuple(differences), "variant",
                            intervals="Small: the difference less and plus the seeds' spread, the greater of the two variants'."))
    return tables


def _measured(result: Mapping) -> dict[str, dict[str, list[float | None]]]:
    """Variant -> metric -> its value for each seed, None where the run has no such metric."""
    metrics = [column["metric"] for column in result["table"]]
    measured: dict[str, dict[str, list[float | None]]] = {}
    for variant in result["variants"]:
        values = measured.setdefault(variant["label"], {metric: [] for metric in metrics})
        for metric in metrics:
            values[metric].append(metric_of(variant["scores"], metric))
    return measured


def metric_of(scores: Mapping, dotted: str) -> float | None:
    """The number at a dotted place, None where there is none."""
    place: object = scores
    for part in dotted.split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return float(place) if isinstance(place, int | float) else None


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
