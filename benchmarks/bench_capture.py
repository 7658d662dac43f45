"""Frames per second of CaptureModel.run on a 640 x 480 video, the share of each part, and the ratio to the bare network, all in one run.

The network computes in full but its answers are replaced by a steady face in the middle of the crop, since a network without training sees none.
"""
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

from serep.faces import BUILT_IN_HEADS, open_head_model
from serep.models.capture import CaptureModel, CaptureSettings
from serep.models.capture_network import CaptureNetwork, CaptureOutput
from serep.models.face_boxes import crop_transform, find_faces, sample_square
from serep.models.face_tracker import TrackingSettings, images_to_network
from serep.models.head_pose import assumed_intrinsics, solve_head_pose
from serep.models.semantic import DisplacementPca
from serep.models.smoothing import OneEuro

FRAMES, WIDTH, HEIGHT, BATCH, SIZE, CODE_SIZE, CROP_SCALE = 120, 640, 480, 8, 112, 32, 1.5


class SteadyNetwork(CaptureNetwork):
    """Computes everything, answers the same."""

    def forward(self, images: torch.Tensor) -> CaptureOutput:
        output = super().forward(images)
        return CaptureOutput(output.codes, self.shares.expand(len(images), -1, -1), torch.full_like(output.presence, 9.0), output.features)


def steady_model() -> CaptureModel:
    topology = open_head_model("makehuman", BUILT_IN_HEADS).topology
    semantic = DisplacementPca(topology, code_size=CODE_SIZE)
    semantic.modes[:] = 0.01 * torch.randn(semantic.modes.shape, generator=torch.Generator().manual_seed(0))
    semantic.decoder.matrix[:] = torch.eye(CODE_SIZE)
    torch.manual_seed(0)
    network = SteadyNetwork(encoder="residual_small", image_size=SIZE, code_size=CODE_SIZE, landmark_count=len(topology.landmark_ids),
                            local_width=16, hidden_width=256).to(memory_format=torch.channels_last)
    points = topology.landmarks(topology.template)[:, :2] * [1, -1]
    low, high = points.min(axis=0), points.max(axis=0)
    network.shares = torch.from_numpy(((points - (low + high) / 2) / (high - low).max() / CROP_SCALE + 0.5).astype(np.float32))
    tracking = TrackingSettings(crop_scale=CROP_SCALE, batch_frames=BATCH, recentre_beyond=0.08, presence_threshold=0.5, patience_frames=25, thorough_every=10)
    one = OneEuro(min_cutoff=2.0, beta=0.5, speed_cutoff=1.0)
    return CaptureModel(network, semantic, topology.landmark_ids, CaptureSettings(tracking, 50.0, one, one, one))


def seconds(act: Callable[[], object], repeats: int = 3) -> float:
    """The quickest of some repeats, after one that warms up."""
    act()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return min(times)


def run() -> dict:
    """Milliseconds a frame, frames a second, shares of the whole, and the whole over the bare network."""
    model, rng = steady_model(), np.random.default_rng(0)
    small = rng.integers(60, 200, (FRAMES, 12, 16, 3), dtype=np.uint8)
    frames = np.stack([cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for picture in small])
    # The video holds no face that a cascade would find: the tracker is shown the first one, as a search would.
    from serep.models import face_tracker
    from serep.models.face_boxes import FaceSquare

    square = FaceSquare(np.array([WIDTH / 2, HEIGHT / 2]), 160.0)
    search, face_tracker.find_faces = face_tracker.find_faces, lambda picture, *, thorough: [square]
    try:
        whole = seconds(lambda: model.run(frames))
        result = model.run(frames)
    finally:
        face_tracker.find_faces = search
    transform = crop_transform(square.centre, square.side * CROP_SCALE, 0.0)
    crops = np.stack([sample_square(frame, transform, SIZE, border=cv2.BORDER_CONSTANT) for frame in frames])
    batches = [crops[start:start + BATCH] for start in range(0, FRAMES, BATCH)]
    tensors = [images_to_network(batch, torch.device("cpu")) for batch in batches]
    intrinsics, landmarks = assumed_intrinsics(WIDTH, HEIGHT, 50.0), model.mean_landmarks(result.codes)

    def network() -> None:
        with torch.inference_mode():
            for images in tensors:
                model.network(images)

    parts = {
        "crop": seconds(lambda: [images_to_network(np.stack([sample_square(frame, transform, SIZE, border=cv2.BORDER_CONSTANT) for frame in group]),
                                                   torch.device("cpu")) for group in np.array_split(frames, len(batches))]),
        "network": seconds(network),
        "head_pose": seconds(lambda: [solve_head_pose(one, seen.astype(np.float64), intrinsics, pose.astype(np.float64))
                                      for one, seen, pose in zip(landmarks, result.landmarks, result.head_pose, strict=True)]),
        "pose_mesh": seconds(lambda: model.rig.pose(result.codes)),
    }
    parts["rest"] = max(whole - sum(parts.values()), 0.0)
    return {
        "frames_per_second": FRAMES / whole,
        "ratio_to_bare_network": whole / parts["network"],
        "share": {name: value / whole for name, value in parts.items()},
        "ms_per_frame": {name: 1000 * value / FRAMES for name, value in parts.items()},
        "face_search_ms": {"quick": 1000 * seconds(lambda: find_faces(frames[0], thorough=False)),
                           "thorough_nothing_found": 1000 * seconds(lambda: find_faces(frames[0], thorough=True))},
        "threads": torch.get_num_threads(),
    }
