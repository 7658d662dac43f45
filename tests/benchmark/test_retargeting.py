import json
import logging

import numpy as np
import pytest
from small_heads import small_heads, training_options

from serep.benchmark.retargeting import retargeting_examples, score_semantic
from serep.training.semantic_task import train_semantic


@pytest.fixture(scope="module")
def heads():
    return small_heads()


@pytest.fixture(scope="module")
def models(heads):
    return {kind: train_semantic(heads, **training_options(kind=kind, code_size=7))[0] for kind in ("displacement_pca", "gradient_pca", "gradient_fit")}


@pytest.fixture(scope="module")
def scores(models, heads):
    return {kind: score_semantic(model, heads.select("test"), max_pairs=100, seed=0) for kind, model in models.items()}


def test_the_gradient_kinds_retarget_better_than_copying_and_copying_better_than_nothing(scores):
    for kind in ("gradient_pca", "gradient_fit"):
        assert scores[kind]["retargeting_mm"] < scores[kind]["copied_mm"] < scores[kind]["neutral_mm"]
    assert scores["gradient_fit"]["retargeting_mm"] < scores["gradient_pca"]["retargeting_mm"]
    assert scores["gradient_fit"]["identity_leak"] < scores["displacement_pca"]["identity_leak"]


def test_every_number_is_there_and_plain(scores):
    expected = {
        "reconstruction_mm", "retargeting_mm", "reconstruction_mouth_mm", "retargeting_mouth_mm", "retargeting_nose_mm", "neutral_mm", "copied_mm",
        "identity_leak", "identity_leak_per_number", "neutral_leak_mm", "code_cycle", "moving_motion_mm", "left_right_swap", "pairs",
    }  # fmt: skip
    for row in scores.values():
        assert expected <= row.keys()
        assert json.loads(json.dumps(row)) == row
        assert row["retargeting_cheek_mm"] is None  # an empty region
        assert row["pairs"] == 6 and row["shared_expressions"] == 10
        assert row["neutral_leak_mm"] < 1e-3 and row["left_right_swap"] == 0


def test_scores_are_those_of_posed_meshes(models, heads, scores):
    test, model = heads.select("test"), models["gradient_fit"]
    motion = np.linalg.norm(test.expressive - test.neutrals[test.expression_subject], axis=-1).mean(axis=0)
    moving = motion > 0.3
    same, other = [], []
    for target in range(3):
        rig = model.bind(heads.topology.mesh(test.neutrals[target]))
        truth = test.expressive[test.expression_subject == target]
        for source in range(3):
            codes = model.encode(heads.topology.mesh(test.neutrals[source]), test.expressive[test.expression_subject == source])
            (same if source == target else other).append(np.linalg.norm(rig.pose(codes) - truth, axis=-1)[:, moving].mean())
    assert scores["gradient_fit"]["reconstruction_mm"] == pytest.approx(np.mean(same), rel=1e-4)
    assert scores["gradient_fit"]["retargeting_mm"] == pytest.approx(np.mean(other), rel=1e-4)
    assert scores["gradient_fit"]["moving_vertices"] == moving.sum()


def test_a_sample_of_pairs_follows_the_seed(models, heads):
    few = [score_semantic(models["displacement_pca"], heads.select("test"), max_pairs=2, seed=seed)["retargeting_mm"] for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]


def test_without_shared_expressions_retargeting_stays_empty_and_says_so(models, caplog):
    unpaired = small_heads(paired=False).select("test")
    with caplog.at_level(logging.WARNING):
        row = score_semantic(models["gradient_pca"], unpaired, max_pairs=100, seed=0)
    assert row["retargeting_mm"] is None and row["identity_leak"] is None and row["copied_mm"] is None and row["reconstruction_mm"] > 0
    assert "share no expression" in caplog.text


def test_a_person_without_expressions_is_named(models, heads):
    test = heads.select("test")
    lonely = test.take([0, 1, 2], without=np.flatnonzero(test.expression_subject == 1).tolist())
    with pytest.raises(ValueError, match="test person test-11 has no expressive mesh"):
        score_semantic(models["gradient_pca"], lonely, max_pairs=9, seed=0)


@pytest.mark.parametrize("paired", [True, False])
def test_examples_hold_source_truth_and_every_model(models, paired):
    test = small_heads(paired=paired).select("test")
    examples = retargeting_examples(models, test, max_pairs=2, seed=0)
    assert examples.keys() == {"labels", "source", "truth", "model/displacement_pca", "model/gradient_pca", "model/gradient_fit"}
    assert len(examples["labels"]) == 2 and all(examples[name].shape == (2, 225, 3) for name in examples if name != "labels")
    error = np.linalg.norm(examples["model/gradient_fit"] - examples["truth"], axis=-1).mean()
    assert error < 0.5
    assert (np.abs(examples["source"] - examples["truth"]).max() > 1) == paired
