import numpy as np
import pytest

from serep.models.smoothing import OneEuro, OneEuroFilter

SETTINGS = OneEuro(min_cutoff=1.0, beta=0.5, speed_cutoff=1.0)


def run(signal, settings=SETTINGS, fps=30.0):
    one = OneEuroFilter(settings, fps)
    return np.array([one(value) for value in signal])


def test_a_constant_passes_unchanged():
    np.testing.assert_array_equal(run(np.full((20, 3), 2.5)), np.full((20, 3), 2.5))


def test_first_step_by_hand():
    # speed 30 per s filtered with weight w(1 Hz), cutoff 1 + 0.5 * speed
    def weight(cutoff):
        turn = 2 * np.pi * cutoff / 30
        return turn / (turn + 1)

    expected = weight(1 + 0.5 * weight(1.0) * 30)
    np.testing.assert_allclose(run(np.array([[0.0], [1.0]]))[1], expected)


def test_jitter_shrinks_while_quick_motion_is_followed(rng):
    still = rng.normal(0, 0.01, (300, 1))
    assert np.abs(np.diff(run(still), n=2, axis=0)).mean() < 0.2 * np.abs(np.diff(still, n=2, axis=0)).mean()
    step = np.concatenate([np.zeros((30, 1)), np.ones((30, 1))])
    quick, slow = run(step, OneEuro(1.0, 2.0, 1.0)), run(step, OneEuro(1.0, 0.0, 1.0))
    assert quick[33, 0] > 0.8 > slow[33, 0]


def test_reset_forgets():
    one = OneEuroFilter(SETTINGS, 25.0)
    one(np.zeros(2))
    one.reset()
    assert one(np.ones(2)).tolist() == [1.0, 1.0]


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="cutoffs must be positive"):
        OneEuro(min_cutoff=0.0, beta=1.0, speed_cutoff=1.0)
