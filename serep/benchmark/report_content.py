"""What the report says, as plain frozen data. What is wrong with it is found in `report_findings`."""
from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

LEVELS = ("failure", "warning", "note")
IMAGE_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

Cell = float | int | str | None
Interval = tuple[float, float]


@dataclass(frozen=True)
class Column:
    """A column of numbers. `better`: "low", "high" or "" (not a score: never compared, never marked best).

    `difference`: each value is what its row's method has more than another one on the same people or frames. It is shown with its sign, and is
    called noise where its interval holds 0.
    """

    name: str
    unit: str = ""
    better: str = ""
    decimals: int = 3
    difference: bool = False

    def __post_init__(self) -> None:
        if self.better not in ("low", "high", ""):
            raise ValueError(f"column '{self.name}': better must be 'low', 'high' or '', got '{self.better}'")
        if self.better and self.difference:
            raise ValueError(f"column '{self.name}' is a difference: 0 is the other method, so no end of it can be better. Leave better empty")

    @property
    def heading(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def improves(self, value: float, over: float) -> bool:
        """Whether a reader can see that it is better: what the shown decimals hide is no difference."""
        value, over = round(value, self.decimals), round(over, self.decimals)
        return value < over if self.better == "low" else value > over


@dataclass(frozen=True)
class Row:
    """A row of a table. `role`: "own" (what is released), "baseline" (own must beat it), "" (shown only: a floor, another setting).

    Rows of one `group` (a view, a split) stand together under its name and are compared with each other only.
    A value of None was not measured ("–"); a NaN was measured and went wrong, and the report says so.
    `intervals`: (low, high) of each value, None where there is none; empty when no value has one.
    """

    label: str
    values: tuple[Cell, ...]
    role: str = ""
    group: str = ""
    intervals: tuple[Interval | None, ...] = ()

    def __post_init__(self) -> None:
        if self.role not in ("own", "baseline", ""):
            raise ValueError(f"row '{self.label}': role must be 'own', 'baseline' or '', got '{self.role}'")
        if self.intervals and len(self.intervals) != len(self.values):
            raise ValueError(f"row '{self.label}': {len(self.intervals)} intervals for {len(self.values)} values; give one each (or None), or none at all")
        for value, interval in zip(self.values, self.intervals, strict=False):
            if interval is not None and (isinstance(value, str) or value is None or not interval[0] <= interval[1]):
                raise ValueError(f"row '{self.label}': the interval {interval} of the value {value!r} must run from low to high around a number. "
                                 "Give None where it was not measured")

    def interval(self, column: int) -> Interval | None:
        return self.intervals[column] if self.intervals else None


@dataclass(frozen=True)
class Table:
    """Rows of numbers under named columns; `note` says what was measured on how many people and frames, `intervals` what the rows' intervals are."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    first_heading: str = ""
    note: str = ""
    intervals: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(f"table '{self.title}', row '{row.label}': {len(row.values)} values for {len(self.columns)} columns")
        if any(any(row.intervals) for row in self.rows) != bool(self.intervals):
            raise ValueError(f"table '{self.title}': rows with intervals need a sentence in `intervals` that says what they are, rows without need none")

    def groups(self) -> list[tuple[str, list[Row]]]:
        """The rows by group, both in the order given."""
        names = dict.fromkeys(row.group for row in self.rows)
        return [(name, [row for row in self.rows if row.group == name]) for name in names]

    def is_flat(self) -> bool:
        """Several groups of one row each: their names can be the rows' labels."""
        groups = self.groups()
        return len(groups) > 1 and all(name and len(rows) == 1 for name, rows in groups)

    def numbers(self, column: int, group: str, role: str) -> list[tuple[Row, float]]:
        """The rows of this group and role that have a finite number there, and that number."""
        pairs = [(row, row.values[column]) for row in self.rows if row.role == role and row.group == group]
        return [(row, float(value)) for row, value in pairs if isinstance(value, int | float) and math.isfinite(value)]

    def best(self, column: int, group: str) -> float | None:
        """The best of the group's own and baseline rows, as it is shown, where there are at least two to compare."""
        values = [value for role in ("own", "baseline") for _, value in self.numbers(column, group, role)]
        if not self.columns[column].better or len(values) < 2:
            return None
        return round(min(values) if self.columns[column].better == "low" else max(values), self.columns[column].decimals)


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

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px, so that a page keeps the place before the picture is decoded."""
        return Image.open(io.BytesIO(self.image)).size


@dataclass(frozen=True)
class Viewer:
    """Heads that move in the page: `data` as `report_viewer` packs them (JSON), and a still picture for where no script or WebGL runs.

    accuracy: mm by which a packed vertex is off at most.
    """

    data: str
    still: Figure
    accuracy: float
    text: str = ""


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


# Anchor (and field of ReportContent) -> heading, in the order of the page: results, then what they were made from.
SECTIONS = {
    "viewer": "The posed target in 3D",
    "semantic": "Semantic expression model",
    "capture": "Capture model",
    "benchmark": "Benchmark by region and view",
    "experiments": "Experiments",
    "data": "Data and rendered images",
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
    findings: what the stage knows beyond what the report finds by itself (see `report_findings.all_findings`).
    provenance, versions, licences, data_hashes: (name, value) in the order to be shown.
    params: the resolved parameters, nested mappings.
    viewer: heads that move; without it the page has no such section.
    date: shown as given, nothing when "".
    """

    title: str
    introduction: str
    key_numbers: tuple[tuple[str, str], ...]
    data: Section
    semantic: Section
    capture: Section
    benchmark: Section
    experiments: Section
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
    viewer: Viewer | None = None

    def sections(self) -> dict[str, Section]:
        """The sections made of tables and figures, by anchor."""
        return {anchor: getattr(self, anchor) for anchor in SECTIONS if anchor not in ("viewer", "quarantine", "provenance")}

    def headings(self) -> dict[str, str]:
        """What the page has, in its order."""
        return {anchor: heading for anchor, heading in SECTIONS.items() if anchor != "viewer" or self.viewer}


def full_label(row: Row) -> str:
    """The row's name outside of its table."""
    return f"{row.group}, {row.label}" if row.group else row.label


def format_cell(value: Cell, column: Column) -> str:
    """A number with the column's decimals, a count with thin spaces, NaN and infinities by name, an en dash where nothing was measured.

    Differences have their sign.
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{value:+}"
    return f"{round(value, column.decimals) + 0.0:{'+' if column.difference else ''}.{column.decimals}f}"  # no minus zero


def format_interval(interval: Interval | None, column: Column) -> str:
    """`low to high`, and of a difference whether 0 lies between; "" where there is none."""
    if interval is None:
        return ""
    text = " to ".join(format_cell(float(bound), column) for bound in interval)
    return f"{text}, noise" if is_noise(interval, column) else text


def is_noise(interval: Interval | None, column: Column) -> bool:
    """A difference whose interval holds 0."""
    return column.difference and interval is not None and interval[0] <= 0 <= interval[1]


def format_measured(row: Row, index: int, column: Column) -> str:
    """The value with its interval, for where there is one line."""
    value, interval = format_cell(row.values[index], column), format_interval(row.interval(index), column)
    return f"{value} ({interval})" if interval else value
