"""The whole way from files to tables on a small benchmark of our own making, and every refusal with the file that it names."""
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from multirex_world import CENTRES, FLAME, MULTIFACE, PEOPLE, egg, flame_neutral, motion, person_scale, write_world

from serep.benchmark.multirex_assets import multiface_mesh, obj_vertices
from serep.benchmark.multirex_flame import read_flame
from serep.benchmark.multirex_maps import person_map, vertex_means, view_map
from serep.benchmark.multirex_score import score_multirex
from serep.benchmark.multirex_tables import remarks, summarise_score, write_score
from serep.data.multirex_recordings import read_recordings
from serep.geometry.mesh_io import read_mesh
from serep.models.capture_result import CaptureResult

FRAMES = 12
VIDEOS = [f"{sequence}{camera}" for sequence, cameras in PEOPLE.values() for camera in sorted(cameras)]


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("multirex_world"), frames=FRAMES)


@pytest.fixture
def predictions(world, tmp_path):
    """A copy of the exact predictions that a test may spoil."""
    return shutil.copytree(world.predictions, tmp_path / "predictions")


def score(world, predictions, **options):
    return score_multirex(predictions, world.truth, world.assets, **({"method": "test"} | options))


def file_of(predictions, identity="1111", camera="#400030"):
    return predictions / f"{PEOPLE[identity][0]}{camera}.npy"


def spoil(path, change):
    np.save(path, change(np.load(path)))


def test_exact_predictions_cost_only_the_conversion(world):
    result = score(world, world.predictions)
    assert [video.name for video in result.videos] == VIDEOS
    assert result.regions == ("mouth_region", "nose_region", "cheek_region", "eyes_forehead_region")
    for video in result.videos:
        floor = result.floor[video.recording.identity]
        np.testing.assert_array_equal(video.official, video.fixed)
        assert (video.fixed < 2 * floor + 0.01).all() and (video.neutral.mean(axis=0) > 5 * floor).all()
        assert video.lag == pytest.approx(0, abs=0.01) and not video.mirrored.any()
        np.testing.assert_allclose(np.sqrt(video.shake_predicted / video.shake_reference), 1, atol=0.03)


def test_errors_follow_the_prediction(world, predictions):
    """Half the motion and two frames late, each found in its own video; the neutral prediction scores as the neutral floor does."""
    neutral = flame_neutral("1111")
    changed = {"#400030": 0.5 * motion(neutral, FRAMES), "#400017": motion(neutral, FRAMES, late=2), "#400018": np.zeros((FRAMES, 1, 3))}
    for camera, displacement in changed.items():
        np.save(file_of(predictions, camera=camera), ((neutral + displacement) / 1000).astype(np.float32))
    result = score(world, predictions)
    half, late, still = (next(video for video in result.videos if video.name == file_of(predictions, camera=camera).stem) for camera in changed)
    moving = half.neutral > 0.3
    np.testing.assert_allclose(half.fixed[moving], 0.5 * half.neutral[moving], rtol=0.15)
    assert np.sqrt(half.shake_predicted / half.shake_reference)[0] == pytest.approx(0.5, abs=0.02) and half.lag == pytest.approx(0, abs=0.05)
    assert late.lag == pytest.approx(2, abs=0.3)
    np.testing.assert_allclose(still.fixed, still.neutral, atol=2e-4)  # float32 metres in the file
    assert np.isnan(still.lag) and still.shake_predicted.max() < 1e-6


def test_mean_answer_is_the_others_mean_expression(world, predictions, tmp_path):
    """Person 33 moves three times as much as the others, who know nothing of it: the mean answer for 33 is their mean on 33's neutral."""
    truth = shutil.copytree(world.truth, tmp_path / "truth")
    neutral = egg(MULTIFACE).vertices * person_scale("33")
    np.save(truth / f"{PEOPLE['33'][0]}.npy", (neutral + motion(neutral, FRAMES, size=24.0)).astype(np.float32))
    answer = flame_neutral("33")
    for camera in PEOPLE["33"][1]:
        still = np.repeat((answer + motion(answer, FRAMES).mean(axis=0))[None], FRAMES, axis=0)
        np.save(file_of(predictions, "33", camera), (still / 1000).astype(np.float32))
    video = score_multirex(predictions, truth, world.assets, method="x").videos[-1]
    assert video.recording.identity == "33"
    np.testing.assert_allclose(video.mean, video.fixed, atol=0.06)
    assert np.abs(video.neutral - video.fixed).max() > 0.5


def test_contract_of_the_written_files(world, tmp_path):
    result = score(world, world.predictions)
    drawn = write_score(tmp_path / "out", result, resamples=300, seed=3, pictures=None)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["per_frame.parquet", "scores.html", "scores.md", "summary.json"]
    rows = pq.read_table(tmp_path / "out" / "per_frame.parquet")
    assert rows.column_names == ["source_video", "camera", "region", "identity", "frame", "official_mm", "fixed_mm"]
    assert rows.num_rows == len(VIDEOS) * 4 * FRAMES
    first = rows.slice(0, FRAMES).to_pydict()
    assert set(first["source_video"]) == {f"{VIDEOS[0]}.npy"} and set(first["region"]) == {"mouth_region"} and first["frame"] == list(range(FRAMES))
    assert set(first["identity"]) == {"1111"} and set(first["camera"]) == {"#400017"}
    np.testing.assert_array_equal(first["fixed_mm"], result.videos[0].fixed[:, 0])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == drawn and summary["complete"] is True and summary["published_frames"] == len(VIDEOS) * FRAMES
    for answer in ("official", "fixed"):
        assert set(summary[answer]) >= {"region_mean_mm", "mean_of_region_means_mm", "view_mean_mm"}
        assert set(summary[answer]["region_mean_mm"]) == set(result.regions)
    fixed = summary["fixed"]
    means = [np.mean([video.fixed.mean() for video in result.videos if video.recording.identity == identity]) for identity in PEOPLE]
    assert fixed["macro_mean_mm"] == pytest.approx(np.mean(means)) and fixed["person_mean_mm"] == pytest.approx(dict(zip(PEOPLE, means, strict=True)))
    low, high = fixed["macro_interval_mm"]
    assert min(means) <= low < fixed["macro_mean_mm"] < high <= max(means)
    assert set(fixed["macro_region_mm"]["mouth_region"]) == {"mean", "low", "high"} == set(fixed["macro_view_mm"]["Profile"])
    assert [(cell["identity"], cell["view"]) for cell in fixed["region_view_person"]][:3] == [("1111", "Frontal"), ("1111", "Angled"), ("1111", "Profile")]
    again = write_score(tmp_path / "again", result, resamples=300, seed=3, pictures=None)
    assert again == summary and (tmp_path / "again" / "per_frame.parquet").read_bytes() == (tmp_path / "out" / "per_frame.parquet").read_bytes()
    assert summary["bootstrap"] == {"over": "people", "resamples": 300, "seed": 3, "interval": "2.5 to 97.5 %"}


def test_views_of_both_answers(world, predictions):
    """An error in #400347 counts in two official views and in one fixed; one in #400485 in no official view."""
    for camera, shift in (("#400347", 2.0), ("#400485", 5.0)):
        neutral = flame_neutral("002222")
        np.save(file_of(predictions, "002222", camera), ((neutral + (1 + shift) * motion(neutral, FRAMES)) / 1000).astype(np.float32))
    summary = summarise_score(score(world, predictions), resamples=100, seed=0)
    official, fixed = summary["official"]["view_mean_mm"], summary["fixed"]["view_mean_mm"]
    assert official["Angled"] == fixed["Angled"] > 0.3
    assert 0.1 < official["Profile"] < fixed["Profile"]


def test_mirrored_prediction_is_said_and_never_free(world, predictions):
    for path in predictions.iterdir():
        spoil(path, lambda vertices: vertices * np.float32([-1, 1, 1]))
    result = score(world, predictions)
    assert all(video.mirrored.all() and video.official.max() < 0.1 and video.fixed.min() > 0.5 for video in result.videos)
    summary = summarise_score(result, resamples=100, seed=0)
    assert summary["fixed"]["mirrored"]["frames"] == len(VIDEOS) * FRAMES and set(summary["fixed"]["mirrored"]["videos"]) == set(VIDEOS)
    assert summary["official"]["mean_of_region_means_mm"] < 0.1 and summary["fixed"]["mean_of_region_means_mm"] > 1
    found = remarks(summary)
    assert found[0].startswith(f"MIRRORED: {len(VIDEOS) * FRAMES} of {len(VIDEOS) * FRAMES} frames in {len(VIDEOS)} of {len(VIDEOS)} videos")
    assert any(text.startswith("NOT BETTER THAN NEUTRAL") for text in found)


def test_worse_than_an_answer_that_never_looks_is_said_as_such(world):
    summary = summarise_score(score(world, world.predictions), resamples=100, seed=0)
    clear = {"mean": 0.4, "low": 0.3, "high": 0.5, "p_value": 0.008, "noise": False}
    summary["floors"]["neutral"]["less_than_by_mm"] = summary["floors"]["mean"]["less_than_by_mm"] = clear
    assert not remarks(summary)
    summary["floors"]["mean"]["less_than_by_mm"] = {"mean": -2.0, "low": -2.5, "high": -1.5, "p_value": 0.008, "noise": False}
    assert remarks(summary) == ["WORSE THAN MEAN: the method errs more than the mean answer, which never looks, by 2.000 [1.500, 2.500] mm."]
    summary["floors"]["mean"]["less_than_by_mm"] = {"mean": -2.0, "low": -2.5, "high": 0.5, "p_value": 0.3, "noise": True}
    assert remarks(summary) == ["NOT BETTER THAN MEAN: the method errs less than the mean answer by -2.000 [-2.500, 0.500] mm, which is not more than noise."]


def test_damaged_frames_are_rows_but_in_no_mean(tmp_path, monkeypatch):
    """Person 002645310 before #400275 from frame 1117 on, as the published script leaves them out."""
    import multirex_world

    sequence = "m--20190828--1318--002645310--GHS#images#EXP_free_face"
    monkeypatch.setattr(multirex_world, "PEOPLE", {"002645310": (sequence, ("#400275", "#400347"))})
    monkeypatch.setattr(multirex_world, "motion", lambda points, frames: np.zeros((frames, 1, 3)))
    damaged = write_world(tmp_path, frames=220)
    result = score(damaged, damaged.predictions)
    assert [video.kept.sum() for video in result.videos] == [220, 5]  # #400347: frames 0 to 214 are damaged
    summary = summarise_score(result, resamples=100, seed=0)
    assert (summary["rows"], summary["rows_after_exclusion"]) == (2 * 220 * 4, 225 * 4)
    assert summary["fixed"]["macro_interval_mm"] == [None, None] and "mean" not in summary["floors"]  # one person says nothing of others


def test_captures_and_maps_of_another_topology(world, tmp_path):
    """Meshes of a third topology through the user's own map, once as captures (mm, frames without a face) and once as .npz."""
    maps, captures, stored = (tmp_path / name for name in ("maps", "captures", "stored"))
    maps.mkdir()
    stored.mkdir()
    matrix = scipy.sparse.load_npz(next((world.assets / "conversion_matrices").iterdir()))
    order = np.random.default_rng(0).permutation(FLAME)  # the same surface, its vertices numbered otherwise
    for identity in PEOPLE:
        scipy.sparse.save_npz(maps / f"{identity}.npz", matrix[:, order])
    for video in VIDEOS:
        identity = next(name for name, (sequence, _) in PEOPLE.items() if video.startswith(sequence))
        neutral = flame_neutral(identity)
        vertices = (neutral + motion(neutral, FRAMES))[:, order].astype(np.float32)
        found = np.arange(FRAMES) != 3
        CaptureResult(
            codes=np.zeros((FRAMES, 2), np.float32), vertices=vertices, head_pose=np.zeros((FRAMES, 4, 4), np.float32), landmark_ids=np.arange(3, dtype=np.int32),
            landmarks=np.zeros((FRAMES, 3, 2), np.float32), mesh_landmarks=np.zeros((FRAMES, 3, 3), np.float32), boxes=np.zeros((FRAMES, 4), np.float32),
            found=found, fps=30.0,
        ).save(captures / video / "capture.npz")  # fmt: skip
        np.savez(stored / f"{video}.npz", vertices=vertices / 1000)
    exact = score(world, world.predictions)
    from_captures, from_meshes = score(world, captures, maps=maps), score(world, stored, maps=maps, unit="m")
    for one, captured, meshes in zip(exact.videos, from_captures.videos, from_meshes.videos, strict=True):
        np.testing.assert_allclose(captured.fixed, one.fixed, atol=2e-5)
        np.testing.assert_allclose(meshes.fixed, one.fixed, atol=2e-5)
        assert captured.lost_frames == 1 and meshes.lost_frames == 0
    summary = summarise_score(from_captures, resamples=100, seed=0)
    assert summary["frames_without_face"] == len(VIDEOS) and any("had no face" in text for text in remarks(summary))
    assert summary["floors"]["conversion"]["mean_of_region_means_mm"] is None  # no neutral beside the maps: no floor, and none is made up
    with pytest.raises(ValueError, match=r"capture\.npz has 5023 vertices, other\.npz maps 5000"):
        scipy.sparse.save_npz(tmp_path / "other.npz", matrix[:, :5000])
        score(world, captures, maps=tmp_path / "other.npz")


def test_flame_parameters(world, tmp_path):
    """Two expression modes that are the motion itself: parameters score as the meshes that they stand for."""
    neutral, predictions = flame_neutral("1111"), shutil.copytree(world.predictions, tmp_path / "predictions")
    modes = np.zeros((FLAME, 3, 302))
    spread, courses = motion(neutral, FRAMES), np.zeros((FRAMES, 2))
    basis = np.linalg.svd(spread.reshape(FRAMES, -1), full_matrices=False)
    modes[..., 300:] = (basis[2][:2].T / 1000).reshape(FLAME, 3, 2)
    courses = basis[0][:, :2] * basis[1][:2]
    np.savez(tmp_path / "flame.npz", shapedirs=modes, posedirs=np.zeros((FLAME, 3, 36)), J_regressor=np.full((5, FLAME), 1 / FLAME),
             kintree_table=np.array([[2**32 - 1, 0, 1, 1, 1], range(5)], np.uint32), weights=np.full((FLAME, 5), 0.2))  # fmt: skip
    for camera in PEOPLE["1111"][1]:
        file_of(predictions, camera=camera).unlink()
        head = np.random.default_rng(0).standard_normal((FRAMES, 6)) * [1, 1, 1, 0, 0, 0]  # head rotation is none of the benchmark's business
        np.savez(file_of(predictions, camera=camera).with_suffix(".npz"), expressions=courses[None], poses=head)
    flame = read_flame(tmp_path / "flame.npz")
    exact, decoded = score(world, world.predictions), score(world, predictions, flame=flame)
    for one, other in zip(exact.videos[:3], decoded.videos[:3], strict=True):
        np.testing.assert_allclose(other.fixed, one.fixed, atol=2e-4)
    with pytest.raises(ValueError, match=r"#400017\.npz holds FLAME parameters, the neutral of this person is no FLAME mesh: leave --map out"):
        scipy.sparse.save_npz(tmp_path / "map.npz", scipy.sparse.random(MULTIFACE, FLAME, density=1e-5, format="csr", random_state=0))
        score(world, predictions, flame=flame, maps=tmp_path / "map.npz")


@pytest.mark.parametrize("missing", ["prediction", "truth"])
def test_missing_files_are_named(world, predictions, tmp_path, missing):
    truth = shutil.copytree(world.truth, tmp_path / "truth")
    path = file_of(predictions) if missing == "prediction" else truth / f"{PEOPLE['33'][0]}.npy"
    path.unlink()
    with pytest.raises(FileNotFoundError) as refusal:
        score_multirex(predictions, truth, world.assets, method="x")
    assert path.stem in str(refusal.value) and "1 of" in str(refusal.value)


SPOILT = {
    "wrong length": (lambda vertices: vertices[:-1], r"has 11 frames, its truth .*GHS#images#EXP_ROM07_Facial_Expressions\.npy has 12"),
    "wrong vertex count": (lambda vertices: vertices[:, :-1], r"has 5022 vertices, .* maps 5023"),
    "millimetres": (lambda vertices: 1000 * vertices, r"looks like millimetres where metres are expected; give --unit mm"),
    "another size": (lambda vertices: 20 * vertices, r"no head of this person"),
    "NaN": (lambda vertices: np.where(np.arange(vertices.size).reshape(vertices.shape) == 7 * vertices[0].size + 9, np.nan, vertices), r"NaN .*first: frame 7"),
    "infinite": (lambda vertices: np.where(vertices == vertices.max(), np.inf, vertices), r"infinite vertices"),
    "whole numbers": (lambda vertices: (1000 * vertices).astype(np.int32), r"holds int32 \(12, 5023, 3\): needs meshes"),
    "flat": (lambda vertices: vertices.reshape(FRAMES, -1), r"holds float32 \(12, 15069\): needs meshes"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_spoilt_predictions_are_named_before_anything_is_computed(world, predictions, fault, monkeypatch):
    change, text = SPOILT[fault]
    path = file_of(predictions, camera="#400018")
    spoil(path, change)
    monkeypatch.setattr("serep.benchmark.multirex_score._video_errors", lambda *_: pytest.fail("computed before all was checked"))
    with pytest.raises(ValueError, match=text) as refusal:
        score(world, predictions)
    assert path.name in str(refusal.value)


def test_metres_where_millimetres_are_said(world, predictions, tmp_path):
    with pytest.raises(ValueError, match=r"looks like metres where millimetres are expected; give --unit m$"):
        score(world, predictions, unit="mm")
    truth = shutil.copytree(world.truth, tmp_path / "truth")
    path = truth / f"{PEOPLE['002222'][0]}.npy"
    spoil(path, lambda vertices: vertices / 1000)
    with pytest.raises(ValueError, match="looks like metres where millimetres are expected; the truth must be in millimetres") as refusal:
        score_multirex(predictions, truth, world.assets, method="x")
    assert path.name in str(refusal.value)
    spoil(path, lambda vertices: (1000 * vertices)[:, :-1])
    with pytest.raises(ValueError, match=r"has 7305 vertices, the truth has 7306"):
        score_multirex(predictions, truth, world.assets, method="x")
    with pytest.raises(ValueError, match="unit must be m or mm, got cm"):
        score(world, predictions, unit="cm")


def test_files_of_the_wrong_video_are_named(world, predictions):
    path = file_of(predictions)
    odd = predictions / path.name.replace("#400030", "#400099")
    shutil.copy(path, odd)
    with pytest.raises(ValueError, match=r"#400099\.npy names camera #400099, which did not film person 1111 \(cameras #400017, #400018, #400030\)"):
        score(world, predictions)
    odd.unlink()
    for second in (path.with_suffix(".npz"), path.with_name(path.stem + " (1).npy")):
        shutil.copy(path, second)
        with pytest.raises(ValueError, match="two files for one video") as refusal:
            score(world, predictions)
        assert path.name in str(refusal.value) and second.name in str(refusal.value)
        second.unlink()
    path.rename(path.with_name(path.stem + "_final.npy"))
    with pytest.raises(ValueError, match="_final.npy must be named .*after its video and nothing else"):
        score(world, predictions)


def test_another_subject_set_is_named(world, predictions, tmp_path):
    (predictions / "m--20180226--0000--6674443--GHS#images#EXP_ROM07_Facial_Expressions#400030.npy").touch()
    with pytest.raises(ValueError, match=r"of person 6674443, who is not among the benchmark's 1111, 002222, 33: .* another subject set\?"):
        score(world, predictions)
    other = tmp_path / "other"
    other.mkdir()
    (other / f"{PEOPLE['1111'][0].replace('ROM07', 'ROM08')}#400030.npy").touch()
    with pytest.raises(ValueError, match="a performance of person 1111 that the benchmark does not use"):
        score(world, other)
    (other / f"{PEOPLE['1111'][0].replace('ROM07', 'ROM08')}#400030.npy").rename(other / "mouth.npy")
    with pytest.raises(ValueError, match=r"mouth\.npy is not named after a video"):
        score(world, other)
    (other / "mouth.npy").unlink()
    with pytest.raises(FileNotFoundError, match="no predictions in"):
        score(world, other)
    with pytest.raises(FileNotFoundError, match="there is no folder of predictions"):
        score(world, other / "nowhere")


def test_files_that_are_no_arrays_are_named(world, predictions):
    path = file_of(predictions)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"#400030\.npy cannot be read as \.npy"):
        score(world, predictions)
    path.unlink()
    np.savez(path.with_suffix(".npz"), expressions=np.zeros((FRAMES, 5)), poses=np.zeros((FRAMES, 6)))
    with pytest.raises(ValueError, match=r"#400030\.npz holds FLAME parameters: give the model that decodes them with --flame-model"):
        score(world, predictions)
    np.savez(path.with_suffix(".npz"), codes=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds codes: needs `vertices`"):
        score(world, predictions)
    path.with_suffix(".npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"#400030\.npz cannot be read as \.npz"):
        score(world, predictions)


def test_assets_are_read_as_they_are_or_refused(world, tmp_path):
    recordings = read_recordings(world.assets)
    assert [(one.identity, one.frames) for one in recordings] == [(identity, FRAMES) for identity in PEOPLE]
    assert recordings[1].cameras == ("#400291", "#400347", "#400485") and recordings[0].expression == "EXP_ROM07_Facial_Expressions"
    with pytest.raises(FileNotFoundError, match=r"no id_mesh_weights_metadata_flame\.pickle in .*serep fetch multirex gets it"):
        read_recordings(tmp_path)
    path = world.assets / "Neutrals_FLAME" / "1111_000001.obj"
    np.testing.assert_array_equal(obj_vertices(path), read_mesh(path).vertices)
    coloured = tmp_path / "coloured.obj"
    coloured.write_text("v 1 2 3 0.5 0.5 0.5\nv 4 5 6 0 0 0\nv 7 8 9 0 0 0\nvn 0 0 1\nf 1 2 3\n")
    np.testing.assert_array_equal(obj_vertices(coloured), [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    with pytest.raises(ValueError, match=r"coloured\.obj has 3 vertices, needs 4"):
        obj_vertices(coloured, expected=4)
    coloured.write_text("v 1 2 x\nv 4 5 6\nv 7 8 9\nf 1 2 3\n")
    with pytest.raises(ValueError, match=r"coloured\.obj"):
        obj_vertices(coloured)
    assets = shutil.copytree(world.assets, tmp_path / "assets")
    (assets / "regions" / "nose_region.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"nose_region\.npy: give the `assets` folder"):
        score_multirex(world.predictions, world.truth, assets, method="x")
    shutil.copy(world.assets / "regions" / "nose_region.npy", assets / "regions")
    shutil.copy(next(assets.glob("conversion_matrices/1111_*")), assets / "conversion_matrices" / "1111_2_FLAME_to_multiface_weights_sparse_v1.npz")
    with pytest.raises(FileNotFoundError, match=r"2 conversion matrices of person 1111 in .*, needs exactly one"):
        score_multirex(world.predictions, world.truth, assets, method="x")


def test_error_maps_show_where_a_method_errs(world, predictions):
    """A method that never opens the mouth: red there and nowhere else, on every head."""
    for identity, (_, cameras) in PEOPLE.items():
        neutral = flame_neutral(identity)
        no_mouth = motion(neutral, FRAMES) * (neutral[:, 1] > 0)[:, None]
        for camera in cameras:
            np.save(file_of(predictions, identity, camera), ((neutral + no_mouth) / 1000).astype(np.float32))
    result = score(world, predictions)
    means, points = vertex_means(result, result.videos), egg(MULTIFACE).vertices
    at = {name: np.nanmean(means[np.linalg.norm(points - centre, axis=1) < 15]) for name, centre in CENTRES.items()}
    assert at["mouth"] > 5 * at["eyes_forehead"] and np.isnan(means[points[:, 2] < 0]).all()
    meshes = {one.identity: multiface_mesh(world.assets, one) for one in read_recordings(world.assets)}
    for picture in (view_map(result, meshes["33"]), person_map(result, meshes)):
        assert picture[:3] == b"\xff\xd8\xff" and 10_000 < len(picture) < 900_000
