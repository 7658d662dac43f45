"""Sections that are made of the stages' metrics."""
import dataclasses

import numpy as np
import pytest
from report_examples import example_content

from serep.benchmark.report import render_markdown
from serep.benchmark.report_findings import all_findings
from serep.benchmark.report_sections import capture_section


def rows(ours, **others):
    baselines = {name: {"vertex_mm": others.get(name, 2.0)} for name in ("neutral", "mean_expression", "ridge_landmarks")}
    return {"ours": {"vertex_mm": ours, "landmark_pct": 3.0}} | baselines


@pytest.fixture
def examples(rng):
    pictures = {"images": np.full((3, 32, 32, 3), 90, np.uint8), "predicted": rng.uniform(0, 32, (3, 4, 2)), "reference": rng.uniform(0, 32, (3, 4, 2))}
    return pictures | {f"simulated_{name}": values for name, values in pictures.items()}


def shown(metrics, examples):
    content = dataclasses.replace(example_content(), capture=capture_section(metrics, examples, text="Trained on something."))
    return content.capture, render_markdown(content), [finding.text for finding in all_findings(content)]


def test_both_domains_stand_beside_their_baselines(examples):
    metrics = rows(1.0) | {"images": 9, "simulated": rows(1.5) | {"images": 7}, "real": {"faces": 0}}
    section, text, findings = shown(metrics, examples)
    assert [table.title for table in section.tables] == ["Capture on test renders", "Capture in the simulated target domain"]
    assert section.tables[0].note.startswith("9 renders") and section.tables[1].note.startswith("7 renders") and "stand in for photographs" in text
    assert [table.rows[0].values for table in section.tables] == [(1.0, 3.0), (1.5, 3.0)] and len(section.figures) == 2
    assert not findings


def test_a_network_that_fails_in_the_other_domain_is_a_finding(examples):
    metrics = rows(1.0) | {"images": 9, "simulated": rows(2.5, ridge_landmarks=1.2) | {"images": 7}, "real": {"faces": 0}}
    (finding,) = shown(metrics, examples)[2]
    assert finding.startswith("Capture in the simulated target domain: capture network is worse than a baseline") and "neutral 2.000" in finding


def test_real_faces_have_a_table_where_their_landmarks_are_known(examples):
    metrics = rows(1.0) | {"images": 9, "simulated": rows(1.5) | {"images": 7}, "real": {"faces": 5, "landmark_pct": 4.2, "mouth_r": 0.9, "lid_r": None}}
    section, text, _ = shown(metrics, examples)
    assert section.tables[2].rows[0].values == (4.2, 0.9, None) and "5 faces with landmarks of files kept from training" in text
    few = metrics | {"real": {"faces": 2, "landmark_pct": 4.2}}
    assert shown(few, examples)[0].tables[2].rows[0].values == (4.2, None, None)
