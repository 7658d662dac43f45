"""The experiments' tables: kinds of models by variant, and metrics over seeds."""
import dataclasses

import pytest
from report_examples import example_content

from serep.benchmark.report import render_html, render_markdown
from serep.benchmark.report_experiments import experiments_section, metric_of

CODES = {"score_semantic": "aa", "score_capture": "bb"}
SEMANTIC = {"reconstruction_mm": 0.1, "retargeting_mm": 0.2, "identity_leak": 0.0, "identity_leak_per_number": 0.0, "neutral_leak_mm": 0.0, "code_cycle": 0.0}


def capture_result(values, *, real=None, **changes):
    """Label -> values of the seeds."""
    variants = [{"label": label, "seed": seed, "scores": {"simulated": {"ours": {"vertex_mm": value}}, "real": {} if real is None else {"landmark_pct": real}}}
                for label, of_seeds in values.items() for seed, value in enumerate(of_seeds)]
    table = [{"name": "simulated domain", "unit": "mm", "metric": "simulated.ours.vertex_mm", "decimals": 2},
             {"name": "real", "unit": "%", "metric": "real.landmark_pct", "decimals": 1}]
    return {"title": "Adaptation", "note": "A note.", "target": "score_capture", "table": table, "variants": variants, "code": "bb", "commit": "c0ffee"} | changes


def test_nothing_run_says_what_runs_it():
    section = experiments_section({}, codes=CODES)
    assert "make experiment NAME=cycle" in section.text and not section.tables


def test_kinds_by_variant_as_before():
    result = {"title": "Size", "note": "All kinds.", "variants": [{"label": "16", "scores": {"neural": SEMANTIC}}], "code": "old", "commit": "c0ffee"}
    (table,) = experiments_section({"size": result}, codes=CODES).tables
    assert table.rows[0].label == "neural" and table.rows[0].group == "16" and table.rows[0].values[:2] == (0.1, 0.2)
    assert table.note.startswith("All kinds. Measured at c0ffee, with other code") and "NAME=size" in table.note


def test_means_over_seeds_and_differences_against_their_spread():
    result = capture_result({"none": [2.0, 2.2, 2.1], "small": [1.95, 2.15, 2.05], "large": [1.5, 1.4, 1.6]})
    means, differences = experiments_section({"adaptation": result}, codes=CODES).tables
    assert [column.name for column in means.columns] == ["simulated domain"]  # nothing real was measured
    assert [row.label for row in means.rows] == ["none", "small", "large"]
    assert means.rows[0].values[0] == pytest.approx(2.1) and means.rows[0].intervals == ((2.0, 2.2),) and "seeds" in means.intervals
    assert means.note == "A note."
    small, large = differences.rows
    assert small.values[0] == pytest.approx(-0.05) and small.intervals[0] == pytest.approx((-0.25, 0.15))
    assert large.values[0] == pytest.approx(-0.6) and large.intervals[0] == pytest.approx((-0.8, -0.4))
    assert differences.title == 'Adaptation: against "none"'
    content = dataclasses.replace(example_content(), experiments=experiments_section({"adaptation": result}, codes=CODES))
    page, text = render_html(content), render_markdown(content)
    assert page.count('class="noise"') == 1 and "-0.05 (-0.25 to +0.15, noise)" in text and "-0.60 (-0.80 to -0.40)" in text


def test_one_seed_gives_one_table_without_intervals():
    result = capture_result({"none": [2.0], "large": [1.5]}, real=4.0)
    (table,) = experiments_section({"adaptation": result}, codes=CODES).tables
    assert table.rows[1].values == (1.5, 4.0) and not table.intervals and not any(any(row.intervals) for row in table.rows)


def test_other_code_is_said_of_the_stage_that_scored():
    tables = experiments_section({"adaptation": capture_result({"none": [2.0]}, code="aa")}, codes=CODES).tables
    assert "with other code" in tables[0].note


def test_a_metric_that_is_not_there():
    scores = {"ours": {"vertex_mm": 1, "bad": None}}
    assert metric_of(scores, "ours.vertex_mm") == 1.0
    assert metric_of(scores, "ours.bad") is None and metric_of(scores, "ours.vertex_mm.deeper") is None and metric_of(scores, "theirs") is None
