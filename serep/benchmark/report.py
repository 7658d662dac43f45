"""The report page: one self-contained HTML file of plain data (tables, pictures, provenance), and the same tables as Markdown beside it.

The same content gives the same bytes: no clock, no random ids. Nothing is loaded from elsewhere.
"""
from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from serep.benchmark.report_content import SECTIONS, ReportContent, format_cell, format_interval, format_measured, full_label, is_noise
from serep.benchmark.report_findings import all_findings, verdict
from serep.benchmark.report_page import PAGE
from serep.benchmark.report_style import STYLE
from serep.files import write_file

logger = logging.getLogger(__name__)

PAGE_LIMIT_BYTES = 8_000_000
VIEWER_SCRIPT = "viewer.js"


def flat_params(params: Mapping, prefix: str = "") -> list[tuple[str, str]]:
    """Nested parameters as (dotted name, value) rows."""
    rows: list[tuple[str, str]] = []
    for key, value in params.items():
        name = f"{prefix}{key}"
        rows += flat_params(value, f"{name}.") if isinstance(value, Mapping) else [(name, str(value))]
    return rows


def with_code(text: str) -> Markup:
    """Escaped text in which what stands between backticks is code."""
    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts))


def render_html(content: ReportContent) -> str:
    """The whole page as text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["with_code"] = with_code
    findings = all_findings(content)
    script = files("serep.benchmark").joinpath(VIEWER_SCRIPT).read_text(encoding="utf-8").rstrip("\n") if content.viewer else ""
    return environment.from_string(PAGE).render(
        content=content,
        style=Markup(STYLE),
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}" if script else "",
        viewer_data=Markup(content.viewer.data) if content.viewer else "",
        headings=content.headings(),
        sections=content.sections(),
        findings=findings,
        verdict=verdict(findings),
        worst=findings[0].level if findings else "none",
        folded=(
            ("Licences", content.licences),
            ("Data hashes", content.data_hashes),
            ("Library versions", content.versions),
            ("Parameters", flat_params(content.params)),
        ),
        format_cell=format_cell,
        format_interval=format_interval,
        is_noise=is_noise,
    )


def render_markdown(content: ReportContent) -> str:
    """The findings and tables without the pictures."""
    findings = all_findings(content)
    lines = [f"# {_escape(content.title)}", "", _escape(content.introduction), "", f"**{_escape(verdict(findings))}**", ""]
    lines += [f"- {finding.level}: {_escape(finding.text)}" for finding in findings] + [""]
    lines += _markdown_rows(("", ""), content.key_numbers)
    for anchor, section in content.sections().items():
        lines += [f"## {SECTIONS[anchor]}", ""] + ([_escape(section.text), ""] if section.text else [])
        for table in section.tables:
            rows = [(full_label(row), *(format_measured(row, c, column) for c, column in enumerate(table.columns))) for row in table.rows]
            lines += [f"### {_escape(table.title)}", ""] + ([_escape(f"{table.note} {table.intervals}"), ""] if table.note or table.intervals else [])
            lines += _markdown_rows((table.first_heading, *(column.heading for column in table.columns)), rows)
    lines += [f"## {SECTIONS['quarantine']}", "", *_markdown_rows(("subject", "file", "reason"), content.quarantined)]
    lines += [f"## {SECTIONS['provenance']}", ""]
    for rows in (content.provenance, content.data_hashes, content.versions, content.licences):
        lines += _markdown_rows(("", ""), rows)
    return "\n".join(lines).rstrip("\n") + "\n"


def _markdown_rows(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return ["None.", ""]
    lines = ["| " + " | ".join(_escape(cell) for cell in row) + " |" for row in (headings, *rows)]
    return [lines[0], "|" + " --- |" * len(headings), *lines[1:], ""]


def _escape(text: str) -> str:
    """Text that Markdown and the HTML inside it leave alone, on one line."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}" if character not in "<>" else {"<": "&lt;", ">": "&gt;"}[character])
    return " ".join(text.split())


def write_report(path: Path, content: ReportContent) -> None:
    """Write the page to `path` (.html) and its tables to the same name with .md; each appears only when complete."""
    if path.suffix != ".html":
        raise ValueError(f"the report is written to an .html file (its tables to .md beside it), got {path}")
    for target, text in ((path, render_html(content)), (path.with_suffix(".md"), render_markdown(content))):
        data = text.encode("utf-8")
        if len(data) > PAGE_LIMIT_BYTES:
            sizes = len(data) / 1e6, PAGE_LIMIT_BYTES / 1e6
            logger.warning("%s takes %.1f MB (meant to stay below %.0f): hand over fewer or smaller figures", target, *sizes)
        write_file(target, data)
