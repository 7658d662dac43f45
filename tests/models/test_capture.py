"""Capture on made-up video: the face is a bright square on black, and the network a stand-in that sees it. Tracking, smoothing and poses are real."""
import dataclasses
import json

import numpy as np
import pytest
import torch

from serep.geometry.camera import Camera, project
from serep.models.capture import CaptureModel, CaptureSettings, CaptureStream
from serep.models.capture_network import CaptureNetwork, CaptureOutput
from serep.models.face_boxes import FaceSquare
from serep.models.face_tracker import TrackingSettings
from serep.models.head_pose import FACING_CAMERA, assumed_intrinsics
from serep.models.semantic import DisplacementPca
from serep.models.smoothing import OneEuro

HEIGHT, WIDTH, CODE_SIZE = 120, 160, 2
QUICK = OneEuro(min_cutoff=1e6, beta=0.0, speed_cutoff=1.0)  # lets everything pass
TRACKING = TrackingSettings(crop_scale=1.5, batch_frames=4, recentre_beyond=0.05, presence_threshold=0.5, patience_frames=3, thorough_every=4)


@pytest.fixture(scope="module")
def semantic(topology):
    model = DisplacementPca(topology, code_size=CODE_SIZE)
    modes = np.zeros((CODE_SIZE, len(topology.template), 3), np.float32)
    modes[0, :, 1], modes[1, :, 2] = -topology.regions["mouth"], topology.regions["mouth"]
    model.modes[:] = torch.from_numpy(modes.reshape(CODE_SIZE, -1))
    model.decoder.matrix[:] = torch.diag(torch.tensor([4.0, 2.0]))
    return model.eval()


def make_model(semantic, smoothing=QUICK, tracking=TRACKING, seed=0):
    torch.manual_seed(seed)
    ids = semantic.topology.landmark_ids
    network = CaptureNetwork(encoder="residual_tiny", image_size=32, code_size=CODE_SIZE, landmark_count=len(ids), local_width=4, hidden_width=8)
    return CaptureModel(network, semantic, ids, CaptureSettings(tracking, 50.0, smoothing, smoothing, smoothing))


@pytest.fixture
def seen_world(monkeypatch, semantic):
    """The stand-ins; returns the list of calls of the face search."""
    points = semantic.topology.landmarks(semantic.topology.template)[:, :2] * [1, -1]
    low, high = points.min(axis=0), points.max(axis=0)
    shape = torch.from_numpy((points - (low + high) / 2) / (high - low).max()).float()
    searches = []

    def forward(self, images):
        light, size = images[:, 0], images.shape[-1]
        bright = (light > 0.1).float()
        axis = (torch.arange(size) + 0.5) / size
        area = bright.sum(dim=(1, 2)).clamp(min=1e-6)
        centre = torch.stack([(bright * axis).sum(dim=(1, 2)), (bright * axis[:, None]).sum(dim=(1, 2))], dim=1) / area[:, None]
        side = area.sqrt() / size
        codes = (light * bright).sum(dim=(1, 2))[:, None] / area[:, None] * torch.tensor([1.0, -1.0])
        presence = torch.where(area > 0.05 * size * size, 5.0, -5.0)
        return CaptureOutput(codes, centre[:, None] + side[:, None, None] * shape, presence, codes)

    def find_faces(picture, *, thorough):
        searches.append(thorough)
        rows, columns = np.nonzero(picture[:, :, 0] > 25)
        if not len(rows):
            return []
        return [FaceSquare(np.array([columns.mean() + 0.5, rows.mean() + 0.5]), 1.3 * np.sqrt(len(rows)))]

    monkeypatch.setattr(CaptureNetwork, "forward", forward)
    monkeypatch.setattr("serep.models.face_tracker.find_faces", find_faces)
    return searches


def video(centres, side=40, brightness=None):
    """One frame per centre (x, y); None is a frame without a face."""
    frames = np.zeros((len(centres), HEIGHT, WIDTH, 3), np.uint8)
    for number, centre in enumerate(centres):
        if centre is not None:
            left, top = int(centre[0] - side / 2), int(centre[1] - side / 2)
            frames[number, max(top, 0):top + side, max(left, 0):left + side] = 200 if brightness is None else brightness[number]
    return frames


def middles(result):
    low, high = result.landmarks.min(axis=1), result.landmarks.max(axis=1)
    return 0.5 * (low + high)


def test_a_moving_face_is_followed_with_one_search(semantic, seen_world):
    centres = [(40 + 4 * step, 50 + step) for step in range(15)]
    result = make_model(semantic).run(video(centres), fps=30.0)
    assert result.found.all() and len(seen_world) == 1 and result.fps == 30.0
    np.testing.assert_allclose(middles(result), centres, atol=1.0)  # a pixel of the stand-in's 32 is two of the frame's
    assert result.boxes.shape == (15, 4)
    np.testing.assert_allclose(result.boxes[:, 2] - result.boxes[:, 0], 1.5 * 40, rtol=0.1)


def test_pieces_give_what_the_whole_gives(semantic, seen_world):
    frames = video([(40 + 3 * step, 60) for step in range(12)], brightness=np.linspace(90, 250, 12))
    tracking = dataclasses.replace(TRACKING, batch_frames=1)
    model = make_model(semantic, smoothing=OneEuro(2.0, 0.1, 1.0), tracking=tracking)
    whole = model.run(frames)
    stream = CaptureStream(model, fps=25.0)
    parts = [stream.push(frames[:5]), stream.push(list(frames[5:6])), stream.push(frames[6:])]
    for name in ("codes", "vertices", "landmarks", "head_pose", "boxes", "found"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))


def test_frames_without_a_face_are_neutral_and_nan(semantic, seen_world):
    model = make_model(semantic)
    result = model.run(video([(60, 60), None, None, (60, 60)]))
    assert result.found.tolist() == [True, False, False, True]
    assert not result.codes[1:3].any() and result.codes[3].any()
    np.testing.assert_allclose(result.vertices[1], model.rig.neutral.vertices, atol=1e-4)
    for name in ("landmarks", "boxes", "head_pose"):
        assert np.isnan(getattr(result, name)[1:3]).all() and np.isfinite(getattr(result, name)[[0, 3]]).all()


def test_a_cut_to_another_place_is_found_again(semantic, seen_world):
    result = make_model(semantic).run(video([(30, 40)] * 3 + [(130, 90)] * 3))
    assert result.found.all()
    np.testing.assert_allclose(middles(result)[3], (130, 90), atol=0.6)


def test_smoothing_starts_anew_after_a_cut(semantic, seen_world):
    slow = OneEuro(min_cutoff=0.05, beta=0.0, speed_cutoff=1.0)
    result = make_model(semantic, smoothing=slow).run(video([(30, 40)] * 3 + [(130, 90)] * 3, brightness=[60, 60, 60, 240, 240, 240]))
    np.testing.assert_allclose(middles(result)[3], (130, 90), atol=0.6)
    assert result.codes[3, 0] > 3 * result.codes[2, 0]


def test_smoothing_reduces_jitter_of_codes(semantic, seen_world, rng):
    frames = video([(60, 60)] * 40, brightness=150 + rng.integers(-30, 30, 40))
    raw, smooth = (make_model(semantic, smoothing=one).run(frames).codes[:, 0] for one in (QUICK, OneEuro(1.0, 0.0, 1.0)))
    assert np.abs(np.diff(smooth)).mean() < 0.4 * np.abs(np.diff(raw)).mean()
    assert smooth[10:].mean() == pytest.approx(raw[10:].mean(), rel=0.05)


def test_long_absence_is_searched_thoroughly_now_and_then(semantic, seen_world):
    make_model(semantic).run(video([(60, 60)] + [None] * 9))
    assert seen_world == [True] + [True, False, False, False] * 2 + [True]


def test_no_face_at_all_is_an_error(semantic, seen_world):
    with pytest.raises(ValueError, match=r"no face was found in any of the 3 frames \(160 x 120 px\)"):
        make_model(semantic).run(video([None] * 3))
    with pytest.raises(ValueError, match="no frames were given"):
        CaptureStream(make_model(semantic), fps=25.0).push(video([]))
    with pytest.raises(ValueError, match="frames per second must be positive"):
        CaptureStream(make_model(semantic), fps=0.0)


def test_target_is_posed_and_head_pose_stays_the_actors(semantic, seen_world):
    model, frames = make_model(semantic), video([(60, 60), (62, 60)])
    neutral = model.semantic.mean_neutral
    target = neutral.with_vertices(neutral.vertices * [1.3, 0.8, 1.0])
    own, other = model.run(frames), model.run(frames, target=target)
    np.testing.assert_array_equal(other.codes, own.codes)
    np.testing.assert_array_equal(other.head_pose, own.head_pose)
    np.testing.assert_allclose(other.vertices - target.vertices, own.vertices - neutral.vertices, atol=1e-3)
    np.testing.assert_allclose(other.mesh_landmarks, semantic.topology.landmarks(other.vertices), atol=1e-3)


def test_head_pose_puts_the_mesh_on_the_landmarks(semantic, seen_world):
    result = make_model(semantic).run(video([(100, 70)]))
    camera = Camera(assumed_intrinsics(WIDTH, HEIGHT, 50.0), result.head_pose[0].astype(float), WIDTH, HEIGHT)
    seen = project(result.mesh_landmarks[0].astype(float), camera)
    assert np.abs(seen - result.landmarks[0]).mean() < 3
    assert np.degrees(np.arccos((np.trace(result.head_pose[0, :3, :3] @ FACING_CAMERA) - 1) / 2)) < 25


def test_model_folder_round_trip(semantic, tmp_path):
    model = make_model(semantic)
    model.network.code_mean.fill_(0.3)
    model.save(tmp_path / "capture")
    back = CaptureModel.load(tmp_path / "capture")
    assert back.settings == model.settings
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(back.network(images).codes, model.network(images).codes)
    model.save(tmp_path / "again")
    assert (tmp_path / "again/weights.safetensors").read_bytes() == (tmp_path / "capture/weights.safetensors").read_bytes()


def test_wrong_folders_are_refused(semantic, tmp_path):
    with pytest.raises(FileNotFoundError, match="no model in"):
        CaptureModel.load(tmp_path / "none")
    semantic.save(tmp_path / "semantic")
    with pytest.raises(ValueError, match="holds a model of kind 'displacement_pca', not a capture model"):
        CaptureModel.load(tmp_path / "semantic")
    make_model(semantic).save(tmp_path / "capture")
    config = json.loads((tmp_path / "capture/config.json").read_text())
    assert config["kind"] == "capture" and config["landmark_ids"] == semantic.topology.landmark_ids.tolist()
    (tmp_path / "capture/weights.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match="is not the file that was saved"):
        CaptureModel.load(tmp_path / "capture")


def test_network_and_semantic_model_must_fit(semantic):
    ids = semantic.topology.landmark_ids
    network = CaptureNetwork(encoder="residual_tiny", image_size=32, code_size=5, landmark_count=len(ids), local_width=4, hidden_width=8)
    with pytest.raises(ValueError, match="codes have 5 numbers, the semantic model's 2"):
        CaptureModel(network, semantic, ids, CaptureSettings(TRACKING, 50.0, QUICK, QUICK, QUICK))
