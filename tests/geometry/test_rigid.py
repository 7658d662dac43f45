import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_shapes import random_rotation

from serep.geometry import apply_rigid, rigid_align


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(4, 40), weighted=st.booleans())
def test_recovers_a_random_motion(seed, count, weighted):
    rng = np.random.default_rng(seed)
    points, rotation, translation = rng.standard_normal((count, 3)), random_rotation(rng), rng.standard_normal(3)
    weights = rng.uniform(0.1, 1, count) if weighted else None
    found, moved = rigid_align(points, points @ rotation.T + translation, weights=weights)
    np.testing.assert_allclose(found, rotation, atol=1e-12)
    np.testing.assert_allclose(moved, translation, atol=1e-12)


def test_never_a_reflection_unless_asked(rng):
    points = rng.standard_normal((20, 50, 3))
    mirrored = points * [-1, 1, 1]
    rotation, translation = rigid_align(points, mirrored)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-12)
    reflection, translation = rigid_align(points, mirrored, allow_reflection=True)
    np.testing.assert_allclose(apply_rigid(points, reflection, translation), mirrored, atol=1e-12)
    flat = points * [1, 1, 0]
    np.testing.assert_allclose(np.linalg.det(rigid_align(flat, flat[:, :, [1, 0, 2]])[0]), 1, atol=1e-12)


def test_batch_equals_single_and_broadcasts(rng):
    source, target = rng.standard_normal((6, 3)), rng.standard_normal((2, 5, 6, 3))
    rotation, translation = rigid_align(source, target)
    assert rotation.shape == (2, 5, 3, 3) and translation.shape == (2, 5, 3)
    single = rigid_align(source, target[1, 2])
    np.testing.assert_allclose(rotation[1, 2], single[0], atol=1e-12)
    np.testing.assert_allclose(apply_rigid(source, rotation, translation)[1, 2], source @ single[0].T + single[1], atol=1e-12)


def test_is_the_least_squares_motion(rng):
    """No small turn or shift away from the answer fits better, with weights as without."""
    source, target, weights = rng.standard_normal((9, 3)), rng.standard_normal((9, 3)), rng.uniform(0, 1, 9)
    rotation, translation = rigid_align(source, target, weights=weights)

    def cost(rotation, translation):
        return (weights[:, None] * (source @ rotation.T + translation - target) ** 2).sum()

    best = cost(rotation, translation)
    for _ in range(50):
        turn = np.cross(np.eye(3), 1e-3 * rng.standard_normal(3))
        orthogonal, triangular = np.linalg.qr(rotation @ (np.eye(3) + turn))
        assert cost(orthogonal * np.sign(np.diag(triangular)), translation) >= best
        assert cost(rotation, translation + 1e-3 * rng.standard_normal(3)) >= best


def test_weights_of_zero_leave_points_out(rng):
    points, rotation = rng.standard_normal((10, 3)), random_rotation(rng)
    target = points @ rotation.T
    target[0] += 100
    found, _ = rigid_align(points, target, weights=np.r_[0.0, np.ones(9)])
    np.testing.assert_allclose(found, rotation, atol=1e-12)


def test_refusals(rng):
    points = rng.standard_normal((5, 3))
    with pytest.raises(ValueError, match="at least 3 points, got 2"):
        rigid_align(points[:2], points[:2])
    with pytest.raises(ValueError, match="weights"):
        rigid_align(points, points, weights=np.zeros(5))
    with pytest.raises(ValueError, match="finite"):
        rigid_align(points, np.full((5, 3), np.nan))
