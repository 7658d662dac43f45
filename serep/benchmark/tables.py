"""Plain tables of text, as Markdown and as one self-contained HTML page."""
from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import jinja2

ABSENT = "–"


@dataclass(frozen=True)
class TextTable:
    """The first column names the row; cells are text already. `marked` rows are shown in bold, as the result."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    marked: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table '{self.title}' has {len(self.columns)} columns, row '{row[0]}' has {len(row)} cells")


@dataclass(frozen=True)
class Picture:
    file_name: str
    caption: str
    content: bytes


def number(value: float | None, decimals: int = 3) -> str:
    """Fixed decimals; a dash for what does not exist (None, NaN)."""
    return ABSENT if value is None or math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"  # no minus zero


def with_interval(mean: float | None, low: float | None, high: float | None, decimals: int = 3) -> str:
    bounds = [number(bound, decimals) for bound in (low, high)]
    return number(mean, decimals) + (f" [{bounds[0]}, {bounds[1]}]" if ABSENT not in bounds else "")


def markdown(title: str, paragraphs: Sequence[str], tables: Sequence[TextTable], pictures: Sequence[Picture] = (), *, foot: str = "") -> str:
    """The pictures, as links to files beside it, come last."""
    parts = [f"# {title}", *paragraphs]
    for table in tables:
        lines = ["| " + " | ".join(map(_cell, table.columns)) + " |", "|---|" + "---:|" * (len(table.columns) - 1)]
        for index, row in enumerate(table.rows):
            cells = [f"**{_cell(text)}**" if index in table.marked and text else _cell(text) for text in row]
            lines.append("| " + " | ".join(cells) + " |")
        parts += [f"## {table.title}", *([table.note] if table.note else []), "\n".join(lines)]
    parts += [f"![{picture.caption}]({picture.file_name})\n\n{picture.caption}" for picture in pictures]
    return "\n\n".join([*parts, *([foot] if foot else [])]) + "\n"


def html_page(
    title: str, paragraphs: Sequence[str], tables: Sequence[TextTable], pictures: Sequence[Picture] = (), *, warnings: Sequence[str] = (),
    pictures_after: int = 0, foot: str = "",
) -> str:  # fmt: skip
    """Warnings stand out, before all else. The pictures (JPEG), held by the page itself, come after the first `pictures_after` tables."""
    shown = [(picture, "data:image/jpeg;base64," + base64.b64encode(picture.content).decode()) for picture in pictures]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    first, rest = tables[:pictures_after], tables[pictures_after:]
    return environment.from_string(_PAGE).render(title=title, warnings=warnings, paragraphs=paragraphs, first=first, pictures=shown, rest=rest, foot=foot)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
:root { --page: #f6f7f9; --card: #fff; --text: #1c2128; --soft: #59636e; --line: #d8dde3; --own: #eaf3fc; --warning: #c4651a; }
@media (prefers-color-scheme: dark) {
  :root { --page: #12151a; --card: #1b2027; --text: #e4e8ed; --soft: #9aa5b1; --line: #323a44; --own: #1d2f42; --warning: #e08a3c; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.6rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .25rem; }
p { max-width: 80ch; margin: .5rem 0; }
.warning { border-left: 4px solid var(--warning); background: var(--card); padding: .5rem .9rem; }
.note, figcaption, footer { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: 5px 12px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; font-variant-numeric: tabular-nums; }
thead th { color: var(--soft); white-space: normal; vertical-align: bottom; }
tbody tr:last-child > * { border-bottom: 0; }
th:first-child { text-align: left; font-weight: 400; }
thead th:first-child { font-weight: 600; }
tr.marked > * { background: var(--own); font-weight: 600; }
figure { margin: 1.5rem 0; }
figure img { display: block; max-width: 100%; }
</style>
</head>
<body>
{% macro show(table) %}
<h2>{{ table.title }}</h2>
{% if table.note %}
<p class="note">{{ table.note }}</p>
{% endif %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.title }}"><table>
<thead><tr>{% for column in table.columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
<tr{% if loop.index0 in table.marked %} class="marked"{% endif %}><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
<main>
<h1>{{ title }}</h1>
{% for warning in warnings %}
<p class="warning">{{ warning }}</p>
{% endfor %}
{% for paragraph in paragraphs %}
<p>{{ paragraph }}</p>
{% endfor %}
{% for table in first %}{{ show(table) }}{% endfor %}
{% for picture, source in pictures %}
<figure>
<img src="{{ source }}" alt="{{ picture.caption }}">
<figcaption>{{ picture.caption }}</figcaption>
</figure>
{% endfor %}
{% for table in rest %}{{ show(table) }}{% endfor %}
<footer><p>{{ foot }}</p></footer>
</main>
</body>
</html>
"""
