"""Rigid motions: the best one between two sets of points, and moving points by one."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float


def rigid_align(
    source: Float[np.ndarray, "*#B N 3"],
    target: Float[np.ndarray, "*#B N 3"],
    *,
    weights: Float[np.ndarray, "*#B N"] | None = None,
    allow_reflection: bool = False,
) -> tuple[Float[np.ndarray, "*B 3 3"], Float[np.ndarray, "*B 3"]]:
    """(rotation, translation) with `target ≈ source @ rotation.T + translation` in weighted least squares, without scale.

    Kabsch's method ("A solution for the best rotation to relate two sets of vectors", 1976), batched. Of three or more points that lie
    on one line the rotation about that line is undetermined, and some rotation comes out. ValueError: fewer than three points, points
    that are not finite, or weights that are negative or all zero.
    """
    count = source.shape[-2]
    if count < 3:
        raise ValueError(f"a rigid motion needs at least 3 points, got {count}")
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    total = weights.sum(axis=-1)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (total > 0).all()):
        raise ValueError("weights must be finite, not negative and not all zero: give a positive weight to at least 3 points")
    share = (weights / total[..., None])[..., None]
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_centre, target_centre = (share * source).sum(axis=-2), (share * target).sum(axis=-2)
    covariance = np.swapaxes(share * (source - source_centre[..., None, :]), -1, -2) @ (target - target_centre[..., None, :])
    if not np.isfinite(covariance).all():
        raise ValueError("points must be finite: leave out points that are missing, or give finite ones")
    left, _, right = np.linalg.svd(covariance)
    if not allow_reflection:  # turn the weakest direction round, which costs least
        right[..., 2, :] *= np.sign(np.linalg.det(left) * np.linalg.det(right))[..., None]
    rotation = np.swapaxes(left @ right, -1, -2)
    translation = target_centre - np.einsum("...ij,...j->...i", rotation, source_centre)
    return rotation, translation


def apply_rigid(
    points: Float[np.ndarray, "*#B N 3"], rotation: Float[np.ndarray, "*#B 3 3"], translation: Float[np.ndarray, "*#B 3"]
) -> Float[np.ndarray, "*B N 3"]:
    """`points @ rotation.T + translation`, batched."""
    return points @ np.swapaxes(rotation, -1, -2) + translation[..., None, :]


def rotation_angle_deg(rotation: Float[np.ndarray, "3 3"]) -> float:
    """By how much a rotation turns; exact for small angles, too."""
    sine = np.linalg.norm([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return float(np.degrees(np.arctan2(sine, np.trace(rotation) - 1)))
