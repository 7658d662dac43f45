"""Finds all faces of a picture when there is time to look twice, as for training data."""
from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from serep.models.face_boxes import FRONTAL, crop_transform, find_faces, load_cascade, sample_square

LOOK_PX, LOOK_SCALE = 160, 2.6  # the crop in which a face is confirmed: its side, and that over the landmark square's
FACE_STEP, FACE_NEIGHBOURS, FACE_PX = 1.05, 4, 60
EYES, EYE_STEP, EYE_NEIGHBOURS, EYE_PX = "haarcascade_eye.xml", 1.05, 3, 12
EYE_ROWS, EYE_COLUMNS = slice(30, 100), slice(20, 140)  # of the crop
WITNESSES = 2


def find_squares(picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "n 3"]:
    """x, y and side (px) of the squares around eyes, nose and mouth of all faces that OpenCV's cascades agree upon, the largest first.

    Two of the two frontal cascades and the one for eyes must see something in a closer crop. On 57 pictures that removed all 8 that were no whole face (ties,
    a dog, a wall) and none of the 69 that were; profiles go too.
    """
    squares = [(*square.centre, square.side) for square in find_faces(picture, thorough=True)]
    return np.array([square for square in squares if _witnesses(picture, np.array(square)) >= WITNESSES]).reshape(-1, 3)


def _witnesses(picture: np.ndarray, square: np.ndarray) -> int:
    grey = cv2.equalizeHist(cv2.cvtColor(cut_square(picture, square, LOOK_SCALE, LOOK_PX), cv2.COLOR_RGB2GRAY))
    faces = [len(load_cascade(cascade.file).detectMultiScale(grey, FACE_STEP, FACE_NEIGHBOURS, minSize=(FACE_PX, FACE_PX))) > 0 for cascade in FRONTAL]
    eyes = load_cascade(EYES).detectMultiScale(np.ascontiguousarray(grey[EYE_ROWS, EYE_COLUMNS]), EYE_STEP, EYE_NEIGHBOURS, minSize=(EYE_PX, EYE_PX))
    return sum(faces) + (len(eyes) > 0)


def cut_square(picture: UInt8[np.ndarray, "H W 3"], square: Float[np.ndarray, "3"], scale: float, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The crop around a square (x, y, side), that many times as large, edges repeated beyond the picture."""
    return sample_square(picture, crop_transform(square[:2], float(square[2]) * scale, 0.0), size, border=cv2.BORDER_REPLICATE)


FINDERS = {"cascades": find_squares}  # whatever finds faces better takes a picture and gives the same
