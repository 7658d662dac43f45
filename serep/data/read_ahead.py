"""Frames made in a thread of their own, ahead of whoever uses them: all of them for files, the newest one for cameras."""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
POLL_S = 0.05  # how soon the end of a live source is noticed


def read_ahead(items: Iterable[Item], *, depth: int) -> Iterator[Item]:
    """The same items in the same order, up to `depth` of them made before they are asked for. Errors come where they would without it."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        waiting = deque(pool.submit(next, iterator, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, iterator, end))
                yield item
        finally:
            for one in waiting:
                one.cancel()
            pool.submit(_close, iterator).result()


def newest(items: Iterable[Item]) -> Iterator[tuple[int, Item]]:
    """Numbers and items of a source that does not wait: whoever is slow gets the newest item and misses those between, so delay does not add up.

    The last item of a source that ends is always given.
    """
    changed, gone = threading.Condition(), threading.Event()
    latest: list = [-1, None]

    def read() -> None:
        iterator = iter(items)
        try:
            for number, item in enumerate(iterator):
                with changed:
                    latest[:] = number, item
                    changed.notify()
                if gone.is_set():
                    break
        finally:
            _close(iterator)

    with ThreadPoolExecutor(1, "newest") as pool:
        reading, seen = pool.submit(read), -1
        try:
            while True:
                with changed:
                    while latest[0] == seen and not reading.done():
                        changed.wait(POLL_S)
                    number, item = latest
                if number == seen:
                    break
                seen = number
                yield number, item
        finally:
            gone.set()
        reading.result()


def _close(iterator: Iterator) -> None:
    """A generator frees its file; other iterators have nothing to free."""
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
