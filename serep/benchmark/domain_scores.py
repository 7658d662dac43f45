"""How well pictures of another domain than the training renders become expressions: simulated ones, which have the truth, and real ones with landmarks."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from serep.benchmark.capture_scores import LID_OPENING, MOUTH_OPENING, landmark_errors, opening

LEAST_FACES = 3  # below which a correlation says nothing


def real_face_scores(
    landmark_ids: Int[np.ndarray, " L"],
    mesh_landmarks: Float[np.ndarray, "N L 3"],
    landmarks: Float[np.ndarray, "N L 2"],
    given: Float[np.ndarray, "N L 2"],
) -> dict[str, float]:
    """Agreement with the landmarks that are given of photographs, NaN where they are not.

    faces           photographs with all landmarks; without one there is nothing else
    landmark_pct    distance of the 2D landmarks in % of that of the outer eye corners
    mouth_r, lid_r  correlation over the photographs of how far mouth and lids are open, on the posed mesh and in the given landmarks
    """
    whole = np.isfinite(given).all(axis=(1, 2))
    scores = {"faces": int(whole.sum())}
    if not whole.any():
        return scores
    scores["landmark_pct"] = landmark_errors(landmarks[whole], given[whole], landmark_ids)[1]
    if whole.sum() >= LEAST_FACES:
        for name, pairs in (("mouth", MOUTH_OPENING), ("lid", LID_OPENING)):
            seen, wanted = (opening(points[whole], landmark_ids, pairs) for points in (mesh_landmarks, given))
            scores[f"{name}_r"] = float(np.corrcoef(seen, wanted)[0, 1]) if min(np.ptp(seen), np.ptp(wanted)) > 0 else float("nan")
    return scores
