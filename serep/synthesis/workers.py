"""Who draws: processes of this machine or the workers of a Dask cluster, behind the one interface of concurrent.futures; single-threaded all."""
from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait

import threadpoolctl
import torch

logger = logging.getLogger(__name__)

EXECUTORS = ("processes", "dask")
# One thread each: the workers fill the cores, and the order of sums (hence the last bit) does not depend on how many threads a machine has.
# Kernels in numba have one thread anyway; its variable must not change in a process that has compiled.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")}
ONE_THREAD["LP_NUM_THREADS"] = "0"  # software GL: no threads besides the caller's
CONNECTION_S, WORKER_S = 20, 120  # how long to wait for a scheduler, and for its first worker


@dataclass(frozen=True)
class Workers:
    """What the machine has to offer; it never changes a result. `count` is ignored with a `dask_address`: that cluster has the workers it has."""

    executor: str
    count: int
    dask_address: str | None = None

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise ValueError(f"unknown executor {self.executor!r}; use one of {', '.join(EXECUTORS)} (params: render.executor)")
        if self.count < 1:
            raise ValueError(f"drawing needs at least 1 worker, got {self.count} (SEREP_WORKERS)")


@contextmanager
def open_executor(workers: Workers) -> Iterator[Executor]:
    """On an error what is queued is dropped; what runs is waited for by processes, and left to finish by a Dask cluster.

    BrokenProcessPool when a process dies. Dask gives a dead worker's task to others, and RuntimeError tells when it gave up.
    """
    with _single_threaded_children(), (_processes(workers.count) if workers.executor == "processes" else _dask(workers)) as executor:
        yield executor


def single_threaded() -> None:
    """For a worker's first task: the same as ONE_THREAD where libraries are loaded already, as in a Dask worker that was started by hand."""
    os.environ.update(ONE_THREAD)
    threadpoolctl.threadpool_limits(1)
    torch.set_num_threads(1)


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)  # read by the numeric libraries while a new process loads them
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_watch_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _dask(workers: Workers) -> Iterator[Executor]:
    try:
        from distributed import Client, LocalCluster
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise RuntimeError("render.executor is 'dask', but distributed is not installed. Install it (pip install 'serep[cluster]') "
                           "or set render.executor to processes") from error
    with tempfile.TemporaryDirectory() as scratch:
        cluster = None
        if workers.dask_address is None:
            # No memory limit of its own, as processes have none: what outgrows the machine dies, and is reported. Seen from this machine only.
            cluster = LocalCluster(n_workers=workers.count, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0",
                                   worker_dashboard_address="127.0.0.1:0", memory_limit=0, local_directory=scratch, silence_logs=logging.ERROR)
        try:
            with _connected(Client, cluster if cluster is not None else workers.dask_address) as client:
                executor = client.get_executor(pure=False)
                try:
                    yield executor
                except KilledWorker as error:
                    raise RuntimeError(f"the Dask workers that drew one shard died, one after the other ({error.allowed_failures + 1} of them; often: out of "
                                       "memory). Finished shards are kept: run again, with fewer workers on a machine or smaller shards") from error
                finally:
                    executor.shutdown(wait=False)  # drops what is queued
        finally:
            if cluster is not None:
                cluster.close()


@contextmanager
def _connected(client_type: type, address: object) -> Iterator:
    """A Dask client that has at least one worker."""
    try:
        client = client_type(address, timeout=CONNECTION_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"no Dask scheduler answers at {address} ({error}). Start one (dask scheduler), correct render.dask_address or "
                           "SEREP_DASK_ADDRESS, or leave both empty for workers on this machine") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_S)
        except TimeoutError as error:
            raise RuntimeError(f"the Dask scheduler at {address} has no worker after {WORKER_S} s. Start some: dask worker ADDRESS --nworkers auto "
                               "--nthreads 1") from error
        crowded = sum(threads > 1 for threads in client.nthreads().values())
        if crowded:
            logger.warning("%d Dask workers have several threads, of which only one can draw; start them with --nthreads 1", crowded)
        yield client


def _watch_parent() -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A killed parent must not leave a worker behind that writes into a part which the next run draws."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
