"""Drawing a part where things go wrong: killed at twenty random moments, on a full disk, into a bucket that refuses; and into one that does not."""
import dataclasses
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from part_runs import ONE, TWO, fingerprint, start_run
from s3_server import s3_server

from serep.data.shards import open_part, partial_folder
from serep.synthesis.parts import draw_part
from serep.synthesis.workers import Workers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def long_plan(plan):
    return dataclasses.replace(plan, images=40, images_per_shard=2, people_per_shard=1)


@pytest.fixture(scope="module")
def part(tmp_path_factory, long_plan, inputs) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "train-0"
    draw_part(long_plan, inputs, folder, workers=TWO, store=None)
    return folder


def kill(process: subprocess.Popen) -> None:
    """The run alone; its workers must leave by themselves."""
    workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, "a worker outlived the run that started it"


def test_twenty_kills_at_random_moments(part, long_plan, inputs, tmp_path):
    """Whatever was finished is never drawn again, and in the end every byte is the same.

    Moments are random over a whole run: its start, the drawing, and the end. A run that got through is killed too late, so another part begins.
    """
    rng, folders, kept = np.random.default_rng(), [tmp_path / "0" / "train-0"], 0
    for kills in range(20):
        folder = folders[-1]
        records = partial_folder(folder) / "records.partial"
        stamps = {file: file.stat().st_mtime_ns for file in records.glob("0*.json")}
        process = start_run(tmp_path / "run", long_plan, inputs, folder, workers=Workers("processes", 1 + kills % 2))
        deadline = time.monotonic() + 120
        if kills % 4:  # after the drawing has begun; every fourth strikes anywhere, also before
            while len(list(records.glob("0*.json"))) <= len(stamps) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.3))
        else:
            time.sleep(rng.uniform(0, 6))
        kill(process)
        if folder.exists():
            assert fingerprint(folder) == fingerprint(part)
            folders.append(tmp_path / str(len(folders)) / "train-0")
            continue
        now = {file: file.stat().st_mtime_ns for file in records.glob("0*.json")}
        assert {file: now.get(file) for file in stamps} == stamps, "a finished shard was lost or drawn again"
        kept += len(stamps)
    draw_part(long_plan, inputs, folders[-1], workers=TWO, store=None)
    for folder in folders:
        assert fingerprint(folder) == fingerprint(part)
        assert not list(folder.parent.glob("*.partial"))
    assert kept > 20, "hardly a run had anything to go on from"


def test_a_full_disk(part, long_plan, inputs, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        with pytest.raises(OSError, match=r"cannot be written: no space left.*what is finished is kept, so run again"):
            draw_part(long_plan, inputs, disk / "train-0", workers=TWO, store=None)
        finished = {file: file.stat().st_mtime_ns for file in (disk / "train-0.partial" / "records.partial").glob("0*.json")}
        assert finished and not (disk / "train-0").exists()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        draw_part(long_plan, inputs, disk / "train-0", workers=ONE, store=None)
        assert {file: (disk / "train-0" / "records.partial" / file.name).stat().st_mtime_ns for file in finished} == finished
        assert fingerprint(disk / "train-0") == fingerprint(part)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="module")
def s3():
    with s3_server() as server:
        yield server


@pytest.mark.parametrize("kind", [TWO, Workers("dask", 2)], ids=["processes", "dask"])
def test_a_part_in_a_bucket(s3, part, long_plan, inputs, tmp_path, kind):
    """The same bytes as in a folder; killed, it goes on; with another seed, an earlier version keeps its shards."""
    folder, store = tmp_path / "train-0", s3.url(f"{kind.executor}/renders")
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    process = start_run(tmp_path / "run", long_plan, inputs, folder, workers=kind, store=store, **environment)
    time.sleep(7)
    kill(process)
    stored, here = draw_part(long_plan, inputs, folder, workers=kind, store=store), open_part(part)
    assert stored.description["files"] == here.description["files"]
    assert sorted(file.name for file in folder.iterdir()) == ["index.parquet", "part.json"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 200_000
    stored.verify()
    np.testing.assert_array_equal(stored.rgb(17), here.rgb(17))
    other = draw_part(dataclasses.replace(long_plan, images=4, seed=9), inputs, folder, workers=kind, store=store)
    other.verify()
    stored.verify()
    stored.files.store.clear()
    with pytest.raises(FileNotFoundError, match=r"s3://.* is missing.*dvc repro -f render@train-0"):
        stored.verify()


def test_a_bucket_that_refuses(s3, plan, inputs, tmp_path):
    s3.refuse_everybody()
    try:
        with pytest.raises(PermissionError, match=r"permission denied.*credentials of an object store come from the environment"):
            draw_part(plan, inputs, tmp_path / "train-0", workers=ONE, store=s3.url("refused"))
    finally:
        s3.admit_everybody()
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        draw_part(plan, inputs, tmp_path / "train-0", workers=ONE, store="s3://no-such-bucket/renders")
