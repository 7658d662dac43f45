"""From stored renders to training crops: a random crop around the upright face, a background, and what light, lenses and codecs do to pictures.

One picture at a time in 8 bits with OpenCV: on a processor ten times as fast as the same steps in batched torch, which cost more than the network.
Landmarks move exactly with the crop. Where the head is symmetric, half of the pictures are mirrored.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from serep.models.face_boxes import crop_transform, landmark_square, sample_square, to_crop, upright_angle
from serep.training.backgrounds import random_background
from serep.training.degradation import NoisePool, ToneRanges, degrade, draw_glasses, draw_occluder, eye_corners, relight

MIRRORED_SHARE = 0.5
POOL_SIZE = 256  # drawn backgrounds; each is seen turned and zoomed, so that no two are alike
WIDE_SHARE, WIDE = 0.15, 3.0  # of crops that are this many times as far off, and as much turned: searches and quick motion start from such
MISS_SHARES = (0.6, 0.25, 0.15)  # of crops without a whole face: beside the face, far too close, far too wide


@dataclass(frozen=True)
class AugmentationRanges:
    """How far each change goes. Shares are probabilities per picture; lengths are shares of the crop's side."""

    scale_jitter: float  # standard deviation of the logarithm of the crop's size
    shift_jitter: float  # standard deviation of the crop's centre, in each axis
    rotation_deg: float  # largest roll of the face, which is set upright first
    colour: float  # standard deviation of the logarithm of each channel's gain
    saturation_min: float  # least share of the colours kept; above 1 they grow by up to 0.4 of what may be lost
    grey_share: float  # pictures without any colour
    contrast: float  # standard deviation of the logarithms of contrast and of gamma
    shading_share: float  # a soft gradient or a shadow's edge across the picture
    blur_share: float  # lens, motion or few pixels
    noise: float  # largest standard deviation of the sensor's noise, of 1
    jpeg_share: float
    occluder_share: float
    glasses_share: float
    negative_share: float  # crops without a whole face, for the presence head
    shuffled_background_share: float  # other renders as background

    @property
    def tone(self) -> ToneRanges:
        return ToneRanges(self.colour, self.saturation_min, self.grey_share, self.contrast, self.shading_share)


@dataclass(frozen=True, eq=False)
class CropBatch:
    images: UInt8[np.ndarray, "B S S 3"]
    landmarks: Float[np.ndarray, "B L 2"]
    """Shares of the crop's side, origin at its top-left corner (float32)."""
    present: Bool[np.ndarray, " B"]
    """Whether the crop shows a whole face; the landmarks of the others mean nothing."""
    mirrored: Bool[np.ndarray, " B"]
    """Whether left and right are exchanged."""


class RenderAugmentation:
    """Draws training crops from renders, each with a random generator of its own; `rng` makes the pool of backgrounds and the noise.

    Several threads may draw at once. `crop_scale` is the crop's side over the side of the square around the landmarks. `backgrounds` are pictures
    of one's own. `mirror` names for each landmark the one that takes its place in a mirror; None mirrors nothing.
    """

    def __init__(self, ranges: AugmentationRanges, *, image_size: int, crop_scale: float, landmark_ids: np.ndarray,
                 backgrounds: Sequence[np.ndarray], rng: np.random.Generator, mirror: Int[np.ndarray, " L"] | None = None):
        self.ranges, self.image_size, self.crop_scale = ranges, image_size, crop_scale
        self._pool = [random_background(image_size, rng=rng) for _ in range(POOL_SIZE)]
        if len(backgrounds):
            own = [cv2.resize(picture, (image_size, image_size), interpolation=cv2.INTER_AREA) for picture in backgrounds]
            self._pool += own * -(-POOL_SIZE // len(own))  # as many of one's own as drawn ones, or more
        self._eyes = eye_corners(landmark_ids)
        self._noise, self._landmark_ids, self._mirror = NoisePool(image_size, rng=rng), landmark_ids, mirror

    @property
    def mirrors(self) -> bool:
        return self._mirror is not None

    def draw(self, layers: UInt8[np.ndarray, "B H W 4"], landmarks: Float[np.ndarray, "B L 2"], rngs: Sequence[np.random.Generator]) -> CropBatch:
        """Random crops of renders, the mask as fourth channel; landmarks in px. The same generators and inputs give the same crops."""
        ranges, size = self.ranges, self.image_size
        images = np.empty((len(layers), size, size, 3), np.uint8)
        crop_landmarks = np.empty(landmarks.shape, np.float32)
        present, mirrored = np.empty(len(layers), bool), np.empty(len(layers), bool)
        previous = None
        for row, rng in enumerate(rngs):
            present[row] = rng.random() >= ranges.negative_share
            mirrored[row] = self.mirrors and rng.random() < MIRRORED_SHARE
            layer, points = self._mirror_image(layers[row], landmarks[row]) if mirrored[row] else (layers[row], landmarks[row])
            wide = WIDE if rng.random() < WIDE_SHARE else 1.0
            shift, zoom = wide * ranges.shift_jitter * rng.standard_normal(2), np.exp(wide * ranges.scale_jitter * rng.standard_normal())
            if not present[row]:
                shift, zoom = _miss(rng)
            square = landmark_square(points, upright_angle(points, self._landmark_ids))
            side = square.side * self.crop_scale
            turn = np.radians(wide * rng.uniform(-ranges.rotation_deg, ranges.rotation_deg))
            transform = crop_transform(square.centre + shift * side, side * zoom, square.angle + turn)
            places = to_crop(points, transform)
            picture = self._composite(layer, transform, previous, rng)
            if rng.random() < ranges.occluder_share:
                draw_occluder(picture, previous, rng=rng)
            if self._eyes is not None and rng.random() < ranges.glasses_share:
                draw_glasses(picture, places[self._eyes] * size, rng=rng)
            picture = relight(picture, ranges.tone, rng=rng)
            images[row] = degrade(picture, ranges.blur_share, ranges.noise, ranges.jpeg_share, self._noise, rng=rng)
            crop_landmarks[row] = places
            previous = picture
        return CropBatch(images, crop_landmarks, present, mirrored)

    def plain(self, layers: UInt8[np.ndarray, "B H W 4"], landmarks: Float[np.ndarray, "B L 2"], rng: np.random.Generator) -> CropBatch:
        """Centred, upright crops on random backgrounds, nothing else changed: for validation."""
        images, places = [], []
        for layer, points in zip(layers, landmarks, strict=True):
            square = landmark_square(points, upright_angle(points, self._landmark_ids))
            transform = crop_transform(square.centre, square.side * self.crop_scale, square.angle)
            images.append(self._composite(layer, transform, None, rng))
            places.append(to_crop(points, transform))
        return CropBatch(np.stack(images), np.stack(places).astype(np.float32), np.ones(len(layers), bool), np.zeros(len(layers), bool))

    def _mirror_image(self, layer: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ascontiguousarray(layer[:, ::-1]), (points * [-1, 1] + [layer.shape[1], 0])[self._mirror]

    def _composite(self, layer: np.ndarray, transform: np.ndarray, previous: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        """Renders are black outside of their mask, so what is sampled is already multiplied by it."""
        crop = sample_square(layer, transform, self.image_size, border=cv2.BORDER_CONSTANT)
        background = self._background(previous, rng)
        behind = cv2.multiply(background, cv2.cvtColor(255 - crop[:, :, 3], cv2.COLOR_GRAY2RGB), scale=1 / 255)
        return cv2.add(np.ascontiguousarray(crop[:, :, :3]), behind)

    def _background(self, previous: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        """A picture of the pool, or the crop before this one, turned and zoomed."""
        size = self.image_size
        number, shuffled = rng.integers(len(self._pool)), rng.random() < self.ranges.shuffled_background_share
        transform = crop_transform(rng.uniform(0.3, 0.7, 2) * size, np.exp(rng.uniform(-1.2, 0.4)) * size, rng.uniform(0, 2 * np.pi))
        picture = previous if shuffled and previous is not None else self._pool[number]
        return sample_square(picture, transform, size, border=cv2.BORDER_REFLECT)


def _miss(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Shift and scale of a crop that misses the face: beside it, or much too close or wide."""
    kind = rng.choice(3, p=MISS_SHARES)
    if kind == 0:
        angle = rng.uniform(0, 2 * np.pi)
        return rng.uniform(0.55, 1.3) * np.array([np.cos(angle), np.sin(angle)]), rng.uniform(0.5, 1.5)
    return np.zeros(2), rng.uniform(0.15, 0.45) if kind == 1 else rng.uniform(2.5, 4.0)
