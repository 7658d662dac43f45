"""A capture model that needs no training: it takes every bright picture for a face whose mouth opens with the brightness."""
import numpy as np
import torch

from serep.faces import FaceTopology
from serep.models.capture import CaptureModel, CaptureSettings
from serep.models.capture_network import CaptureNetwork, CaptureOutput
from serep.models.face_boxes import FaceSquare
from serep.models.face_tracker import TrackingSettings
from serep.models.semantic import DisplacementPca
from serep.models.smoothing import OneEuro

CODE_SIZE, DARK = 3, 0.1


def write_capture_model(folder, topology: FaceTopology) -> None:
    """Saves a model whose three modes each move the mouth along one axis."""
    semantic = DisplacementPca(topology, code_size=CODE_SIZE)
    modes = np.zeros((CODE_SIZE, len(topology.template), 3), np.float32)
    size = np.sqrt(topology.regions["mouth"].sum())
    for axis in range(3):
        modes[axis, :, axis] = topology.regions["mouth"] / size
    semantic.modes[:] = torch.from_numpy(modes.reshape(CODE_SIZE, -1))
    semantic.decoder.matrix[:] = float(size) * torch.diag(torch.tensor([1.0, 5.0, 1.0]))
    torch.manual_seed(0)
    network = CaptureNetwork(
        encoder="residual_tiny", image_size=32, code_size=CODE_SIZE, landmark_count=len(topology.landmark_ids), local_width=4, hidden_width=8
    )
    steady = OneEuro(min_cutoff=20.0, beta=1.0, speed_cutoff=1.0)
    tracking = TrackingSettings(crop_scale=1.5, batch_frames=4, recentre_beyond=0.5, presence_threshold=0.5, patience_frames=2, thorough_every=5)
    CaptureModel(network, semantic, topology.landmark_ids, CaptureSettings(tracking, 40.0, steady, steady, steady)).save(folder)


def stand_in(monkeypatch, topology: FaceTopology) -> None:
    """Replaces what a network would see: landmarks of a face in the middle of the crop, a code and a presence by brightness."""
    points = topology.landmarks(topology.template)[:, :2] * [1, -1]
    low, high = points.min(axis=0), points.max(axis=0)
    shares = torch.from_numpy(((points - (low + high) / 2) / (high - low).max() / 1.5 + 0.5).astype(np.float32))

    def forward(self, images: torch.Tensor) -> CaptureOutput:
        light = images.mean(dim=(1, 2, 3))
        codes = torch.stack([0 * light, -light, 0 * light], dim=1)
        return CaptureOutput(codes, shares.expand(len(images), -1, -1), torch.where(light > DARK, 9.0, -9.0), codes)

    def find_faces(picture: np.ndarray, *, thorough: bool) -> list[FaceSquare]:
        height, width = picture.shape[:2]
        return [FaceSquare(np.array([width / 2, height / 2]), 0.4 * min(height, width))] if picture.mean() > 255 * DARK else []

    monkeypatch.setattr(CaptureNetwork, "forward", forward)
    monkeypatch.setattr("serep.models.face_tracker.find_faces", find_faces)
