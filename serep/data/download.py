"""Large files over an unreliable line: resumed where they broke off, checked by their hash, and named only when whole."""
from __future__ import annotations

import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)
SPARE_BYTES = 1 << 28  # left free on the disk
PLAIN = {"Accept-Encoding": "identity"}  # so that lengths and ranges count the bytes of the file itself

Progress = Callable[[int, int | None], None]  # bytes of the file that are here, bytes of the whole file


@dataclass(frozen=True)
class Line:
    """How patient a download is. `tries` counts attempts in a row that brought nothing; any byte starts the count again."""

    tries: int = 8
    stall_s: float = 60.0
    """A connection that brings nothing for so long is dropped and opened again."""
    wait_s: float = 2.0
    """Before the second try, doubled before each further one, up to a minute."""


def download(url: str, path: Path, *, checksum: str | None, line: Line, on_bytes: Progress = lambda have, whole: None) -> None:
    """`path` holds the file when this returns; `<path>.partial` what came so far, from which the next call goes on.

    `checksum` is "<algorithm>:<hex>", as "md5:..." or "sha256:...". ValueError when the file, fetched anew, still has another one;
    FileNotFoundError when the server has no such file; ConnectionError when it gives nothing any more; OSError when the disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in (1, 2):
        _fill(url, partial, line, on_bytes)
        found = None if checksum is None else file_checksum(partial, checksum.partition(":")[0])
        if found == checksum:
            partial.replace(path)
            return
        partial.unlink()
        if attempt == 1:
            logger.warning("%s came with another checksum (%s instead of %s): fetching it anew", url, found, checksum)
    raise ValueError(f"{url} has checksum {found}, expected {checksum}, twice: it was changed at its source, or something on the way changes it")


def file_checksum(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()}"


def fetch_text(url: str, *, line: Line) -> str:
    """A small page; errors as of `download`."""
    patience = _Patience(url, line)
    while True:
        try:
            with requests.get(url, timeout=line.stall_s, headers=PLAIN) as response:
                _refuse(response, url)
                if response.status_code == 200:
                    return response.text
        except BROKEN as error:
            logger.info("%s: %s", url, error)
        patience.wait()


class _Patience:
    """Pauses that grow, and an end to them."""

    def __init__(self, url: str, line: Line) -> None:
        self.url, self.line, self.fruitless = url, line, 0

    def renew(self) -> None:
        self.fruitless = 0

    def wait(self) -> None:
        self.fruitless += 1
        if self.fruitless >= self.line.tries:
            advice = "check the connection and run the same command again, it goes on where it stopped"
            raise ConnectionError(f"{self.url} gave nothing in {self.line.tries} tries: {advice}")
        pause = min(self.line.wait_s * 2 ** (self.fruitless - 1), 60.0)
        logger.warning("%s gives nothing: trying again in %.0f s (%d of %d)", self.url, pause, self.fruitless + 1, self.line.tries)
        time.sleep(pause)


def _fill(url: str, partial: Path, line: Line, on_bytes: Progress) -> None:
    """Until the partial file is as long as the server says it is."""
    patience = _Patience(url, line)
    while True:
        have = _size(partial)
        try:
            whole = _receive(url, partial, have, line, on_bytes)
        except BROKEN as error:
            logger.info("%s broke off: %s", url, error)
            whole = None
        if whole is not None and _size(partial) == whole:
            return
        if _size(partial) > have:
            patience.renew()
        else:
            patience.wait()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _receive(url: str, partial: Path, have: int, line: Line, on_bytes: Progress) -> int | None:
    """Append what the server sends; the length of the whole file, or None when the server had no time, or another part than asked for."""
    headers = PLAIN | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=line.stall_s) as response:
        if response.status_code == 416:  # nothing lies behind what is here: all of it, or of an older, longer file
            whole = _total(response)
            if whole != have:
                partial.unlink(missing_ok=True)
            return whole
        _refuse(response, url)
        if response.status_code not in (200, 206):
            logger.info("%s: status %d", url, response.status_code)
            return None
        rest = int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        whole = _total(response) if response.status_code == 206 else rest
        if response.status_code == 200:
            have = 0  # a server that knows no ranges: from the beginning
        elif _start(response) != have:
            partial.unlink(missing_ok=True)
            return None
        _check_space(partial, rest)
        with partial.open("ab" if have else "wb") as stream:
            while chunk := response.raw.read1(CHUNK_BYTES):  # what is here, however little: waiting for a whole chunk would lose it at a break
                stream.write(chunk)
                have += len(chunk)
                on_bytes(have, whole)
        return have if whole is None else whole  # without a length, the end of the stream is the end of the file


def _refuse(response: requests.Response, url: str) -> None:
    """What waiting does not mend."""
    if response.status_code in (403, 404, 410):  # a store that hides its listing answers 403 for what it lacks
        raise FileNotFoundError(f"{url}: the server has no such file (status {response.status_code}); it may have moved")
    if response.status_code >= 400 and response.status_code not in RETRIED_STATUS | {416}:
        raise ConnectionError(f"{url}: the server refuses with status {response.status_code}")


def _start(response: requests.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total(response: requests.Response) -> int | None:
    found = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _check_space(partial: Path, needed: int | None) -> None:
    free = shutil.disk_usage(partial.parent).free
    if needed is not None and free < needed + SPARE_BYTES:
        raise OSError(f"{partial.parent} has {free / 1e9:.1f} GB free, {partial.name} needs {needed / 1e9:.1f} GB more: make room, or choose another --out")

