"""What users do with a finished pipeline: release it, load the models by name, use them from Python and from the command line."""
import json
import shutil

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

USE = """
import numpy as np, serep
from serep.data.heads import read_heads

model = serep.load_model("models:/serep-semantic@champion")
heads = read_heads("data/surfaces").select("test")
neutral = serep.Mesh(heads.neutrals[0].astype(float), heads.topology.faces)
codes = model.encode(neutral, heads.expressive[:2])
assert codes.dtype == np.float32 and codes.shape == (2, model.code_size)
vertices = model.bind(neutral).pose(codes)
assert vertices.shape == heads.expressive[:2].shape
error = np.linalg.norm(vertices - heads.expressive[:2], axis=-1).mean()
motion = np.linalg.norm(heads.expressive[:2] - heads.neutrals[0], axis=-1).mean()
assert error < 0.7 * motion, (error, motion)
capture = serep.load_model("models:/serep-capture@champion")
assert capture.semantic.code_size == model.code_size
assert type(capture.engine).__name__ == "OnnxEngine", capture.engine  # from the export that the stage left in the model
print("used")
"""


@pytest.fixture(scope="module")
def released(finished):
    finished.run("python", "-m", "flows.release")
    return finished


def test_released_models_load_by_name_from_below_the_project(released):
    program = USE.replace("data/surfaces", "../data/surfaces")
    done = released.run("python", "-c", f"import os\nos.chdir('serep')\n{program}")
    assert "used" in done.stdout


def test_a_second_release_makes_no_new_version(released):
    again = released.run("python", "-m", "flows.release")
    assert again.stdout.count("as before") == 2


def test_a_changed_pipeline_is_not_released(released, tmp_path):
    root = tmp_path / "changed"
    shutil.copytree(released.root, root, symlinks=True)
    changed = type(released)(root)
    changed.edit_params(render__seed=5)
    failed = changed.run("python", "-m", "flows.release", check=False)
    assert failed.returncode != 0
    assert "not released" in failed.stdout + failed.stderr


def test_a_model_that_misses_the_gate_is_registered_and_not_promoted(released, tmp_path):
    root = tmp_path / "gated"
    shutil.copytree(released.root, root, symlinks=True)
    gated = type(released)(root)
    gated.edit_params(release__gate__capture__bound=0.0)
    refused = gated.run("python", "-m", "flows.release", check=False)
    assert refused.returncode == 3
    assert "not promoted, the champion stays: score_capture.ours.vertex_mm is " in refused.stderr and "beyond its bound 0 by" in refused.stderr


def test_the_whole_chain_behind_a_released_model_is_told_and_verified(released):
    told = released.run("serep", "trace", "models:/serep-capture@champion", "--verify").stdout
    for stage in ("train_capture", "render@train-0", "train_semantic@neural", "preprocess", "heads"):
        assert f"\n{stage}: python -m serep.stages." in told
    assert "serep/faces/assets/makehuman_heads.npz" in told and "licence: CC0" in told
    assert "hashes recomputed and equal, 0 changed, 0 not here" in told


def test_retraining_with_other_values_leaves_the_checkout_as_it_is(released):
    before = released.run("git", "status", "--porcelain").stdout, released.lock()
    done = released.run("python", "-m", "flows.retrain", "-S", "benchmark.resamples=10", "--retries", "0")
    assert done.stdout.count("as before") == 2  # the same models, measured anew
    assert "Running stage 'benchmark':" in done.stderr
    assert (released.run("git", "status", "--porcelain").stdout, released.lock()) == before
    wrong = released.run("python", "-m", "flows.retrain", "-S", "benchmark.resample=10", check=False)
    assert wrong.returncode == 1 and "benchmark.resample: params.yaml has no such key" in wrong.stderr


def test_footage_without_a_face_is_named_and_nothing_is_written(released, tmp_path):
    picture = tmp_path / "wall.png"
    Image.new("RGB", (160, 120), (90, 90, 90)).save(picture)
    failed = released.run("serep", "capture", str(picture), "--out", str(tmp_path / "out"), check=False)
    assert failed.returncode == 1
    assert "no face" in failed.stderr and "wall.png" in failed.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_stages_are_runs_below_one_parent(released):
    program = """
import json, mlflow
from pathlib import Path
from serep.training.tracking import open_store
client, experiment = open_store(Path.cwd())
runs = client.search_runs([experiment], max_results=500)
stages = [run for run in runs if "stage" in run.data.tags]
below = {}
for run in stages:
    below.setdefault(run.data.tags["mlflow.parentRunId"], []).append(run.data.tags["stage"])
print(json.dumps({"below": list(below.values()), "inputs": sum(key.startswith("input.") for run in stages for key in run.data.tags)}))
"""
    told = json.loads(released.run("python", "-c", program).stdout.splitlines()[-1])
    [whole] = [stages for stages in told["below"] if "heads" in stages]  # a retraining has a parent of its own
    assert {"heads", "preprocess", "score_semantic", "train_capture", "report"} <= set(whole)
    assert told["inputs"] > 10
