"""What is wrong with a report's content: found here, so that no stage can forget to say it."""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from serep.benchmark.report_content import LEVELS, SECTIONS, Finding, ReportContent, Table, format_measured, full_label


def all_findings(content: ReportContent) -> tuple[Finding, ...]:
    """What a reader must know, failures first: the stage's own findings, then those that the content itself shows."""
    found = list(content.findings)
    for anchor, section in content.sections().items():
        if not section.tables and not section.figures and anchor != "experiments":  # those are run on demand
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
            for own, value in table.numbers(c, group, "own"):
                beaten_by = [row for row, other in table.numbers(c, group, "baseline") if column.improves(other, value)]
                if beaten_by:
                    against = ", ".join(f"{row.label} {format_measured(row, c, column)}" for row in beaten_by)
                    worse.setdefault(full_label(own), []).append(f"{column.heading} {format_measured(own, c, column)} against {against}")
    texts = [f"{table.title}: {label} is worse than a baseline in {'; '.join(scores)}" for label, scores in worse.items()]
    return found + [Finding("failure", text, anchor) for text in texts]


def mirrored_findings(metrics: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Of the benchmark's metrics: answers of the wrong handedness, which a free alignment would forgive."""
    counts = {name: one["mirrored_frames"] for name, one in metrics["methods"].items() if one["mirrored_frames"]}
    return tuple(Finding("failure", f"{count} of {metrics['frames']} frames of {name} fit better mirrored: the meshes have the wrong handedness", "benchmark")
                 for name, count in counts.items())


def verdict(findings: tuple[Finding, ...]) -> str:
    """One line: how many failures and warnings, or that there are none."""
    failures, warnings = (sum(finding.level == level for finding in findings) for level in ("failure", "warning"))
    if not failures and not warnings:
        return "Nothing to object: every score beats its baselines and no part was skipped."
    parts = [_count(failures, "failure", "failures")] if failures else ["No failure"]
    return f"{', '.join(parts + ([_count(warnings, 'warning', 'warnings')] if warnings else []))}."


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
