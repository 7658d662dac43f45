import os
import signal
import threading

import pytest

from serep.stopping import stop_on_interrupt


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_first_interrupt_ends_after_the_item_in_hand():
    seen, before = [], signal.getsignal(signal.SIGINT)
    with stop_on_interrupt() as stop:
        for item in stop.until(range(10)):
            seen.append(item)
            if item == 3:
                interrupt()
    assert seen == [0, 1, 2, 3] and stop.requested
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_interrupts():
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt():
        interrupt()
        interrupt()


def test_nothing_asked_for_changes_nothing():
    with stop_on_interrupt() as stop:
        assert list(stop.until(range(4))) == [0, 1, 2, 3]
    assert not stop.requested


def test_other_threads_may_use_it():
    seen = []

    def work():
        with stop_on_interrupt() as stop:
            seen.extend(stop.until(range(3)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0, 1, 2]
