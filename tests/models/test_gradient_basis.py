import numpy as np
import pytest
from small_heads import draw_neutral, sheet, unit_displacements

from serep.geometry.mesh import Mesh
from serep.models.gradient_basis import (
    displacement_products,
    equal_variance_rotation,
    fit_matrix,
    gradient_features,
    gradient_weights,
    learn_covariance,
    mean_square_products,
    order_by_displacement,
    project_gradients,
    solve_modes,
)


@pytest.fixture
def neutral(rng):
    return Mesh(draw_neutral(rng), sheet()[1])


@pytest.fixture
def fixed():
    return np.flatnonzero(np.abs(sheet()[0][:, 0]) > 69)


def test_features_are_zero_for_the_neutral_and_solve_back_to_the_displacements(neutral, fixed):
    displacements = unit_displacements()
    features = gradient_features(neutral, neutral.vertices + displacements)
    assert np.abs(gradient_features(neutral, neutral.vertices[None])).max() < 1e-6
    np.testing.assert_allclose(solve_modes(neutral, features, fixed), displacements, atol=1e-3)


def test_weights_sum_to_nine_and_projection_is_their_inner_product(neutral):
    weights = gradient_weights(neutral)
    assert weights.sum() == pytest.approx(9)
    features = gradient_features(neutral, neutral.vertices + unit_displacements())
    weighted = (features * weights).astype(np.float32)
    np.testing.assert_allclose(project_gradients(neutral, neutral.vertices + unit_displacements(), weighted), features @ weighted.T, rtol=1e-4, atol=1e-5)


def test_products_are_mean_squares_in_mm(rng):
    basis, coefficients = rng.standard_normal((4, 30, 3)).astype(np.float32), rng.standard_normal(4)
    moved = np.tensordot(coefficients, basis, 1)
    assert coefficients @ mean_square_products(basis) @ coefficients == pytest.approx((moved**2).sum(-1).mean(), rel=1e-5)
    np.testing.assert_allclose(displacement_products(basis, moved[None])[0], mean_square_products(basis) @ coefficients, rtol=1e-4)


def test_fit_recovers_coefficients_and_ignores_directions_below_the_tolerance(rng):
    basis = rng.standard_normal((5, 30, 3)).astype(np.float32)
    basis[4] *= 1e-6
    coefficients = rng.standard_normal((7, 5))
    measured = displacement_products(basis, np.tensordot(coefficients, basis, 1))
    fitted = measured @ fit_matrix(mean_square_products(basis), np.eye(5), 1e-3).T
    np.testing.assert_allclose(fitted[:, :4], coefficients[:, :4], atol=1e-4)
    assert np.abs(fitted[:, 4]).max() < 1e-4


def test_covariance_is_learned_from_subjects_that_each_have_their_own_loadings(rng):
    true = np.diag([4.0, 1.0, 0.0])
    products, measured = [], []
    for _ in range(30):
        basis = (np.eye(3, 60).reshape(3, 20, 3) + 0.3 * rng.standard_normal((3, 20, 3))).astype(np.float32)
        coefficients = rng.standard_normal((40, 3)) * np.sqrt(np.diag(true))
        products.append(mean_square_products(basis))
        measured.append(displacement_products(basis, np.tensordot(coefficients, basis, 1)))
    found = learn_covariance(products, measured, start=np.ones(3), tolerance=0.01)
    np.testing.assert_allclose(found, true, atol=0.4)
    assert found[2, 2] < 0.01


def test_directions_are_uncorrelated_ordered_and_one_mm_each(rng):
    root = rng.standard_normal((6, 6))
    covariance = root @ np.diag([9, 4, 1, 0.1, 0.01, 0]) @ root.T
    mean_products = np.cov(rng.standard_normal((6, 50)))
    directions, deviations = order_by_displacement(covariance, mean_products)
    np.testing.assert_allclose(directions @ mean_products @ directions.T, np.eye(6), atol=1e-6)
    np.testing.assert_allclose(directions.T @ np.diag(deviations**2) @ directions, covariance, atol=1e-6 * np.trace(covariance))
    assert (np.diff(deviations) <= 0).all()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 32, 64])
def test_rotation_gives_every_number_the_same_variance(rng, size):
    variances = np.sort(rng.lognormal(0, 3, size))[::-1]
    rotation = equal_variance_rotation(variances, rng=np.random.default_rng(1))
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(size), atol=1e-10)
    np.testing.assert_allclose(variances @ rotation**2, variances.mean(), rtol=1e-8)
    assert rotation.tobytes() == equal_variance_rotation(variances, rng=np.random.default_rng(1)).tobytes()
