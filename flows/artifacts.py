"""What the flows show in Prefect's pages. A server that has gone away, or a picture that cannot be drawn, costs the picture, never the work."""
from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from PIL import Image
from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from serep.redaction import redacted

PICTURE_BYTES = 150_000  # Prefect's database keeps every version of an artifact


def show_table(key: str, rows: list[dict], description: str) -> None:
    rows = [{name: redacted(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows]
    with _or_a_warning(f"table {key!r}"):
        create_table_artifact(key=key, table=rows, description=redacted(description))


def show_file(key: str, file: Path, description: str) -> None:
    with _or_a_warning(f"link {key!r}"):
        create_link_artifact(key=key, link=file.resolve().as_uri(), link_text=file.name, description=description)


def show_picture(key: str, jpeg: bytes, description: str) -> None:
    """The picture itself, within the page: no other server has to answer for it."""
    address = f"data:image/jpeg;base64,{base64.b64encode(bounded(jpeg)).decode()}"
    with _or_a_warning(f"picture {key!r}"):
        create_markdown_artifact(key=key, markdown=f"![{description}]({address})\n", description=description)


def bounded(jpeg: bytes, limit: int = PICTURE_BYTES) -> bytes:
    """The picture as it is, or else as good and (if that is not enough) as large as fits."""
    if len(jpeg) <= limit:
        return jpeg
    picture = Image.open(io.BytesIO(jpeg))
    while True:
        for quality in (80, 65, 50):
            stream = io.BytesIO()
            picture.save(stream, format="JPEG", quality=quality)
            if stream.tell() <= limit:
                return stream.getvalue()
        picture = picture.resize((max(1, picture.width * 3 // 4), max(1, picture.height * 3 // 4)), Image.Resampling.LANCZOS)


@contextmanager
def _or_a_warning(what: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        get_run_logger().warning("the %s is not shown: %s", what, redacted(str(error)))
