"""People of parametric heads: reproducible, unpaired for training, paired for testing."""
import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

from serep.faces import BUILT_IN_HEADS, SubjectPlan, open_head_model
from serep.faces.parametric import least_moving

PLAN = SubjectPlan(
    train_people=2, val_people=1, test_people=2, expressions_per_person=2, test_expressions=3, units_min=2, units_max=4,
    weight_min=0.2, weight_max=1.0, symmetric_share=0.6,
)  # fmt: skip


@pytest.fixture(scope="module")
def subjects(head_model):
    return list(head_model.subjects(PLAN, seed=5))


def same(one, other) -> bool:
    return one.expression_ids == other.expression_ids and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("neutral", "weights", "expressive")
    )


def test_order_and_shapes(head_model, subjects):
    assert [subject.split for subject in subjects] == ["train", "train", "val", "test", "test"]
    assert len({subject.subject_id for subject in subjects}) == 5
    vertices, units = len(head_model.topology.template), len(head_model.expression_names)
    for subject, count in zip(subjects, (2, 2, 1, 3, 3), strict=True):
        assert subject.expressive.shape == (count, vertices, 3) and subject.weights.shape == (count, units)
        assert subject.neutral.dtype == subject.expressive.dtype == subject.weights.dtype == np.float32
        assert len(subject.expression_ids) == count and not subject.problems


def test_training_is_unpaired_and_testing_paired(subjects):
    train, test = subjects[:2], subjects[3:]
    assert not set(train[0].expression_ids) & set(train[1].expression_ids)
    assert not np.array_equal(train[0].weights, train[1].weights)
    assert test[0].expression_ids == test[1].expression_ids and np.array_equal(test[0].weights, test[1].weights)
    assert not np.array_equal(test[0].neutral, test[1].neutral)
    lists = [subject.expression_ids for subject in subjects]
    assert len(set(itertools.chain(lists[0], lists[1], lists[2], lists[3]))) == 2 + 2 + 1 + 3


def test_same_seed_same_people_other_seed_others(head_model, subjects):
    again = list(head_model.subjects(PLAN, seed=5))
    assert all(same(one, other) for one, other in zip(subjects, again, strict=True))
    other = next(head_model.subjects(PLAN, seed=6))
    assert not np.array_equal(other.neutral, subjects[0].neutral) and not np.array_equal(other.weights, subjects[0].weights)


def test_counts_of_one_split_leave_the_others_alone(head_model, subjects):
    changed = replace(PLAN, train_people=1, val_people=0, expressions_per_person=1)
    test = [subject for subject in head_model.subjects(changed, seed=5) if subject.split == "test"]
    assert [same(one, other) for one, other in zip(test, subjects[3:], strict=True)] == [True, True]
    first = next(head_model.subjects(replace(changed, test_people=0), seed=5))
    assert np.array_equal(first.neutral, subjects[0].neutral)


def test_expressions_of_the_template_are_the_units_themselves(head_model):
    weights = head_model.draw_weights(2, PLAN, rng=np.random.default_rng(0))
    expected = head_model.topology.template + np.tensordot(weights, head_model.expression_units, axes=1)
    found = head_model.expressive(head_model.topology.template, weights)
    skin = head_model.topology.regions["face"] > 0
    assert np.abs(found - expected)[:, skin].max() < 1e-3


def test_expressions_adapt_to_the_person(head_model):
    """Carried displacements differ from the template's, and fixed vertices stay where they are."""
    neutral = head_model.draw_neutral(rng=np.random.default_rng(2))
    weights = head_model.draw_weights(4, PLAN, rng=np.random.default_rng(1))
    carried = head_model.expressive(neutral, weights) - neutral
    copied = np.tensordot(weights, head_model.expression_units, axes=1)
    assert np.linalg.norm(carried - copied, axis=-1).max() > 0.3
    assert np.abs(carried[:, head_model.topology.fixed]).max() == 0


def test_fixed_vertices_are_those_that_move_least(head_model):
    fixed, units = head_model.topology.fixed, head_model.expression_units
    assert len(fixed) == 300 and (np.diff(fixed) > 0).all() and (head_model.topology.parts[fixed] == 0).all()
    assert np.abs(units[:, fixed]).max() < 1e-6
    motion = np.array([0, 5, 1, 1, 1, 1, 9.0])
    assert least_moving(motion, motion < 9, 3).tolist() == [0, 2, 5]
    assert least_moving(motion, motion > 0, 9).tolist() == [1, 2, 3, 4, 5, 6]


def test_plans_that_cannot_be_drawn_are_refused(head_model):
    with pytest.raises(ValueError, match="units_min"):
        replace(PLAN, units_min=5)
    with pytest.raises(ValueError, match="units can be drawn"):
        head_model.draw_weights(1, replace(PLAN, units_max=50), rng=np.random.default_rng(0))


def test_plain_draws_stay_what_they_were(head_model):
    """Numbers of the first version: whoever leaves the choices plain keeps the people and expressions of old runs."""
    plan = SubjectPlan(3, 2, 2, 4, 5, 2, 6, 0.2, 1.0, 0.6)
    people = list(head_model.subjects(plan, seed=0))
    weights = np.concatenate([person.weights for person in people])
    assert hashlib.sha256(weights.astype("<f4").tobytes()).hexdigest().startswith("38a761d36baba4da")
    some = [0, 1000, 4000]
    np.testing.assert_allclose(people[0].neutral[some, 1], [38.059719, 33.507908, 1.239147], atol=1e-4)
    np.testing.assert_allclose(people[-1].expressive[3, some, 1], [40.212947, 35.285980, 0.747089], atol=1e-4)
    np.testing.assert_allclose(head_model.draw_neutral(rng=np.random.default_rng(9))[1000], [-44.264443, 37.716580, 85.261238], atol=1e-4)


def test_held_out_units_reach_only_the_test_people(head_model):
    plan = replace(PLAN, held_out_units=("jawOpen", "mouthSmile"))
    held_out = [place for place, name in enumerate(head_model.expression_names) if name.startswith(plan.held_out_units)]
    for person in head_model.subjects(plan, seed=5):
        acts = person.weights[:, held_out].any(axis=1)
        assert acts.all() if person.split == "test" else not acts.any()


def test_populations_reach_the_splits_they_are_meant_for(head_model, subjects):
    model = open_head_model("makehuman", BUILT_IN_HEADS, train_population="asian", test_population="male")
    mixed = list(model.subjects(PLAN, seed=5))
    train, test = (open_head_model("makehuman", BUILT_IN_HEADS, train_population=name) for name in ("asian", "male"))
    for person, plain in zip(mixed, subjects, strict=True):
        rng = np.random.default_rng([5, ("train", "val", "test").index(person.split), int(person.subject_id[-4:])])
        drawn = (test if person.split == "test" else train).draw_neutral(rng=rng)
        assert np.array_equal(person.neutral, drawn.astype(np.float32)) and not np.array_equal(person.neutral, plain.neutral)
        assert np.array_equal(person.weights, plain.weights)  # who is drawn does not change what they do
    assert np.array_equal(model.draw_neutral(rng=np.random.default_rng(4)), train.draw_neutral(rng=np.random.default_rng(4)))


def test_choices_that_a_source_lacks_are_named():
    with pytest.raises(ValueError, match="train_population is 'nordic', but the heads of makehuman have only all, african, asian, caucasian, female"):
        open_head_model("makehuman", BUILT_IN_HEADS, train_population="nordic")
    with pytest.raises(ValueError, match="test_population is 'female', but .* only all, african, asian, caucasian: choose"):
        open_head_model("makehuman", BUILT_IN_HEADS, test_population="female", expression_transfer="sculpted")
    with pytest.raises(ValueError, match="expression_transfer is 'copy', but .* offer only deformation, cloning, sculpted"):
        open_head_model("makehuman", BUILT_IN_HEADS, expression_transfer="copy")
