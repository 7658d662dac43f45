"""The simulated target domain: renders that pass for photographs of another camera where nobody has given real ones. Unlike those they have the truth."""
from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from serep.data.real_faces import RealFaces
from serep.models.face_boxes import crop_transform, landmark_square, sample_square, to_crop
from serep.training.backgrounds import random_background
from serep.training.capture_data import LabelledRenders

COVER = 1.8  # side of a photograph over that of the square around the landmarks: as much as every render shows
MOTTLE_CELLS = (12, 40)  # across the photograph, of the large and the small spots on the skin, each with half of their variance
BLOTCH_CELLS = 40  # across the photograph, of the sensor's noise in colour
HALO_PX = 1.6  # reach of sharpening at 160 px
VEIL = np.array([205.0, 190.0, 165.0])  # colour of stray light: warm


@dataclass(frozen=True)
class SimulatedCamera:
    """How far skin, lens and sensor differ from the renders': each photograph draws every strength between half of it and all of it.

    None of it is among the augmentations of training crops.
    """

    mottle: float
    """Standard deviation of the skin's spots, as a share of its brightness. Renders have smooth colours."""
    fringe: float
    """By how much red is magnified over blue, as a share: coloured edges."""
    vignette: float
    """Light lost in the corners, as a share."""
    veil: float
    """Stray light over the whole picture, as a share of it."""
    halo: float
    """Sharpening: how many times the difference from the blurred picture is added."""
    blotch: float
    """Standard deviation of coarse noise in colour, of 1."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) or (field.name in ("vignette", "veil") and getattr(self, field.name) > 1):
                raise ValueError(f"{field.name} of the simulated camera must not be negative, nor exceed 1 where it is a share of the light; "
                                 f"got {getattr(self, field.name)} (params: simulated.camera)")


def photograph(
    renders: LabelledRenders, camera: SimulatedCamera, *, landmark_ids: Int[np.ndarray, " L"], landmark_error: float | None, rng: np.random.Generator
) -> RealFaces:
    """Renders as the intake stores real faces: crops on backgrounds, taken by another camera.

    `landmark_error` is the standard deviation of their landmarks in sides of the landmark square, as another detector would be off; None gives no
    landmarks, 0.0 the true ones.
    """
    size = renders.layers.shape[1]
    images, places = np.empty((len(renders.layers), size, size, 3), np.uint8), np.full(renders.landmarks.shape, np.nan, np.float32)
    for row, (layer, points) in enumerate(zip(renders.layers, renders.landmarks, strict=True)):
        square = landmark_square(points)
        transform = crop_transform(square.centre, square.side * COVER, 0.0)
        head = sample_square(layer, transform, size, border=cv2.BORDER_CONSTANT)
        images[row] = _exposed(head, random_background(size, rng=rng), camera, rng=rng)
        if landmark_error is not None:
            places[row] = size * to_crop(points + landmark_error * square.side * rng.standard_normal(points.shape), transform)
    return RealFaces(images, places, tuple(np.asarray(landmark_ids).tolist()), COVER)


def _exposed(head: UInt8[np.ndarray, "S S 4"], background: UInt8[np.ndarray, "S S 3"], camera: SimulatedCamera, *,
             rng: np.random.Generator) -> UInt8[np.ndarray, "S S 3"]:
    """What stands before the camera, then its lens, its sensor and its processing, in the order of the light."""
    size = len(head)
    strength = {field.name: getattr(camera, field.name) * rng.uniform(0.5, 1.0) for field in fields(camera)}
    mask = head[..., 3:].astype(np.float32) / 255
    spots = 1 + strength["mottle"] * np.sqrt(0.5) * sum(_cells(size, cells, 1, rng) for cells in MOTTLE_CELLS)
    picture = head[..., :3] * np.clip(spots, 0, 2) + (1 - mask) * background  # renders are black outside of their mask
    for channel, magnified in ((0, 1 + strength["fringe"] / 2), (2, 1 - strength["fringe"] / 2)):
        turned = cv2.getRotationMatrix2D((size / 2 - 0.5, size / 2 - 0.5), 0.0, magnified)
        picture[..., channel] = cv2.warpAffine(picture[..., channel], turned, (size, size), borderMode=cv2.BORDER_REPLICATE)
    axis = (np.arange(size) + 0.5) / (size / 2) - 1
    picture *= 1 - strength["vignette"] * ((axis[:, None] ** 2 + axis[None] ** 2) / 2)[..., None]
    picture = (1 - strength["veil"]) * picture + strength["veil"] * VEIL
    picture += 255 * strength["blotch"] * _cells(size, BLOTCH_CELLS, 3, rng)
    blurred = cv2.GaussianBlur(picture, (0, 0), HALO_PX * size / 160)
    return np.clip(picture + strength["halo"] * (picture - blurred) + 0.5, 0, 255).astype(np.uint8)


def _cells(size: int, cells: int, channels: int, rng: np.random.Generator) -> Float[np.ndarray, "S S c"]:
    """Smooth noise of unit variance, so many cells across."""
    grid = cv2.resize(rng.standard_normal((cells, cells, channels)), (size, size), interpolation=cv2.INTER_CUBIC)
    grid = grid.reshape(size, size, channels)
    return grid / grid.std()
