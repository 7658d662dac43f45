"""Random expressions keep the rules that make them possible for a face."""
import itertools
from dataclasses import replace

import numpy as np
import pytest

from serep.faces import SubjectPlan
from serep.faces.expression_units import BLINK_MIN, OPPOSED, draw_weights, sides_of

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
    for one, other in ((one, other) for one, other in OPPOSED if one in sides):
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


def draw(names, plan, *, count=400, **options):
    return draw_weights(names, count, plan, rng=np.random.default_rng(1), **options)


def acts(names, weights, stem) -> np.ndarray:
    return weights[:, list(sides_of(names)[stem])].any(axis=1)


@pytest.mark.parametrize("held_out", [("mouthFunnel",), ("mouthSmile", "eyeWide"), ("jawOpen",), ("mouthClose", "browDown"), ("eyeBlink",)])
def test_held_out_units_never_act_or_always_one_of_them(head_model, held_out):
    names, plan = head_model.expression_names, replace(PLAN, held_out_units=held_out, blink_share=0.3)
    seen, unseen = draw(names, plan), draw(names, plan, with_held_out=True)
    assert not any(acts(names, seen, stem).any() for stem in held_out)
    assert (seen > 0).any(axis=1).all()
    assert np.any([acts(names, unseen, stem) for stem in held_out], axis=0).all()
    assert all(acts(names, unseen, stem).any() for stem in held_out)
    columns = [place for stem in held_out for place in sides_of(names)[stem]]
    assert unseen[:, columns][unseen[:, columns] > 0].min() >= PLAN.weight_min
    units = np.stack([acts(names, unseen, stem) for stem in sides_of(names)]).sum(axis=0)
    assert units.min() == 1 and PLAN.units_max <= units.max() <= PLAN.units_max + 2  # a jaw that a unit needs and a blink may come on top


def test_units_that_need_a_held_out_jaw_are_held_out_with_it(head_model):
    names = head_model.expression_names
    seen = draw(names, replace(PLAN, held_out_units=("jawOpen",)))
    assert not acts(names, seen, "mouthClose").any() and not acts(names, seen, "tongueOut").any()


def test_what_cannot_be_held_out_is_named(head_model):
    names = head_model.expression_names
    with pytest.raises(ValueError, match=r"held_out_units names mouthGrin, smile_L, which this source never draws; it draws browDown, .*mouthSmile"):
        draw(names, replace(PLAN, held_out_units=("mouthGrin", "smile_L")))
    with pytest.raises(ValueError, match="eyeLookUp, which this source never draws"):
        draw(names, replace(PLAN, held_out_units=("eyeLookUp",)))
    drawable = [stem for stem in sides_of(names) if not stem.startswith("eyeLook")]
    plan = replace(PLAN, held_out_units=tuple(stem for stem in drawable[:-4] if stem != "jawOpen"))
    with pytest.raises(ValueError, match=rf"units_max is 6, but only 5 units can be drawn without {drawable[0]}, .*: lower it"):
        draw(names, plan)
    assert draw(names, replace(plan, units_max=5)).any() and draw(names, plan, with_held_out=True).any()


def test_blinks_shut_both_eyes_and_change_nothing_else(head_model):
    names = head_model.expression_names
    never, often = draw(names, PLAN), draw(names, replace(PLAN, blink_share=0.25))
    left, right = (often[:, names.index(f"eyeBlink_{side}")] for side in "LR")
    blinks = (never != often).any(axis=1)
    assert blinks.mean() == pytest.approx(0.25, abs=0.06) and (left[blinks] == right[blinks]).all() and left[blinks].min() >= BLINK_MIN
    wide = [names.index(f"eyeWide_{side}") for side in "LR"]
    assert never[blinks][:, wide].any() and not often[blinks][:, wide].any()
    others = [place for place, name in enumerate(names) if not name.startswith(("eyeBlink", "eyeWide"))]
    assert np.array_equal(never[:, others], often[:, others])


def test_blinks_of_other_sources():
    own = ("eye-closure_L", "eye-closure_R", "eye-opened-up_L", "eye-opened-up_R", "mouth-open")
    plan = replace(PLAN, units_min=1, units_max=1, blink_share=1.0)
    weights = draw(own, plan)
    assert (weights[:, 0] == weights[:, 1]).all() and weights[:, 0].min() >= BLINK_MIN and not weights[:, 2:4].any() and weights[:, 4].any()
    eyeless = ("mouth-open", "mouth-pursing")
    assert np.array_equal(draw(eyeless, plan), draw(eyeless, replace(plan, blink_share=0.0)))
    with pytest.raises(ValueError, match="blink_share"):
        replace(PLAN, blink_share=1.2)
