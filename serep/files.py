"""Files that appear when they are complete: written beside their place under another name, then renamed."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def partial_file(path: str | Path) -> Iterator[Path]:
    """Where to write what is to become `path`: it takes that name when the block ends, and is deleted after an error. The folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_file(path: str | Path, content: bytes) -> None:
    """Writes a whole file, or none."""
    with partial_file(path) as partial:
        partial.write_bytes(content)
