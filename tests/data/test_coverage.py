"""The coverage table: known recipes give known shares."""
import dataclasses

import numpy as np
import pytest
from squares import draw_squares, tiny_spec

from serep.data.coverage import image_weights, recipe_shares, unit_coverage
from serep.data.shards import Recipe, open_part, write_part

RECIPES = [Recipe("training", (0,), (1.0,)), Recipe("faint", (0,), (0.25,)), Recipe("interpolated", (0, 1), (0.5, 0.5)), Recipe("summed", (0, 1), (1.0, 1.0)),
           Recipe("halves", (0, 1), (1.0, 1.0)), Recipe("halves", (1, 0), (1.0, 1.0)), Recipe("extrapolated", (0,), (1.5,)), Recipe("own", (3,), (1.0,))]


@pytest.fixture
def heads(tiny_heads):
    """Units jawOpen, smile_L and smile_R; row 0 opens the jaw and smiles on the left, row 1 smiles on the right, row 3 does nothing."""
    weights = np.zeros((len(tiny_heads.expression_ids), 3), np.float32)
    weights[0], weights[1] = (0.8, 0.8, 0.0), (0.0, 0.0, 0.4)
    return dataclasses.replace(tiny_heads, weights=weights, expression_names=("jawOpen", "smile_L", "smile_R"))


@pytest.fixture
def part(tmp_path):
    write_part(tmp_path / "train-0", tiny_spec(images=8), lambda images: dataclasses.replace(
        draw_squares(images), recipes=[RECIPES[image] for image in images]))
    return open_part(tmp_path / "train-0")


def test_weights_follow_the_recipes(part, heads):
    expected = [[0.8, 0.8, 0], [0.2, 0.2, 0], [0.4, 0.4, 0.2], [0.8, 0.8, 0.4], [0.4, 0.8, 0.4], [0.4, 0, 0], [1.2, 1.2, 0], [0, 0, 0]]
    np.testing.assert_allclose(image_weights(part, heads), expected, atol=1e-6)


def test_the_table(part, heads):
    jaw, left, right = unit_coverage([part, part], heads)
    assert (jaw.unit, jaw.active, jaw.strong, jaw.one_sided) == ("jawOpen", 7 / 8, 3 / 8, None)
    assert (left.active, left.strong, left.one_sided) == (6 / 8, 4 / 8, 3 / 8)
    assert (right.active, right.strong, right.one_sided) == (3 / 8, 0, 0)
    assert (jaw.images, right.images) == (14, 6) and (jaw.extreme, left.extreme, right.extreme) == (1 / 8, 1 / 8, 0)
    assert jaw.largest == pytest.approx(1.2) and right.largest == pytest.approx(0.4)
    shares = recipe_shares([part])
    assert shares["halves"] == 2 / 8 and sum(shares.values()) == 1


def test_heads_that_cannot_tell(part, heads):
    scans = dataclasses.replace(heads, weights=np.zeros((len(heads.expression_ids), 0), np.float32), expression_names=())
    with pytest.raises(ValueError, match="no weights of expression units, as scans do not"):
        unit_coverage([part], scans)
    with pytest.raises(ValueError, match="names expression 3, the heads have 1; read the heads that it was drawn from"):
        image_weights(part, heads.select("val"))
