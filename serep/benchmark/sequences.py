"""Held-out performances: a person plays unseen expressions one after another, filmed by five cameras around the face."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from serep.geometry.camera import Camera

# View -> yaw of the camera around the head in degrees; positive stands on the subject's left, which faces image right in a frontal view.
VIEW_YAW_DEG = {"left_60": 60.0, "left_30": 30.0, "front": 0.0, "right_30": -30.0, "right_60": -60.0}
# The benchmark's view groups: each camera in exactly one.
VIEW_GROUPS = {"Frontal": ("front",), "Angled": ("left_30", "right_30"), "Profile": ("left_60", "right_60")}


def played_rows(expression_subject: Int[np.ndarray, " M"], person: int, count: int) -> Int[np.ndarray, " n"]:
    """The meshes that a person plays: `count` of her own, others than the people before her where all perform the same ones."""
    own = np.flatnonzero(expression_subject == person)
    return np.roll(own, -person * count)[:count]


def range_of_motion(
    neutral: Float[np.ndarray, "V 3"], expressives: Float[np.ndarray, "n V 3"], *, frames_per_expression: int
) -> Float[np.ndarray, "T V 3"]:
    """Neutral -> expression -> neutral for every expression in turn, T = n * frames_per_expression + 1.

    Ramps are cosines, so velocity is zero at both ends; frame `k * frames_per_expression` is the neutral and the frame half-way to the next is
    exactly expression k. Displacements are scaled, so the path of each vertex is straight.
    """
    share = ramp(frames_per_expression)
    displacement = expressives.astype(np.float64) - neutral
    frames = neutral + share[None, :, None, None] * displacement[:, None]
    return np.concatenate([frames.reshape(-1, *neutral.shape), neutral[None]]).astype(np.float64)


def ramp(frames_per_expression: int) -> Float[np.ndarray, " T"]:
    """Share of the expression in each of its frames: 0, up to 1 half-way, and down to just above 0 (the next ramp starts with the 0)."""
    if frames_per_expression < 4 or frames_per_expression % 2:
        raise ValueError(f"frames_per_expression must be even and at least 4, so that one shows the whole expression; got {frames_per_expression}")
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames_per_expression) / frames_per_expression)


def view_cameras(points: Float[np.ndarray, "N 3"], *, size_px: int, field_of_view_deg: float, fill: float) -> dict[str, Camera]:
    """One square camera a view, level with the middle of `points` (the face's vertices) and looking at it.

    All stand at the same distance: the bounding sphere of the points takes `fill` of the image's width in every view (above 1 is cropped).
    """
    if not 0 < fill <= 2:
        raise ValueError(f"fill must be in (0, 2], got {fill}")
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0)).astype(np.float64)
    radius = np.linalg.norm(points - centre, axis=1).max()
    focal_px = 0.5 * size_px / np.tan(np.radians(0.5 * field_of_view_deg))
    # A sphere seen at distance d spans tan(asin(radius / d)) either side of the axis.
    distance = radius / np.sin(np.arctan(0.5 * size_px * fill / focal_px))
    return {view: _orbit_camera(centre, distance, np.radians(yaw), focal_px, size_px) for view, yaw in VIEW_YAW_DEG.items()}


def _orbit_camera(centre: Float[np.ndarray, " 3"], distance: float, yaw_rad: float, focal_px: float, size_px: int) -> Camera:
    forward = np.array([-np.sin(yaw_rad), 0.0, -np.cos(yaw_rad)])
    down = np.array([0.0, -1.0, 0.0])
    rotation = np.stack([np.cross(down, forward), down, forward])
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = rotation
    world_to_camera[:3, 3] = -rotation @ (centre - distance * forward)
    middle = 0.5 * size_px
    return Camera(np.array([[focal_px, 0.0, middle], [0.0, focal_px, middle], [0.0, 0.0, 1.0]]), world_to_camera, size_px, size_px)
