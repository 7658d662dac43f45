"""tools/experiment.py: variants of the pipeline in copies, one table, and nothing else moved."""
import json
import shutil
import sys

import pytest

pytestmark = pytest.mark.slow

PLAN = """
title: Small
note: For the test.
set: {semantic.kinds: [neural, displacement_pca]}
variants:
  - {label: as it is, set: {}}
  - {label: coarse fit, set: {semantic.training.fit_tolerance: 0.3}}
"""
CAPTURE_PLAN = """
title: Small capture
target: score_capture
set: {simulated.landmark_error: 0.02, capture.training.steps: 10}
seeds: {key: capture.training.seed, values: [0, 1]}
table:
  - {name: simulated domain, unit: mm, metric: simulated.ours.vertex_mm, decimals: 3}
variants:
  - {label: without, set: {capture.training.loss_weights.domain: 0.0, capture.training.loss_weights.real_landmarks: 0.0}}
  - {label: with, set: {capture.training.loss_weights.domain: 0.1}}
"""


@pytest.fixture(scope="module")
def ran(finished, tmp_path_factory):
    root = tmp_path_factory.mktemp("experiment") / "project"
    shutil.copytree(finished.root, root, symlinks=True)
    project = type(finished)(root)
    (root / "experiments" / "small.yaml").write_text(PLAN)
    before = {name: (root / name).read_bytes() for name in ("params.yaml", "dvc.lock")}
    project.run(sys.executable, "tools/experiment.py", "small")
    assert before == {name: (root / name).read_bytes() for name in before}
    return project


def table(project) -> dict:
    return json.loads((project.root / "metrics" / "experiments" / "small.json").read_text())


def test_each_variant_is_scored_with_its_own_params(ran):
    result = table(ran)
    assert [one["label"] for one in result["variants"]] == ["as it is", "coarse fit"]
    first, second = (one["scores"] for one in result["variants"])
    assert set(first) == set(second) == {"neural", "displacement_pca"}
    assert first["displacement_pca"] == second["displacement_pca"]  # fits no coefficients
    assert first["neural"] != second["neural"]


def test_a_variant_like_the_pipeline_itself_gives_the_pipelines_scores(ran):
    scores = json.loads((ran.root / "metrics" / "score_semantic.json").read_text())
    assert table(ran)["variants"][0]["scores"]["neural"] == scores["neural"]


def test_the_report_shows_the_table_and_says_when_the_code_has_changed(ran):
    ran.dvc("repro", "report")
    page = (ran.root / "report" / "index.md").read_text()
    assert "### Small" in page and "coarse fit" in page and "with other code" not in page
    losses = ran.root / "serep" / "models" / "losses.py"
    for addition, changes in (("# only a comment\n", False), ("ANOTHER_VALUE = 1\n", True)):
        losses.write_text(losses.read_text() + addition)
        ran.run(sys.executable, "-m", "serep.stages.report")
        assert ("with other code" in (ran.root / "report" / "index.md").read_text()) is changes


def test_variants_of_the_capture_network_over_seeds(ran):
    (ran.root / "experiments" / "small_capture.yaml").write_text(CAPTURE_PLAN)
    own = ran.root / "real_images" / "notes.txt"
    own.write_text("what lies here is the user's and ignored by git, and yet every variant sees it")
    ran.run(sys.executable, "tools/experiment.py", "small_capture")
    own.unlink()
    assert json.loads((ran.root / "out/experiments/small_capture/02/metrics/intake.json").read_text())["files_set_aside"] == 1
    result = json.loads((ran.root / "metrics" / "experiments" / "small_capture.json").read_text())
    assert [(one["label"], one["seed"]) for one in result["variants"]] == [("without", 0), ("without", 1), ("with", 0), ("with", 1)]
    errors = [one["scores"]["simulated"]["ours"]["vertex_mm"] for one in result["variants"]]
    assert len(set(errors)) == 4 and all(error > 0 for error in errors)
    trained = [json.loads((ran.root / f"out/experiments/small_capture/{number:02d}/metrics/train_capture.json").read_text()) for number in (1, 4)]
    assert all(one["target_domain"] == "simulated" and one["target_faces_with_landmarks"] == one["target_faces"] == 20 for one in trained)
    ran.dvc("repro", "report")
    assert 'Small capture: against "without"' in (ran.root / "report" / "index.md").read_text()


@pytest.mark.parametrize(("arguments", "message"), [
    (["nothing"], "no experiment 'nothing'; there are:"),
    (["ict"], "ict.yaml needs --set heads.path="),
    (["small", "--set", "semantic.code=3"], "semantic.code is not a key of params.yaml"),
])  # fmt: skip
def test_what_cannot_be_run_is_said(ran, arguments, message):
    done = ran.run(sys.executable, "tools/experiment.py", *arguments, check=False)
    assert done.returncode and message in done.stderr
