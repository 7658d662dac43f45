"""Parts: the number of workers, a kill and a resume change no byte; a changed plan leaves nothing old; failures come through."""
import dataclasses
import json
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from part_runs import ONE, TWO, fingerprint, start_run

from serep.data.shards import open_part, partial_folder
from serep.render.sampling import SceneRanges
from serep.synthesis import parts
from serep.synthesis.codes import RECIPES
from serep.synthesis.parts import draw_part
from serep.synthesis.plan import PartPlan, drawing_code_hash
from serep.synthesis.workers import Workers


@pytest.fixture(scope="module")
def long_plan(plan) -> PartPlan:
    return dataclasses.replace(plan, images=22, images_per_shard=4, people_per_shard=2)  # the sixth shard is not full


@pytest.fixture(scope="module")
def part(tmp_path_factory, long_plan, inputs) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "train-0"
    draw_part(long_plan, inputs, folder, workers=TWO, store=None)
    return folder


def test_a_part_describes_itself(part, long_plan):
    opened = open_part(part)
    opened.verify()
    assert len(opened) == 22 and opened.index["seed"] == list(range(22)) and opened.sizes["H"] == opened.sizes["W"] == 64
    assert "numba" in json.dumps(opened.description["renderer"])
    assert {"python", "numpy", "numba", "torch", "zarr", "numcodecs", "pyarrow"} <= set(opened.description["libraries"])
    assert set(opened.index["recipe"]) <= set(RECIPES) and len(set(opened.index["recipe"])) > 2
    assert opened.description["plan"]["ranges"]["yaw_max_deg"] == long_plan.ranges.yaw_max_deg
    assert opened.description["plan"]["inputs"] == {"heads": "abc", "semantic": "def"}
    assert str(part.parent) not in (part / "part.json").read_text()  # no path of this machine in the result


def test_a_killed_run_resumes_to_the_same_bytes(part, long_plan, inputs, tmp_path):
    folder = tmp_path / "train-0"
    process = start_run(tmp_path, long_plan, inputs, folder)
    records = partial_folder(folder) / "records.partial"
    for _ in range(12_000):
        if list(records.glob("0*.json")) or process.poll() is not None:
            break
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "a worker outlived the run that started it"
    finished = {file.name: file.stat().st_mtime_ns for file in records.glob("0*.json")}
    assert 0 < len(finished) < 6 and not folder.exists()
    images = [partial_folder(folder) / name for file in finished for name in json.loads((records / file).read_text())["files"]]
    before = {file.relative_to(partial_folder(folder)): file.stat().st_mtime_ns for file in images}
    draw_part(long_plan, inputs, folder, workers=ONE, store=None)
    assert all((folder / name).stat().st_mtime_ns == stamp for name, stamp in before.items())  # finished shards were kept
    assert fingerprint(folder) == fingerprint(part)  # ... and one worker drew what two drew


def test_a_changed_seed_leaves_nothing_old(part, long_plan, inputs, tmp_path):
    folder = tmp_path / "train-0"
    short = dataclasses.replace(long_plan, images=6, seed=6)
    old = partial_folder(folder)
    shutil.copytree(part, old)  # what a killed run of a longer part with another seed leaves
    assert json.loads((old / "records.partial" / "plan.json").read_text())["code_hash"] == drawing_code_hash()
    drawn = draw_part(short, inputs, folder, workers=ONE, store=None)
    drawn.verify()
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {name for name in files if "records.partial" not in name} == set(drawn.description["files"]) | {"part.json"} and not old.exists()
    other = open_part(part)
    assert not any(np.array_equal(drawn.rgb(image), other.rgb(image)) for image in range(6))


def test_errors_of_the_drawing_come_through(plan, inputs, tmp_path):
    broken = dataclasses.replace(inputs, semantic_model=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no model in .*none"):
        draw_part(plan, broken, tmp_path / "train-0", workers=ONE, store=None)
    with pytest.raises(ValueError, match="at least 1 worker, got 0"):
        Workers("processes", 0)
    with pytest.raises(ValueError, match="unknown executor 'ray'; use one of processes, dask"):
        Workers("ray", 2)
    with pytest.raises(ValueError, match="unknown renderer 'blender'; use one of"):
        draw_part(dataclasses.replace(plan, backend="blender"), inputs, tmp_path / "train-0", workers=ONE, store=None)


class Killer(threading.Thread):
    """Kills this process' workers: once, when the first shard is there, or whenever there are some."""

    def __init__(self, folder: Path, *, always: bool) -> None:
        super().__init__(daemon=True)
        self.records, self.always, self.done = partial_folder(folder) / "records.partial", always, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.done.is_set():
            if self.always or list(self.records.glob("0*.json")):
                for process in psutil.Process().children():
                    if any("spawn_main" in word for word in process.cmdline()):
                        process.kill()
                        self.done.wait(0 if self.always else 1e9)
            time.sleep(0.01)


def test_a_dead_workers_shard_is_drawn_again(part, long_plan, inputs, tmp_path, caplog):
    folder = tmp_path / "train-0"
    killer = Killer(folder, always=False)
    draw_part(long_plan, inputs, folder, workers=ONE, store=None)
    killer.done.set()
    assert "a worker died" in caplog.text
    assert fingerprint(folder) == fingerprint(part)


def test_workers_that_keep_dying_are_reported(plan, inputs, tmp_path):
    folder = tmp_path / "train-0"
    killer = Killer(folder, always=True)
    with pytest.raises(RuntimeError, match=r"3 times in a row a worker died while it drew .*Finished shards are kept"):
        draw_part(plan, inputs, folder, workers=ONE, store=None)
    killer.done.set()


def test_a_finished_part_that_is_drawn_again_keeps_its_shards(part, long_plan, inputs, tmp_path):
    """What a run that was killed between the last shard and the end of the stage leaves."""
    folder = tmp_path / "train-0"
    shutil.copytree(part, folder)
    before = {name: (folder / name).stat().st_ino for name in open_part(folder).description["files"] if "/c/" in name}
    draw_part(long_plan, inputs, folder, workers=ONE, store=None)
    assert {name: (folder / name).stat().st_ino for name in before} == before
    assert fingerprint(folder) == fingerprint(part)


def test_parts_beside_each_other_encode_people_once(part, long_plan, inputs, monkeypatch):
    monkeypatch.setattr(parts, "_encoded_people", lambda *_arguments: pytest.fail("encoded again"))
    beside = part.with_name("train-1")
    draw_part(dataclasses.replace(long_plan, part="train-1", first_image=4, images=4), inputs, beside, workers=ONE, store=None)
    assert np.array_equal(open_part(beside).rgb(1), open_part(part).rgb(5))


def test_a_store_that_workers_do_not_see_is_named(plan, inputs, tmp_path):
    with pytest.raises(RuntimeError, match=r"this worker does not see .*store that all of them reach .*memory:// is seen by one process only"):
        draw_part(plan, inputs, tmp_path / "train-0", workers=ONE, store="memory://shards")
    with pytest.raises(ValueError, match="fsspec knows no 'nowhere'"):
        draw_part(plan, inputs, tmp_path / "train-0", workers=ONE, store="nowhere://shards")


def test_shards_in_a_store_are_the_same_bytes(part, long_plan, inputs, tmp_path):
    folder, store = tmp_path / "out" / "train-0", tmp_path / "shards"
    stored = draw_part(long_plan, inputs, folder, workers=ONE, store=f"file://{store}")
    assert sorted(file.name for file in folder.iterdir()) == ["index.parquet", "part.json"]
    here = open_part(part)
    assert {name: file for name, file in stored.description["files"].items()} == here.description["files"]
    stored.verify()
    np.testing.assert_array_equal(stored.rgb(21), here.rgb(21))
    np.testing.assert_array_equal(stored.labels["codes"], here.labels["codes"])
    other = draw_part(dataclasses.replace(long_plan, seed=6, images=4), inputs, folder, workers=ONE, store=f"file://{store}")
    assert len(list((store / "train-0").iterdir())) == 2, "an earlier version needs its shards"
    other.verify()
    stored.verify()


def test_a_worker_that_draws_otherwise_is_refused(plan, inputs):
    studio = parts._studio(plan, inputs)
    spec = plan.spec(code_size=4, landmark_ids=(13, 14), renderer=studio.renderer.describe(), store=None)
    parts._check_alike(spec, studio)
    for changes, message in (({"renderer": spec.renderer | {"numba": "0.1"}}, r"numba [\d.]+ against 0\.1"),
                             ({"libraries": spec.libraries | {"zarr": "9"}}, r"zarr [\d.]+ against 9"),
                             ({"code_hash": "other"}, "another version of serep's code")):
        with pytest.raises(RuntimeError, match=f"this worker draws part train-0 differently .*{message}.*restart the workers"):
            parts._check_alike(dataclasses.replace(spec, **changes), studio)


@pytest.mark.parametrize(("changes", "message"), [
    ({"images": 0}, "0 images from 0 on"), ({"split": "dev"}, "split 'dev'"), ({"people_per_shard": 3}, "3 people cannot share 4 images"),
    ({"people_per_shard": 8}, "8 people cannot share 4 images"),
])
def test_nonsense_plans_are_refused(plan, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(plan, **changes)


def test_everything_that_decides_bytes_is_in_the_plan_hash(plan):
    def plan_hash(changed: PartPlan, renderer: str = "numba") -> str:
        return changed.spec(code_size=4, landmark_ids=(13, 14), renderer={"name": renderer}, store=None).plan_hash

    ranges = dataclasses.replace(plan.ranges, yaw_max_deg=41.0)
    changes = {"part": "b", "split": "val", "first_image": 4, "images": 8, "seed": 6, "size_px": 65, "images_per_shard": 6, "people_per_shard": 1,
               "codes": dataclasses.replace(plan.codes, reach=1.5), "backend": "pyrender", "fallback": "numba", "ranges": ranges, "inputs": {"heads": "abc"}}
    assert set(changes) == {field.name for field in dataclasses.fields(PartPlan)}
    hashes = {plan_hash(plan), plan_hash(plan, "other"), *(plan_hash(dataclasses.replace(plan, **{name: value})) for name, value in changes.items())}
    assert len(hashes) == len(changes) + 2
    assert plan_hash(dataclasses.replace(plan)) == plan_hash(plan) and isinstance(plan.ranges, SceneRanges)
