import numpy as np
import pytest

from serep.benchmark.consistency import _agreement, cross_identity_consistency, facial_measures
from serep.data.heads import HeadSet
from serep.faces import BUILT_IN_HEADS, open_head_model
from serep.models.semantic import SemanticModel


@pytest.fixture(scope="module")
def head():
    return open_head_model("makehuman", BUILT_IN_HEADS)


@pytest.fixture(scope="module")
def performed(head):
    """Measures of the neutral and of single units at full strength on the mean head."""
    names = ("jawOpen", "eyeBlink_L", "browOuterUp_L", "browDown_R", "mouthSmile_L", "mouthPucker")
    weights = np.zeros((1 + len(names), len(head.expression_names)))
    for row, name in enumerate(names, start=1):
        weights[row, head.expression_names.index(name)] = 1
    measures = facial_measures(head.expressive(head.topology.template, weights), head.topology)
    return {name: dict(zip(("neutral", *names), values, strict=True)) for name, values in measures.items()}


@pytest.mark.parametrize(("measure", "unit", "rises"), [
    ("mouth opening", "jawOpen", True), ("lid opening", "eyeBlink_L", False), ("brow height", "browOuterUp_L", True), ("brow height", "browDown_R", False),
    ("mouth width", "mouthSmile_L", True), ("mouth width", "mouthPucker", False),
])  # fmt: skip
def test_measures_say_what_their_names_say(performed, measure, unit, rises):
    change = {name: value - performed[measure]["neutral"] for name, value in performed[measure].items()}
    assert (change[unit] > 0) == rises
    if measure in ("mouth opening", "lid opening"):
        assert abs(change[unit]) == max(abs(value) for value in change.values())


def test_ratios_do_not_depend_on_the_size_of_the_head(head):
    small, large = (facial_measures(scale * head.topology.template[None], head.topology) for scale in (0.8, 1.3))
    for name in set(small) - {"brow height"}:
        np.testing.assert_allclose(small[name], large[name], rtol=1e-9)


def test_agreement_is_perfect_for_the_truth_and_nothing_for_a_still_face(rng):
    true = rng.standard_normal((5, 20)) + 3 * rng.standard_normal(20)
    same = _agreement(true, true)
    assert same["spread"] == pytest.approx(same["true_spread"]) and same["correlation"] == pytest.approx(1)
    still = _agreement(np.zeros_like(true), true)
    assert still["spread"] == still["signal"] == 0 and still["correlation"] is None
    assert _agreement(np.zeros((3, 4)), np.zeros((3, 4)))["people"] == 0


def test_a_model_of_the_truth_spreads_as_the_truth_and_one_that_copies_shapes_does_not(head):
    """Stand-ins for models: one poses everybody's own true meshes, the other adds the source's displacements."""
    rng = np.random.default_rng(3)
    neutrals = np.stack([head.draw_neutral(rng=rng) for _ in range(3)]).astype(np.float32)
    weights = rng.uniform(0.3, 1, (6, len(head.expression_names))) * (rng.random((6, len(head.expression_names))) < 0.1)
    expressive = np.stack([head.expressive(neutral.astype(float), weights) for neutral in neutrals]).astype(np.float32)
    heads = HeadSet(
        topology=head.topology, neutrals=neutrals, subject_ids=("a", "b", "c"), subject_splits=("test",) * 3,
        expressive=expressive.reshape(-1, *expressive.shape[2:]), expression_subject=np.repeat(np.arange(3, dtype=np.int32), 6),
        expression_ids=tuple(f"e{k}" for k in range(6)) * 3, weights=np.tile(weights, (3, 1)).astype(np.float32),
        expression_names=tuple(head.expression_names), provenance={})

    class Oracle(SemanticModel):
        """Its code is the number of the expression."""

        kind = "oracle"

        def encode(self, neutral, meshes):
            person = int(np.abs(neutrals - neutral.vertices.astype(np.float32)).sum(axis=(1, 2)).argmin())
            return np.array([[np.abs(expressive[person] - mesh).sum(axis=(1, 2)).argmin()] for mesh in meshes], np.float32)

        def bind(self, neutral):
            person = int(np.abs(neutrals - neutral.vertices.astype(np.float32)).sum(axis=(1, 2)).argmin())
            truth = expressive[person]

            class Bound:
                def pose(self, codes):
                    return truth[codes[:, 0].astype(int)]

            return Bound()

    oracle = Oracle(head.topology, code_size=1)
    found = cross_identity_consistency(oracle, heads)
    assert set(found) == {"mouth opening", "mouth width", "lid opening", "brow height"}
    for one in found.values():
        assert one["correlation"] == pytest.approx(1) and one["spread"] == pytest.approx(one["true_spread"], rel=1e-5)
        assert one["people"] == 3 and one["expressions"] == 6 and one["signal"] > one["spread"]
    assert cross_identity_consistency(oracle, heads.take([0])) == {}
