"""Parts: the number of workers, a kill and a resume change no byte; a changed plan leaves nothing old; failures come through."""
import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from serep.data.shards import open_part, partial_folder
from serep.render.sampling import SceneRanges
from serep.synthesis.parts import draw_part
from serep.synthesis.plan import PartPlan, drawing_code_hash

ROOT = Path(__file__).parents[2]


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def long_plan(plan) -> PartPlan:
    return dataclasses.replace(plan, images=22, images_per_shard=4, people_per_shard=2)  # the sixth shard is not full


@pytest.fixture(scope="module")
def part(tmp_path_factory, long_plan, inputs) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "train-0"
    draw_part(long_plan, inputs, folder, workers=2)
    return folder


def test_a_part_describes_itself(part, long_plan):
    opened = open_part(part)
    opened.verify()
    assert len(opened) == 22 and opened.index["seed"] == list(range(22)) and opened.sizes["H"] == opened.sizes["W"] == 64
    assert "numba" in json.dumps(opened.description["renderer"])
    assert opened.description["plan"]["ranges"]["yaw_max_deg"] == long_plan.ranges.yaw_max_deg
    assert opened.description["plan"]["inputs"] == {"heads": "abc", "semantic": "def"}
    assert str(part.parent) not in (part / "part.json").read_text()  # no path of this machine in the result


RUN = """
import json, sys
from pathlib import Path
from serep.render.sampling import SceneRanges
from serep.synthesis.parts import draw_part
from serep.synthesis.plan import PartInputs, PartPlan

if __name__ == "__main__":
    values = json.loads(Path(sys.argv[1]).read_text())
    plan = PartPlan(**(values["plan"] | {"ranges": SceneRanges(**values["plan"]["ranges"])}))
    paths = {name: Path(value) if name != "head_source" else value for name, value in values["inputs"].items()}
    draw_part(plan, PartInputs(**paths), Path(values["folder"]), workers=1)
"""


def test_a_killed_run_resumes_to_the_same_bytes(part, long_plan, inputs, tmp_path):
    folder = tmp_path / "train-0"
    paths = {name: str(value) for name, value in dataclasses.asdict(inputs).items() if name != "head_options"}
    (tmp_path / "run.json").write_text(json.dumps({"plan": dataclasses.asdict(long_plan), "inputs": paths, "folder": str(folder)}))
    (tmp_path / "run.py").write_text(RUN)
    process = subprocess.Popen([sys.executable, str(tmp_path / "run.py"), str(tmp_path / "run.json")], env={"PYTHONPATH": str(ROOT)})
    records = partial_folder(folder) / "records"
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
    draw_part(long_plan, inputs, folder, workers=1)
    assert all((folder / name).stat().st_mtime_ns == stamp for name, stamp in before.items())  # finished shards were kept
    assert fingerprint(folder) == fingerprint(part)  # ... and one worker drew what two drew


def test_a_changed_seed_leaves_nothing_old(part, long_plan, inputs, tmp_path):
    folder = tmp_path / "train-0"
    short = dataclasses.replace(long_plan, images=6, seed=6)
    old = partial_folder(folder)
    shutil.copytree(part, old)  # what a killed run of a longer part with another seed leaves
    (old / "records").mkdir()
    (old / "records" / "plan.json").write_text(json.dumps({"plan_hash": open_part(part).description["plan_hash"], "code_hash": drawing_code_hash()}))
    drawn = draw_part(short, inputs, folder, workers=1)
    drawn.verify()
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files == set(drawn.description["files"]) | {"part.json"} and not old.exists()
    other = open_part(part)
    assert not any(np.array_equal(drawn.rgb(image), other.rgb(image)) for image in range(6))


def test_errors_of_the_drawing_come_through(plan, inputs, tmp_path):
    broken = dataclasses.replace(inputs, semantic_model=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no model in .*none"):
        draw_part(plan, broken, tmp_path / "train-0", workers=1)
    with pytest.raises(ValueError, match="at least 1 worker, got 0"):
        draw_part(plan, inputs, tmp_path / "train-0", workers=0)


def test_a_dead_worker_is_reported_and_the_part_goes_on(part, long_plan, inputs, tmp_path):
    folder = tmp_path / "train-0"

    def kill_the_worker() -> None:
        records = partial_folder(folder) / "records"
        while not list(records.glob("0*.json")):
            time.sleep(0.01)
        for process in psutil.Process().children():
            if any("spawn_main" in word for word in process.cmdline()):
                process.kill()

    killer = threading.Thread(target=kill_the_worker, daemon=True)
    killer.start()
    with pytest.raises(RuntimeError, match=r"a worker died while it drew .*Finished shards are kept"):
        draw_part(long_plan, inputs, folder, workers=1)
    killer.join()
    draw_part(long_plan, inputs, folder, workers=2)
    assert fingerprint(folder) == fingerprint(part)


@pytest.mark.parametrize(("changes", "message"), [
    ({"images": 0}, "0 images from 0 on"), ({"split": "dev"}, "split 'dev'"), ({"people_per_shard": 3}, "3 people cannot share 4 images"),
    ({"people_per_shard": 8}, "8 people cannot share 4 images"), ({"mixed_share": 1.5}, "mixed_share is a share"),
])
def test_nonsense_plans_are_refused(plan, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(plan, **changes)


def test_everything_that_decides_bytes_is_in_the_plan_hash(plan):
    def plan_hash(changed: PartPlan, renderer: str = "numba") -> str:
        return changed.spec(code_size=4, landmark_ids=(13, 14), renderer={"name": renderer}).plan_hash

    ranges = dataclasses.replace(plan.ranges, yaw_max_deg=41.0)
    changes = {"part": "b", "split": "val", "first_image": 4, "images": 8, "seed": 6, "size_px": 65, "images_per_shard": 6, "people_per_shard": 1,
               "mixed_share": 0.5, "backend": "pyrender", "fallback": "numba", "ranges": ranges, "inputs": {"heads": "abc"}}
    assert set(changes) == {field.name for field in dataclasses.fields(PartPlan)}
    hashes = {plan_hash(plan), plan_hash(plan, "other"), *(plan_hash(dataclasses.replace(plan, **{name: value})) for name, value in changes.items())}
    assert len(hashes) == len(changes) + 2
    assert plan_hash(dataclasses.replace(plan)) == plan_hash(plan) and isinstance(plan.ranges, SceneRanges)
