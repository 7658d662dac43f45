"""Where the face is: squares found by OpenCV's Haar cascades, and square crops of pictures.

One convention for all crops: the *landmark square* has the middle of the landmarks' bounding box as centre and its longer side as side, both in axes that are
turned with the face; a crop is that square times the model's crop scale. A cascade's box is turned into the landmark square that such a box usually holds.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8


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
CORNER_IDS = ((33, 133), (362, 263), (61, 291))  # MediaPipe's: corners of the right eye, the left eye and the mouth
SCALE_STEP, NEIGHBOURS, SMALLEST_BOX_PX = 1.1, 5, 28
KNOWN_BOX_PX, KNOWN_SIDES = 64, (0.6, 1.6)  # a face of known size: to what its box is reduced, and how far the box found may differ
LARGEST_STEP_PX, SAMPLE_STEP_PX = 2.0, 1.5  # px of the picture between samples of a crop: beyond the first, as many samples as the second asks are averaged


@dataclass(frozen=True, eq=False)
class FaceSquare:
    """The square around a face's landmarks, in px of the picture, turned with the face by `angle` (radians, from x towards y)."""

    centre: Float[np.ndarray, "2"]
    side: float
    angle: float = 0.0

    def box(self, scale: float) -> Float[np.ndarray, "4"]:
        """x0, y0, x1, y1 of the square times `scale`, as if it were not turned."""
        half = 0.5 * scale * self.side
        return np.concatenate([self.centre - half, self.centre + half])


def upright_angle(landmarks: Float[np.ndarray, "L 2"], landmark_ids: Int[np.ndarray, " L"]) -> float:
    """Angle (radians, from x towards y) by which a face is turned in the picture, from the line between its eyes and, across it, that from eyes to mouth.

    One steadies the other: in profile the eyes lie behind one another. 0 where the landmarks (MediaPipe ids) lack the corners of eyes and mouth.
    """
    place = {int(one): row for row, one in enumerate(landmark_ids)}
    if any(one not in place for ids in CORNER_IDS for one in ids):
        return 0.0
    right, left, mouth = (landmarks[[place[one] for one in ids]].mean(axis=0) for ids in CORNER_IDS)
    down = mouth - 0.5 * (right + left)
    across = left - right + np.array([down[1], -down[0]])
    return float(np.arctan2(across[1], across[0]))


def landmark_square(landmarks: Float[np.ndarray, "L 2"], angle: float = 0.0) -> FaceSquare:
    """The square around landmarks whose sides are turned by `angle`."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = landmarks @ turn
    low, high = turned.min(axis=0), turned.max(axis=0)
    return FaceSquare(turn @ (0.5 * (low + high).astype(np.float64)), float((high - low).max()), angle)


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
            return distinct_squares([FaceSquare(square.centre / scale, square.side / scale) for square in squares])
    return []


def find_faces_of_side(picture: UInt8[np.ndarray, "H W 3"], side: float) -> list[FaceSquare]:
    """Frontal faces whose landmark square is about as large as `side` px, the largest first: a tenth of the time that `find_faces` takes."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    for cascade in FRONTAL:
        scale = min(1.0, KNOWN_BOX_PX * cascade.side / side)
        small = cv2.equalizeHist(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey)
        boxes_px = tuple(max(SMALLEST_BOX_PX, round(share * side * scale / cascade.side)) for share in KNOWN_SIDES)
        squares = _search(small, cascade, mirrored=False, boxes_px=boxes_px)
        if squares:
            return distinct_squares([FaceSquare(square.centre / scale, square.side / scale) for square in squares])
    return []


def _search(grey: UInt8[np.ndarray, "H W"], cascade: Cascade, *, mirrored: bool, boxes_px: tuple[int, int] = (SMALLEST_BOX_PX, 0)) -> list[FaceSquare]:
    """`boxes_px`: the smallest and the largest box looked for; 0 is no limit."""
    if min(grey.shape) < boxes_px[0]:
        return []
    picture = np.ascontiguousarray(grey[:, ::-1]) if mirrored else grey
    smallest, largest = ((side, side) for side in boxes_px)
    squares = []
    for left, top, width, height in load_cascade(cascade.file).detectMultiScale(picture, SCALE_STEP, NEIGHBOURS, minSize=smallest, maxSize=largest):
        centre = np.array([left + width * (0.5 + cascade.offset[0]), top + height * (0.5 + cascade.offset[1])])
        if mirrored:
            centre[0] = grey.shape[1] - centre[0]
        squares.append(FaceSquare(centre, float(width * cascade.side)))
    return squares


@cache
def load_cascade(file: str) -> cv2.CascadeClassifier:
    """One of those that come with OpenCV; RuntimeError where they do not."""
    path = Path(cv2.data.haarcascades) / file
    classifier = cv2.CascadeClassifier(str(path)) if path.is_file() else None
    if classifier is None or classifier.empty():
        raise RuntimeError(f"OpenCV {cv2.__version__} has no face cascade at {path}. Install opencv-python-headless 4.x, which carries it")
    return classifier


def distinct_squares(squares: list[FaceSquare]) -> list[FaceSquare]:
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

    Where a crop's pixel covers more than two of the picture's, the crop is sampled more finely and averaged, so that nothing aliases.
    """
    step = float(np.hypot(*transform[:, 0])) / size  # px of the picture to one of the crop
    finer = math.ceil(step / SAMPLE_STEP_PX) if step > LARGEST_STEP_PX else 1
    # OpenCV counts pixel centres from 0, ours lie at +0.5
    linear = transform[:, :2] / (finer * size)
    to_picture = np.concatenate([linear, transform[:, 2:] + linear.sum(axis=1, keepdims=True) * 0.5 - 0.5], axis=1)
    crop = cv2.warpAffine(picture, to_picture, (finer * size, finer * size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)
    return crop if finer == 1 else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
