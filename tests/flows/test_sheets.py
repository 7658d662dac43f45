"""What Prefect's pages are given: pictures of a bounded size within the page, and no password."""
import base64
import io
import re

import httpx
import numpy as np
import pytest
from PIL import Image

from flows import artifacts, sheets
from serep.benchmark.figures import contact_sheet
from serep.redaction import redacted


@pytest.fixture
def shown(monkeypatch) -> dict[str, dict]:
    """What would be sent, by its key."""
    sent: dict[str, dict] = {}
    for kind in ("markdown", "table", "link"):
        monkeypatch.setattr(artifacts, f"create_{kind}_artifact", lambda **what: sent.update({what["key"]: what}))
    return sent


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    said: list[str] = []
    logger = type("Logger", (), {"warning": lambda self, text, *words: said.append(text % words)})()
    for module in (artifacts, sheets):
        monkeypatch.setattr(module, "get_run_logger", lambda: logger)
    return said


def noise(height: int, width: int, rng) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8)).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


def test_a_picture_lies_within_the_page(shown, rng):
    jpeg = contact_sheet(rng.integers(0, 255, (3, 8, 8, 3), np.uint8), columns=3)
    artifacts.show_picture("renders", jpeg, "Training images")
    (encoded,) = re.findall(r"!\[Training images\]\(data:image/jpeg;base64,([\w+/=]+)\)", shown["renders"]["markdown"])
    assert base64.b64decode(encoded) == jpeg


def test_a_large_picture_becomes_small_enough_and_keeps_its_shape(rng):
    large = noise(1000, 1500, rng)
    small = artifacts.bounded(large)
    assert len(large) > artifacts.PICTURE_BYTES >= len(small)
    width, height = Image.open(io.BytesIO(small)).size
    assert width / height == pytest.approx(1.5, abs=0.02)


def test_the_capture_sheet_shows_images_with_their_landmarks(tmp_path, shown, rng):
    arrays = {"images": rng.integers(0, 255, (20, 32, 32, 3), np.uint8), "predicted": rng.uniform(0, 32, (20, 5, 2)), "reference": rng.uniform(0, 32, (20, 5, 2))}
    np.savez(tmp_path / "examples.npz", **arrays)
    picture = Image.open(io.BytesIO(sheets.capture_sheet(tmp_path / "examples.npz")))
    assert picture.width > 6 * 200 and 3 * 250 > picture.height > 2 * 200  # twelve of them, in two rows


def test_a_server_that_is_away_and_a_picture_that_is_not_there_cost_a_warning(tmp_path, monkeypatch, warnings):
    def away(**what) -> None:
        raise httpx.ConnectError("no route to http://anna:secret@host/api")

    monkeypatch.setattr(artifacts, "create_table_artifact", away)
    artifacts.show_table("reproduce", [], "Stages")
    params = type("Params", (), {"render": type("Render", (), {"parts_of": lambda self, split: ["train-0"]})(),
                                 "paths": type("Paths", (), {"part": lambda self, name: tmp_path / name, "capture_scores": tmp_path})()})()
    sheets.show_sheets(tmp_path, params, ["render@train-0"])
    assert warnings[0] == "the table 'reproduce' is not shown: no route to http://anna:***@host/api"
    assert "the contact sheets are not shown" in warnings[1] and "part.json is missing" in warnings[1]


def test_rows_and_descriptions_have_no_password(shown):
    artifacts.show_table("t", [{"stage": "heads", "seconds": 1.0, "place": "postgresql+psycopg2://anna:s3cret@host:5432/db"}], "with s3://key:s3cret@bucket/x")
    assert "s3cret" not in str(shown["t"])
    assert shown["t"]["table"][0] == {"stage": "heads", "seconds": 1.0, "place": "postgresql+psycopg2://anna:***@host:5432/db"}


@pytest.mark.parametrize(("text", "expected"), [
    ("postgresql://anna:secret@host/db", "postgresql://anna:***@host/db"),
    ("at http://:secret@host:80/x and sqlite:////tmp/a.db", "at http://:***@host:80/x and sqlite:////tmp/a.db"),
    ("http://host:8080/mail/a@b", "http://host:8080/mail/a@b"),
    ("anna@host, 10:30", "anna@host, 10:30"),
    ("password long-secret-value refused", "password *** refused"),
])
def test_passwords_are_taken_out_of_text(text, expected, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "long-secret-value")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "10")  # too short to be one
    assert redacted(text) == expected
