"""The report page in a real browser, at the width of a desk and of a phone: it fits, and its 3D view shows what it was given."""
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import Tab, find_browser
from report_examples import example_clip, example_content, section

from serep.benchmark.report import render_html
from serep.benchmark.report_content import Column, Row, Table
from serep.benchmark.report_viewer import make_viewer

SIZES = {"desk": {"width": 1280, "height": 1000}, "phone": {"width": 390, "height": 844, "phone": True}}
# What the tests ask of the page. `look` draws anew and gives for each shown head the share of its pixels that are drawn, and that are the bright end
# of the error colours; the view's picture lasts only until the frame in which it was drawn ends.
EYES = """
const part = (name) => document.querySelector(`[data-part="${name}"]`), root = document.getElementById("viewer-root");
const cells = () => [...part("cells").children].filter((cell) => !cell.hidden);
const change = (name, value) => { part(name).value = value; part(name).dispatchEvent(new Event(name === "frame" ? "input" : "change")); };
const told = () => ({ frame: Number(root.dataset.frame), where: part("where").textContent, texts: cells().map((cell) => cell.lastChild.textContent),
  heads: cells().map((cell) => cell.querySelector("b").textContent) });
const settled = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));  // nothing left to draw
async function look() {
  await settled();
  const canvas = part("canvas"), copy = document.createElement("canvas"), context = copy.getContext("2d");
  part("limit").dispatchEvent(new Event("change"));
  await new Promise((done) => requestAnimationFrame(done));
  [copy.width, copy.height] = [canvas.width, canvas.height];
  context.drawImage(canvas, 0, 0);
  const data = context.getImageData(0, 0, copy.width, copy.height).data, edge = canvas.getBoundingClientRect();
  return cells().map((cell) => {
    const box = cell.getBoundingClientRect(), left = Math.round(box.left - edge.left), top = Math.round(box.top - edge.top);
    let drawn = 0, bright = 0, sum = 0, count = 0;
    for (let y = top; y < top + Math.floor(box.height); y++) for (let x = left; x < left + Math.floor(box.width); x++) {
      const at = 4 * (y * copy.width + x), [red, , blue, cover] = data.subarray(at, at + 4);
      count++; drawn += cover > 0; bright += red > 150 && blue < 110 && cover > 0; sum += red * ((x * 31 + y * 17) % 101);
    }
    return { drawn: drawn / count, bright: bright / count, sum };
  });
}
"""
LAYOUT = """(() => {
  const shown = [...document.querySelectorAll("body *")].filter((element) => element.getClientRects().length);
  const inside = (element) => element.parentElement.closest(".scroll, .stage") !== null;
  const texts = shown.filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
  return {
    state: root.dataset.state, message: part("message").textContent, width: document.documentElement.scrollWidth,
    elements: document.getElementsByTagName("*").length,
    outside: shown.filter((one) => !inside(one) && one.getBoundingClientRect().right > innerWidth + 0.5).map((one) => one.outerHTML.slice(0, 90)),
    smallest: Math.min(...texts.map((element) => parseFloat(getComputedStyle(element).fontSize))),
    low: [...document.querySelectorAll("button, select")].filter((element) => element.getClientRects().length && element.offsetHeight < 36).length,
    still: document.querySelector("#viewer-root figure").getClientRects().length,
  };
})()"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on this machine to look at the page with")
    with Tab(browser, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def clip(topology):
    return example_clip(topology)


@pytest.fixture(scope="module")
def page(clip, topology):
    viewer = make_viewer([clip, example_clip(topology, film=True, name="capture")], topology, limit=1.0, tolerance=0.005, budget_bytes=3_000_000)
    wide = Table("A wide table", tuple(Column(f"quantity number {n}", "mm", "low") for n in range(14)), (Row("a model with a long name", (0.5,) * 14),))
    params = {"semantic": {"path": "data/" + "very_long_folder_name/" * 12}}
    return render_html(example_content(viewer=viewer, semantic=section(wide), params=params, date="a date",
                                       provenance=(("origin", "x" * 300),), quarantined=(("anna", "folder/" * 30 + "smile.obj", "NaN " * 40),)))  # fmt: skip


@pytest.fixture
def show(tab, page, tmp_path):
    """Opens the page in the tab, until the 3D view is there or has given up."""

    def show(size: str, **options) -> Tab:
        (tmp_path / "index.html").write_text(page)
        tab.open(tmp_path / "index.html", **SIZES[size], **options)
        tab.run(EYES)
        deadline = time.monotonic() + 60
        while not tab.run("root.dataset.frame !== undefined || part('message').textContent !== ''") and time.monotonic() < deadline:
            time.sleep(0.05)
        return tab

    return show


def middle(tab: Tab) -> tuple[float, float]:
    tab.run("part('canvas').scrollIntoView({block: 'center'})")
    box = tab.run("(({left, top, width, height}) => ({left, top, width, height}))(part('canvas').getBoundingClientRect())")
    return box["left"] + box["width"] / 2, box["top"] + box["height"] / 2


def sums(seen: list[dict]) -> list[int]:
    return [cell["sum"] for cell in seen]


def expected_errors(clip, topology, frame: int) -> list[str]:
    distances = [np.linalg.norm(head.vertices[frame] - clip.truth.vertices[frame], axis=1)[topology.regions["face"] > 0.5] for head in clip.heads[1:3]]
    return ["", *(f"mean {values.mean():.2f}, worst {values.max():.2f} mm" for values in distances), ""]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_and_can_be_read(show, size, scheme):
    tab = show(size, prefers_color_scheme=scheme)
    found = tab.run(LAYOUT)
    assert found["state"] == "ready" and found["message"] == "" and found["still"] == 0
    assert found["width"] == SIZES[size]["width"] and found["outside"] == []
    assert found["smallest"] >= 11 and found["low"] == 0
    back, front = tab.run("['backgroundColor', 'color'].map((name) => Number(getComputedStyle(document.body)[name].match(/\\d+/)[0]))")
    assert (back - front > 150) == (scheme == "light") and abs(back - front) > 150


def test_heads_are_drawn_beside_each_other_with_their_errors(show, clip, topology):
    tab = show("desk")
    told = tab.run("told()")
    assert told["heads"] == ["source", "neural", "linear", "truth"] and (told["frame"], told["where"]) == (4, "jaw & lips, frame 5 of 9")
    assert told["texts"] == expected_errors(clip, topology, 4)
    assert all(0.2 < cell["drawn"] < 0.9 and cell["bright"] == 0 for cell in tab.run("look()"))
    tab.run("change('frame', 2); settled()")
    assert tab.run("told()")["texts"] == expected_errors(clip, topology, 2)


def test_errors_become_colours_up_to_the_chosen_limit(show):
    tab = show("desk")
    assert not tab.run("part('bar').getClientRects().length")
    tab.run("part('errors').click()")
    source, own, linear, truth = (cell["bright"] for cell in tab.run("look()"))
    assert source == truth == 0 and 0 < own < linear and linear > 0.02  # 1 mm and 4 mm on a scale that ends at 1 mm
    assert tab.run("part('bar').getClientRects().length && part('ticks').innerText").split() == ["0", "0.5", "≥", "1", "mm"]
    tab.run("change('limit', 4)")
    wider = [cell["bright"] for cell in tab.run("look()")]
    assert wider[1] == 0 < wider[2] < linear and tab.run("part('ticks').innerText").split() == ["0", "2", "≥", "4", "mm"]


def test_it_can_be_turned_and_zoomed_with_keys_and_with_a_mouse(show):
    tab = show("desk")
    place, first = middle(tab), tab.run("look()")
    tab.drag(place, (place[0] + 60, place[1] + 20))
    dragged = tab.run("look()")
    tab.key("Home")  # the click has given it the focus
    assert sums(tab.run("look()")) == sums(first)
    tab.key("ArrowLeft")
    turned = tab.run("look()")
    tab.key("Home")
    tab.key("+", "+")
    zoomed = tab.run("look()")
    tab.run("part('reset').click()")
    for moved in (dragged, turned, zoomed):
        assert all(now != before for now, before in zip(sums(moved), sums(first), strict=True))
    assert all(now["drawn"] > before["drawn"] for now, before in zip(zoomed, first, strict=True))
    assert sums(tab.run("look()")) == sums(first)


def test_the_wheel_belongs_to_the_page_until_the_view_has_the_focus(show):
    tab = show("desk")
    place = middle(tab)
    first, top = tab.run("look()"), tab.run("scrollY")
    tab.wheel(*place, 60)
    assert sums(tab.run("look()")) == sums(first) and tab.run("scrollY") > top
    place = middle(tab)
    tab.run("part('canvas').focus()")
    top = tab.run("scrollY")
    tab.wheel(*place, -60)
    assert all(now["drawn"] > before["drawn"] for now, before in zip(tab.run("look()"), first, strict=True)) and tab.run("scrollY") == top


def test_fingers_turn_pinch_and_scroll(show):
    tab = show("phone")
    (x, y), first = middle(tab), tab.run("look()")
    tab.fingers([(x, y)], [(x + 20, y)], [(x + 60, y)])
    assert all(now != before for now, before in zip(sums(tab.run("look()")), sums(first), strict=True))
    tab.run("part('reset').click()")
    tab.fingers([(x - 20, y), (x + 20, y)], [(x - 40, y), (x + 40, y)], [(x - 60, y), (x + 60, y)])
    assert all(now["drawn"] > before["drawn"] for now, before in zip(tab.run("look()"), first, strict=True))
    assert tab.run("[visualViewport.scale, part('cells').style.gridTemplateColumns]") == [1, "repeat(2, 1fr)"]
    assert tab.run("getComputedStyle(part('canvas')).touchAction") == "pan-y"  # a finger that goes up or down scrolls the page


def test_it_plays_and_goes_from_mark_to_mark(show):
    tab = show("desk")
    tab.run("part('canvas').focus(); change('frame', 2); settled()")
    tab.key(".", ".")
    tab.run("settled()")
    assert tab.run("told().where") == "jaw & lips, frame 5 of 9"
    tab.key(",", ",")
    tab.run("settled()")
    assert tab.run("told().where") == "neutral, frame 1 of 9"
    tab.key(" ", " ")
    assert tab.run("part('play').textContent") == "Pause"
    frames = set()
    deadline = time.monotonic() + 60
    while len(frames) < 3 and time.monotonic() < deadline:
        frames.add(tab.run("settled().then(() => told().frame)"))
    tab.run("part('play').click()")
    assert len(frames) >= 3 and tab.run("part('play').textContent") == "Play"


def test_with_reduced_motion_it_shows_only_the_marks(show):
    tab = show("desk", prefers_reduced_motion="reduce")
    tab.run("part('play').click()")
    frames, deadline = {tab.run("told().frame")}, time.monotonic() + 60
    while 0 not in frames and time.monotonic() < deadline:
        frames.add(tab.run("settled().then(() => told().frame)"))
    assert frames == {0, 4}


def test_heads_can_be_left_out_but_not_all(show):
    tab = show("desk")
    boxes = "[...part('heads').querySelectorAll('input')]"
    tab.run(f"[0, 2].forEach((n) => {boxes}[n].click())")
    assert [cell["drawn"] > 0.15 for cell in tab.run("look()")] == [True, True] and tab.run("told().heads") == ["neural", "truth"]
    tab.run(f"[1, 3].forEach((n) => {boxes}[n].click())")
    assert tab.run(f"{boxes}.map((box) => box.checked)") == [False, False, False, True]


def test_the_film_follows_the_frames(show):
    tab = show("desk")
    tab.run("change('clip', 1); change('frame', 6); settled()")
    assert tab.run("part('title').textContent") == "From a to b <capture>" and len(tab.run("told().heads")) == 5
    place, size = tab.run("(({backgroundPosition, backgroundSize}) => [backgroundPosition, backgroundSize])(part('cells').querySelector('i').style)")
    assert size == "1000% 100%" and float(place.split("%")[0]) == pytest.approx(600 / 9, abs=0.01)


class Count(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.elements = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements += 1


def test_without_webgl_there_is_a_still_picture(show, page):
    tab = show("desk", before="HTMLCanvasElement.prototype.getContext = () => null;")
    found = tab.run(LAYOUT)
    assert found["state"] == "still" and found["still"] == 1 and "no WebGL 2" in found["message"] and found["outside"] == []
    assert found["elements"] == Count(page).elements - 1  # nothing had to be mended; what stands in <noscript> is text to a browser with scripts


def test_data_that_cannot_be_read_leave_the_still_picture(show):
    tab = show("desk", before="globalThis.atob = () => 'no';")
    found = tab.run(LAYOUT)
    assert found["state"] == "still" and found["still"] == 1 and found["message"].startswith("The moving view failed (")
