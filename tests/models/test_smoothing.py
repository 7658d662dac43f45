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


def test_time_that_goes_by_unseen_counts():
    quick, slow = (OneEuroFilter(OneEuro(1.0, 0.0, 1.0), 30.0) for _ in range(2))
    quick(np.zeros(1)), slow(np.zeros(1))
    far, near = quick(np.ones(1), steps=10), slow(np.ones(1))
    assert far[0] > 3 * near[0]
    turn = 2 * np.pi * 10 / 30
    assert far[0] == pytest.approx(turn / (turn + 1))


def test_joint_filter_takes_all_numbers_along(rng):
    """One number at rest beside one that moves: alone it would be held, together it is let through; at rest both are held."""
    moving = np.stack([np.linspace(0, 8, 60), rng.normal(0, 0.02, 60)], axis=1)
    alone, joint = (run(moving, OneEuro(0.5, 2.0, 3.0, joint=one)) for one in (False, True))
    rough = [np.abs(np.diff(one[20:, 1], n=2)).mean() for one in (alone, joint, moving)]
    assert rough[0] < 0.5 * rough[1] and rough[1] <= rough[2]
    still = rng.normal(0, 0.02, (60, 2))
    assert np.abs(np.diff(run(still, OneEuro(0.5, 2.0, 3.0, joint=True)), n=2, axis=0)).mean() < 0.2 * np.abs(np.diff(still, n=2, axis=0)).mean()


def test_joint_cutoff_by_hand():
    turn = 2 * np.pi * 2.0 / 30
    speed = 3.0 * np.array([1.0, -1.0]) * 30 * turn / (turn + 1)
    turn = 2 * np.pi * (1.0 + 0.1 * (speed**2).mean()) / 30
    np.testing.assert_allclose(run(np.array([[0.0, 0.0], [3.0, -3.0]]), OneEuro(1.0, 0.1, 2.0, joint=True))[1], np.array([3.0, -3.0]) * turn / (turn + 1))
