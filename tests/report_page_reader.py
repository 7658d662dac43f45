"""Reads the report's page as a browser would, and checks that it is whole and needs nothing from elsewhere."""
import base64
import io
import re
from html.parser import HTMLParser

from PIL import Image


class Page(HTMLParser):
    """Checks how elements nest and collects what the page links to, loads and runs."""

    VOID = frozenset(("meta", "img", "br", "input"))
    ONLY_TEXT_INSIDE = frozenset(("p", "h1", "h2", "h3", "button", "option", "summary"))  # a block in one of these would be moved out by browsers
    BLOCKS = frozenset(("p", "div", "h1", "h2", "h3", "table", "figure", "ul", "dl", "section", "details", "fieldset"))

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.sources, self.open, self.scripts, self.named, self.headings, self.policy = [], [], [], [], {}, [], [], ""
        self.images, self.rows = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert len(attributes) == len(attrs)
        assert tag not in ("iframe", "link", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        assert not (tag in self.BLOCKS and self.ONLY_TEXT_INSIDE & set(self.open)), f"<{tag}> inside {self.open}"
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if "href" in attributes else []
        self.sources += [attributes["src"]] if "src" in attributes else []
        self.named += [attributes[name] for name in ("aria-describedby", "aria-labelledby", "for") if name in attributes]
        if tag == "script":
            assert set(attributes) <= {"type", "id"}
            self.scripts[attributes.get("type", "")] = ""
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))
        if tag == "img":
            assert attributes["alt"]
            self.images.append((int(attributes["width"]), int(attributes["height"])))
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += int(attributes.get("colspan", 1))
        if tag == "table":
            self.rows.clear()
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "table":
            assert len(set(self.rows)) == 1  # every row as wide as the first

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[list(self.scripts)[-1]] += data


def check_page(page: Page, text: str) -> None:
    """Every link leads to a place on the page, every picture decodes at the size it is given, and nothing is loaded from elsewhere."""
    assert len(set(page.ids)) == len(page.ids) and set(page.named) <= set(page.ids)
    assert page.links and all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    code = re.sub(r'base64,[\w+/=]+|<td>.*?</td>|<script type="application/json".*?</script>', "", text, flags=re.DOTALL)  # shown as text, or plain data
    assert not re.search(r"//\w|@import|url\((?!\$)|\bimport\b|fetch\(|XMLHttpRequest|WebSocket", code)
    assert len(page.sources) == len(page.images) > 0
    for source, size in zip(page.sources, page.images, strict=True):
        kind, data = source.removeprefix("data:image/").split(";base64,")
        image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        image.load()
        assert image.format.lower() == kind and image.size == size
