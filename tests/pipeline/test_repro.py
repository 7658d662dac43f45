"""The whole pipeline at tiny size: it runs, it knows when nothing changed, and it survives being killed."""
import json
import os
import shutil
import signal
import sys
import time

import pytest
import yaml
from report_page_reader import Page, check_page

pytestmark = pytest.mark.slow


def _ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_everything_is_made(finished):
    assert (finished.root / "report" / "index.html").stat().st_size > 10_000
    metrics = {file.stem: json.loads(file.read_text()) for file in (finished.root / "metrics").glob("*.json")}
    assert {"heads", "preprocess", "score_semantic", "score_capture", "benchmark"} <= set(metrics)
    shown = finished.dvc("metrics", "show", "--json")
    assert "score_semantic" in shown.stdout
    finished.dvc("plots", "show", "--json")


def test_the_report_is_whole_and_needs_no_network(finished):
    """Of the real page: every link and picture, and the table of the synthetic benchmark with what stands beside the capture."""
    text = (finished.root / "report" / "index.html").read_text()
    page = Page(text)
    check_page(page, text)
    assert {"viewer", "semantic", "capture", "benchmark", "data", "provenance"} <= set(page.ids)
    for method in ("capture", "linear 3DMM", "neutral", "mean expression", "true codes"):
        assert f'<th scope="row">{method}' in text


FREE = ("paths.", "render.executor", "render.dask_address")  # in dvc.yaml's own lines; without influence on any byte
LOOKED_UP = {"render": {"simulated.parts"}}  # whether the part is one of those


def test_stages_read_the_values_that_the_graph_declares_for_them_and_no_others(finished, params_read):
    """A value that a stage reads undeclared would change without a run; one that it declares unread would run for nothing."""
    graph = yaml.safe_load((finished.root / "dvc.yaml").read_text())["stages"]
    params = yaml.safe_load((finished.root / "params.yaml").read_text())
    notes = [json.loads(file.read_text()) for file in params_read.glob("*.json")]
    wrong = []
    for name, stage in graph.items():
        body = stage.get("do", stage)
        for part in _parts(stage, params):
            declared = {key.replace("${key}", str(part)) for key in body["params"]}
            module = body["cmd"].split()[2]
            read = {key for note in notes if module in note["command"] and part in (None, *note["command"]) for key in note["read"]
                    if not key.startswith(FREE) and key not in LOOKED_UP.get(name, ())}
            assert read, f"nothing is known of {name}"
            wrong += [f"{name} reads {key}" for key in sorted(read) if not any(_same(key, other) for other in declared)]
            wrong += [f"{name} declares {key}" for key in sorted(declared) if not any(_same(key, other) for other in read)]
    assert wrong == []


def _parts(stage: dict, params: dict) -> list[str | None]:
    """Names over which a `foreach` stage runs; [None] for another."""
    if "foreach" not in stage:
        return [None]
    found = params
    for key in stage["foreach"].strip("${}").split("."):
        found = found[key]
    return list(found)


def _same(one: str, other: str) -> bool:
    """Whether one key is the other or lies in it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def test_second_run_does_nothing(finished):
    again = finished.dvc("repro")
    assert _ran(again.stdout) == []
    assert "up to date" in again.stdout


def test_a_render_value_reruns_render_and_what_follows(fork):
    fork.edit_params(render__seed=99)
    ran = {line.split("'")[1].split("@")[0] for line in fork.dvc("repro", "--dry").stdout.splitlines() if "stage '" in line.lower() and "Running" in line}
    assert "render" in ran
    assert ran <= {"render", "train_capture", "score_capture", "benchmark", "report"}


def test_forced_stages_give_the_same_bytes(fork):
    before = fork.lock()
    fork.dvc("repro", "--force", "--single-item", "heads")
    part = next(name for name in before if name.startswith("render@"))
    fork.dvc("repro", "--force", "--single-item", part)
    after = fork.lock()
    for stage in ("heads", part):
        assert {path: md5 for path, md5 in after[stage].items() if path.startswith("data")} == {
            path: md5 for path, md5 in before[stage].items() if path.startswith("data")}


def test_killed_in_render_continues(fork):
    before = fork.lock()
    parts = [name for name in before if name.startswith("render@")]
    shutil.rmtree(fork.root / "data" / "renders")
    shutil.rmtree(fork.root / ".dvc" / "tmp", ignore_errors=True)
    shutil.rmtree(fork.root / ".dvc" / "cache", ignore_errors=True)
    process = fork.start("dvc", "repro", "--force", *parts, start_new_session=True)
    deadline = time.monotonic() + 300
    while not list((fork.root / "data").glob("renders/*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (fork.root / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
    fork.dvc("repro", *parts)
    after = fork.lock()
    assert {part: after[part] for part in parts} == {part: before[part] for part in parts}
    assert not list((fork.root / "data" / "renders").glob("*.partial"))


def test_two_processes_train_the_stage_s_model(fork):
    before = fork.lock()["train_capture"]
    fork.run("env", "SEREP_PROCESSES=2", sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "train_capture")
    after = fork.lock()["train_capture"]
    assert after.keys() == before.keys() and after["models/capture"] != before["models/capture"]  # batch normalisation saw half of each batch
    rows = (fork.root / "plots" / "train_capture.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 and rows[-1].startswith("20,")
    metrics = json.loads((fork.root / "metrics" / "train_capture.json").read_text())
    assert 0 < metrics["val_vertices_mm"] < 20
    assert not list((fork.root / "out" / "checkpoints").glob("*"))
    fork.dvc("repro", "--single-item", "score_capture")  # the model loads, its export fits


def test_unknown_key_is_named_and_nothing_runs(fork):
    fork.edit_params(preprocess__max_quarantine_shar=0.5)
    failed = fork.dvc("repro", check=False)
    assert failed.returncode != 0
    assert "preprocess.max_quarantine_shar: unknown key" in failed.stdout + failed.stderr


def test_missing_source_is_named(fork):
    fork.edit_params(heads__source="folder", heads__path="no/such/scans")
    failed = fork.dvc("repro", "heads", check=False)
    assert failed.returncode != 0
    assert "no/such/scans" in failed.stdout + failed.stderr


def test_flipped_byte_in_a_shard_stops_training(fork):
    before = fork.lock()
    part = next(name for name in before if name.startswith("render@train"))
    stored = (fork.root / "data" / "renders" / part.split("@")[1] / "images.zarr" / "rgb").rglob("*")
    shard = max((file for file in stored if file.is_file()), key=lambda file: file.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.unlink()  # it may be a link into DVC's cache
    shard.write_bytes(bytes(data))
    failed = fork.run("python", "-m", "serep.stages.train_capture", check=False)
    assert failed.returncode != 0
    assert "images.zarr" in failed.stdout + failed.stderr
    assert "dvc repro" in failed.stdout + failed.stderr
