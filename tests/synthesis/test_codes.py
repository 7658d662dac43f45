"""Mixed codes: shares as planned, recipes that tell the truth, and nothing beyond the bound."""
import dataclasses

import numpy as np
import pytest

from serep.synthesis.codes import RECIPES, CodeTable, draw_code, draw_half_pairs, join_halves


@pytest.fixture(scope="module")
def table() -> CodeTable:
    rng = np.random.default_rng(0)
    codes = rng.normal(0, [1, 2, 3, 0.1], (60, 4)).astype(np.float32)
    return CodeTable(codes, np.arange(100, 160, dtype=np.int32), tuple(f"train-{row}" for row in range(60)), (2 * codes[:6] + 1).astype(np.float32),
                     np.array([[2 * place, 2 * place + 1] for place in range(6)], np.int32))


@pytest.fixture(scope="module")
def drawn(table, plan):
    rng = np.random.default_rng(1)
    return [draw_code(table, mix=plan.codes, rng=rng) for _ in range(4000)]


def test_kinds_come_as_often_as_planned(drawn, plan):
    for kind, share in zip(RECIPES, plan.codes.shares, strict=True):
        assert abs(sum(recipe.kind == kind for _, recipe, _ in drawn) / len(drawn) - share) < 0.03


def test_a_recipe_makes_its_code_again(drawn, table):
    """From rows of the heads and shares alone; halves are encoded as meshes and so only named."""
    place_of = {int(row): place for place, row in enumerate(table.rows)}
    seen = set()
    for code, recipe, name in drawn:
        assert code.dtype == np.float32
        if recipe.kind == "halves":
            first, second = (place_of[row] for row in recipe.rows)
            number = next(number for number, pair in enumerate(table.half_pairs) if (first, second) == tuple(pair))
            assert recipe.shares[0] == recipe.shares[1] <= 1 and name == f"train-{first}|train-{second}"
            np.testing.assert_allclose(code, recipe.shares[0] * table.half_codes[number], rtol=1e-5)
        else:
            expected = sum(share * table.codes[place_of[row]] for row, share in zip(recipe.rows, recipe.shares, strict=True))
            np.testing.assert_allclose(code, expected, rtol=1e-4, atol=1e-6)
            assert name.startswith(f"train-{place_of[recipe.rows[0]]}")
        seen.add((recipe.kind, len(recipe.rows)))
    assert {("training", 1), ("faint", 1), ("interpolated", 2), ("summed", 2), ("halves", 2), ("extrapolated", 1)} == seen


def test_nothing_goes_too_far(drawn, table, plan):
    lengths = {kind: table.lengths(np.array([code for code, recipe, _ in drawn if recipe.kind == kind])) for kind in RECIPES}
    limit = plan.codes.reach * table.longest
    assert max(lengths[kind].max() for kind in RECIPES if kind != "training") <= limit * (1 + 1e-5)
    assert lengths["summed"].max() > 0.99 * limit, "the bound was never needed, so it was not tested"
    assert lengths["faint"].mean() < lengths["training"].mean() < lengths["extrapolated"].mean()
    factors = [recipe.shares[0] for _, recipe, _ in drawn if recipe.kind == "extrapolated"]
    assert max(factors) <= plan.codes.extrapolation_max and np.median(factors) > 1


def test_tables_travel_as_arrays(table):
    again = CodeTable.from_arrays(table.to_arrays())
    assert again.expression_ids == table.expression_ids and again.longest == table.longest
    np.testing.assert_array_equal(again.half_pairs, table.half_pairs)


def test_without_halves_codes_are_summed(table, plan):
    bare = dataclasses.replace(table, half_codes=np.zeros((0, 4), np.float32), half_pairs=np.zeros((0, 2), np.int32))
    rng = np.random.default_rng(0)
    kinds = {draw_code(bare, mix=plan.codes, rng=rng)[1].kind for _ in range(200)}
    assert kinds == set(RECIPES) - {"halves"}


def test_halves_are_what_they_say(topology, heads):
    """Off the seam a joined mesh is the one expression on the left and the other on the right."""
    person = heads.subject_splits.index("train")
    neutral, (left, right) = heads.neutrals[person], heads.expressive[heads.expression_subject == person][:2]
    joined = join_halves(neutral, left[None], right[None], topology)[0]
    side = topology.template[:, 0]
    np.testing.assert_allclose(joined[side > 15], left[side > 15], atol=1e-4)
    np.testing.assert_allclose(joined[side < -15], right[side < -15], atol=1e-4)
    middle = np.abs(side) < 0.5
    np.testing.assert_allclose(joined[middle], (left + right)[middle] / 2, atol=0.1 * np.abs(left - right).max())
    assert np.abs(left - right)[middle].max() > 0.5


@pytest.fixture
def pliant(heads):
    """The heads with smaller motions, so that most expressions fit together along the seam; the first person's fourth is as large as before."""
    own = heads.neutrals[heads.expression_subject]
    expressive = own + 0.2 * (heads.expressive - own)
    expressive[3, :, 1] -= 30
    return dataclasses.replace(heads, expressive=expressive.astype(np.float32))


def test_pairs_are_of_one_person_and_depend_on_nobody_else(pliant):
    people = [person for person, split in enumerate(pliant.subject_splits) if split == "train"]
    pairs = draw_half_pairs(pliant, people, per_person=3, seed=(5, 0))
    assert pairs.shape == (3 * len(people), 2) and (pairs[:, 0] != pairs[:, 1]).all()
    owners = pliant.expression_subject[pairs]
    assert (owners[:, 0] == owners[:, 1]).all() and owners[::3, 0].tolist() == people
    np.testing.assert_array_equal(draw_half_pairs(pliant, people[1:], per_person=3, seed=(5, 0)), pairs[3:])
    assert not np.array_equal(draw_half_pairs(pliant, people, per_person=3, seed=(6, 0)), pairs)
    assert draw_half_pairs(pliant, people, per_person=0, seed=(5, 0)).shape == (0, 2)


def test_expressions_that_differ_along_the_middle_are_not_joined(pliant):
    person = int(pliant.expression_subject[3])
    pairs = draw_half_pairs(pliant, [person], per_person=1000, seed=(5, 0))
    assert 3 not in pairs and 0 < len(pairs) <= 6


@pytest.mark.parametrize(("changes", "message"), [
    ({"training": 0.9}, r"must sum to 1, got training 0\.9, .* \(sum 1\.6\)"), ({"training": -0.3, "faint": 0.8}, "must not be negative"),
    ({"extrapolation_max": 0.9}, "at least 1"), ({"reach": 0.5}, "at least 1"), ({"halves_per_person": -1}, "at least 0"),
])
def test_nonsense_mixes_are_refused(plan, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(plan.codes, **changes)
