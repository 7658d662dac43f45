import threading
import time

import pytest

from serep.data.read_ahead import newest, read_ahead


class Source:
    """Counts up; remembers what was made, in which thread, and whether it was closed."""

    def __init__(self, count, *, pause_s=0.0, fail_at=None):
        self.made, self.threads, self.closed = [], set(), False
        self.count, self.pause_s, self.fail_at = count, pause_s, fail_at

    def __iter__(self):
        try:
            for number in range(self.count):
                if number == self.fail_at:
                    raise ValueError(f"item {number} is damaged")
                time.sleep(self.pause_s)
                self.threads.add(threading.get_ident())
                self.made.append(number)
                yield number
        finally:
            self.closed = True


def test_everything_comes_in_order_from_another_thread():
    source = Source(20)
    assert list(read_ahead(source, depth=3)) == list(range(20))
    assert source.closed and threading.get_ident() not in source.threads and len(source.threads) == 1


def test_no_more_is_made_than_asked_for():
    source = Source(20)
    items = read_ahead(source, depth=3)
    assert next(items) == 0
    time.sleep(0.2)
    assert source.made == [0, 1, 2, 3]
    items.close()
    assert source.closed and len(source.made) <= 4


def test_errors_come_after_the_items_before_them():
    source, seen = Source(20, fail_at=2), []
    with pytest.raises(ValueError, match="item 2 is damaged"):
        seen.extend(read_ahead(source, depth=5))
    assert seen == [0, 1] and source.closed
    assert list(read_ahead([], depth=4)) == []


def test_a_slow_reader_gets_the_newest_and_the_last():
    source, seen = Source(40, pause_s=0.005), []
    for number, item in newest(source):
        behind = source.made[-1] - item
        assert number == item and behind <= 1  # at most what was made since it was handed over
        seen.append(item)
        time.sleep(0.05)
    assert seen == sorted(set(seen)) and len(seen) < 20 and seen[-1] == 39 and source.closed


def test_a_quick_reader_misses_nothing():
    assert [item for _, item in newest(Source(10, pause_s=0.02))] == list(range(10))


def test_a_source_is_closed_and_its_error_told():
    source = Source(1000, pause_s=0.005)
    items = newest(source)
    next(items)
    items.close()
    assert source.closed and len(source.made) < 20
    with pytest.raises(ValueError, match="item 3 is damaged"):
        list(newest(Source(5, pause_s=0.01, fail_at=3)))
    assert list(newest([])) == []
