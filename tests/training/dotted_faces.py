"""A capture training that takes seconds: a landmark is a dot on a grey card, and two codes move those of the mouth."""
import numpy as np
import torch

from serep.data.real_faces import RealFaces
from serep.models.capture import CaptureSettings
from serep.models.face_finders import cut_square
from serep.models.face_tracker import TrackingSettings
from serep.models.semantic import DisplacementPca
from serep.models.smoothing import OneEuro
from serep.training.augmentation import AugmentationRanges
from serep.training.capture_data import LabelledRenders
from serep.training.capture_task import train_capture

SIZE, CODE_SIZE = 32, 2
RANGES = AugmentationRanges(
    scale_jitter=0.05, shift_jitter=0.02, rotation_deg=5.0, colour=0.0, saturation_min=1.0, grey_share=0.0, contrast=0.0, shading_share=0.0,
    blur_share=0.0, noise=0.0, jpeg_share=0.0, occluder_share=0.0, glasses_share=0.0, negative_share=0.1, shuffled_background_share=0.0,
)
WEIGHTS = {"code": 1.0, "vertices": 1.0, "landmarks_3d": 1.0, "landmarks_2d": 0.5, "heatmaps": 0.1, "openings": 0.5,
           "presence": 0.5, "domain": 0.3, "real_landmarks": 0.5}
ONE_EURO = OneEuro(min_cutoff=2.0, beta=0.5, speed_cutoff=1.0)
TRACKING = TrackingSettings(crop_scale=1.5, batch_frames=4, recentre_beyond=0.1, presence_threshold=0.5, patience_frames=5, thorough_every=5)
SETTINGS = CaptureSettings(TRACKING, 50.0, ONE_EURO, ONE_EURO, ONE_EURO)
FIT = {"steps": 12, "learning_rate": 3e-3, "weight_decay": 0.0, "warmup_share": 0.1, "gradient_clip": 1.0, "log_every": 4, "validate_every": 6}


def semantic_model(topology):
    model = DisplacementPca(topology, code_size=CODE_SIZE)
    modes = np.zeros((CODE_SIZE, len(topology.template), 3), np.float32)
    modes[0, :, 1], modes[1, :, 0] = -topology.regions["mouth"], topology.regions["mouth"]
    model.modes[:] = torch.from_numpy(modes.reshape(CODE_SIZE, -1))
    model.decoder.matrix[:] = torch.diag(torch.tensor([5.0, 3.0]))
    return model.eval()


def dotted_renders(topology):
    """48 of them."""
    rng, count, size = np.random.default_rng(0), 48, 72
    codes = rng.standard_normal((count, CODE_SIZE)).astype(np.float32)
    flat = topology.landmarks(topology.template)[:, :2] * [1, -1]
    scale = 36 / np.ptp(flat, axis=0).max()
    mouth = flat[:, 1] > np.quantile(flat[:, 1], 0.6)
    places = ((flat - flat.mean(axis=0)) * scale + size / 2)[None] + mouth[None, :, None] * (codes[:, None, ::-1] * [3.0, 4.0])
    layers = np.zeros((count, size, size, 4), np.uint8)
    for layer, points in zip(layers, places.round().astype(int), strict=True):
        layer[4:-4, 4:-4] = (90, 80, 70, 255)
        layer[points[:, 1].clip(0, size - 1), points[:, 0].clip(0, size - 1), :3] = 255
    return LabelledRenders(layers, places.astype(np.float32), codes)


def train(semantic, renders, real=None, seed=0, **changes):
    values = {"encoder": "residual_tiny", "image_size": SIZE, "local_width": 4, "hidden_width": 16, "augmentation": RANGES, "loss_weights": WEIGHTS,
              "real_share": 0.25, "balance": 0.0, "batch_size": 16, "mixed_precision": False, "settings": SETTINGS,
              "device": torch.device("cpu"), "backgrounds": []}
    return train_capture(renders, renders, semantic, real=real, seed=seed, **(values | FIT | changes))


def real_faces(semantic, renders, count=12, landmarks=True):
    """Renders passed off as photographs: 48 px crops, twice as wide as the square around the landmarks."""
    stored, images, places = 48, [], []
    for layer, points in zip(renders.layers[:count], renders.landmarks[:count], strict=True):
        low, high = points.min(axis=0), points.max(axis=0)
        square = np.array([*(0.5 * (low + high)), (high - low).max()], np.float64)
        images.append(cut_square(np.ascontiguousarray(layer[..., :3]), square, 2.0, stored))
        places.append((points - (square[:2] - square[2])) * stored / (2 * square[2]))
    places = np.stack(places).astype(np.float32)
    return RealFaces(np.stack(images), places if landmarks else np.full_like(places, np.nan), tuple(semantic.topology.landmark_ids.tolist()), 2.0)
