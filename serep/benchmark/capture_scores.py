"""How well pictures become expressions: against exact labels on test renders, and against another detector's landmarks on real video."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

MOVING_MM = 0.3  # mean true motion over the test set beyond which a vertex belongs to the moving region
POSE_BATCH = 64
OUTER_EYE_IDS = (33, 263)
# Distances whose ratio follows an expression whatever the face's size: (upper, lower) over (corner, corner), MediaPipe ids.
MOUTH_OPENING = (((13, 14), (61, 291)),)
LID_OPENING = (((159, 145), (33, 133)), ((386, 374), (362, 263)))

Pose = Callable[[np.ndarray], np.ndarray]  # codes (n, Z) to vertices (n, V, 3) in mm


@dataclass(frozen=True, eq=False)
class LabelledCodes:
    """Codes and 2D landmarks of a set of renders, px, as drawn."""

    codes: Float[np.ndarray, "N Z"]
    landmarks: Float[np.ndarray, "N L 2"]


def score_capture(
    pose: Pose,
    train: LabelledCodes,
    test: LabelledCodes,
    *,
    predicted_codes: Float[np.ndarray, "N Z"],
    predicted_landmarks: Float[np.ndarray, "N L 2"],
    landmark_ids: Int[np.ndarray, " L"],
    ridge: float,
) -> dict[str, dict[str, float]]:
    """Row name -> {vertex_mm, ...}; `pose` plays codes on one head (the mean neutral), so that only the expression counts.

    vertex_mm is the mean distance over the moving region. Rows: `ours`; `neutral` (code zero); `mean_expression` (the training codes' mean); and
    `ridge_landmarks`, a ridge regression from the *true* 2D landmarks, which is told what ours must see (a reference, not a rival).
    `ours` also has landmark_px and landmark_pct (of the distance of the outer eye corners in the picture).
    """
    if len(test.codes) == 0 or len(train.codes) == 0:
        raise ValueError(f"scores need renders: got {len(train.codes)} for training and {len(test.codes)} for the test")
    moving = moving_region(pose, test.codes)
    candidates = {
        "ours": predicted_codes,
        "neutral": np.zeros_like(test.codes),
        "mean_expression": np.broadcast_to(train.codes.mean(axis=0), test.codes.shape),
        "ridge_landmarks": ridge_regression(landmark_features(train.landmarks), train.codes, landmark_features(test.landmarks), strength=ridge),
    }
    scores = {name: {"vertex_mm": _vertex_error(pose, codes.astype(np.float32), test.codes, moving)} for name, codes in candidates.items()}
    px, pct = landmark_errors(predicted_landmarks, test.landmarks, landmark_ids)
    scores["ours"] |= {"landmark_px": px, "landmark_pct": pct}
    return scores


def moving_region(pose: Pose, codes: Float[np.ndarray, "N Z"]) -> Bool[np.ndarray, " V"]:
    """Vertices whose mean motion over the codes exceeds MOVING_MM."""
    neutral = pose(np.zeros_like(codes[:1]))[0]
    total = np.zeros(len(neutral))
    for rows in _batches(len(codes)):
        total += np.linalg.norm(pose(codes[rows]) - neutral, axis=-1).sum(axis=0)
    moving = total / len(codes) > MOVING_MM
    if not moving.any():
        raise ValueError(f"no vertex moves by more than {MOVING_MM} mm over the {len(codes)} test codes. Were they made with another semantic model?")
    return moving


def _vertex_error(pose: Pose, predicted: np.ndarray, reference: np.ndarray, moving: np.ndarray) -> float:
    total = 0.0
    for rows in _batches(len(reference)):
        total += float(np.linalg.norm((pose(predicted[rows]) - pose(reference[rows]))[:, moving], axis=-1).mean(axis=1).sum())
    return total / len(reference)


def _batches(count: int) -> list[slice]:
    return [slice(start, start + POSE_BATCH) for start in range(0, count, POSE_BATCH)]


def landmark_features(landmarks: Float[np.ndarray, "N L 2"]) -> Float[np.ndarray, "N D"]:
    """The landmarks' shape alone (centred, unit spread) and its squares, so that a linear map can follow the foreshortening of head turns."""
    shape = landmarks - landmarks.mean(axis=1, keepdims=True)
    shape = shape / np.sqrt((shape**2).mean(axis=(1, 2), keepdims=True))
    return np.concatenate([shape.reshape(len(shape), -1), (shape**2).reshape(len(shape), -1)], axis=1)


def ridge_regression(
    inputs: Float[np.ndarray, "N D"], outputs: Float[np.ndarray, "N Z"], queries: Float[np.ndarray, "M D"], *, strength: float
) -> Float[np.ndarray, "M Z"]:
    """Linear regression on standardised inputs with penalty `strength` per training row; the mean is not penalised."""
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
    standard = (inputs - mean) / spread
    gram = standard.T @ standard / len(inputs) + strength * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, standard.T @ (outputs - outputs.mean(axis=0)) / len(inputs))
    return (queries - mean) / spread @ weights + outputs.mean(axis=0)


def landmark_errors(
    predicted: Float[np.ndarray, "N L 2"], reference: Float[np.ndarray, "N L 2"], landmark_ids: Int[np.ndarray, " L"]
) -> tuple[float, float]:
    """Mean distance in px, and in % of the distance of the outer eye corners of the reference."""
    right, left = (_row(landmark_ids, one) for one in OUTER_EYE_IDS)
    distances = np.linalg.norm(predicted - reference, axis=-1).mean(axis=1)
    eyes = np.linalg.norm(reference[:, left] - reference[:, right], axis=-1)
    return float(distances.mean()), float(100 * (distances / np.maximum(eyes, 1e-6)).mean())


def _row(landmark_ids: Int[np.ndarray, " L"], one: int) -> int:
    rows = np.flatnonzero(np.asarray(landmark_ids) == one)
    if not len(rows):
        raise ValueError(f"the landmarks lack MediaPipe point {one}, which this score needs (found: {np.asarray(landmark_ids).tolist()})")
    return int(rows[0])


def opening(points: Float[np.ndarray, "T L D"], landmark_ids: Int[np.ndarray, " L"], pairs: tuple) -> Float[np.ndarray, " T"]:
    """Mean over the pairs of (distance of the first two points) / (distance of the last two), per frame; points may be 2D or 3D."""
    def distance(ends: tuple[int, int]) -> np.ndarray:
        return np.linalg.norm(points[:, _row(landmark_ids, ends[0])] - points[:, _row(landmark_ids, ends[1])], axis=-1)

    return np.mean([distance(gap) / np.maximum(distance(width), 1e-9) for gap, width in pairs], axis=0)


def real_video_scores(
    landmark_ids: Int[np.ndarray, " L"],
    mesh_landmarks: Float[np.ndarray, "T L 3"],
    landmarks: Float[np.ndarray, "T L 2"],
    found: Bool[np.ndarray, " T"],
    pseudo_landmarks: Float[np.ndarray, "frames 478 2"],
) -> dict[str, float]:
    """Agreement of a capture with another detector's 478 points on the same video (NaN where it found no face).

    mouth_r, lid_r       correlation over time of mouth and lid opening, on the posed mesh and in the other's points
    mouth_2d_r, lid_2d_r the same from the capture's own 2D landmarks: what it saw before it became a code
    landmark_pct         distance of the 2D landmarks in % of that of the outer eye corners
    found_share          of the frames in which the other found a face; false_share: of those in which it found none
    jitter               root mean square second difference of the 2D landmarks over that of the other's
    """
    if len(pseudo_landmarks) != len(found):
        raise ValueError(f"the capture has {len(found)} frames, the reference landmarks {len(pseudo_landmarks)}; give both for the same video")
    other = np.isfinite(pseudo_landmarks).all(axis=(1, 2))
    both = found & other
    scores = {"frames": float(len(found)), "found_share": _share(both, other), "false_share": _share(found & ~other, ~other)}
    if both.sum() < 3:
        return scores
    ids = np.arange(pseudo_landmarks.shape[1], dtype=np.int32)
    wanted = pseudo_landmarks[:, np.asarray(landmark_ids)]
    for name, pairs in (("mouth", MOUTH_OPENING), ("lid", LID_OPENING)):
        reference = opening(pseudo_landmarks[both], ids, pairs)
        scores[f"{name}_r"] = _correlation(opening(mesh_landmarks[both], landmark_ids, pairs), reference)
        scores[f"{name}_2d_r"] = _correlation(opening(landmarks[both], landmark_ids, pairs), reference)
    scores["landmark_pct"] = landmark_errors(landmarks[both], wanted[both], landmark_ids)[1]
    thrice = both[:-2] & both[1:-1] & both[2:]
    scores["jitter"] = _second_difference(landmarks, thrice) / max(_second_difference(wanted, thrice), 1e-9)
    return scores


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """NaN where either does not move at all."""
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / scale) if scale > 0 else float("nan")


def _second_difference(points: np.ndarray, valid: np.ndarray) -> float:
    return float(np.sqrt((np.diff(points, n=2, axis=0)[valid] ** 2).mean())) if valid.any() else float("nan")
