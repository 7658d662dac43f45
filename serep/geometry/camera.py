"""A pinhole camera without lens distortion, in the OpenCV frame."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from serep.geometry.rigid import apply_rigid


@dataclass(frozen=True, eq=False)
class Camera:
    """Intrinsics in pixels (continuous coordinates, origin at the image's corner) and the rigid motion from world to camera in mm."""

    intrinsics: Float[np.ndarray, "3 3"]
    world_to_camera: Float[np.ndarray, "4 4"]
    width: int
    height: int

    def __post_init__(self) -> None:
        intrinsics, motion = np.asarray(self.intrinsics, np.float64), np.asarray(self.world_to_camera, np.float64)
        object.__setattr__(self, "intrinsics", intrinsics)
        object.__setattr__(self, "world_to_camera", motion)
        if intrinsics.shape != (3, 3) or motion.shape != (4, 4):
            raise ValueError(f"intrinsics must be (3, 3) and world_to_camera (4, 4), got {intrinsics.shape} and {motion.shape}")
        if not (np.isfinite(intrinsics).all() and intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0):
            raise ValueError(f"focal lengths must be positive and finite, got intrinsics {intrinsics.tolist()}")
        rotation = motion[:3, :3]
        if not (np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) and np.linalg.det(rotation) > 0 and np.allclose(motion[3], [0, 0, 0, 1])):
            raise ValueError(f"world_to_camera must be a rotation and a translation, got {motion.tolist()}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"an image needs at least one pixel, got {self.width} x {self.height}")

    @property
    def centre(self) -> Float[np.ndarray, " 3"]:
        """The eye point in world coordinates."""
        return -self.world_to_camera[:3, :3].T @ self.world_to_camera[:3, 3]


def to_camera(points: Float[np.ndarray, "*N 3"], camera: Camera) -> Float[np.ndarray, "*N 3"]:
    """World points in the camera frame; z is the depth."""
    flat = apply_rigid(points.reshape(-1, 3), camera.world_to_camera[:3, :3], camera.world_to_camera[:3, 3])
    return flat.reshape(points.shape)


def project(points: Float[np.ndarray, "*N 3"], camera: Camera) -> Float[np.ndarray, "*N 2"]:
    """World points in pixels; NaN for points that are not in front of the camera."""
    homogeneous = to_camera(points, camera) @ camera.intrinsics.T
    depth = homogeneous[..., 2:]
    return homogeneous[..., :2] / np.where(depth > 0, depth, np.nan)
