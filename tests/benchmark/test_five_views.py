"""The synthetic benchmark's measures, on answers whose errors are known."""
import numpy as np
import pytest

from serep.benchmark.compare import COLUMNS
from serep.benchmark.five_views import best_of, measure, method_scores, per_frame_table
from serep.benchmark.multirex import RegionProtocol, region_errors

PROTOCOL = RegionProtocol(("low", "high"), (np.arange(0, 20), np.arange(20, 40)), (np.arange(0, 40), np.arange(20, 50)), 50)
VIEWS = ("front", "left_30", "right_60")
PEOPLE = tuple(f"p{n}" for n in range(7))


@pytest.fixture(scope="module")
def neutral():
    return 40 * np.random.default_rng(0).standard_normal((50, 3))


@pytest.fixture(scope="module")
def truth(neutral):
    """A motion of one vertex in ten."""
    moving = np.zeros((50, 3))
    moving[::10, 1] = 3.0
    return neutral + np.sin(0.4 * np.arange(30))[:, None, None] * moving


def videos(neutral, truth, answer, people=PEOPLE):
    return [measure(answer(n), truth, neutral, PROTOCOL, identity=person, view=view) for n, person in enumerate(people) for view in VIEWS]


def test_it_measures_what_the_real_benchmark_measures(neutral, truth, rng):
    predicted = truth + rng.standard_normal(truth.shape)
    one = measure(predicted, truth, neutral, PROTOCOL, identity="p", view="front")
    for mode, found in (("official", one.official), ("fixed", one.fixed)):
        np.testing.assert_array_equal(found, region_errors(predicted, truth, PROTOCOL, mode=mode))
    assert not one.mirrored.any()
    turned = measure(predicted * [-1, 1, 1], truth, neutral, PROTOCOL, identity="p", view="front")
    assert turned.mirrored.all() and turned.fixed.min() > 2 * one.fixed.max()


def test_motion_late_and_halved(neutral, truth):
    late = measure(np.roll(truth, 2, axis=0)[2:], truth[2:], neutral, PROTOCOL, identity="p", view="front")
    assert late.lag == pytest.approx(2, abs=0.1) and late.shake_predicted == pytest.approx(late.shake_reference, rel=0.2)
    half = measure(neutral + 0.5 * (truth - neutral), truth, neutral, PROTOCOL, identity="p", view="front")
    assert half.lag == pytest.approx(0, abs=1e-3) and np.sqrt(half.shake_predicted / half.shake_reference) == pytest.approx(0.5, abs=0.02)


def test_scores_of_methods(neutral, truth):
    still = np.broadcast_to(neutral, truth.shape)

    def share(amount):
        return lambda n: neutral + (amount + 0.01 * n) * (truth - neutral)

    measured = {"own": videos(neutral, truth, share(0.8)), "worse": videos(neutral, truth, share(0.5)), "still": videos(neutral, truth, lambda n: still)}
    scores = method_scores(measured, PROTOCOL.regions, own="own", resamples=300, seed=0)
    own, worse = scores["own"], scores["worse"]
    assert "more_than_own" not in own and own["macro_mean_mm"] == pytest.approx(np.mean([one.fixed.mean() for one in measured["own"]]))
    apart = worse["more_than_own"]
    assert apart["mean_mm"] == pytest.approx(worse["macro_mean_mm"] - own["macro_mean_mm"]) and apart["mean_mm"] > 0
    assert apart["interval_mm"][0] > 0 and apart["p_value"] == 2 / 2**7 and apart["noise"] is False
    low, high = own["interval_mm"]
    assert low < own["macro_mean_mm"] < high and set(own["macro_views_mm"]) == {"Frontal", "Angled", "Profile"}
    assert own["macro_regions_mm"]["low"]["low"] <= own["macro_regions_mm"]["low"]["mean"] == pytest.approx(own["regions_mm"]["low"])
    assert worse["jitter_ratio"] == pytest.approx(0.53, abs=0.02) and worse["lag_frames"] == pytest.approx(0, abs=1e-3)
    assert scores["still"]["jitter_ratio"] < 1e-6 and np.isnan(scores["still"]["lag_frames"]) and scores["still"]["mirrored_frames"] == 0


def test_one_person_has_no_interval(neutral, truth):
    measured = {name: videos(neutral, truth, lambda n: truth + 0.1, people=("p0",)) for name in ("own", "other")}
    scores = method_scores(measured, PROTOCOL.regions, own="own", resamples=50, seed=0)
    assert scores["other"]["more_than_own"]["interval_mm"] == [None, None] and np.isnan(scores["own"]["interval_mm"]).all()


def test_rows_have_the_columns_of_the_real_benchmark(neutral, truth):
    measured = {"own": videos(neutral, truth, lambda n: truth + 0.1)}
    table = per_frame_table(measured, PROTOCOL.regions)
    assert table.column_names == ["method", *COLUMNS] and table.num_rows == len(PEOPLE) * len(VIEWS) * len(truth) * 2
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    assert last == {"method": "own", "source_video": "p6#right_60", "camera": "right_60", "region": "high", "identity": "p6", "frame": len(truth) - 1,
                    "official_mm": measured["own"][-1].official[-1, 1], "fixed_mm": measured["own"][-1].fixed[-1, 1]}  # fmt: skip


def test_the_setting_that_errs_least(neutral, truth):
    assert best_of({amount: videos(neutral, truth, lambda n, amount=amount: neutral + amount * (truth - neutral)) for amount in (0.2, 0.9, 1.4)}) == 0.9
