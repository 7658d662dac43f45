"""Training in several processes, by torch's own launcher, on the processor."""
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from serep.stages.train_capture import check_processes
from serep.training import processes
from serep.training.processes import ALONE, Group, joined, launched, process_count

HERE, STEPS = Path(__file__).parent, 60
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def train_together(folder: Path, *launcher: str, kill_at: int | None = None) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, *launcher, str(HERE / "train_together.py"), str(folder), str(STEPS), *([] if kill_at is None else [str(kill_at)])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(one) for one in (HERE, HERE.parents[1])), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def curve_of(folder: Path) -> dict[str, np.ndarray]:
    rows = json.loads((folder / "curve-0.json").read_text())
    return {name: np.array([row[name] for row in rows]) for name in ("total", "landmarks_2d", "vertices", "domain")}


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path):
    for name, launcher in (("one", ()), ("two", TWO)):
        done = train_together(tmp_path / name, *launcher)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = curve_of(tmp_path / "one"), curve_of(tmp_path / "two")
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=0.25, err_msg=name)  # batch normalisation sees half of each batch
        assert abs(np.mean(two[name] / values) - 1) < 0.08, name
    assert one["landmarks_2d"][-1] < 0.8 * one["landmarks_2d"][0]
    leading, other = (load_file(tmp_path / "two" / f"weights-{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(tensor, other[name]) for name, tensor in leading.items())


@pytest.mark.slow
def test_two_processes_go_on_where_one_of_them_was_killed(tmp_path):
    killed = train_together(tmp_path, *TWO, kill_at=31)
    assert killed.returncode != 0 and not list(tmp_path.glob("weights-*"))
    assert (tmp_path / "checkpoint.safetensors").is_file()
    again = train_together(tmp_path, *TWO)
    assert again.returncode == 0, again.stderr[-3000:]
    assert len(curve_of(tmp_path)["total"]) == STEPS // 5


def test_shares_cover_a_batch():
    assert [list(Group(rank, 3).share(6, "it")) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ValueError, match="batch_size is 32, which 3 processes cannot share evenly. Choose a multiple of 3"):
        Group(0, 3).share(32, "batch_size")


def test_one_process_averages_with_nobody():
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    ALONE.average_gradients([weight])
    assert weight.grad.tolist() == [1, 2] and ALONE.average({"a": 1.5}) == {"a": 1.5} and ALONE.leads


def test_without_a_launcher_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with joined("cpu") as (group, device):
        assert group == ALONE and device == "cpu"


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_numbers_of_processes_that_cannot_be(monkeypatch, text):
    monkeypatch.setenv("SEREP_PROCESSES", text)
    with pytest.raises(ValueError, match="is no number of processes. Set it to 1 or more"):
        process_count()


def test_processes_are_launched_only_when_asked_for(monkeypatch):
    ran, started = [], []
    monkeypatch.setattr(processes.subprocess, "run", lambda command, **_: started.append(command) or subprocess.CompletedProcess(command, 3))
    monkeypatch.delenv("SEREP_PROCESSES", raising=False)
    launched(lambda: ran.append("here"), "serep.stages.train_capture")
    assert ran == ["here"] and not started
    monkeypatch.setenv("SEREP_PROCESSES", "2")
    with pytest.raises(SystemExit) as stopped:
        launched(lambda: ran.append("here"), "serep.stages.train_capture")
    assert stopped.value.code == 3 and ran == ["here"]
    assert "--nproc-per-node=2" in started[0] and "serep.stages.train_capture" in started[0]
    monkeypatch.setenv("RANK", "0")  # under the launcher already
    launched(lambda: ran.append("there"), "serep.stages.train_capture")
    assert ran == ["here", "there"]


@pytest.mark.parametrize(("gpus", "count", "device", "refused"), [
    (1, 2, "auto", "this machine has 1 GPU, and each process needs one of its own. Set SEREP_PROCESSES=1, or SEREP_DEVICE=cpu"),
    (2, 3, "cuda", "SEREP_PROCESSES=3, but this machine has 2 GPUs"),
    (2, 2, "cuda:1", "one GPU for all"),
    (2, 2, "cuda", None), (1, 1, "cuda:0", None), (1, 8, "cpu", None)])
def test_each_process_that_trains_on_gpus_needs_one_of_its_own(monkeypatch, gpus, count, device, refused):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with nullcontext() if refused is None else pytest.raises(ValueError, match=refused):
        check_processes(count, device)
