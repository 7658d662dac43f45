"""Dask on this machine: the same bytes as processes, from workers of its own and from a cluster at an address; deaths, and nobody there."""
import dataclasses
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from part_runs import ONE, ROOT, TWO, fingerprint, start_run

from serep.data.shards import partial_folder
from serep.synthesis import workers
from serep.synthesis.parts import draw_part
from serep.synthesis.workers import Workers, open_executor

pytestmark = pytest.mark.slow

DASK = Workers("dask", 2)


@pytest.fixture(scope="module")
def long_plan(plan):
    return dataclasses.replace(plan, images=22)


@pytest.fixture(scope="module")
def part(tmp_path_factory, long_plan, inputs) -> Path:
    folder = tmp_path_factory.mktemp("one") / "train-0"
    draw_part(long_plan, inputs, folder, workers=ONE, store=None)
    return folder


def workers_of_dask() -> list[psutil.Process]:
    """The processes that run tasks; their parents (nannies) live in this process."""
    return [process for process in psutil.Process().children() if any("spawn_main" in word for word in process.cmdline())]


@pytest.mark.parametrize("kind", [TWO, DASK], ids=["processes", "dask"])
def test_who_draws_changes_no_byte(part, long_plan, inputs, tmp_path, kind):
    draw_part(long_plan, inputs, tmp_path / "train-0", workers=kind, store=None)
    assert fingerprint(tmp_path / "train-0") == fingerprint(part)


def test_a_dead_dask_worker_is_replaced(part, long_plan, inputs, tmp_path):
    folder = tmp_path / "train-0"
    killed = []

    def kill_one() -> None:
        while not list((partial_folder(folder) / "records.partial").glob("0*.json")):
            time.sleep(0.01)
        killed.append(workers_of_dask()[0])
        killed[0].kill()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    draw_part(long_plan, inputs, folder, workers=DASK, store=None)
    killer.join()
    assert killed and fingerprint(folder) == fingerprint(part)


def suicide() -> None:
    psutil.Process().kill()


def test_a_task_that_kills_its_workers_is_given_up():
    with pytest.raises(RuntimeError, match=r"died, one after the other \(4 of them.*Finished shards are kept"), open_executor(DASK) as executor:
        executor.submit(suicide).result()


def test_a_killed_run_leaves_no_dask_worker(long_plan, inputs, tmp_path):
    folder = tmp_path / "train-0"
    process = start_run(tmp_path, dataclasses.replace(long_plan, images=400), inputs, folder, workers=DASK)
    for _ in range(6000):
        if list((partial_folder(folder) / "records.partial").glob("0*.json")) or process.poll() is not None:
            break
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert children and not alive, "a worker outlived the run that started it"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers, started by hand as on several machines."""
    folder = tmp_path_factory.mktemp("cluster")
    dask = [sys.executable, "-m", "dask"]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", "HOME": str(folder)}
    scheduler = subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], cwd=folder, env=environment,
                                 stderr=subprocess.PIPE, text=True)
    address = next(found[0] for line in scheduler.stderr if (found := re.findall(r"tcp://[\d.]+:\d+", line)))
    crew = subprocess.Popen([*dask, "worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)], cwd=folder,
                            env=environment, stderr=subprocess.DEVNULL)
    yield address
    for process in (crew, scheduler):
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(timeout=60)
        for child in children:
            if child.is_running():
                child.kill()
    scheduler.stderr.close()


def test_a_cluster_at_an_address_draws_the_same(cluster, part, long_plan, inputs, tmp_path):
    kind = Workers("dask", 1, cluster)
    draw_part(long_plan, inputs, tmp_path / "train-0", workers=kind, store=None)
    assert fingerprint(tmp_path / "train-0") == fingerprint(part)

    def numeric_threads() -> dict[str, int]:  # inside, so that it travels as code: the workers do not know this file
        import threadpoolctl
        import torch

        from serep.synthesis.workers import single_threaded

        single_threaded()
        return {"torch": torch.get_num_threads(), "pools": max([pool["num_threads"] for pool in threadpoolctl.threadpool_info()], default=1)}

    with open_executor(kind) as executor:  # these workers were not started for one thread
        assert executor.submit(numeric_threads).result() == {"torch": 1, "pools": 1}
    other = dataclasses.replace(long_plan, part="train-1", images=4, first_image=4)  # the workers live on, and draw another part
    assert len(draw_part(other, inputs, tmp_path / "train-1", workers=kind, store=None)) == 4


def test_nobody_at_the_address(monkeypatch):
    monkeypatch.setattr(workers, "CONNECTION_S", 1)
    with pytest.raises(RuntimeError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 .*dask scheduler.*SEREP_DASK_ADDRESS"), \
            open_executor(Workers("dask", 1, "tcp://127.0.0.1:1")):
        pass


def test_a_scheduler_without_workers(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "WORKER_S", 1)
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as empty, \
            pytest.raises(RuntimeError, match=r"has no worker after 1 s.*dask worker"), open_executor(Workers("dask", 1, empty.scheduler_address)):
        pass
