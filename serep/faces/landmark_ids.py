"""Which of MediaPipe's 478 face-mesh points every topology carries, and which mirror which. Left and right are the subject's."""
from __future__ import annotations

import numpy as np
from jaxtyping import Int

RIGHT_EYE_IDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)  # outer corner, lower lid, inner corner, upper lid
LEFT_EYE_IDS = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)  # the same points of the other eye, in the same order
# Lips: from the right corner along the lower lip and back along the upper.
OUTER_LIP_IDS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIP_IDS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
NOSE_IDS = (168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 129, 358)  # root to tip, base, then the two wings
RIGHT_BROW_IDS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)  # upper edge from outside to inside, lower edge back
LEFT_BROW_IDS = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)

LANDMARK_IDS: tuple[int, ...] = tuple(sorted(RIGHT_EYE_IDS + LEFT_EYE_IDS + OUTER_LIP_IDS + INNER_LIP_IDS + NOSE_IDS))
"""The common set: eyes, nose and mouth, where the embedding is good to 2–3 mm. Brows (7 mm) only guide painting."""
PAINT_IDS: tuple[int, ...] = RIGHT_BROW_IDS + LEFT_BROW_IDS
EYE_CORNER_IDS = (33, 133, 362, 263)


def _around(ids: tuple[int, ...]) -> dict[int, int]:
    """Mirror of a lip loop of 20 ids that starts at the right corner."""
    return {one: ids[(10 - place) % 20] for place, one in enumerate(ids)}


_MIRROR: dict[int, int] = (
    _around(OUTER_LIP_IDS) | _around(INNER_LIP_IDS) | {one: one for one in NOSE_IDS} | {98: 327, 327: 98, 129: 358, 358: 129}
    | dict(zip(RIGHT_EYE_IDS + LEFT_EYE_IDS, LEFT_EYE_IDS + RIGHT_EYE_IDS, strict=True))
    | dict(zip(RIGHT_BROW_IDS + LEFT_BROW_IDS, LEFT_BROW_IDS + RIGHT_BROW_IDS, strict=True))
)


def mirrored_ids(ids: Int[np.ndarray, " L"]) -> Int[np.ndarray, " L"]:
    """The id of the same point on the other side of the face; an id on the middle line is its own mirror."""
    return np.array([_MIRROR[int(one)] for one in ids], dtype=np.asarray(ids).dtype)
