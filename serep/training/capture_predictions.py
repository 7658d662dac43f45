"""What a capture network sees in labelled renders and in photographs: plain crops, no tracking, no smoothing."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from serep.data.real_faces import RealFaces
from serep.models.capture import CaptureModel
from serep.models.engine import images_to_network
from serep.training.augmentation import AugmentationRanges, RenderAugmentation
from serep.training.capture_data import LabelledRenders, in_order, plain_crops

BATCH = 128


@dataclass(frozen=True, eq=False)
class Predictions:
    """Codes and landmarks of the crops that the network was shown; landmarks in px of the crop."""

    codes: Float[np.ndarray, "N Z"]
    landmarks: Float[np.ndarray, "N L 2"]
    true_landmarks: Float[np.ndarray, "N L 2"]
    images: UInt8[np.ndarray, "N S S 3"]


def predict_renders(model: CaptureModel, renders: LabelledRenders, *, ranges: AugmentationRanges, rng: np.random.Generator) -> Predictions:
    """Centred crops on random backgrounds through the network. `rng` draws the backgrounds; of `ranges` nothing else is used."""
    size = model.network.image_size
    augmentation = RenderAugmentation(ranges, image_size=size, crop_scale=model.settings.tracking.crop_scale, landmark_ids=model.landmark_ids,
                                      backgrounds=[], rng=rng)
    crops = augmentation.plain(renders.layers, renders.landmarks, rng)
    return _predict(model, crops.images, crops.landmarks)


def predict_faces(model: CaptureModel, faces: RealFaces) -> Predictions:
    """Centred crops of photographs through the network; the true landmarks are those given, in the model's order, NaN where there are none."""
    faces = in_order(faces, model.landmark_ids)
    return _predict(model, *plain_crops(faces, image_size=model.network.image_size, crop_scale=model.settings.tracking.crop_scale))


def _predict(model: CaptureModel, images: UInt8[np.ndarray, "N S S 3"], true_landmarks: Float[np.ndarray, "N L 2"]) -> Predictions:
    size, device = model.network.image_size, next(model.network.parameters()).device
    codes, landmarks = [], []
    for start in range(0, len(images), BATCH):
        with torch.no_grad():
            output = model.network(images_to_network(images[start : start + BATCH], device))
        codes.append(output.codes.float().cpu().numpy())
        landmarks.append(output.landmarks.float().cpu().numpy() * size)
    codes = np.concatenate(codes) if codes else np.zeros((0, model.semantic.code_size), np.float32)
    return Predictions(codes, np.concatenate(landmarks) if landmarks else true_landmarks, true_landmarks * size, images)
