import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from capture_stub import CODE_SIZE, stand_in, write_capture_model
from PIL import Image
from scipy.spatial.transform import Rotation

from serep.data.video import VideoReader
from serep.export.performance import capture_frames, on_person, pose_of_person, rig_weights, write_animation, write_overlay
from serep.export.person import Person
from serep.geometry import apply_rigid
from serep.models.capture import CaptureModel


@pytest.fixture(scope="module")
def model(tmp_path_factory, topology):
    folder = tmp_path_factory.mktemp("model")
    write_capture_model(folder, topology)
    return CaptureModel.load(folder)


@pytest.fixture(scope="module")
def person(model):
    """The model's mean head."""
    return Person.meet(model.semantic, model.semantic.mean_neutral, Path("mean"))


@pytest.fixture
def footage():
    return [np.full((64, 48, 3), level, np.uint8) for level in (0, 100, 150, 0, 200)]


@pytest.fixture
def result(model, footage, topology, monkeypatch):
    stand_in(monkeypatch, topology)
    return capture_frames(model, iter(footage), fps=10.0)


def test_footage_may_come_from_a_generator_in_pieces(model, footage, result, topology, monkeypatch):
    monkeypatch.setattr("serep.export.performance.BATCH_BYTES", 2 * footage[0].nbytes)
    pieces = capture_frames(model, (frame for frame in footage), fps=10.0)
    assert result.found.tolist() == pieces.found.tolist() == [False, True, True, False, True]
    np.testing.assert_allclose(pieces.vertices, result.vertices, atol=1e-4)
    with pytest.raises(ValueError, match="at least one"):
        capture_frames(model, iter([]), fps=10.0)


def test_animation_plays_the_capture(person, result, tmp_path):
    """The file's own targets times its own weights are the captured meshes."""
    write_animation(tmp_path / "a.glb", person, result)
    content = (tmp_path / "a.glb").read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    document, binary = json.loads(content[20 : 20 + length]), content[28 + length :]

    def array(index):
        accessor = document["accessors"][index]
        view = document["bufferViews"][accessor["bufferView"]]
        return np.frombuffer(binary, "<f4", view["byteLength"] // 4, view["byteOffset"])

    primitive = document["meshes"][0]["primitives"][0]
    targets = np.stack([array(target["POSITION"]) for target in primitive["targets"]])
    sampler = document["animations"][0]["samplers"][0]
    frames = np.round(array(sampler["input"]) * 10).astype(int)
    assert frames.tolist() == [0, 1, 2, 4]  # the clip's start shows the first face
    moved = array(primitive["attributes"]["POSITION"]) + array(sampler["output"]).reshape(4, CODE_SIZE) @ targets
    np.testing.assert_allclose(1000 * moved.reshape(4, -1, 3), result.vertices[[1, 1, 2, 4]], atol=1e-3)
    assert np.abs(targets.reshape(CODE_SIZE, -1, 3)).max() == pytest.approx(0.01)


def test_codes_of_another_model_are_refused(person, result, tmp_path):
    with pytest.raises(ValueError, match=r"codes of 4 numbers, the model's have 3"):
        write_animation(tmp_path / "a.glb", person, replace(result, codes=np.zeros((5, 4), np.float32)))


def test_rig_weights_are_the_decoder(model, result):
    weights = rig_weights(model.rig, result.codes, result.found)
    assert np.isnan(weights[~result.found]).all()
    np.testing.assert_array_equal(weights[result.found], model.rig.coefficients(torch.from_numpy(result.codes[result.found])).numpy())


def test_overlay_as_video_and_as_picture(person, result, footage, tmp_path):
    write_overlay(tmp_path / "o.mp4", iter(footage), result, person)
    video = VideoReader(tmp_path / "o.mp4")
    assert len(list(video)) == 5 and video.size == (64, 112) and video.fps == 10
    write_overlay(tmp_path / "o.png", footage[:1], result, person)
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.size == (112, 64)
    with pytest.raises(ValueError, match="more frames than the capture"):
        write_overlay(tmp_path / "long.mp4", [*footage, footage[0]], result, person)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.mp4", "o.png"]


def test_a_turned_target_is_seen_as_an_upright_one(model, result, topology):
    """Its meshes come out in its own frame, and stand before the camera where the upright head's do."""
    turn, shift = Rotation.from_rotvec(np.radians([5, 8, 0])).as_matrix(), np.array([10.0, 1500.0, -30.0])
    upright = Person.meet(model.semantic, topology.mesh(topology.template), Path("upright"))
    turned = Person.meet(model.semantic, topology.mesh(apply_rigid(topology.template, turn, shift)), Path("turned"))
    seen = []
    for person in (upright, turned):
        captured, found = on_person(result, person), result.found
        pose = pose_of_person(result.head_pose[found].astype(np.float64), person)
        np.testing.assert_allclose(captured.mesh_landmarks, topology.landmarks(captured.vertices), atol=1e-3)
        seen.append(apply_rigid(captured.vertices[found].astype(np.float64), pose[:, :3, :3], pose[:, :3, 3]))
        assert np.array_equal(captured.head_pose, result.head_pose, equal_nan=True)
    assert np.abs(on_person(result, turned).vertices[0, :, 1].mean() - 1500) < 60
    # The camera's frame is the same up to where the face frame has its origin.
    np.testing.assert_allclose(seen[1], seen[0], atol=2e-2)
