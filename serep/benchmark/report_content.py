"""What the report says, as plain frozen data, and what is wrong with it: found here, so that no stage can forget to say it."""
from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from serep.benchmark.multirex import ScoreSummary

LEVELS = ("failure", "warning", "note")
IMAGE_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

Cell = float | int | str | None


@dataclass(frozen=True)
class Column:
    """A column of numbers. `better`: "low", "high" or "" (not a score: never compared, never marked best)."""

    name: str
    unit: str = ""
    better: str = ""
    decimals: int = 3

    def __post_init__(self) -> None:
        if self.better not in ("low", "high", ""):
            raise ValueError(f"column '{self.name}': better must be 'low', 'high' or '', got '{self.better}'")

    @property
    def heading(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def improves(self, value: float, over: float) -> bool:
        return value < over if self.better == "low" else value > over


@dataclass(frozen=True)
class Row:
    """A row of a table. `role`: "own" (what is released), "baseline" (own must beat it), "" (shown only: a floor, another setting).

    Rows of one `group` (a view, a split) stand together under its name and are compared with each other only.
    A value of None was not measured ("–"); a NaN was measured and went wrong, and the report says so.
    """

    label: str
    values: tuple[Cell, ...]
    role: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        if self.role not in ("own", "baseline", ""):
            raise ValueError(f"row '{self.label}': role must be 'own', 'baseline' or '', got '{self.role}'")


@dataclass(frozen=True)
class Table:
    """Rows of numbers under named columns; `note` says what was measured on how many people and frames."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    first_heading: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(f"table '{self.title}', row '{row.label}': {len(row.values)} values for {len(self.columns)} columns")

    def groups(self) -> list[tuple[str, list[Row]]]:
        """The rows by group, both in the order given."""
        names = dict.fromkeys(row.group for row in self.rows)
        return [(name, [row for row in self.rows if row.group == name]) for name in names]

    def numbers(self, column: int, group: str, role: str) -> list[tuple[str, float]]:
        """(label, value) of the rows of this group and role that have a finite number there."""
        pairs = [(row.label, row.values[column]) for row in self.rows if row.role == role and row.group == group]
        return [(label, float(value)) for label, value in pairs if isinstance(value, int | float) and math.isfinite(value)]

    def best(self, column: int, group: str) -> float | None:
        """The best of the group's own and baseline rows where there are at least two to compare."""
        values = [value for role in ("own", "baseline") for _, value in self.numbers(column, group, role)]
        if not self.columns[column].better or len(values) < 2:
            return None
        return min(values) if self.columns[column].better == "low" else max(values)


@dataclass(frozen=True)
class Figure:
    """A picture (PNG or JPEG bytes), the sentence under it, and what it shows for those who cannot see it."""

    image: bytes
    caption: str
    alternative: str

    def __post_init__(self) -> None:
        if not any(self.image.startswith(magic) for magic in IMAGE_TYPES):
            raise ValueError(f"figure '{self.caption}' is neither PNG nor JPEG (first bytes: {self.image[:8]!r})")

    @property
    def source(self) -> str:
        kind = next(kind for magic, kind in IMAGE_TYPES.items() if self.image.startswith(magic))
        return f"data:{kind};base64,{base64.b64encode(self.image).decode('ascii')}"


@dataclass(frozen=True)
class Finding:
    """One sentence that a reader must know. `level`: "failure", "warning" or "note"; `where`: the anchor of the section that shows it, or ""."""

    level: str
    text: str
    where: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"finding '{self.text}': level must be one of {', '.join(LEVELS)}, got '{self.level}'")
        if self.where and self.where not in SECTIONS:
            raise ValueError(f"finding '{self.text}': no section '{self.where}' (there are: {', '.join(SECTIONS)})")


@dataclass(frozen=True)
class Section:
    """What one part of the page shows, in this order."""

    text: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


# Anchor (and field of ReportContent) -> heading, in the order of the page.
SECTIONS = {
    "data": "Data and rendered images",
    "semantic": "Semantic expression model",
    "capture": "Capture model",
    "benchmark": "Benchmark by region and view",
    "training": "Training",
    "quarantine": "Left out",
    "provenance": "Provenance",
}


@dataclass(frozen=True)
class ReportContent:
    """All that the page says, as plain data.

    key_numbers: (name, value with its unit) for the top of the page.
    adversarial_off: why the domain-adversarial part did not train, "" when it did.
    quarantined: (subject, file, reason) of every mesh left out.
    findings: what the stage knows beyond what the report finds by itself (see `all_findings`).
    provenance, versions, licences, data_hashes: (name, value) in the order to be shown.
    params: the resolved parameters, nested mappings.
    date: shown as given, nothing when "".
    """

    title: str
    introduction: str
    key_numbers: tuple[tuple[str, str], ...]
    data: Section
    semantic: Section
    capture: Section
    benchmark: Section
    training: Section
    renderer_requested: str
    renderer_used: str
    adversarial_off: str
    quarantined: tuple[tuple[str, str, str], ...]
    provenance: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    licences: tuple[tuple[str, str], ...]
    data_hashes: tuple[tuple[str, str], ...]
    params: Mapping = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    date: str = ""

    def sections(self) -> dict[str, Section]:
        """The sections made of tables and figures, by anchor."""
        return {anchor: getattr(self, anchor) for anchor in SECTIONS if anchor not in ("quarantine", "provenance")}


def all_findings(content: ReportContent) -> tuple[Finding, ...]:
    """What a reader must know, failures first: the stage's own findings, then those that the content itself shows."""
    found = list(content.findings)
    for anchor, section in content.sections().items():
        if not section.tables and not section.figures:
            found.append(Finding("failure", f"{SECTIONS[anchor]}: nothing was handed to the report", anchor))
        for table in section.tables:
            found += _table_findings(table, anchor)
    if content.renderer_used != content.renderer_requested:
        text = f"The images were drawn by the fallback renderer '{content.renderer_used}': '{content.renderer_requested}' was asked for"
        found.append(Finding("warning", text, "data"))
    if content.adversarial_off:
        found.append(Finding("warning", f"The domain-adversarial part of the capture training was off: {content.adversarial_off}", "capture"))
    if content.quarantined:
        people = len({subject for subject, _, _ in content.quarantined})
        text = f"{_count(len(content.quarantined), 'mesh was', 'meshes were')} left out, of {_count(people, 'person', 'people')}"
        found.append(Finding("warning", text, "quarantine"))
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: LEVELS.index(finding.level)))


def _table_findings(table: Table, anchor: str) -> list[Finding]:
    """Numbers that are missing or broken, and for each own row all the scores in which a baseline of its group is better."""
    found: list[Finding] = []
    worse: dict[str, list[str]] = {}
    for c, column in enumerate(table.columns):
        broken = [row for row in table.rows if isinstance(row.values[c], float) and not math.isfinite(row.values[c])]
        if broken:
            level = "failure" if any(row.role == "own" for row in broken) else "warning"
            found.append(Finding(level, f"{table.title}: {column.name} is not a number for {', '.join(map(full_label, broken))}", anchor))
        if not column.better:
            continue
        missing = [full_label(row) for row in table.rows if row.role == "own" and row.values[c] is None]
        if missing:
            found.append(Finding("failure", f"{table.title}: {column.name} was not measured for {', '.join(missing)}", anchor))
        for group, _ in table.groups():
            for own_label, own in table.numbers(c, group, "own"):
                beaten_by = [(label, value) for label, value in table.numbers(c, group, "baseline") if column.improves(value, own)]
                if beaten_by:
                    values = ", ".join(f"{label} {format_cell(value, column)}" for label, value in beaten_by)
                    label = f"{group}, {own_label}" if group else own_label
                    worse.setdefault(label, []).append(f"{column.heading} {format_cell(own, column)} against {values}")
    texts = [f"{table.title}: {label} is worse than a baseline in {'; '.join(scores)}" for label, scores in worse.items()]
    return found + [Finding("failure", text, anchor) for text in texts]


def full_label(row: Row) -> str:
    """The row's name outside of its table."""
    return f"{row.group}, {row.label}" if row.group else row.label


def verdict(findings: tuple[Finding, ...]) -> str:
    """One line: how many failures and warnings, or that there are none."""
    failures, warnings = (sum(finding.level == level for finding in findings) for level in ("failure", "warning"))
    if not failures and not warnings:
        return "Nothing to object: every score beats its baselines and no part was skipped."
    parts = [_count(failures, "failure", "failures")] if failures else ["No failure"]
    return f"{', '.join(parts + ([_count(warnings, 'warning', 'warnings')] if warnings else []))}."


def format_cell(value: Cell, column: Column) -> str:
    """A number with the column's decimals, a count with thin spaces, NaN and infinities by name, an en dash where nothing was measured."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{value:+}"
    return f"{value:.{column.decimals}f}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


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
    """The macro mean over people (each weighs the same) with its 95 % interval, a row a method."""
    columns = (Column("mean over people", "mm", "low", 2), Column("95 % interval", "mm"), Column("people"), Column("videos"), Column("frames"))
    rows = tuple(
        Row(method, (s.macro_mean, f"{s.macro_low:.2f} to {s.macro_high:.2f}", s.people, s.videos, s.frames), "own" if method == own else "baseline")
        for method, s in summaries.items()
    )
    return Table(title, columns, rows, "method", note)
