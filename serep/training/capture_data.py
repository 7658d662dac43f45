"""What the capture network is trained on, in memory: labelled renders, how often each is drawn, and crops of real faces."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial import cKDTree

from serep.data.real_faces import RealFaces
from serep.data.render_dataset import RenderDataset
from serep.faces.mirror import ACROSS
from serep.faces.topology import FaceTopology
from serep.models.face_boxes import crop_transform, sample_square, to_crop, upright_angle
from serep.models.semantic import SemanticModel
from serep.training.augmentation import AugmentationRanges

POSE_BATCH = 64  # meshes that are posed at once
LANDMARK_ASYMMETRY = 2.0  # mm between a landmark's mirror image and its partner; MediaPipe's were placed on each side for itself
OPENING_BINS, RAREST = 10, 4.0  # bins of an opening's range; a render is drawn at most this many times as often as the mean


@dataclass(frozen=True, eq=False)
class LabelledRenders:
    """Renders in memory. `layers` are RGB and mask; landmarks in px, in the order of the topology's landmark_ids."""

    layers: UInt8[np.ndarray, "N H W 4"]
    landmarks: Float[np.ndarray, "N L 2"]
    codes: Float[np.ndarray, "N Z"]

    @staticmethod
    def read(folders: Sequence[Path]) -> LabelledRenders:
        """Parts of the render store, 4 bytes for each pixel of each image."""
        arrays = RenderDataset(folders).load_all()
        layers = np.concatenate([arrays.pop("rgb"), arrays.pop("mask")[..., None]], axis=-1)
        return LabelledRenders(layers, arrays["landmarks"], arrays["codes"])


def sampling_shares(openings: Float[np.ndarray, "N D"], balance: float) -> Float[np.ndarray, " N"]:
    """How often each render is drawn, 1 on average: (1 / how common its openings are) ** balance.

    Random expressions rarely shut the eyes, real people do all the time; balance 0 leaves the renders as they are, 1 makes all openings equally common.
    """
    shares = np.ones(len(openings))
    for column in openings.T:
        low, high = np.percentile(column, [1, 99])
        bins = np.clip(((column - low) / max(high - low, 1e-9) * OPENING_BINS).astype(int), 0, OPENING_BINS - 1)
        shares *= np.bincount(bins, minlength=OPENING_BINS)[bins] ** -balance
    for _ in range(20):  # limiting some shares raises the others
        shares = np.minimum(shares / shares.mean(), RAREST)
    return shares / shares.mean()


def mirrored_landmarks(topology: FaceTopology) -> Int[np.ndarray, " L"] | None:
    """For each landmark the one at its mirror image; None where the head is not symmetric, or its landmarks are not."""
    if topology.mirror is None:
        return None
    places = topology.landmarks(topology.template)
    distance, partner = cKDTree(places).query(places * ACROSS)
    symmetric = distance.max() <= LANDMARK_ASYMMETRY and np.array_equal(partner[partner], np.arange(len(partner)))
    return partner if symmetric else None


def mirrored_codes(semantic: SemanticModel, codes: Float[np.ndarray, "N Z"]) -> Float[np.ndarray, "N Z"]:
    """Codes of the mirror images of the expressions that these codes mean on the mean head. The topology must have a mirror."""
    rig, mirrored = semantic.bind(semantic.mean_neutral), np.empty_like(codes)
    for start in range(0, len(codes), POSE_BATCH):
        posed = rig.pose(codes[start:start + POSE_BATCH])
        mirrored[start:start + POSE_BATCH] = semantic.encode(semantic.mean_neutral, posed[:, semantic.topology.mirror] * ACROSS.astype(posed.dtype))
    return mirrored


def jittered_crops(
    faces: RealFaces, rows: Int[np.ndarray, " n"], rngs: Sequence[np.random.Generator], *, image_size: int, crop_scale: float, ranges: AugmentationRanges
) -> tuple[UInt8[np.ndarray, "n S S 3"], Float[np.ndarray, "n L 2"]]:
    """Real faces moved, scaled and turned as renders are, and their landmarks as shares of the crop (NaN where not given, and the face then not set upright)."""
    images, places = np.empty((len(rows), image_size, image_size, 3), np.uint8), np.empty((len(rows), faces.landmarks.shape[1], 2), np.float32)
    stored = faces.images.shape[1]
    side = stored / faces.cover * crop_scale
    for place, (row, rng) in enumerate(zip(rows, rngs, strict=True)):
        centre = 0.5 * stored + ranges.shift_jitter * side * rng.standard_normal(2)
        tilt = upright_angle(faces.landmarks[row].astype(np.float64), np.array(faces.landmark_ids))
        angle = np.radians(rng.uniform(-ranges.rotation_deg, ranges.rotation_deg)) + (tilt if np.isfinite(tilt) else 0.0)
        transform = crop_transform(centre, side * np.exp(ranges.scale_jitter * rng.standard_normal()), angle)
        images[place] = sample_square(faces.images[row], transform, image_size, border=cv2.BORDER_REPLICATE)
        places[place] = to_crop(faces.landmarks[row].astype(np.float64), transform)
    return images, places


def plain_crops(faces: RealFaces, *, image_size: int, crop_scale: float) -> tuple[UInt8[np.ndarray, "N S S 3"], Float[np.ndarray, "N L 2"]]:
    """Real faces in the middle of upright crops, and their landmarks as shares of the crop (NaN where not given)."""
    stored = faces.images.shape[1]
    transform = crop_transform(np.full(2, 0.5 * stored), stored / faces.cover * crop_scale, 0.0)
    images = np.empty((len(faces.images), image_size, image_size, 3), np.uint8)
    for place, image in enumerate(faces.images):
        images[place] = sample_square(image, transform, image_size, border=cv2.BORDER_REPLICATE)
    flat = to_crop(faces.landmarks.reshape(-1, 2).astype(np.float64), transform)
    return images, flat.reshape(faces.landmarks.shape).astype(np.float32)


def in_order(faces: RealFaces, landmark_ids: Int[np.ndarray, " L"]) -> RealFaces:
    """The faces with their landmarks in another order; NaN for those that were never asked of anybody."""
    place = {one: row for row, one in enumerate(faces.landmark_ids)}
    landmarks = np.full((len(faces.images), len(landmark_ids), 2), np.nan, np.float32)
    for row, one in enumerate(landmark_ids.tolist()):
        if one in place:
            landmarks[:, row] = faces.landmarks[:, place[one]]
    return replace(faces, landmarks=landmarks, landmark_ids=tuple(landmark_ids.tolist()))
