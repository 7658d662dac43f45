"""Processes that draw: started fresh, single-threaded, and never outliving the process that started them."""
from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait

# One thread each: the processes fill the cores, and the order of sums (hence the last bit) does not depend on how many threads a machine has.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")}
ONE_THREAD["LP_NUM_THREADS"] = "0"  # software GL: no threads besides the caller's


@contextmanager
def worker_pool(workers: int, start: Callable[..., None], arguments: tuple) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes first call start(*arguments), which must not fail: errors come through from tasks only.

    On an error what is queued is dropped, and what runs is waited for.
    """
    if workers < 1:
        raise ValueError(f"drawing needs at least 1 worker, got {workers}")
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)  # read by the numeric libraries while a new process loads them
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(start, arguments))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin(start: Callable[..., None], arguments: tuple) -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    start(*arguments)


def _leave_with_parent() -> None:
    """A killed parent must not leave a worker behind that writes into a part which the next run draws."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
