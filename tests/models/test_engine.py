import builtins
import json

import numpy as np
import pytest
import torch

from serep.models.capture_network import CaptureNetwork
from serep.models.engine import CONFIG_FILE, NETWORK_FILE, Engine, TorchEngine, images_to_network, network_hash, onnx_session, read_onnx_config


def make_network(seed=0):
    torch.manual_seed(seed)
    return CaptureNetwork(encoder="residual_tiny", image_size=32, code_size=2, landmark_count=3, local_width=4, hidden_width=8).eval()


def test_torch_engine_says_what_the_network_says(rng):
    network, crops = make_network(), rng.integers(256, size=(4, 32, 32, 3), dtype=np.uint8)
    engine = TorchEngine(network)
    assert isinstance(engine, Engine) and engine.image_size == 32
    seen = engine(crops)
    with torch.no_grad():
        output = network(torch.from_numpy(crops).permute(0, 3, 1, 2) / 255)
    np.testing.assert_allclose(seen.codes, output.codes, atol=1e-6)
    np.testing.assert_allclose(seen.landmarks, output.landmarks, atol=1e-6)
    np.testing.assert_allclose(seen.presence, output.presence.sigmoid(), atol=1e-6)
    np.testing.assert_allclose(engine(crops[:1]).codes, seen.codes[:1], atol=1e-6)  # a crop's neighbours in the batch do not matter


def test_images_become_channels_last_shares_of_white():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    values = images_to_network(images, torch.device("cpu"))
    assert values.shape == (2, 3, 4, 4) and values.is_contiguous(memory_format=torch.channels_last)
    assert values[1, 2, 3, 0] == pytest.approx(images[1, 3, 0, 2] / 255)


def test_the_hash_is_of_the_weights():
    assert network_hash(make_network()) == network_hash(make_network()) != network_hash(make_network(seed=1))


def test_without_onnx_runtime_the_error_says_what_to_install(monkeypatch):
    whole = builtins.__import__

    def without(name, *rest, **more):
        if name == "onnxruntime":
            raise ImportError(name)
        return whole(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RuntimeError, match=r"ONNX Runtime is not installed. Install it \(pip install onnxruntime\)"):
        onnx_session(b"")


def test_folders_that_are_no_export(tmp_path):
    with pytest.raises(FileNotFoundError, match="no exported network: config.json, network.onnx missing"):
        read_onnx_config(tmp_path)
    (tmp_path / NETWORK_FILE).write_bytes(b"x")
    (tmp_path / CONFIG_FILE).write_text("{")
    with pytest.raises(ValueError, match="config.json is not JSON"):
        read_onnx_config(tmp_path)
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"format": "other"}))
    with pytest.raises(ValueError, match="not of the format serep-onnx/1"):
        read_onnx_config(tmp_path)
