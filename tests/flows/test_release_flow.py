"""The release flow's gate, and what it hands to the registry."""
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from flows import release as flow_module
from flows.pipeline import StageRunner
from serep.training.release import ModelVersion

SOURCE_ROOT = Path(__file__).resolve().parents[2]


def test_score_stages_are_stages_of_the_pipeline():
    assert set(flow_module.SCORE_STAGES) <= set(yaml.safe_load((SOURCE_ROOT / "dvc.yaml").read_text())["stages"])


def test_gate_refuses_scores_that_are_not_up_to_date_and_ignores_what_they_do_not_need(project, monkeypatch):
    monkeypatch.setattr(flow_module, "SCORE_STAGES", ("part",))
    with pytest.raises(RuntimeError, match=r"not released: .* \(first, part@a, part@b\)\. Run: make repro"):
        flow_module.check_up_to_date.fn(str(project))
    runner = StageRunner(project, force=False, pipeline_run="flow")
    for stage in ("first", "part@a", "part@b"):
        runner.run(stage, lambda line: None)
    flow_module.check_up_to_date.fn(str(project))  # `aside` has never run
    (project / "params.yaml").write_text("seed: 2\nother: 1\n")
    with pytest.raises(RuntimeError, match=r"\(first\)"):
        flow_module.check_up_to_date.fn(str(project))


def test_models_and_metrics_are_where_params_say(monkeypatch):
    paths = SimpleNamespace(
        semantic_model=lambda kind: Path("models/semantic") / kind, capture=Path("models/capture"), metric=lambda stage: Path(f"m/{stage}.json"),
    )
    params = SimpleNamespace(paths=paths, semantic=SimpleNamespace(kind="neural"))
    monkeypatch.setattr(flow_module, "load_params", lambda root: params)
    seen = {}

    def register_models(root: Path, **given) -> list[ModelVersion]:
        seen.update(given, root=root)
        return [ModelVersion("serep-semantic", 3, created=False)]

    monkeypatch.setattr(flow_module, "register_models", register_models)
    assert flow_module.register.fn("/project") == [{"model": "models:/serep-semantic@champion", "version": 3, "new": False}]
    assert seen["root"] == Path("/project")
    assert seen["semantic_folder"] == Path("/project/models/semantic/neural")
    assert seen["capture_folder"] == Path("/project/models/capture")
    assert seen["metrics"] == {stage: Path(f"/project/m/{stage}.json") for stage in flow_module.SCORE_STAGES}
