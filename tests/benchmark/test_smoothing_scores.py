import numpy as np
import pytest

from serep.benchmark.smoothing_scores import jitter_ratio, lag_frames, speeds, still_and_moving
from serep.models.smoothing import OneEuro, OneEuroFilter


@pytest.fixture
def track(rng):
    """Rest, then circles, then rest; noise on all of it."""
    turn = np.clip(np.arange(300) - 100, 0, 100) * 2 * np.pi / 50
    return np.stack([np.sin(turn), 1 - np.cos(turn), 0 * turn], axis=1) + rng.normal(0, 0.005, (300, 3))


ALL = np.ones(300, bool)


def test_still_and_moving_frames_are_told_apart(track):
    still, moving = still_and_moving(track, ALL)
    assert not still[110:190].any() and moving[110:190].sum() > 0.9 * moving.sum() and still.sum() == 60
    seen = ALL.copy()
    seen[40:50] = False
    speed = speeds(track, seen)
    assert np.isnan(speed[34:56]).all() and np.isfinite(speed[20:30]).all()
    assert not np.any(still_and_moving(track, np.zeros(300, bool)))


def test_jitter_of_a_track_over_itself_and_over_half_of_it(track):
    still, _ = still_and_moving(track, ALL)
    assert jitter_ratio(track, track, still) == 1.0
    assert jitter_ratio(0.5 * track + 3.0, track, still) == pytest.approx(0.5)
    assert np.isnan(jitter_ratio(track, track, np.arange(300) % 2 == 0))  # never three in a row


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_a_delay_is_measured(track, delay):
    _, moving = still_and_moving(track, ALL)
    delayed = np.concatenate([np.repeat(track[:1], delay, axis=0), track[: 300 - delay]])
    assert lag_frames(delayed, track, ALL, moving) == pytest.approx(delay, abs=0.15)
    half = 0.5 * (delayed + np.concatenate([delayed[:1], delayed[:-1]]))
    assert lag_frames(half, track, ALL, moving) == pytest.approx(delay + 0.5, abs=0.15)


def test_more_smoothing_is_less_jitter_and_more_lag(track):
    still, moving = still_and_moving(track, ALL)
    scores = []
    for cutoff in (8.0, 2.0, 0.7):
        one = OneEuroFilter(OneEuro(cutoff, 0.0, 1.0), 30.0)
        smooth = np.array([one(value) for value in track])
        scores.append((jitter_ratio(smooth, track, still), lag_frames(smooth, track, ALL, moving)))
    assert scores[0][0] > scores[1][0] > scores[2][0] and scores[0][1] < scores[1][1] < scores[2][1]
    assert np.isnan(lag_frames(track, track, ALL, np.zeros(300, bool)))
