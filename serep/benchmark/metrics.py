"""Scores of expression codes and of posed meshes, on plain arrays."""
from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

MOVING_MOTION = 0.3  # mm of mean true motion beyond which a vertex counts as moving


def vertex_distances(predicted: Float[np.ndarray, "*B V 3"], reference: Float[np.ndarray, "*B V 3"]) -> Float[np.ndarray, "*B V"]:
    return np.linalg.norm(np.asarray(predicted, np.float64) - reference, axis=-1)


def moving_vertices(displacements: Float[np.ndarray, "M V 3"]) -> Bool[np.ndarray, " V"]:
    """Vertices whose mean motion over the set exceeds 0.3 mm. Raises ValueError when there are none."""
    moving = np.linalg.norm(displacements, axis=-1).mean(axis=0) > MOVING_MOTION
    if not moving.any():
        raise ValueError(f"no vertex moves by more than {MOVING_MOTION} mm on average: the expressive meshes are neutral, or in another unit than mm")
    return moving


def identity_leak(codes: Float[np.ndarray, "S E Z"]) -> tuple[float, float]:
    """Variance of codes across people over variance across expressions, when S people perform the same E expressions.

    (all numbers together, mean over the single numbers). Zero when a code says nothing about the person.
    """
    across_people = codes.astype(np.float64).var(axis=0).mean(axis=0)
    across_expressions = codes.astype(np.float64).mean(axis=0).var(axis=0)
    # A number that never changes says nothing of anybody: it leaks nothing.
    used = across_people + across_expressions > 0
    single = across_people[used] / np.maximum(across_expressions[used], np.finfo(float).tiny)
    total = across_people.sum() / max(across_expressions.sum(), np.finfo(float).tiny)
    return float(total), float(single.mean()) if len(single) else 0.0


def relative_difference(predicted: Float[np.ndarray, "M Z"], reference: Float[np.ndarray, "M Z"]) -> float:
    """Root mean square difference over the root mean square of the reference."""
    scale = float(np.sqrt(np.mean(np.square(reference, dtype=np.float64))))
    return float(np.sqrt(np.mean(np.square(predicted - reference, dtype=np.float64)))) / max(scale, np.finfo(float).tiny)


def mirrored(displacements: Float[np.ndarray, "*B V 3"], mirror: Int[np.ndarray, " V"]) -> Float[np.ndarray, "*B V 3"]:
    """Displacements of the same expression with left and right exchanged (x is the mirror's axis)."""
    return displacements[..., mirror, :] * np.array([-1.0, 1.0, 1.0], displacements.dtype)


def left_right_swap(
    posed: Float[np.ndarray, "M V 3"], true: Float[np.ndarray, "M V 3"], mirror: Int[np.ndarray, " V"], moving: Bool[np.ndarray, " V"]
) -> float | None:
    """Share of one-sided expressions whose posed displacements are nearer to the mirrored truth than to the truth: a wink on the wrong side.

    One-sided: the truth differs from its mirror image by more than 0.3 mm on average over the moving vertices. None when there is none.
    """
    swapped = mirrored(true, mirror)
    one_sided = vertex_distances(true, swapped)[:, moving].mean(axis=1) > MOVING_MOTION
    if not one_sided.any():
        return None
    right = vertex_distances(posed[one_sided], true[one_sided])[:, moving].mean(axis=1)
    wrong = vertex_distances(posed[one_sided], swapped[one_sided])[:, moving].mean(axis=1)
    return float((wrong < right).mean())
