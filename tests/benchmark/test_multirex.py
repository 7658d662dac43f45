"""The region protocol: known answers, and parity with what the official script answered on the test set."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import scipy.sparse

from serep.benchmark import multirex
from serep.benchmark.multirex import RegionProtocol, VideoScore, mirrored_frames, protocol_from_topology, region_errors, summarise
from serep.geometry.mesh_io import read_mesh

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
    reference = rng.standard_normal((2 * multirex._FRAMES_AT_ONCE + 3, 50, 3))
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


def test_conversion_refuses_another_topology(reference):
    weights = scipy.sparse.csr_matrix(np.eye(50)[::2])
    np.testing.assert_allclose(multirex.convert_vertices(weights, reference), reference[:, ::2])
    with pytest.raises(ValueError, match="maps 50 vertices, the meshes have 40"):
        multirex.convert_vertices(weights, reference[:, :40])


def test_missing_assets_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cheek_region\.npy: give the `assets` folder"):
        multirex.protocol_from_assets(tmp_path)
    with pytest.raises(FileNotFoundError, match="0 conversion matrices of person 42"):
        multirex.conversion_from_assets(tmp_path, "42")


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


def test_parity_with_the_official_script(official_set, shared_data, rng):
    """All 9,360 rows to 1e-6 mm, and every mean that the script prints."""
    assets = shared_data / "multirex" / "assets"
    rows = pyarrow.parquet.read_table(shared_data / "multirex" / "official_metrics.parquet").to_pylist()
    official = {(row["source_video"], row["region"], row["frame_nb"]): row["value"] for row in rows}
    protocol, vertex_ids = multirex.protocol_from_assets(assets).compact()
    scores, compared = [], 0
    for path in sorted((official_set / "decoded_flame_meshes").glob("*.npy")):
        sequence, camera = path.stem.rsplit("#", 1)
        identity = sequence.split("--")[3]
        predicted = 1000 * multirex.convert_vertices(multirex.conversion_from_assets(assets, identity)[vertex_ids], np.load(path, allow_pickle=False))
        reference = np.load(official_set / "multiface_gt" / f"{sequence}.npy", allow_pickle=False)[:, vertex_ids]
        errors = region_errors(predicted, reference, protocol, mode="official")
        for r, region in enumerate(protocol.regions):
            expected = [official[path.name, f"{region}_region", frame] for frame in range(len(errors))]
            np.testing.assert_allclose(errors[:, r], expected, atol=1e-6, rtol=0)
            compared += len(expected)
        keep = ~multirex.corrupt_frames(identity, f"#{camera}", len(errors))
        if keep.any():
            scores.append(VideoScore(identity, f"#{camera}", errors[keep]))
    assert compared == len(rows) == 9360
    summary = summarise(scores, protocol.regions, views=multirex.OFFICIAL_VIEWS, resamples=100, rng=rng)
    expected = json.loads((shared_data / "multirex" / "official_summary.json").read_text())
    assert 4 * summary.frames == expected["rows_after_exclusion"]
    assert {f"{region}_region": mean for region, mean in summary.region_means.items()} == pytest.approx(expected["region_mean_mm"], abs=1e-6)
    assert summary.headline == pytest.approx(expected["mean_of_region_means_mm"], abs=1e-6)
    assert summary.view_means == pytest.approx(expected["view_mean_mm"], abs=1e-6)


def test_floor_of_the_official_conversion(shared_data):
    """What the conversion alone costs on the neutrals, as known: a score near it is no error of a model."""
    assets = shared_data / "multirex" / "assets"
    if not assets.is_dir():
        pytest.skip("no MultiREX assets (CC BY-NC-ND, fetched by each user)")
    protocol = multirex.protocol_from_assets(assets)
    floors = []
    for path in sorted((assets / "Neutrals_FLAME").glob("*.obj")):
        flame, multiface = (read_mesh(assets / kind / path.name).vertices for kind in ("Neutrals_FLAME", "Neutrals_Multiface"))
        weights = multirex.conversion_from_assets(assets, path.stem.split("_")[0])
        floors.append(region_errors(1000 * multirex.convert_vertices(weights, flame[None]), multiface[None], protocol, mode="fixed")[0])
    assert dict(zip(protocol.regions, np.mean(floors, axis=0), strict=True)) == pytest.approx(
        {"mouth": 0.203, "nose": 0.175, "cheek": 0.236, "eyes_forehead": 0.180}, abs=5e-4
    )
