"""Which vertex lies on the other side of the face, found from the shape of a symmetric head."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

TOLERANCE = 0.1  # mm
ACROSS = np.array([-1.0, 1.0, 1.0])


def mirror_map(vertices: Float[np.ndarray, "V 3"]) -> Int[np.ndarray, " V"]:
    """(V,) index of the vertex at the mirrored place across x = 0; ValueError where the head is not symmetric."""
    distance, mirror = cKDTree(vertices).query(vertices * ACROSS)
    unpaired = mirror[mirror] != np.arange(len(vertices))
    if distance.max() > TOLERANCE or unpaired.any():
        raise ValueError(
            f"the head is not symmetric: a vertex is {distance.max():.3g} mm from any mirror image (at most {TOLERANCE} will do), "
            f"{unpaired.sum()} vertices have no partner"
        )
    return mirror.astype(np.int32)
