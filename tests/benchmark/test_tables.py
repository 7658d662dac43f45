import math

import pytest

from serep.benchmark.tables import Picture, TextTable, html_page, markdown, number, with_interval

TABLE = TextTable("Scores (mm)", ("region", "a|b"), (("mouth", "1.0"), ("<all>", "2.0")), "a note", frozenset({1}))


def test_numbers():
    assert number(1.23456) == "1.235" and number(None) == number(math.nan) == "–" and number(-0.0004) == "0.000" and number(-1.26, 1) == "-1.3"
    assert with_interval(1.0, 0.5, 2.0, 1) == "1.0 [0.5, 2.0]"
    assert with_interval(1.0, None, 2.0, 1) == "1.0" and with_interval(math.nan, 1.0, 2.0, 1) == "– [1.0, 2.0]"


def test_markdown():
    text = markdown("Title", ["Hello."], [TABLE], [Picture("map.jpg", "where", b"")], foot="foot")
    assert text == (
        "# Title\n\nHello.\n\n## Scores (mm)\n\na note\n\n| region | a\\|b |\n|---|---:|\n| mouth | 1.0 |\n| **<all>** | **2.0** |\n\n"
        "![where](map.jpg)\n\nwhere\n\nfoot\n"
    )


def test_html_is_one_file_and_escaped():
    text = html_page("<Title>", ["a & b"], [TABLE, TABLE], [Picture("map.jpg", "where", b"\xff\xd8\xff")], pictures_after=1, foot="foot")
    assert "<h1>&lt;Title&gt;</h1>" in text and "<p>a &amp; b</p>" in text and "&lt;all&gt;" in text and "<script" not in text
    assert text.count("<table>") == 2 and text.index("<table>") < text.index("data:image/jpeg;base64,/9j/") < text.rindex("<table>")
    warned = html_page("T", ["text"], [TABLE], warnings=["beware <b>"])
    assert warned.index('<p class="warning">beware &lt;b&gt;</p>') < warned.index("<p>text</p>") and 'class="warning"' not in text
    assert "http" not in text.replace("http-equiv", "")


def test_rows_must_fit():
    with pytest.raises(ValueError, match="table 'T' has 2 columns, row 'x' has 3 cells"):
        TextTable("T", ("a", "b"), (("x", "y", "z"),))
