"""What a network sees in photographs. The network is a stand-in that sees brightness."""
import numpy as np
import pytest
from capture_stub import stand_in, write_capture_model

from serep.data.real_faces import RealFaces
from serep.models.capture import CaptureModel
from serep.training.capture_predictions import predict_faces


@pytest.fixture
def model(tmp_path, topology, monkeypatch):
    stand_in(monkeypatch, topology)
    write_capture_model(tmp_path, topology)
    return CaptureModel.load(tmp_path)


def test_codes_and_landmarks_of_every_photograph(model):
    ids = model.landmark_ids.tolist()
    images = np.stack([np.full((60, 60, 3), level, np.uint8) for level in (100, 200)])
    given = np.random.default_rng(0).uniform(20, 40, (2, len(ids), 2)).astype(np.float32)
    seen = predict_faces(model, RealFaces(images, given[:, ::-1], tuple(ids[::-1]), 2.0))  # another order than the model's
    size = model.network.image_size
    np.testing.assert_allclose(seen.codes[:, 1], [-100 / 255, -200 / 255], atol=0.01)
    # The crop covers 1.5 landmark squares of the 2 that are stored, and its middle is theirs.
    np.testing.assert_allclose(seen.true_landmarks, (given - 30) * size / (60 * 1.5 / 2.0) + size / 2, atol=1e-3)
    assert seen.images.shape == (2, size, size, 3) and np.abs(seen.landmarks.mean(axis=1) - size / 2).max() < 0.2 * size


def test_no_photographs_give_no_predictions(model):
    ids = tuple(model.landmark_ids.tolist())
    seen = predict_faces(model, RealFaces(np.zeros((0, 60, 60, 3), np.uint8), np.zeros((0, len(ids), 2), np.float32), ids, 2.0))
    assert seen.codes.shape == (0, model.semantic.code_size) and seen.landmarks.shape == seen.true_landmarks.shape == (0, len(ids), 2)
