"""The report page: complete, offline, escaped, deterministic, and honest about what went wrong."""
import base64
import dataclasses
import hashlib
import re

import pytest
from report_examples import example_content, picture, section, table
from report_page_reader import Page, check_page

from serep.benchmark.report import render_html, render_markdown, with_code, write_report
from serep.benchmark.report_content import SECTIONS, Column, Figure, Finding, ReportContent, Row, Section, Table, Viewer, format_cell
from serep.benchmark.report_findings import all_findings, mirrored_findings, verdict
from serep.benchmark.report_tables import region_table, view_table


@pytest.fixture
def content() -> ReportContent:
    return example_content()


@pytest.fixture
def viewer() -> Viewer:
    return Viewer('{"clips":[]}', Figure(picture("PNG"), "Heads.", "heads"), 0.0123, "Drag to turn.")


def test_links_resolve_and_nothing_is_loaded_from_elsewhere(content, viewer):
    text = render_html(dataclasses.replace(content, quarantined=(("anna", "smile.obj", "NaN"),), viewer=viewer))
    page = Page(text)
    check_page(page, text)
    assert set(SECTIONS) <= set(page.ids)
    assert page.links == ["#quarantine", *(f"#{anchor}" for anchor in SECTIONS)]  # the finding's, then the list of sections
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_the_page_runs_only_its_own_script(content, viewer):
    page = Page(render_html(dataclasses.replace(content, viewer=viewer)))
    assert set(page.scripts) == {"application/json", ""} and page.scripts["application/json"] == viewer.data
    digest = base64.b64encode(hashlib.sha256(page.scripts[""].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.policy and page.policy.startswith("default-src 'none'")
    assert "</" not in page.scripts[""] and "<!--" not in page.scripts[""]


def test_without_a_viewer_there_is_no_trace_of_one(content):
    page = Page(render_html(content))
    assert not page.scripts and "viewer" not in page.ids and "#viewer" not in page.links and "script-src" not in page.policy


def test_the_viewer_has_a_still_picture_and_says_how_exact_it_is(content, viewer):
    text = render_html(dataclasses.replace(content, viewer=viewer))
    start, end = text.index('id="viewer-root"'), text.index('id="viewer-data"')
    assert 'data-state="still"' in text[start:end] and 'alt="heads"' in text[start:end] and "0.013 mm off" in text[start:end]
    assert "<noscript>" in text[start:end]


def test_every_image_decodes(content, viewer):
    page = Page(render_html(dataclasses.replace(content, viewer=viewer)))
    sources = page.sources
    assert len(sources) == 13
    assert page.images == [(4, 4)] * 13


def test_same_content_gives_the_same_bytes(content, viewer, tmp_path):
    content = dataclasses.replace(content, viewer=viewer)
    for name in ("a", "b"):
        write_report(tmp_path / name / "report.html", content)
    for name in ("report.html", "report.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["report.html", "report.md"]


def test_all_text_is_escaped(content):
    bad = "<script>alert('x')</script> a|b & \"c\" `d`"
    content = dataclasses.replace(
        content, title=bad, introduction=bad, date=bad, key_numbers=((bad, bad),), quarantined=((bad, bad, bad),), provenance=((bad, bad),),
        params={bad: bad},
        capture=Section(bad, (Table(bad, (Column(bad, bad),), (Row(bad, (bad,)),), bad, bad),), (Figure(picture("PNG"), bad, bad),)),
        findings=(Finding("note", bad),),
    )  # fmt: skip
    text = render_html(content)
    assert "<script" not in text and text.count("&lt;script&gt;") >= 16
    Page(text)
    markdown = render_markdown(content)
    assert "<script" not in markdown
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if line.startswith("| ") and '"c"' in line]
    assert sorted(bars) == [3, 3, 3, 3, 4]  # key numbers, two of the table, provenance, quarantine: no cell was split


def test_nothing_wrong_is_said_in_one_line(content):
    assert all_findings(content) == ()
    assert "Nothing to object" in render_html(content) and "Nothing to object" in render_markdown(content)


def test_failures_come_first_and_are_found_without_being_told(content):
    content = dataclasses.replace(
        content, semantic=section(table(0.31, 0.2)), renderer_used="numba", adversarial_off="no real images were given",
        quarantined=(("anna", "smile.obj", "NaN in vertex 3"), ("anna", "frown.obj", "other faces")),
        findings=(Finding("note", "A note."), Finding("failure", "Own failure.")),
    )  # fmt: skip
    found = all_findings(content)
    assert [finding.level for finding in found] == ["failure", "failure", "warning", "warning", "warning", "note"]
    texts = [finding.text for finding in found]
    assert texts[0] == "Own failure."
    assert texts[1] == "Unseen people: neural is worse than a baseline in retargeting (mm) 0.310 against displacement PCA 0.200"
    assert "fallback renderer 'numba'" in texts[2] and "no real images were given" in texts[3]
    assert texts[4] == "2 meshes were left out, of 1 person"
    assert verdict(found) == "2 failures, 3 warnings."
    page = render_html(content)
    positions = [page.index(text[:20].replace("'", "&#39;")) for text in texts]
    assert positions == sorted(positions) and positions[-1] < min(page.index(f'id="{anchor}"') for anchor in content.sections())
    assert "NaN in vertex 3" in page


@pytest.mark.parametrize(
    ("better", "own", "baseline", "worse"),
    [("low", 2.0, 1.0, True), ("low", 1.0, 2.0, False), ("high", 1.0, 2.0, True), ("", 9.0, 1.0, False), ("low", 1.0, 1.0, False)],
)
def test_only_scores_are_compared(content, better, own, baseline, worse):
    found = all_findings(dataclasses.replace(content, capture=section(table(own, baseline, better=better))))
    assert bool(found) == worse


def test_what_no_reader_can_see_is_no_difference(content):
    """Equal in the shown decimals: both are best, and nothing is worse. And no minus zero."""
    content = dataclasses.replace(content, semantic=section(table(0.70004, 0.70001)))
    assert all_findings(content) == () and render_html(content).count('<td class="best">0.700</td>') == 2
    assert format_cell(-0.0001, Column("lag", decimals=1)) == "0.0" and format_cell(-0.0001, Column("more", decimals=2, difference=True)) == "+0.00"


def test_nan_is_shown_and_said(content):
    content = dataclasses.replace(content, benchmark=section(table(float("nan"), float("inf"))))
    assert all_findings(content)[0].text == "Unseen people: retargeting is not a number for neural, displacement PCA"
    beside = dataclasses.replace(content, benchmark=section(table(0.1, float("nan"))))
    assert [finding.level for finding in all_findings(beside)] == ["warning"]  # a baseline may have no score, what is released may not
    page = render_html(content)
    assert '<td class="broken">NaN</td>' in page and '<td class="broken">+inf</td>' in page
    assert "| neural | NaN | 12 |" in render_markdown(content)


def test_a_score_that_was_not_measured_is_said(content):
    content = dataclasses.replace(content, capture=section(table(None, 0.3)))
    assert [finding.text for finding in all_findings(content)] == ["Unseen people: retargeting was not measured for neural"]
    assert "| neural | – | 12 |" in render_markdown(content)


def test_an_empty_section_is_a_failure(content):
    found = all_findings(dataclasses.replace(content, capture=Section("Nothing here.")))
    assert [(finding.level, finding.where) for finding in found] == [("failure", "capture")]


def test_best_value_is_marked_only_among_what_competes(content):
    page = render_html(dataclasses.replace(content, semantic=section(table(0.25, 0.3))))
    assert '<td class="best">0.250</td>' in page and '<td class="best">0.300</td>' not in page and '<td class="best">0.000</td>' not in page


def test_groups_are_compared_with_themselves(content):
    columns = (Column("mouth", "mm", "low"),)
    rows = (Row("own", (2.0,), "own", "Frontal"), Row("neutral", (3.0,), "baseline", "Frontal"),
            Row("own", (4.0,), "own", "Profile"), Row("neutral", (3.5,), "baseline", "Profile"))  # fmt: skip
    content = dataclasses.replace(content, benchmark=section(Table("Views", columns, rows)))
    (finding,) = all_findings(content)
    assert finding.text == "Views: Profile, own is worse than a baseline in mouth (mm) 4.000 against neutral 3.500"
    assert '<td class="best">2.000</td>' in render_html(content) and "| Profile, own | 4.000 |" in render_markdown(content)


def benchmark_scores(mean, *, apart=None, people=2):
    """Of one method: the same mean everywhere, and an interval around it where there are several people."""
    low, high = (mean - 0.1, mean + 0.1) if people > 1 else (None, None)
    part = {"mean": mean, "low": low, "high": high}
    scores = {"macro_mean_mm": mean, "interval_mm": [low, high], "macro_regions_mm": {"mouth": part, "eyes_forehead": part},
              "macro_views_mm": {"Frontal": part, "Profile": part}, "jitter_ratio": 0.5, "lag_frames": None}  # fmt: skip
    return scores if apart is None else scores | {"more_than_own": {"mean_mm": apart, "interval_mm": [apart - 0.3, apart + 0.3] if people > 1 else [None, None],
                                                            "p_value": 0.25}}


def test_tables_of_the_benchmark(content):
    methods = {"capture": benchmark_scores(1.0), "linear 3DMM": benchmark_scores(1.2, apart=0.2), "neutral": benchmark_scores(2.0, apart=1.0),
               "true codes": benchmark_scores(0.1, apart=-0.9)}  # fmt: skip
    roles = {"capture": "own", "linear 3DMM": "baseline", "neutral": "baseline", "true codes": ""}
    regions, views = region_table(methods, own="capture", roles=roles, note="n"), view_table(methods, own="capture", roles=roles)
    assert [column.heading for column in regions.columns] == ["mouth (mm)", "eyes forehead (mm)", "all (mm)", "more than capture (mm)", "p",
                                                             "jitter (of the truth's)", "lag (frames)"]  # fmt: skip
    assert regions.rows[0].values == (1.0, 1.0, 1.0, None, None, 0.5, None) and regions.rows[0].intervals == (*[(0.9, 1.1)] * 3, *[None] * 4)
    assert [column.name for column in views.columns] == ["Frontal", "Profile"] and views.rows[2].values == (2.0, 2.0) and "bootstrap over people" in views.intervals
    content = dataclasses.replace(content, benchmark=Section("", (regions, views)))
    assert all_findings(content) == ()
    page = render_html(content)
    assert '<td class="noise">+0.20<small>-0.10 to +0.50, noise</small></td>' in page and "<td>+1.00<small>+0.70 to +1.30</small></td>" in page
    worse = region_table(methods | {"neutral": benchmark_scores(0.8, apart=-0.2)}, own="capture", roles=roles, note="n")
    (finding,) = all_findings(dataclasses.replace(content, benchmark=section(worse)))
    assert finding.level == "failure" and "capture is worse than a baseline in mouth (mm)" in finding.text and "true codes" not in finding.text


def test_one_person_gives_a_table_without_intervals():
    methods = {"capture": benchmark_scores(1.0, people=1), "neutral": benchmark_scores(2.0, apart=1.0, people=1)}
    table = region_table(methods, own="capture", roles={"capture": "own", "neutral": "baseline"}, note="")
    assert not any(row.intervals for row in table.rows) and not table.intervals and table.rows[1].values[3] == 1.0


def test_a_mirrored_answer_is_a_failure():
    assert mirrored_findings({"methods": {"capture": {"mirrored_frames": 0}}, "frames": 90}) == ()
    (finding,) = mirrored_findings({"methods": {"capture": {"mirrored_frames": 7}, "neutral": {"mirrored_frames": 0}}, "frames": 90})
    assert finding.level == "failure" and finding.where == "benchmark" and "7 of 90 frames of capture fit better mirrored" in finding.text


MEASURED = Table(
    "Views", (Column("mouth", "mm", "low", 2), Column("against neutral", "mm", decimals=2, difference=True), Column("people")),
    (Row("own", (0.8, -0.034, 4), "own", intervals=((0.75, 0.85), (-0.09, 0.02), None)),
     Row("neutral", (0.83, None, 4), "baseline", intervals=((0.81, 0.87), None, None)),
     Row("mean", (0.7, 0.41, 4), "baseline", intervals=((0.6, 0.72), (0.3, 0.52), None))),
    "method", "Four people.", "Small: 95 % intervals.")  # fmt: skip


def test_intervals_stand_under_their_values(content):
    content = dataclasses.replace(content, benchmark=section(MEASURED))
    page = render_html(content)
    Page(page)
    assert "<td>0.80<small>0.75 to 0.85</small></td>" in page and '<td class="best">0.70<small>0.60 to 0.72</small></td>' in page
    assert '<td class="noise">-0.03<small>-0.09 to +0.02, noise</small></td>' in page and "<td>+0.41<small>+0.30 to +0.52</small></td>" in page
    assert "Four people. Small: 95 % intervals." in page and "<td>–</td>" in page and "<td>4</td>" in page
    assert "| own | 0.80 (0.75 to 0.85) | -0.03 (-0.09 to +0.02, noise) | 4 |" in render_markdown(content)
    (finding,) = all_findings(content)
    assert finding.text == "Views: own is worse than a baseline in mouth (mm) 0.80 (0.75 to 0.85) against mean 0.70 (0.60 to 0.72)"


def test_groups_of_one_row_need_no_lines_of_their_own(content):
    rows = tuple(Row("neural", (0.1 * seed,), "", f"seed {seed}") for seed in range(3))
    text = render_html(dataclasses.replace(content, experiments=section(Table("Seeds", (Column("error"),), rows))))
    assert '<th scope="row">seed 1<small>neural</small></th>' in text and "rowgroup" not in text
    several = Table("Seeds", (Column("error"),), (*rows, Row("linear", (0.5,), "", "seed 0")))
    text = render_html(dataclasses.replace(content, experiments=section(several)))
    assert text.count("rowgroup") == 3 and '<th scope="row">linear</th>' in text


def test_baselines_are_named_as_such(content):
    text = render_html(content)
    assert '<th scope="row">displacement PCA <span class="tag">baseline</span></th>' in text and '<th scope="row">floor</th>' in text


def test_backticks_are_code():
    assert with_code("run `make a<b` now") == "run <code>make a&lt;b</code> now"
    assert with_code("one ` is <none>") == "one ` is &lt;none&gt;"


def test_counts_and_parameters_are_readable(content):
    wide = Table("t", (Column("frames"),), (Row("all", (49641,)),))
    page = render_html(dataclasses.replace(content, data=section(wide)))
    assert "49\u202f641" in page and "semantic.code_size" in page


def test_bad_content_is_refused_by_name(tmp_path, content):
    with pytest.raises(ValueError, match="row 'a': 1 values for 2 columns"):
        Table("t", (Column("x"), Column("y")), (Row("a", (1.0,)),))
    with pytest.raises(ValueError, match="neither PNG nor JPEG"):
        Figure(b"GIF89a", "caption", "alternative")
    with pytest.raises(ValueError, match="no section 'nowhere'"):
        Finding("note", "text", "nowhere")
    with pytest.raises(ValueError, match="better must be 'low', 'high' or ''"):
        Column("x", better="up")
    with pytest.raises(ValueError, match="role must be"):
        Row("x", (), role="ours")
    with pytest.raises(ValueError, match="0 is the other method, so no end of it can be better"):
        Column("x", better="low", difference=True)
    with pytest.raises(ValueError, match="row 'a': 1 intervals for 2 values"):
        Row("a", (1.0, 2.0), intervals=((0.0, 1.0),))
    for value, interval in ((1.0, (2.0, 0.0)), (1.0, (float("nan"), 1.0)), (None, (0.0, 1.0)), ("text", (0.0, 1.0))):
        with pytest.raises(ValueError, match="must run from low to high around a number. Give None where it was not measured"):
            Row("a", (value,), intervals=(interval,))
    for intervals, sentence in (((), "95 %"), (((0.0, 1.0),), "")):
        with pytest.raises(ValueError, match="rows with intervals need a sentence in `intervals` that says what they are"):
            Table("t", (Column("x"),), (Row("a", (1.0,), intervals=intervals),), intervals=sentence)
    with pytest.raises(ValueError, match=r"\.html file"):
        write_report(tmp_path / "report.pdf", content)


def test_a_page_too_big_is_warned_about(content, tmp_path, caplog):
    huge = Figure(picture("PNG") + bytes(7_000_000), "Huge.", "huge")
    write_report(tmp_path / "report.html", dataclasses.replace(content, data=Section("", (), (huge,))))
    assert "hand over fewer or smaller figures" in caplog.text
