"""The report page: complete, offline, escaped, deterministic, and honest about what went wrong."""
import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from serep.benchmark.multirex import VideoScore, summarise
from serep.benchmark.report import render_html, render_markdown, write_report
from serep.benchmark.report_content import (
    SECTIONS,
    Column,
    Figure,
    Finding,
    ReportContent,
    Row,
    Section,
    Table,
    all_findings,
    benchmark_table,
    people_table,
    verdict,
)


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(buffer, format=kind)
    return buffer.getvalue()


def table(own: float | None, baseline: float | None, *, better: str = "low") -> Table:
    columns = (Column("retargeting", "mm", better), Column("people", decimals=0))
    rows = (Row("neural", (own, 12), "own"), Row("displacement PCA", (baseline, 12), "baseline"), Row("floor", (0.0, 12)))
    return Table("Unseen people", columns, rows, "model")


def section(one: Table | None = None) -> Section:
    figures = (Figure(picture("PNG"), "A chart.", "curve going down"), Figure(picture("JPEG"), "Faces.", "faces"))
    return Section("What is shown.", (one or table(0.2, 0.3),), figures)


@pytest.fixture
def content() -> ReportContent:
    return ReportContent(
        title="Semantic facial capture", introduction="What this is.", key_numbers=(("people", "80"), ("retargeting", "0.20 mm")),
        data=section(), semantic=section(), capture=section(), benchmark=section(), training=section(),
        renderer_requested="pyrender", renderer_used="pyrender", adversarial_off="", quarantined=(),
        provenance=(("git commit", "0123abc"), ("dvc.lock", "md5 9f"), ("renderer", "pyrender, Mesa")), versions=(("numpy", "2.4"),),
        licences=(("heads", "CC0"),), data_hashes=(("data/heads", "md5 aa"),), params={"seed": 1, "semantic": {"code_size": 64}},
    )  # fmt: skip


class Page(HTMLParser):
    """Collects what the page links to and loads."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.sources, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if "href" in attributes else []
        self.sources += [attributes["src"]] if "src" in attributes else []
        assert tag not in ("script", "iframe", "link", "object", "embed")
        if tag == "img":
            assert attributes["alt"]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_links_resolve_and_nothing_is_loaded_from_elsewhere(content):
    text = render_html(dataclasses.replace(content, quarantined=(("anna", "smile.obj", "NaN"),)))
    page = Page(text)
    assert not page.open
    assert len(set(page.ids)) == len(page.ids) and set(SECTIONS) <= set(page.ids)
    assert page.links and all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text


def test_every_image_decodes(content):
    sources = Page(render_html(content)).sources
    assert len(sources) == 10
    for source in sources:
        kind, data = source.removeprefix("data:image/").split(";base64,")
        image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        assert image.format.lower() == kind and image.size == (4, 4)


def test_same_content_gives_the_same_bytes(content, tmp_path):
    for name in ("a", "b"):
        write_report(tmp_path / name / "report.html", content)
    for name in ("report.html", "report.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["report.html", "report.md"]


def test_all_text_is_escaped(content):
    bad = "<script>alert('x')</script> a|b & \"c\""
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
    assert positions == sorted(positions) and positions[-1] < page.index('id="data"')
    assert "NaN in vertex 3" in page


@pytest.mark.parametrize(
    ("better", "own", "baseline", "worse"),
    [("low", 2.0, 1.0, True), ("low", 1.0, 2.0, False), ("high", 1.0, 2.0, True), ("", 9.0, 1.0, False), ("low", 1.0, 1.0, False)],
)
def test_only_scores_are_compared(content, better, own, baseline, worse):
    found = all_findings(dataclasses.replace(content, capture=section(table(own, baseline, better=better))))
    assert bool(found) == worse


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


def test_tables_of_the_benchmark(content, rng):
    views, regions = {"Frontal": ("front",), "Angled": ("side",)}, ("mouth", "eyes_forehead")
    summaries = {}
    for method, error in (("capture", 1.0), ("neutral", 2.0)):
        scores = [VideoScore(person, camera, np.full((3, 2), error)) for person in ("a", "b") for camera in ("front", "side")]
        summaries[method] = summarise(scores, regions, views=views, resamples=50, rng=rng)
    table, people = (make("Views", summaries, own="capture", note="n") for make in (benchmark_table, people_table))
    assert [column.heading for column in table.columns] == ["mouth (mm)", "eyes forehead (mm)", "mean (mm)", "frames", "people"]
    assert [(row.group, row.label, row.role) for row in table.rows[:2]] == [("Frontal", "capture", "own"), ("Frontal", "neutral", "baseline")]
    assert table.rows[0].values == (1.0, 1.0, 1.0, 6, 2) and table.rows[-1].values == (2.0, 2.0, 2.0, 12, 2)
    assert people.rows[1].values == (2.0, "2.00 to 2.00", 2, 4, 12)
    assert all_findings(dataclasses.replace(content, benchmark=Section("", (table, people)))) == ()


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
    with pytest.raises(ValueError, match=r"\.html file"):
        write_report(tmp_path / "report.pdf", content)


def test_a_page_too_big_is_warned_about(content, tmp_path, caplog):
    huge = Figure(picture("PNG") + bytes(7_000_000), "Huge.", "huge")
    write_report(tmp_path / "report.html", dataclasses.replace(content, data=Section("", (), (huge,))))
    assert "hand over fewer or smaller figures" in caplog.text
