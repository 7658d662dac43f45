"""Comparisons: what is real and what is noise, on scores whose truth is known."""
import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serep.benchmark.compare import compare, paired_difference, read_scores, sign_flip_p
from serep.benchmark.compare_tables import comparison_content, comparison_tables, write_comparison
from serep.benchmark.tables import markdown

PEOPLE = [f"p{n}" for n in range(8)]
REGIONS = ("mouth_region", "nose_region")
CAMERAS = ("#400030", "#400018")


def write_scores(folder, means, *, method, frames=5, people=PEOPLE, temporal=None, mirrored=0):
    """A score folder in which each person's error is a known number; frames and regions scatter around it evenly."""
    rows = []
    for person, mean in zip(people, means, strict=True):
        for camera in CAMERAS:
            for region, factor in zip(REGIONS, (1.5, 0.5), strict=True):
                for frame in range(frames):
                    value = factor * mean + 0.01 * (frame - (frames - 1) / 2)
                    rows.append({"source_video": f"m--{person}{camera}.npy", "camera": camera, "region": region, "identity": person, "frame": frame,
                                 "official_mm": value - 0.05, "fixed_mm": value})  # fmt: skip
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "per_frame.parquet")
    (folder / "summary.json").write_text(json.dumps({"method": method, "temporal": temporal or {"jitter_ratio": 1.2, "lag_frames": None},
                                                      "fixed": {"mirrored": {"frames": mirrored}}}))
    return folder


def test_means_of_a_score(tmp_path):
    scores = read_scores(write_scores(tmp_path / "a", np.arange(1.0, 9.0), method="A"))
    np.testing.assert_allclose(scores.fixed, np.outer(np.arange(1.0, 9.0), [1.5, 0.5]))
    assert scores.official_mean == pytest.approx(4.5 - 0.05) and scores.people == tuple(PEOPLE) and scores.regions == REGIONS
    np.testing.assert_allclose(scores.views["Frontal"], np.arange(1.0, 9.0))
    assert np.isnan(scores.views["Angled"]).all() and scores.frames["m--p3#400030.npy"] == 5


def test_damaged_frames_count_in_no_mean(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    rows = [{"source_video": "v.npy", "camera": "#400347", "region": "mouth_region", "identity": "002645310", "frame": frame,
             "official_mm": 9.0 if frame <= 214 else 1.0, "fixed_mm": 9.0 if frame <= 214 else 2.0} for frame in range(220)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "per_frame.parquet")
    (folder / "summary.json").write_text('{"method": "A"}')
    scores = read_scores(folder)
    assert scores.fixed.tolist() == [[2.0]] and scores.official_mean == 1.0


def test_a_small_paired_difference_is_real_where_people_differ_much(tmp_path):
    """0.1 mm on everybody: far below the spread over people, yet certain, because the people are the same."""
    spread = np.linspace(1, 5, 8)
    wobble = 0.02 * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    comparison = compare([read_scores(write_scores(tmp_path / name, means, method=name)) for name, means in
                          (("worse", spread + 0.1 + wobble), ("better", spread), ("same", spread + 0.5 * wobble))], resamples=2000, seed=0)  # fmt: skip
    assert [one.rank for one in comparison.methods] == [1, 1, 3] and comparison.methods[2].method == "worse"
    pair = comparison.pairs[comparison.methods[0].method, "worse"]
    assert not pair.is_noise and pair.low < pair.mean < pair.high < 0 and pair.p_value == 2 / 256 and pair.mean == pytest.approx(-0.1, abs=0.011)
    assert comparison.pairs[comparison.methods[0].method, comparison.methods[1].method].is_noise
    first = comparison.methods[0].overall
    assert first.high - first.low > 1  # the interval of the mean itself is wide


def test_a_difference_that_one_person_makes_is_noise(tmp_path):
    means = np.ones(8)
    other = np.where(np.arange(8) == 3, 3.0, 1.0 - 0.001 * np.arange(8))
    comparison = compare([read_scores(write_scores(tmp_path / name, values, method=name)) for name, values in (("a", means), ("b", other))],
                         resamples=1000, seed=0)  # fmt: skip
    assert comparison.pairs["a", "b"].is_noise and [one.rank for one in comparison.methods] == [1, 1]


def test_false_alarms_are_rare(rng):
    """Two methods of the same quality on 8 people: one verdict in twenty may be wrong, no more."""
    draws = rng.integers(8, size=(400, 8))
    found = [paired_difference(rng.standard_normal(8), rng.standard_normal(8), draws=draws, rng=rng).is_noise for _ in range(400)]
    assert np.mean(found) >= 0.93
    power = [paired_difference(rng.standard_normal(8), 2.5 + rng.standard_normal(8), draws=draws, rng=rng).is_noise for _ in range(100)]
    assert np.mean(power) < 0.2


def test_sign_flips(rng):
    assert sign_flip_p(np.ones(8), rng=rng) == 2 / 256 and sign_flip_p(np.zeros(8), rng=rng) == 1
    assert sign_flip_p(np.ones(5), rng=rng) == 2 / 32  # five people cannot reach 0.05
    assert sign_flip_p(np.array([3.0, 1.0, -1.0]), rng=rng) == 6 / 8  # all but 3 - 1 - 1 and its opposite are as far from zero as 3
    many = sign_flip_p(np.r_[np.ones(12), -np.ones(8)], rng=rng)
    assert many == pytest.approx(0.503, abs=0.01)  # binomial: P(|X - 10| >= 2) of 20 throws


def test_tables_and_files(tmp_path):
    scores = [read_scores(write_scores(tmp_path / name, means, method=name, mirrored=mirrored))
              for name, means, mirrored in (("ours", np.arange(1.0, 9.0), 0), ("theirs", np.arange(2.0, 10.0), 40))]  # fmt: skip
    comparison = compare(scores, resamples=500, seed=0)
    text = markdown("Comparison", [], comparison_tables(comparison))
    assert "| **ours** | **1** | **4.500 [" in text and "| theirs | 2 | 5.500 [" in text
    assert "| 1.000 [1.000, 1.000] | 0.008 | real | 5.450 | 1.20 | – | 40 |" in text
    assert "| theirs - ours | 1.000 [1.000, 1.000] | 0.008 | real |" in text
    write_comparison(tmp_path / "out", comparison)
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content == json.loads(json.dumps(comparison_content(comparison)))
    assert content["pairs"][0] == {"better": "ours", "worse": "theirs", "difference_mm": 1.0, "interval_mm": [1.0, 1.0], "p_value": 2 / 256, "noise": False}
    assert [one["mirrored_frames"] for one in content["ranking"]] == [0, 40]
    assert [one["rank"] for one in content["ranking"]] == [1, 2] and content["ranking"][0]["macro_view_mm"]["Angled"]["mean"] is None
    assert "<h1>Comparison of ours, theirs</h1>" in (tmp_path / "out" / "comparison.html").read_text()
    with pytest.raises(ValueError, match="is a file: give the name of a folder"):
        write_comparison(tmp_path / "out" / "comparison.md", comparison)
    assert all(a.overall.mean <= b.overall.mean for a, b in pairwise(comparison.methods))


def test_what_cannot_be_compared_is_refused(tmp_path):
    first = read_scores(write_scores(tmp_path / "a", np.ones(8), method="A"))
    with pytest.raises(ValueError, match="at least two scored methods, got 1"):
        compare([first], resamples=100, seed=0)
    with pytest.raises(ValueError, match="two methods are called 'A': score them again with different --name"):
        compare([first, first], resamples=100, seed=0)
    longer = read_scores(write_scores(tmp_path / "b", np.ones(8), method="B", frames=6))
    with pytest.raises(ValueError, match=r"'A' and 'B' were not scored on the same frames \(m--p0#400018\.npy: 5 and 6 frames\)"):
        compare([first, longer], resamples=100, seed=0)
    fewer = read_scores(write_scores(tmp_path / "c", np.ones(7), method="C", people=PEOPLE[:7]))
    with pytest.raises(ValueError, match=r"m--p7#400018\.npy: 5 and no frames"):
        compare([first, fewer], resamples=100, seed=0)
    with pytest.raises(FileNotFoundError, match=r"holds no score: per_frame\.parquet is missing"):
        read_scores(tmp_path)
    pq.write_table(pa.table({"value": [1.0]}), tmp_path / "a" / "per_frame.parquet")
    with pytest.raises(ValueError, match="has columns value, needs source_video"):
        read_scores(tmp_path / "a")
