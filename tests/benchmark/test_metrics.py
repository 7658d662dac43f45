import numpy as np
import pytest
from small_heads import sheet

from serep.benchmark.metrics import identity_leak, left_right_swap, mirrored, moving_vertices, relative_difference, vertex_distances


def test_distances_and_moving_vertices():
    displacements = np.zeros((2, 3, 3))
    displacements[:, 1] = [3, 4, 0]
    displacements[0, 2] = [0, 0, 0.5]
    assert vertex_distances(displacements, 0 * displacements)[0].tolist() == [0, 5, 0.5]
    assert moving_vertices(displacements).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="no vertex moves"):
        moving_vertices(0 * displacements)


def test_identity_leak_is_the_ratio_of_variances(rng):
    expression, person = rng.standard_normal((1, 500, 4)), rng.standard_normal((400, 1, 4))
    assert identity_leak(np.repeat(expression, 5, axis=0)) == pytest.approx((0, 0), abs=1e-12)
    total, single = identity_leak(expression + 0.1 * person)
    assert total == pytest.approx(0.01, rel=0.2) and single == pytest.approx(0.01, rel=0.2)
    leaky = expression + person * [0, 0, 0, 2]
    total, single = identity_leak(leaky)
    assert total == pytest.approx(1, rel=0.2) and single == pytest.approx(1, rel=0.2)
    scaled = leaky * [10, 10, 10, 1]  # the total follows large numbers, the mean over single numbers does not
    assert identity_leak(scaled)[0] < 0.05 and identity_leak(scaled)[1] == pytest.approx(single)


def test_a_number_that_never_changes_leaks_nothing(rng):
    codes = np.concatenate([np.repeat(rng.standard_normal((1, 5, 2)), 3, axis=0), np.zeros((3, 5, 1))], axis=2)
    assert identity_leak(codes) == pytest.approx((0, 0), abs=1e-12)


def test_relative_difference():
    assert relative_difference(np.array([[3.0, 4.0]]), np.array([[0.0, 5.0]])) == pytest.approx(np.sqrt(10) / 5)


def test_a_wink_on_the_wrong_side_is_counted(rng):
    vertices, _, mirror = sheet()
    wink = np.zeros((1, len(vertices), 3))
    wink[0, vertices[:, 0] > 20] = [1, -2, 0]
    smile = wink + mirrored(wink, mirror)
    moving = np.abs(vertices[:, 0]) > 20
    np.testing.assert_array_equal(mirrored(mirrored(wink, mirror), mirror), wink)
    assert left_right_swap(wink, wink, mirror, moving) == 0
    assert left_right_swap(mirrored(wink, mirror), wink, mirror, moving) == 1
    assert left_right_swap(smile, smile, mirror, moving) is None
