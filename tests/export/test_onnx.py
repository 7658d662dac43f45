"""Parity of the exported graphs with torch. These tests need packages that torch exports with and ONNX Runtime; without them only the errors are tested."""
import builtins
import importlib.util
import json

import numpy as np
import pytest
from capture_stub import write_capture_model

from serep.export.onnx import export_onnx
from serep.models.capture import CaptureModel
from serep.models.engine import CONFIG_FILE, NETWORK_FILE, RIG_FILE

missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def model(tmp_path_factory, topology):
    folder = tmp_path_factory.mktemp("model")
    write_capture_model(folder, topology)
    model = CaptureModel.load(folder)
    model.network.code_mean.fill_(0.2)
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("export") / "onnx"
    assert export_onnx(folder, model, model.rig) == [NETWORK_FILE, RIG_FILE, CONFIG_FILE]
    return folder


@needs_onnx
@pytest.mark.parametrize("count", [1, 2, 7])
def test_network_parity(model, exported, rng, monkeypatch, count):
    crops = rng.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
    torch_engine = model.engine
    monkeypatch.setattr(model, "engine", torch_engine)  # put back afterwards
    model.use_onnx(exported)
    assert model.engine is not torch_engine
    expected, seen = torch_engine(crops), model.engine(crops)
    for name in ("codes", "landmarks", "presence"):
        assert getattr(seen, name).shape == getattr(expected, name).shape
        assert np.abs(getattr(seen, name) - getattr(expected, name)).max() < 1e-4  # landmarks of an untrained network nearly coincide: rounding counts


@needs_onnx
def test_rig_parity(model, exported, rng):
    import onnxruntime

    codes = rng.standard_normal((5, model.semantic.code_size)).astype(np.float32)
    (vertices,) = onnxruntime.InferenceSession(str(exported / RIG_FILE), providers=["CPUExecutionProvider"]).run(None, {"codes": codes})
    assert np.abs(vertices - model.rig.pose(codes)).max() < 1e-4


@needs_onnx
def test_a_video_is_captured_alike(model, exported, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 255, (6, 96, 96, 3), dtype=np.uint8)
    monkeypatch.setattr("serep.models.face_tracker.Sighting.is_face", lambda self, threshold: True)
    monkeypatch.setattr("serep.models.face_tracker.Sighting.drift", lambda self: 0.0)  # noise holds no face to keep in the middle
    monkeypatch.setattr("serep.models.face_tracker.landmark_square", lambda landmarks, angle: face_square())
    monkeypatch.setattr("serep.models.face_tracker.find_faces", lambda picture, *, thorough: [face_square()])
    monkeypatch.setattr(model, "engine", model.engine)
    with_torch = model.run(frames)
    model.use_onnx(exported)
    with_onnx = model.run(frames)
    np.testing.assert_allclose(with_onnx.codes, with_torch.codes, atol=1e-4)
    np.testing.assert_allclose(with_onnx.landmarks, with_torch.landmarks, atol=1e-2)


def face_square():
    from serep.models.face_boxes import FaceSquare

    return FaceSquare(np.array([48.0, 48.0]), 40.0)


@needs_onnx
def test_the_folder_says_all_that_a_program_needs_and_nothing_of_this_machine(model, exported, tmp_path):
    config = json.loads((exported / CONFIG_FILE).read_text())
    assert config["landmark_ids"] == model.landmark_ids.tolist() and config["image_size"] == 32
    assert config["settings"]["tracking"]["crop_scale"] == model.settings.tracking.crop_scale
    content = (exported / NETWORK_FILE).read_bytes()
    assert b".py" not in content and b"site-packages" not in content
    export_onnx(tmp_path, model, model.rig)
    assert (tmp_path / NETWORK_FILE).read_bytes() == content


@needs_onnx
def test_exports_of_other_models_and_changed_files_are_refused(model, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "engine", model.engine)
    for name in (NETWORK_FILE, RIG_FILE, CONFIG_FILE):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    (tmp_path / NETWORK_FILE).write_bytes(b"other")
    with pytest.raises(ValueError, match="not the file that was exported"):
        model.use_onnx(tmp_path)
    model.network.code_mean.fill_(0.3)
    try:
        with pytest.raises(ValueError, match="exported from another capture model"):
            model.use_onnx(exported)
    finally:
        model.network.code_mean.fill_(0.2)


def test_without_the_packages_the_error_says_what_to_install(model, tmp_path, monkeypatch):
    whole = builtins.__import__

    def without(name, *rest, **more):
        if name in {"onnxscript", "onnx"}:
            raise ImportError(name, name=name)
        return whole(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RuntimeError, match="the package onnx is not installed, which torch exports ONNX with. Install it: pip install onnx onnxscript"):
        export_onnx(tmp_path / "onnx", model, model.rig)
    assert not (tmp_path / "onnx").exists()
