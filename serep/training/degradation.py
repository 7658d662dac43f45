"""What light, things in front of the face, lenses, sensors and codecs do to one crop: (S, S, 3) uint8 RGB."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

LUMA = np.array([0.299, 0.587, 0.114])
EYE_CORNER_IDS = (33, 133, 362, 263)  # right eye: outer, inner; left eye: inner, outer
SUBPIXEL_BITS = 3  # OpenCV draws at eighths of a pixel
LEVELS = np.arange(256, dtype=np.float64)


class NoisePool:
    """Gaussian noise drawn once and cut at random places: drawing it anew for each picture would cost more than everything else."""

    def __init__(self, size: int, *, rng: np.random.Generator):
        self._size = size
        self._values = rng.standard_normal((4 * size, 4 * size, 3)).astype(np.float32)

    def cut(self, *, rng: np.random.Generator) -> Float[np.ndarray, "S S 3"]:
        top, left = rng.integers(3 * self._size, size=2)
        return self._values[top:top + self._size, left:left + self._size]


def eye_corners(landmark_ids: Int[np.ndarray, " L"]) -> list[int] | None:
    """Places of both eyes' corners among the landmarks, None where the landmarks lack one."""
    place = {int(one): number for number, one in enumerate(landmark_ids)}
    return [place[one] for one in EYE_CORNER_IDS] if all(one in place for one in EYE_CORNER_IDS) else None


@dataclass(frozen=True)
class ToneRanges:
    """The part of AugmentationRanges that concerns light and colour."""

    colour: float
    saturation_min: float
    grey_share: float
    contrast: float
    shading_share: float


def relight(picture: UInt8[np.ndarray, "S S 3"], ranges: ToneRanges, *, rng: np.random.Generator) -> UInt8[np.ndarray, "S S 3"]:
    """Colour cast, saturation, contrast, gamma, and a soft gradient or a shadow's edge across the picture."""
    gains = np.exp(ranges.colour * rng.standard_normal(3))
    saturation = rng.uniform(ranges.saturation_min, 1 + 0.4 * (1 - ranges.saturation_min)) if rng.random() >= ranges.grey_share else 0.0
    mixing = gains[:, None] * (saturation * np.eye(3) + (1 - saturation) * LUMA)
    picture = cv2.transform(picture, mixing)
    if rng.random() < ranges.shading_share:
        picture = np.clip(picture * _shade(len(picture), rng)[..., None], 0, 255).astype(np.uint8)
    middle = picture.mean()
    levels = np.clip(middle + np.exp(ranges.contrast * rng.standard_normal()) * (LEVELS - middle), 0, 255) / 255
    levels = levels ** np.exp(ranges.contrast * rng.standard_normal())
    return cv2.LUT(picture, np.round(255 * levels).astype(np.uint8))


def _shade(size: int, rng: np.random.Generator) -> Float[np.ndarray, "S S"]:
    """Share of light left, darker to one side of a line; from a sharp edge to a gradient over the whole crop."""
    axis, angle = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32), rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None] - rng.uniform(-0.3, 0.3)
    softness = 0.25 * np.exp(rng.uniform(-3.5, 0.0))
    return 1 - rng.uniform(0.2, 0.75) * (0.5 + 0.5 * np.tanh(along / softness))


def draw_occluder(picture: UInt8[np.ndarray, "S S 3"], other: np.ndarray | None, *, rng: np.random.Generator) -> None:
    """A rectangle or an ellipse, flat or cut from another picture, drawn into `picture`. It keeps off the very middle: a hidden face teaches nothing."""
    size = len(picture)
    direction, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.6)
    centre = size * (0.5 + reach * np.array([np.cos(direction), np.sin(direction)]))
    axes, turn = size * np.array([rng.uniform(0.05, 0.3), rng.uniform(0.04, 0.2)]), rng.uniform(0, 180)
    mask = np.zeros((size, size), np.uint8)
    if rng.random() < 0.5:
        cv2.ellipse(mask, (tuple(centre.tolist()), tuple((2 * axes).tolist()), turn), 255, -1)
    else:
        corners = cv2.boxPoints((tuple(centre.tolist()), tuple((2 * axes).tolist()), turn))
        cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 255)
    colour = rng.integers(256, size=3)
    if other is not None and rng.random() < 0.6:
        picture[mask > 0] = np.roll(other, size // 2, axis=1)[mask > 0]
    else:
        picture[mask > 0] = colour


def draw_glasses(picture: UInt8[np.ndarray, "S S 3"], corners: Float[np.ndarray, "4 2"], *, rng: np.random.Generator) -> None:
    """Two rims and a bridge of one dark colour around the eyes, drawn into `picture`. `corners` as EYE_CORNER_IDS, in px."""
    right, left = corners[:2].mean(axis=0), corners[2:].mean(axis=0)
    axis = left - right
    distance = max(float(np.hypot(*axis)), 1.0)
    along, below = axis / distance, np.array([-axis[1], axis[0]]) / distance
    half = distance * np.array([rng.uniform(0.3, 0.44), rng.uniform(0.2, 0.4)])
    drop, power = below * distance * rng.uniform(-0.02, 0.12), rng.uniform(2.0, 6.0)  # 2: an ellipse, 6: nearly a rectangle
    colour = np.clip(rng.integers(90) + rng.integers(40, size=3), 0, 255).tolist()
    thickness = max(1, round(distance * rng.uniform(0.015, 0.06)))
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    rim = np.stack([np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / power), np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / power)], axis=1) * half
    for centre in (right, left):
        points = centre + drop + rim @ np.stack([along, below])
        cv2.polylines(picture, [_subpixel(points)], True, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    ends = np.stack([right + along * half[0], left - along * half[0]]) + drop - below * 0.3 * half[1]
    cv2.polylines(picture, [_subpixel(ends)], False, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def _subpixel(points: np.ndarray) -> np.ndarray:
    return np.round((points - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)


def degrade(
    picture: UInt8[np.ndarray, "S S 3"], blur_share: float, noise: float, jpeg_share: float, pool: NoisePool, *, rng: np.random.Generator
) -> UInt8[np.ndarray, "S S 3"]:
    """Blur or few pixels, sensor noise and JPEG, in the order in which a camera does them."""
    if rng.random() < blur_share:
        picture = _few_pixels(picture, rng) if rng.random() < 0.4 else _blur(picture, rng)
    deviation = 255 * noise * rng.random() ** 2  # mostly little
    picture = np.clip(picture + deviation * pool.cut(rng=rng) + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < jpeg_share:
        _, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 91))))  # red and blue swapped there and back
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return picture


def _blur(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian, or one drawn out in one direction: out of focus, or moved."""
    deviation = np.exp(rng.uniform(-1.0, 0.5))  # px
    picture = cv2.GaussianBlur(picture, (0, 0), deviation)
    if rng.random() < 0.4:
        length, angle = int(rng.integers(3, 10)), rng.uniform(0, np.pi)
        kernel = np.zeros((9, 9), np.float32)
        reach = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(kernel, *(tuple(int(value) for value in _subpixel(4.5 + side * reach)) for side in (-1, 1)), 1.0, 1, cv2.LINE_AA, SUBPIXEL_BITS)
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
    return picture


def _few_pixels(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As if the face had been small in its video: reduced and enlarged again."""
    size = len(picture)
    small = int(rng.integers(int(0.3 * size), int(0.8 * size)))
    enlarging = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
    return cv2.resize(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=enlarging)
