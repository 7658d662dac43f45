import numpy as np
import pytest

from serep.benchmark.temporal import LAG_WINDOW, held_still, jitter_ratio, lag, shake


@pytest.fixture
def path(rng):
    """(80, 10, 3) mm: a smooth motion without a period."""
    time = np.arange(80)[:, None, None]
    speed, phase = 0.05 + 0.25 * rng.random((3, 10, 3)), 6.3 * rng.random((3, 10, 3))
    return sum(np.sin(speed[k] * time + phase[k]) for k in range(3))


@pytest.mark.parametrize("late", [-4, -1, 0, 2, 7])
def test_whole_frames_of_lag(path, late):
    assert lag(np.roll(path, late, axis=0)[10:-10], path[10:-10]) == pytest.approx(late, abs=0.02)


def test_half_a_frame_of_lag_of_a_smaller_moved_motion(path):
    halfway = 0.5 * (path[1:] + path[:-1])  # half a frame later than path[1:]... earlier ones weigh the same
    assert lag(0.3 * halfway + 5, path[1:]) == pytest.approx(0.5, abs=0.03)


def test_lag_of_what_cannot_be_told(path, rng):
    still = np.zeros_like(path)
    assert np.isnan(lag(still, path)) and np.isnan(lag(path, still)) and np.isnan(lag(path[:2], path[:2]))
    assert np.isnan(lag(rng.standard_normal(path.shape), path))
    assert np.isnan(lag(np.roll(path, LAG_WINDOW + 10, axis=0)[30:], path[30:]))
    with pytest.raises(ValueError, match=r"predicted has shape \(79, 10, 3\), reference \(80, 10, 3\)"):
        lag(path[1:], path)


def test_jitter(path, rng):
    even = np.arange(20.0)[:, None, None] * np.ones((4, 3))
    assert shake(even) == 0 and np.isnan(shake(path[:2])) and np.isnan(jitter_ratio(1.0, 0.0))
    noise = 0.5 * rng.standard_normal((4000, 10, 3))
    assert shake(noise) == pytest.approx(3 * 0.25 * 6, rel=0.02)  # variance 1 + 4 + 1 of a second difference, three coordinates
    assert jitter_ratio(shake(0.5 * path), shake(path)) == pytest.approx(0.5)


def test_held_still_takes_head_motion_and_nothing_else(path, rng):
    from scipy.spatial.transform import Rotation

    rest = 30 * rng.standard_normal((10, 3))
    turns = Rotation.from_euler("xyz", 20 * rng.standard_normal((80, 3)), degrees=True).as_matrix()
    moving = np.einsum("tij,tnj->tni", turns, rest + path) + 50 * rng.standard_normal((80, 1, 3))
    np.testing.assert_allclose(held_still(moving, rest), held_still(rest + path, rest), atol=1e-9)
    resting = np.einsum("tij,nj->tni", turns, rest)
    np.testing.assert_allclose(held_still(resting, rest), np.broadcast_to(rest, resting.shape), atol=1e-9)
