"""Ctrl-C as the wish to end early and keep what is done."""
from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")


class Stop:
    """Whether the user wants to end."""

    def __init__(self) -> None:
        self.requested = False

    def until(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items up to the wish, but always the first one: of nothing nothing could be kept."""
        iterator = iter(items)
        for item in iterator:
            yield item
            if self.requested:
                break

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Inside, a first Ctrl-C only sets the wish, and a second one interrupts as usual. Threads other than the main one get no Ctrl-C."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, stop._ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
