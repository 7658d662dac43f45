"""Parity of the exported graphs with torch, and models that carry their export."""
import builtins
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from capture_stub import write_capture_model

import serep
from serep.export import onnx as export_module
from serep.export.onnx import export_onnx, onnx_files
from serep.models.capture import CaptureModel
from serep.models.engine import CONFIG_FILE, NETWORK_FILE, RIG_FILE, OnnxEngine, TorchEngine, choose_engine


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


def test_rig_parity(model, exported, rng):
    import onnxruntime

    codes = rng.standard_normal((5, model.semantic.code_size)).astype(np.float32)
    (vertices,) = onnxruntime.InferenceSession(str(exported / RIG_FILE), providers=["CPUExecutionProvider"]).run(None, {"codes": codes})
    assert np.abs(vertices - model.rig.pose(codes)).max() < 1e-4


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


def test_the_folder_says_all_that_a_program_needs_and_nothing_of_this_machine(model, exported, tmp_path):
    config = json.loads((exported / CONFIG_FILE).read_text())
    assert config["landmark_ids"] == model.landmark_ids.tolist() and config["image_size"] == 32
    assert config["settings"]["tracking"]["crop_scale"] == model.settings.tracking.crop_scale
    content = (exported / NETWORK_FILE).read_bytes()
    assert b".py" not in content and b"site-packages" not in content
    export_onnx(tmp_path, model, model.rig)
    assert (tmp_path / NETWORK_FILE).read_bytes() == content


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


@pytest.fixture(scope="module")
def carried(tmp_path_factory, model):
    """A saved model that carries its export."""
    folder = tmp_path_factory.mktemp("carried") / "capture"
    model.save(folder, onnx=onnx_files(model, model.rig))
    return folder


@pytest.fixture
def copied(carried, tmp_path):
    return Path(shutil.copytree(carried, tmp_path / "capture"))


def test_a_graph_that_answers_otherwise_is_no_export(model, tmp_path, monkeypatch):
    for name in ("codes", "vertices"):
        with monkeypatch.context() as patch:
            patch.setitem(export_module.ALLOWED, name, -1.0)
            with pytest.raises(RuntimeError, match=f"the ONNX export is wrong: its {name} are up to .* off torch's, -1 is allowed. Use the versions"):
                export_onnx(tmp_path / "onnx", model, model.rig)
    assert not (tmp_path / "onnx").exists()


def test_the_same_model_gives_the_same_bytes_in_another_process(carried, tmp_path):
    code = """
import sys
from pathlib import Path
from serep.export.onnx import onnx_files
from serep.models.capture import CaptureModel
model = CaptureModel.load(Path(sys.argv[1]), engine="torch")
model.save(Path(sys.argv[2]), onnx=onnx_files(model, model.rig))
"""
    subprocess.run([sys.executable, "-c", code, str(carried), str(tmp_path / "again")], check=True, timeout=300)
    names = sorted(path.relative_to(carried) for path in carried.rglob("*") if path.is_file())
    assert [str(name) for name in names if name.parts[0] == "onnx"] == [f"onnx/{name}" for name in (CONFIG_FILE, NETWORK_FILE, RIG_FILE)]
    assert all((carried / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_a_model_runs_on_the_export_that_it_carries(carried, model, rng, caplog):
    crops = rng.integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
    loaded = CaptureModel.load(carried)
    assert isinstance(loaded.engine, OnnxEngine) and isinstance(serep.load_model(carried).engine, OnnxEngine)
    np.testing.assert_allclose(loaded.engine(crops).codes, TorchEngine(model.network)(crops).codes, atol=1e-4)
    assert isinstance(serep.load_model(carried, engine="onnx").engine, OnnxEngine)
    assert isinstance(serep.load_model(carried, engine="torch").engine, TorchEngine)
    assert not caplog.records


def test_elsewhere_than_on_the_processor_torch_runs(carried, caplog):
    device = torch.device("meta")  # stands in for a GPU
    network = CaptureModel.load(carried, engine="torch").network.to(device)
    assert isinstance(choose_engine(network, carried / "onnx"), TorchEngine) and not caplog.records
    with pytest.raises(ValueError, match="the engine onnx runs on the processor, but the network was asked to run on meta"):
        choose_engine(network, carried / "onnx", "onnx")
    with pytest.raises(ValueError, match="unknown engine 'abacus'. Use auto, onnx or torch"):
        choose_engine(network, None, "abacus")


def test_without_export_torch_runs_and_that_is_said(model, tmp_path, caplog):
    model.save(tmp_path / "plain")
    assert isinstance(CaptureModel.load(tmp_path / "plain").engine, TorchEngine)
    assert "more slowly than ONNX Runtime would: this model carries no ONNX export" in caplog.text and len(caplog.records) == 1
    with pytest.raises(ValueError, match="carries no ONNX export. Train it again with this version, or write one beside it"):
        CaptureModel.load(tmp_path / "plain", engine="onnx")
    config = json.loads((tmp_path / "plain/config.json").read_text())
    del config["onnx_sha256"]  # as earlier versions wrote it
    (tmp_path / "plain/config.json").write_text(json.dumps(config))
    assert isinstance(CaptureModel.load(tmp_path / "plain").engine, TorchEngine)


def test_without_onnx_runtime_torch_runs_and_that_is_said(carried, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert isinstance(CaptureModel.load(carried).engine, TorchEngine)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] and "ONNX Runtime is not installed" in caplog.text
    with pytest.raises(RuntimeError, match="ONNX Runtime is not installed"):
        CaptureModel.load(carried, engine="onnx")


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("name", [NETWORK_FILE, RIG_FILE, CONFIG_FILE])
def test_a_damaged_export_is_a_damaged_model(copied, name, engine):
    (copied / "onnx" / name).write_bytes(b"other")
    with pytest.raises(ValueError, match=f"{name} is not the file that was saved"):
        CaptureModel.load(copied, engine=engine)
    (copied / "onnx" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"is incomplete: {name} is missing"):
        CaptureModel.load(copied, engine=engine)


def test_the_export_of_other_weights_is_left_alone(carried, tmp_path, caplog):
    other = CaptureModel.load(carried, engine="torch")
    other.network.code_mean.fill_(0.5)
    other.save(tmp_path / "mixed", onnx={file.name: file.read_bytes() for file in (carried / "onnx").iterdir()})
    assert isinstance(CaptureModel.load(tmp_path / "mixed").engine, TorchEngine)
    assert "exported from another capture model" in caplog.text
    with pytest.raises(ValueError, match="exported from another capture model"):
        CaptureModel.load(tmp_path / "mixed", engine="onnx")
