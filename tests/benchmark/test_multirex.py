"""The region protocol: known answers, and parity with what the official script answered on the test set."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from serep.benchmark import multirex
from serep.benchmark.multirex import RegionProtocol, VideoScore, mirrored_frames, protocol_from_topology, region_errors, summarise
from serep.benchmark.multirex_score import score_multirex
from serep.benchmark.multirex_tables import remarks, summarise_score, write_score

PROTOCOL = RegionProtocol(("low", "high"), (np.arange(0, 20), np.arange(20, 40)), (np.arange(0, 40), np.arange(20, 50)), 50)


def random_rotation(rng):
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    return rotation * np.sign(np.linalg.det(rotation))


@pytest.fixture
def reference(rng):
    return rng.standard_normal((5, 50, 3)) * 40


@pytest.mark.parametrize("mode", ["official", "fixed"])
def test_rigid_motion_costs_nothing(reference, rng, mode):
    predicted = np.stack([frame @ random_rotation(rng).T + 100 * rng.standard_normal(3) for frame in reference])
    np.testing.assert_allclose(region_errors(predicted, reference, PROTOCOL, mode=mode), 0, atol=1e-10)


def test_scale_is_an_error(reference):
    assert region_errors(1.1 * reference, reference, PROTOCOL, mode="fixed").min() > 1


def test_distance_is_measured_on_the_metric_mask_only(reference):
    predicted = reference.copy()
    predicted[2, 45] += [0, 5, 0]  # aligned on, never measured
    errors = region_errors(predicted, reference, PROTOCOL, mode="fixed")
    assert errors[2, 0] == pytest.approx(0, abs=1e-10)  # vertex 45 is in no mask of the first region
    assert 0.01 < errors[2, 1] < 1  # the alignment of the second follows it a little
    np.testing.assert_allclose(errors[[0, 1, 3, 4]], 0, atol=1e-10)


def test_a_known_displacement_gives_its_length(reference):
    """Opposite displacements on points that stay balanced: no rigid motion can take anything off."""
    cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float) * 30
    protocol = RegionProtocol(("cube",), (np.arange(8),), (np.arange(8),), 8)
    grown = cube + 2 * np.sign(cube) / np.sqrt(3)
    np.testing.assert_allclose(region_errors(grown[None], cube[None], protocol, mode="fixed"), [[2.0]], atol=1e-12)


def test_mirrored_prediction_is_free_officially_and_caught_when_fixed(reference, caplog):
    mirrored = reference * [-1, 1, 1]
    np.testing.assert_allclose(region_errors(mirrored, reference, PROTOCOL, mode="official"), 0, atol=1e-10)
    assert not caplog.records
    assert region_errors(mirrored, reference, PROTOCOL, mode="fixed").min() > 5
    assert "5 of 5 frames fit better mirrored" in caplog.text
    assert mirrored_frames(mirrored, reference, PROTOCOL).all()
    assert not mirrored_frames(reference + 1, reference, PROTOCOL).any()


def test_compact_protocol_gives_the_same_errors(reference, rng):
    protocol = RegionProtocol(("a",), (np.array([7, 3, 40]),), (np.array([40, 9, 3, 11, 30]),), 50)
    small, ids = protocol.compact()
    predicted = reference + rng.standard_normal(reference.shape)
    assert ids.tolist() == [3, 7, 9, 11, 30, 40] and small.vertex_count == 6
    np.testing.assert_array_equal(
        region_errors(predicted[:, ids], reference[:, ids], small, mode="fixed"), region_errors(predicted, reference, protocol, mode="fixed")
    )


def test_long_sequences_are_cut_nowhere(rng):
    reference = rng.standard_normal((2 * multirex.FRAMES_AT_ONCE + 3, 50, 3))
    predicted = reference + 0.1 * rng.standard_normal(reference.shape)
    together = region_errors(predicted, reference, PROTOCOL, mode="official")
    alone = np.concatenate([region_errors(p[None], r[None], PROTOCOL, mode="official") for p, r in zip(predicted, reference, strict=True)])
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_bad_input_is_refused_by_name(reference):
    with pytest.raises(ValueError, match="nothing is cut to the shorter"):
        region_errors(reference[:4], reference, PROTOCOL, mode="official")
    with pytest.raises(ValueError, match=r"49 vertices, the protocol's topology has 50"):
        region_errors(reference[:, :49], reference[:, :49], PROTOCOL, mode="official")
    with pytest.raises(ValueError, match="mode must be 'official' or 'fixed', got 'strict'"):
        region_errors(reference, reference, PROTOCOL, mode="strict")
    broken = reference.copy()
    broken[3, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"predicted has NaN or infinite vertices in 1 of 5 frames \(first: frame 3\)"):
        region_errors(broken, reference, PROTOCOL, mode="fixed")
    with pytest.raises(ValueError, match="names vertices 20 to 49, the topology has 45"):
        RegionProtocol(PROTOCOL.regions, PROTOCOL.metric, PROTOCOL.alignment, 45)
    with pytest.raises(ValueError, match="aligns 3 vertices"):
        RegionProtocol(("a",), (np.arange(3),), (np.arange(3),), 50)


def test_protocol_of_the_built_in_head(topology, rng):
    protocol = protocol_from_topology(topology)
    assert protocol.regions == ("mouth", "nose", "cheek", "eyes_forehead")
    metric = np.concatenate(protocol.metric)
    assert len(np.unique(metric)) == len(metric), "metric regions overlap"
    np.testing.assert_array_equal(protocol.alignment[0], protocol.alignment[2])
    assert set(protocol.metric[0]) | set(protocol.metric[2]) <= set(protocol.alignment[0])
    moved = topology.template @ random_rotation(rng).T
    np.testing.assert_allclose(region_errors(moved[None], topology.template[None], protocol, mode="fixed"), 0, atol=1e-9)


def test_each_camera_is_in_exactly_one_fixed_view():
    cameras = [camera for group in multirex.FIXED_VIEWS.values() for camera in group]
    assert len(cameras) == len(set(cameras)) == 10
    official = [camera for group in multirex.OFFICIAL_VIEWS.values() for camera in group]
    assert sorted(official).count("#400347") == 2 and "#400485" not in official


def test_corrupt_frames_are_those_of_the_official_script():
    assert np.flatnonzero(multirex.corrupt_frames("002645310", "#400347", 400)).tolist() == list(range(215))
    assert np.flatnonzero(multirex.corrupt_frames("2645310", "#400275", 1120)).tolist() == [1117, 1118, 1119]
    assert not multirex.corrupt_frames("002645310", "#400291", 2000).any()
    assert not multirex.corrupt_frames("6795937", "#400347", 2000).any()


def test_summary_of_known_numbers(rng):
    scores = [
        VideoScore("a", "front", np.array([[1.0, 3.0], [1.0, 3.0], [1.0, 3.0]])),
        VideoScore("b", "side", np.array([[5.0, 7.0]])),
    ]
    views = {"Frontal": ("front",), "Angled": ("side", "other"), "Profile": ("none",)}
    summary = summarise(scores, ("mouth", "nose"), views=views, resamples=500, rng=rng)
    assert summary.region_means == {"mouth": 2.0, "nose": 4.0} and summary.headline == 3.0
    assert summary.person_means == {"a": 2.0, "b": 6.0} and summary.macro_mean == 4.0
    assert (summary.macro_low, summary.macro_high) == (2.0, 6.0)
    assert summary.view_means["Frontal"] == 2.0 and summary.view_regions["Angled"] == {"mouth": 5.0, "nose": 7.0}
    assert np.isnan(summary.view_means["Profile"]) and summary.view_frames == {"Frontal": 3, "Angled": 1, "Profile": 0}
    assert summary.view_people == {"Frontal": 1, "Angled": 1, "Profile": 0}
    assert (summary.people, summary.videos, summary.frames) == (2, 2, 4)


def test_interval_is_seeded_and_unknown_for_one_person():
    scores = [VideoScore(person, "front", np.full((2, 1), float(n))) for n, person in enumerate("abcdef")]
    low, again, other = (summarise(scores, ("mouth",), views={}, resamples=200, rng=np.random.default_rng(seed)).macro_low for seed in (0, 0, 7))
    assert low == again and 0 < low < 2.5
    assert other == pytest.approx(low, abs=1.0)
    single = summarise(scores[:1], ("mouth",), views={}, resamples=200, rng=np.random.default_rng(0))
    assert np.isnan(single.macro_low) and np.isnan(single.macro_high)


def test_empty_scores_are_refused(rng):
    with pytest.raises(ValueError, match="score at least one video"):
        summarise([], ("mouth",), views={}, resamples=10, rng=rng)
    with pytest.raises(ValueError, match=r"video of a front: errors have shape \(0, 1\)"):
        summarise([VideoScore("a", "front", np.empty((0, 1)))], ("mouth",), views={}, resamples=10, rng=rng)


@pytest.fixture(scope="module")
def official_set(shared_data, tmp_path_factory) -> Path:
    """The test set in the official file layout, in a temporary folder."""
    if not (shared_data / "multirex" / "assets").is_dir():
        pytest.skip("no MultiREX assets (CC BY-NC-ND, fetched by each user)")
    folder = tmp_path_factory.mktemp("multirex")
    subprocess.run([sys.executable, str(shared_data.parent / "tools" / "multirex_testset.py"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def official_out(official_set, shared_data, tmp_path_factory) -> Path:
    """The whole test set scored and written."""
    out = tmp_path_factory.mktemp("out")
    score = score_multirex(official_set / "decoded_flame_meshes", official_set / "multiface_gt", shared_data / "multirex" / "assets", method="faults")
    write_score(out, score, resamples=200, seed=0, pictures=None)
    return out


def test_parity_with_the_official_script(official_out, shared_data):
    """All 9,360 rows to 1e-6 mm, and every mean that it prints."""
    rows = pq.read_table(official_out / "per_frame.parquet")
    official = pq.read_table(shared_data / "multirex" / "official_metrics.parquet")
    assert rows.column_names == ["source_video", "camera", "region", "identity", "frame", "official_mm", "fixed_mm"]
    assert rows.num_rows == official.num_rows == 9360

    def keyed(table, frame, value):
        columns = [table[name].to_pylist() for name in ("source_video", "camera", "region", "identity", frame, value)]
        return {(video, camera, region, int(identity), number): found for video, camera, region, identity, number, found in zip(*columns, strict=True)}

    ours, theirs = keyed(rows, "frame", "official_mm"), keyed(official, "frame_nb", "value")
    assert ours.keys() == theirs.keys() and len(ours) == 9360
    assert max(abs(ours[key] - theirs[key]) for key in ours) <= 1e-6
    summary = json.loads((official_out / "summary.json").read_text())
    expected = json.loads((shared_data / "multirex" / "official_summary.json").read_text())
    assert (summary["rows"], summary["rows_after_exclusion"]) == (expected["rows"], expected["rows_after_exclusion"])
    for name in ("region_mean_mm", "view_mean_mm"):
        assert summary["official"][name] == pytest.approx(expected[name], abs=1e-6)
    assert summary["official"]["mean_of_region_means_mm"] == pytest.approx(expected["mean_of_region_means_mm"], abs=1e-6)


def test_known_faults_of_the_test_set_show_in_time(official_out, shared_data):
    """Its predictions carry their faults in a tag: late by two frames, 0.85 or 0.6 of the motion, noise."""
    with np.load(shared_data / "multirex" / "testset.npz") as made:
        tags = {f"{identity}{camera}": str(tag) for identity, camera, tag in zip(made["pred_id"], made["pred_camera"], made["pred_tag"], strict=True)}
    videos = json.loads((official_out / "summary.json").read_text())["temporal"]["videos"]
    assert len(videos) == 38  # all frames of one video are among the damaged ones
    for one in videos.values():
        tag = tags[one["identity"] + one["camera"]]
        late = 2 if tag == "lag2" else 0
        assert one["lag_frames"] == pytest.approx(late, abs=0.05 if "noise" not in tag else 0.5), tag
        low, high = {"lag2": (0.9, 1.1), "exact": (0.9, 1.1), "gain0.85_rigid": (0.75, 0.9), "swapLR_gain0.6": (0.5, 0.7)}.get(tag, (1.8, 8))
        assert low < one["jitter_ratio"] < high, tag


def test_fixed_views_and_floor_of_the_test_set(official_out):
    """No prediction mirrors, so only the views differ: #400485 enters, #400347 counts once."""
    summary = json.loads((official_out / "summary.json").read_text())
    official, fixed = summary["official"], summary["fixed"]
    assert fixed["region_mean_mm"] == official["region_mean_mm"] and fixed["mirrored"] == {"frames": 0, "videos": {}}
    assert fixed["view_mean_mm"]["Angled"] == official["view_mean_mm"]["Angled"]
    assert abs(fixed["view_mean_mm"]["Profile"] - official["view_mean_mm"]["Profile"]) > 0.01
    assert summary["floors"]["conversion"]["region_mean_mm"] == pytest.approx(
        {"mouth_region": 0.203, "nose_region": 0.175, "cheek_region": 0.236, "eyes_forehead_region": 0.180}, abs=5e-4
    )
    assert summary["complete"] is False and summary["published_frames"] == 49_641
    low, high = fixed["macro_interval_mm"]
    assert low < fixed["macro_mean_mm"] < high < summary["floors"]["neutral"]["macro_mean_mm"]


def test_a_mirrored_prediction_is_nearly_free_officially_and_reported_when_fixed(official_set, shared_data, tmp_path):
    """All of one person's videos mirrored: the script's number hardly moves, the corrected one says what it is."""
    for path in (official_set / "decoded_flame_meshes").glob("*.npy"):
        if "--6795937--" in path.name:
            np.save(tmp_path / path.name, np.load(path) * np.float32([-1, 1, 1]))
        else:
            (tmp_path / path.name).symlink_to(path)
    score = score_multirex(tmp_path, official_set / "multiface_gt", shared_data / "multirex" / "assets", method="mirrored")
    for video in score.videos:
        turned = video.recording.identity == "6795937"
        assert video.mirrored.all() == video.mirrored.any() == turned
        if turned:
            assert (video.fixed > 1.5 * video.official).all() and video.fixed.min() > 1
    text = remarks(summarise_score(score, resamples=100, seed=0))[0]
    assert text.startswith("MIRRORED: 300 of 2340 frames in 5 of 39 videos")
