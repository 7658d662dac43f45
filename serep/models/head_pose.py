"""The head's place in front of the camera, from landmarks on the mesh and in the picture (perspective-n-point)."""
from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

FACING_CAMERA = np.diag([1.0, -1.0, -1.0])  # face axes (y up, z out of the face) to OpenCV's camera axes, for a face that looks straight at the camera
MAX_TURN_DEG, MAX_REPROJECTION = 100.0, 0.25  # poses that turn further, or miss the landmarks by a larger share of their extent, are not believed
KEEP_WITHIN = 1.05  # the pose next to the previous one is kept while its error is at most this many times that of the best
SAME_POSE_DEG = 5.0  # two starts that differ by less lead to the same pose
STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-8)


def assumed_intrinsics(width: int, height: int, field_of_view_deg: float) -> Float[np.ndarray, "3 3"]:
    """Camera matrix whose longer side spans the field of view, the principal point in the middle. The camera of a video is rarely known."""
    focal = 0.5 * max(width, height) / np.tan(np.radians(0.5 * field_of_view_deg))
    return np.array([[focal, 0.0, 0.5 * width], [0.0, focal, 0.5 * height], [0.0, 0.0, 1.0]])


def solve_head_pose(
    mesh_landmarks: Float[np.ndarray, "L 3"], landmarks: Float[np.ndarray, "L 2"], intrinsics: Float[np.ndarray, "3 3"],
    previous: Float[np.ndarray, "4 4"] | None,
) -> Float[np.ndarray, "4 4"]:
    """Face -> camera, mm: least squares over the landmarks' places in the picture.

    Two starts compete: the previous frame's pose, which keeps the result steady in time, and the global solution SQPnP (Terzakis and Lourakis 2020),
    which gets out of the wrong one of the two poses that explain a rather flat face. Where neither gives a face in front of the camera, the
    previous pose stays, or else a face that looks at the camera.
    """
    # Turned to the camera's axes the face is near the identity, far from where rotation vectors become singular.
    points, pixels = np.ascontiguousarray(mesh_landmarks @ FACING_CAMERA.T), np.ascontiguousarray(landmarks, np.float64)
    kept = None if previous is None else _refine(points, pixels, intrinsics, previous[:3, :3] @ FACING_CAMERA.T, previous[:3, 3])
    start = _global_start(points, pixels, intrinsics)
    if kept is not None and start is not None and _turn_deg(start[0], kept[0][:3, :3] @ FACING_CAMERA.T) < SAME_POSE_DEG:
        return kept[0]
    fresh = None if start is None else _refine(points, pixels, intrinsics, *start)
    if kept is not None and (fresh is None or kept[1] <= KEEP_WITHIN * fresh[1]):
        return kept[0]
    if fresh is not None:
        return fresh[0]
    return previous if previous is not None else _facing(points, pixels, intrinsics)


def _global_start(points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotation and translation of least algebraic error, near the pose of least error in the picture."""
    try:
        solved, rotation, translation = cv2.solvePnP(points, pixels, intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error:  # degenerate input, such as landmarks that all coincide
        return None
    return (cv2.Rodrigues(rotation)[0], translation[:, 0]) if solved else None


def _turn_deg(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(0.5 * (np.sum(one * other) - 1), -1, 1))))


def _refine(points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Levenberg-Marquardt from a start: the pose and its error (px, root mean square); None where the result is not a face in front of the camera."""
    vector, _ = cv2.Rodrigues(rotation)
    try:
        vector, moved = cv2.solvePnPRefineLM(points, pixels, intrinsics, None, vector, translation.reshape(3, 1).astype(np.float64), STOP)
    except cv2.error:
        return None
    turn = cv2.Rodrigues(vector)[0]
    in_camera = points @ turn.T + moved[:, 0]
    if not np.isfinite(in_camera).all() or in_camera[:, 2].min() <= 0 or np.trace(turn) < 1 + 2 * np.cos(np.radians(MAX_TURN_DEG)):
        return None
    seen = in_camera[:, :2] / in_camera[:, 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    error = float(np.sqrt(((seen - pixels) ** 2).sum(axis=1).mean()))
    if error > MAX_REPROJECTION * (pixels.max(axis=0) - pixels.min(axis=0)).max():
        return None
    return _pose(turn, moved[:, 0]), error


def _facing(points: np.ndarray, pixels: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """A face that looks at the camera, at the place and distance that fit the landmarks' middle and spread."""
    spread_mm, spread_px = (np.sqrt(((one - one.mean(axis=0))[:, :2] ** 2).sum(axis=1).mean()) for one in (points, pixels))
    distance = intrinsics[0, 0] * spread_mm / max(spread_px, 1e-6)
    ray = np.linalg.solve(intrinsics, np.append(pixels.mean(axis=0), 1.0))
    return _pose(np.eye(3), distance * ray - points.mean(axis=0))


def _pose(turn: np.ndarray, translation: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn @ FACING_CAMERA, translation
    return pose

def pose_to_numbers(pose: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "6"]:
    """Rotation vector from a face that looks at the camera, direction and logarithm of the distance: all smooth, all of unit scale."""
    x, y, z = pose[:3, 3]
    return np.concatenate([cv2.Rodrigues(pose[:3, :3] @ FACING_CAMERA.T)[0][:, 0], [x / z, y / z, np.log(z)]])


def pose_from_numbers(numbers: Float[np.ndarray, "6"]) -> Float[np.ndarray, "4 4"]:
    pose, distance = np.eye(4), np.exp(numbers[5])
    pose[:3, :3] = cv2.Rodrigues(numbers[:3])[0] @ FACING_CAMERA
    pose[:3, 3] = distance * np.array([numbers[3], numbers[4], 1.0])
    return pose
