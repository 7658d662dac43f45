"""What the flows show in Prefect's pages. A server that has gone away costs the picture, never the work."""
from __future__ import annotations

from pathlib import Path

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_table_artifact


def show_table(key: str, rows: list[dict], description: str) -> None:
    try:
        create_table_artifact(key=key, table=rows, description=description)
    except httpx.HTTPError as error:
        get_run_logger().warning("the table %r is not shown: %s", key, error)


def show_file(key: str, file: Path, description: str) -> None:
    try:
        create_link_artifact(key=key, link=file.resolve().as_uri(), link_text=file.name, description=description)
    except httpx.HTTPError as error:
        get_run_logger().warning("the link %r is not shown: %s", key, error)
