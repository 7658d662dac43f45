"""Where the face is: squares found by OpenCV's Haar cascades, and square crops of pictures.

One convention for all crops: the *landmark square* has the middle of the landmarks' bounding box as centre and its longer side as side; a crop is that
square times the model's crop scale. A cascade's box is turned into the landmark square that such a box usually holds.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True)
class Cascade:
    """A Haar cascade and the landmark square in its box: centre offset and side as shares of the box's side."""

    file: str
    offset: tuple[float, float]
    side: float


# Medians of (centre of the landmark square - centre of the box) / box side, and of square side / box side. Measured on 52 pictures and every 20th frame of 8
# videos whose landmarks a face-mesh network had found; the cascades see 91 %, 91 % and 36 % of those faces. The middle 80 % of squares lie within 0.04 of
# these offsets, and within 13 % of these sides. Seen by the mirrored cascade, a profile's offset is mirrored (measured 0.17, 0.15, side 0.54).
FRONTAL = (Cascade("haarcascade_frontalface_default.xml", (0.0, 0.120), 0.539), Cascade("haarcascade_frontalface_alt2.xml", (0.0, 0.128), 0.560))
PROFILE = Cascade("haarcascade_profileface.xml", (-0.155, 0.145), 0.515)

SEARCH_SIDES_PX = (320, 640)  # longest side of the picture that is searched, quick and thorough
SCALE_STEP, NEIGHBOURS, SMALLEST_BOX_PX = 1.1, 5, 28


@dataclass(frozen=True, eq=False)
class FaceSquare:
    """The square around a face's landmarks, in px of the picture."""

    centre: Float[np.ndarray, "2"]
    side: float

    def box(self, scale: float) -> Float[np.ndarray, "4"]:
        """x0, y0, x1, y1 of the square times `scale`."""
        half = 0.5 * scale * self.side
        return np.concatenate([self.centre - half, self.centre + half])


def landmark_square(landmarks: Float[np.ndarray, "L 2"]) -> FaceSquare:
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return FaceSquare(0.5 * (low + high).astype(np.float64), float((high - low).max()))


def find_faces(picture: UInt8[np.ndarray, "H W 3"], *, thorough: bool) -> list[FaceSquare]:
    """Faces of an RGB picture, the largest first; empty when the cascades see none.

    Quick: the frontal cascades on a picture of at most 320 px. Thorough: where these see nothing, profiles too, then both at 640 px.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    for longest in SEARCH_SIDES_PX if thorough else SEARCH_SIDES_PX[:1]:
        scale = min(1.0, longest / max(grey.shape))
        if longest != SEARCH_SIDES_PX[0] and scale * max(grey.shape) <= SEARCH_SIDES_PX[0]:
            break  # the picture has no more pixels than those searched already
        small = cv2.equalizeHist(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey)
        squares = [square for cascade in FRONTAL for square in _search(small, cascade, mirrored=False)]
        if not squares and thorough:
            squares = [square for mirrored in (False, True) for square in _search(small, PROFILE, mirrored=mirrored)]
        if squares:
            return _without_doubles([FaceSquare(square.centre / scale, square.side / scale) for square in squares])
    return []


def _search(grey: UInt8[np.ndarray, "H W"], cascade: Cascade, *, mirrored: bool) -> list[FaceSquare]:
    if min(grey.shape) < SMALLEST_BOX_PX:
        return []
    picture = np.ascontiguousarray(grey[:, ::-1]) if mirrored else grey
    squares = []
    for left, top, width, height in _classifier(cascade.file).detectMultiScale(picture, SCALE_STEP, NEIGHBOURS, minSize=(SMALLEST_BOX_PX, SMALLEST_BOX_PX)):
        centre = np.array([left + width * (0.5 + cascade.offset[0]), top + height * (0.5 + cascade.offset[1])])
        if mirrored:
            centre[0] = grey.shape[1] - centre[0]
        squares.append(FaceSquare(centre, float(width * cascade.side)))
    return squares


@cache
def _classifier(file: str) -> cv2.CascadeClassifier:
    path = Path(cv2.data.haarcascades) / file
    classifier = cv2.CascadeClassifier(str(path)) if path.is_file() else None
    if classifier is None or classifier.empty():
        raise RuntimeError(f"OpenCV {cv2.__version__} has no face cascade at {path}. Install opencv-python-headless 4.x, which carries it")
    return classifier


def _without_doubles(squares: list[FaceSquare]) -> list[FaceSquare]:
    """Largest first; a square whose centre lies in a larger one is the same face seen by another cascade."""
    kept: list[FaceSquare] = []
    for square in sorted(squares, key=lambda one: -one.side):
        if all(np.abs(square.centre - other.centre).max() > 0.5 * other.side for other in kept):
            kept.append(square)
    return kept


def crop_transform(centre: Float[np.ndarray, "2"], side: float, angle: float) -> Float[np.ndarray, "2 3"]:
    """Affine map from a square crop's coordinates (0..1 in both axes) to px of the picture; the crop is turned by `angle` (radians)."""
    linear = side * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([linear, (np.asarray(centre) - linear.sum(axis=1) * 0.5)[:, None]], axis=1)


def to_crop(points: Float[np.ndarray, "N 2"], transform: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "N 2"]:
    """Points in px of the picture, in coordinates of the crop."""
    return np.linalg.solve(transform[:, :2], (points - transform[:, 2]).T).T


def from_crop(points: Float[np.ndarray, "N 2"], transform: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "N 2"]:
    """Points in coordinates of the crop, in px of the picture."""
    return points @ transform[:, :2].T + transform[:, 2]


def sample_square(
    picture: UInt8[np.ndarray, "H W C"], transform: Float[np.ndarray, "2 3"], size: int, *, border: int
) -> UInt8[np.ndarray, "{size} {size} C"]:
    """A crop of a picture, bilinear; `border` is OpenCV's way to go on beyond the picture's edge.

    Where a crop's pixel covers more than two of the picture's, the crop's surroundings are averaged down first, so that nothing aliases.
    """
    if np.hypot(*transform[:, 0]) > 2 * size:
        picture, transform = _averaged(picture, transform, size)
    # OpenCV counts pixel centres from 0, ours lie at +0.5
    to_picture = np.concatenate([transform[:, :2] / size, transform[:, 2:] + transform[:, :2].sum(axis=1, keepdims=True) * 0.5 / size - 0.5], axis=1)
    return cv2.warpAffine(picture, to_picture, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)


def _averaged(picture: np.ndarray, transform: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that the crop needs, at about 1.5 px for each of the crop's, and the transform into it."""
    corners = transform[:, 2:] + transform[:, :2] @ np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    height, width = picture.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=1)) - 2, 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=1)) + 2, [left + 1, top + 1], [width, height]).astype(int)
    shrink = 1.5 * size / np.hypot(*transform[:, 0])
    part = np.ascontiguousarray(picture[top:bottom, left:right])
    new_width, new_height = max(1, round((right - left) * shrink)), max(1, round((bottom - top) * shrink))
    scale = np.array([new_width / (right - left), new_height / (bottom - top)])
    moved = np.concatenate([transform[:, :2], transform[:, 2:] - np.array([[left], [top]])], axis=1) * scale[:, None]
    return cv2.resize(part, (new_width, new_height), interpolation=cv2.INTER_AREA), moved
