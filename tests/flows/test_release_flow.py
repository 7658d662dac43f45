"""The release flow's gate, and what it hands to the registry."""
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from flows import release as flow_module
from flows.pipeline import StageRunner
from serep.config import load_params
from serep.training.champions import CAPTURE, SEMANTIC
from serep.training.gate import Bar, judge
from serep.training.release import Release, read_scores

SOURCE_ROOT = Path(__file__).resolve().parents[2]


def test_score_stages_are_stages_of_the_pipeline():
    assert {*flow_module.SCORE_STAGES, flow_module.REPORT_STAGE} <= set(yaml.safe_load((SOURCE_ROOT / "dvc.yaml").read_text())["stages"])


def test_gate_refuses_scores_that_are_not_up_to_date_and_ignores_what_they_do_not_need(project, monkeypatch):
    monkeypatch.setattr(flow_module, "SCORE_STAGES", ("part",))
    monkeypatch.setattr(flow_module, "REPORT_STAGE", "first")
    with pytest.raises(RuntimeError, match=r"not released: .* \(first, part@a, part@b\)\. Run: make repro"):
        flow_module.check_up_to_date.fn(str(project))
    runner = StageRunner(project, force=False, pipeline_run="flow")
    for stage in ("first", "part@a", "part@b"):
        runner.run(stage, lambda line: None)
    flow_module.check_up_to_date.fn(str(project))  # `aside` has never run
    (project / "params.yaml").write_text("seed: 2\nother: 1\n")
    with pytest.raises(RuntimeError, match=r"\(first\)"):
        flow_module.check_up_to_date.fn(str(project))


def test_models_scores_and_documents_are_where_params_say(tmp_path, monkeypatch):
    params = load_params(SOURCE_ROOT)
    monkeypatch.setattr(flow_module, "read_heads", lambda folder: SimpleNamespace(provenance={"licence": f"of {folder.name}"}))
    for name in ("dvc.lock", "params.yaml", "report/index.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "metrics").mkdir()
    for stage in flow_module.SCORE_STAGES:
        (tmp_path / "metrics" / f"{stage}.json").write_text(json.dumps({params.semantic.kind: {"error": 1}} if stage == "score_semantic" else {"error": 2}))
    made = flow_module.candidate(tmp_path, params)
    assert made.folders == {SEMANTIC: tmp_path / "models/semantic" / params.semantic.kind, CAPTURE: tmp_path / "models/capture"}
    assert made.scores == {f"score_semantic.{params.semantic.kind}.error": 1, "score_semantic.released.error": 1, "score_capture.error": 2, "benchmark.error": 2}
    assert {name: made.documents[name] for name in ("dvc.lock", "report.html")} == {"dvc.lock": "dvc.lock", "report.html": "report/index.html"}
    assert json.loads(made.documents["sources.json"])[params.heads.path.as_posix()] == {"licence": "of surfaces"}


def test_gated_metrics_are_ones_that_the_pipeline_measures():
    params = load_params(SOURCE_ROOT)
    metrics = {stage: SOURCE_ROOT / params.paths.metric(stage) for stage in flow_module.SCORE_STAGES}
    scores = read_scores(metrics, released=params.semantic.kind)
    for bar in params.release.bars().values():
        assert bar.metric in scores, bar.metric
        assert not isinstance(bar.bound, str) or bar.bound in scores, bar.bound


def test_table_shows_each_metric_beside_the_champion_s():
    verdicts = judge({"a": Bar("error", "lower", 0.1, "still")}, {"error": 2.0, "still": 3.0}, {"error": 1.0})
    (row,) = flow_module.gate_rows(Release((), tuple(verdicts), "no"))
    assert (row["metric"], row["new"], row["champion"], row["margin"], row["bound"]) == ("error", 2.0, 1.0, 0.1, 3.0)
    assert row["verdict"].startswith("error is 2, worse than the champion's 1 by 1")


def test_rollback_without_a_release_says_so_and_needs_no_server(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert flow_module.main(["--rollback"]) == 1
    assert capsys.readouterr().err == "nothing to roll back: no model has been released. Run: make repro, then python -m flows.release\n"
