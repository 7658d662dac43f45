"""Groups of people are Gaussians over the identity modes; origins mix."""
import numpy as np
import pytest

from serep.faces.populations import Population, check_populations, mixed


def test_draws_have_the_stated_mean_and_covariance():
    group = Population(np.array([1.0, -2.0]), np.array([[0.5, 0.0], [0.3, 0.2]]))
    rng = np.random.default_rng(0)
    drawn = np.stack([group.draw(rng=rng) for _ in range(20_000)])
    np.testing.assert_allclose(drawn.mean(axis=0), group.mean, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), group.factor @ group.factor.T, atol=0.01)


def test_mixed_origins_lie_between():
    one, other = Population(np.zeros(2), np.eye(2)), Population(np.array([4.0, 0]), 3 * np.eye(2))
    half = mixed([one, other], np.array([0.5, 0.5]))
    assert half.mean.tolist() == [2, 0] and np.array_equal(half.factor, 2 * np.eye(2))
    assert np.array_equal(mixed([one, other], np.array([0.0, 1.0])).draw(rng=np.random.default_rng(3)), other.draw(rng=np.random.default_rng(3)))


def test_unknown_populations_are_named():
    check_populations("ict", ("all",), {"train_population": "all"})
    with pytest.raises(ValueError, match="test_population is 'young', but the heads of ict have only all: choose"):
        check_populations("ict", ("all",), {"train_population": "all", "test_population": "young"})
