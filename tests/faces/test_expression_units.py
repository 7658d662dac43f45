"""Random expressions keep the rules that make them possible for a face."""
import itertools

import numpy as np
import pytest

from serep.faces import SubjectPlan
from serep.faces.expression_units import OPPOSED, draw_weights, sides_of

PLAN = SubjectPlan(1, 1, 1, 1, 1, units_min=2, units_max=6, weight_min=0.2, weight_max=0.9, symmetric_share=0.6)


@pytest.fixture(scope="module")
def drawn(head_model):
    return head_model.expression_names, draw_weights(head_model.expression_names, 2000, PLAN, rng=np.random.default_rng(0))


def test_weights_stay_in_range_and_every_unit_but_gaze_is_drawn(drawn):
    names, weights = drawn
    gaze = np.array([name.startswith("eyeLook") for name in names])
    assert (weights[:, gaze] == 0).all() and (weights[:, ~gaze] > 0).any(axis=0).all()
    assert weights.min() == 0 and weights.max() <= 0.9
    assert (weights > 0).any(axis=1).all()


def test_lips_are_never_shut_without_an_open_jaw(drawn):
    names, weights = drawn
    jaw = weights[:, names.index("jawOpen")]
    for name in ("mouthClose", "tongueOut"):
        assert (weights[:, names.index(name)] <= jaw).all()


def test_opposed_units_are_not_together(drawn):
    names, weights = drawn
    sides = sides_of(names)
    for one, other in OPPOSED:
        same_kind = len(sides[one]) == len(sides[other])
        for a, b in zip(sides[one], sides[other], strict=True) if same_kind else itertools.product(sides[one], sides[other]):
            assert not (weights[:, a] * weights[:, b]).any(), (names[a], names[b])


def test_share_of_symmetric_expressions(drawn):
    names, weights = drawn
    pairs = np.array([pair for pair in sides_of(names).values() if len(pair) == 2])
    sided = (weights[:, pairs] > 0).any(axis=(1, 2))
    alike = (weights[:, pairs[:, 0]] == weights[:, pairs[:, 1]]).all(axis=1)
    assert alike[sided].mean() == pytest.approx(0.6, abs=0.04)


def test_sides_are_in_the_order_left_right(head_model):
    sides = sides_of(head_model.expression_names)
    assert [head_model.expression_names[index] for index in sides["eyeBlink"]] == ["eyeBlink_L", "eyeBlink_R"]
    assert len(sides["jawOpen"]) == 1


def test_only_left_only_right_and_both_occur(drawn):
    names, weights = drawn
    left, right = (weights[:, names.index(f"mouthSmile_{side}")] > 0 for side in "LR")
    assert (left & ~right).any() and (right & ~left).any() and (left & right).any()
