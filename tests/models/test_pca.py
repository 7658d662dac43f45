import numpy as np
import pytest

from serep.models.pca import principal_modes


def samples(rng, count=40, width=9000):
    directions = rng.standard_normal((3, width))
    return (rng.standard_normal((count, 3)) * [5, 2, 0.5] @ directions + 1e-3 * rng.standard_normal((count, width))).astype(np.float32)


def test_modes_are_orthonormal_under_the_weights_and_rebuild_the_samples(rng):
    data, weights = samples(rng), rng.uniform(0.1, 2, 9000)
    modes, deviations = principal_modes(data, weights, 3)
    np.testing.assert_allclose((modes * weights) @ modes.T, np.eye(3), atol=1e-5)
    coefficients = (data * weights) @ modes.T
    np.testing.assert_allclose(coefficients @ modes, data, atol=0.02)
    np.testing.assert_allclose(np.sqrt((coefficients**2).mean(axis=0)), deviations, rtol=1e-4)
    assert (np.diff(deviations) < 0).all()


def test_signs_and_bytes_do_not_depend_on_the_sign_of_the_data(rng):
    data = samples(rng)
    modes, _ = principal_modes(data, np.ones(9000), 3)
    flipped, _ = principal_modes(-data, np.ones(9000), 3)
    assert modes.tobytes() == flipped.tobytes()
    assert (np.take_along_axis(modes, np.abs(modes).argmax(1)[:, None], 1) > 0).all()


def test_zero_stays_zero_although_the_mean_is_not(rng):
    modes, _ = principal_modes(samples(rng) + 3, np.ones(9000), 2)
    assert np.abs(np.zeros(9000) @ modes.T).max() == 0


@pytest.mark.parametrize(("count", "message"), [(0, "0 modes"), (41, "cannot be drawn from 40 samples")])
def test_impossible_counts_are_refused(rng, count, message):
    with pytest.raises(ValueError, match=message):
        principal_modes(samples(rng), np.ones(9000), count)


def test_too_few_directions_and_bad_values_are_refused(rng):
    plane = (rng.standard_normal((10, 2)) @ rng.standard_normal((2, 50))).astype(np.float32)
    with pytest.raises(ValueError, match="span 2 directions, 5 modes"):
        principal_modes(plane, np.ones(50), 5)
    plane[3, 4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        principal_modes(plane, np.ones(50), 2)
