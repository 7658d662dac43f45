"""A linear 3DMM fitted to landmarks in a picture: the classic answer that the benchmark sets beside a capture."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from serep.faces.topology import FaceTopology
from serep.models.head_pose import solve_head_pose
from serep.models.pca import principal_modes

ROUNDS, LAST_ROUNDS = 10, 4
LEAST_NOISE_PX = 0.05  # below it landmarks are as good as exact


@dataclass(frozen=True, eq=False)
class LinearFace:
    """How people's expressions displace one topology: their mean, and modes of unit-variance weights about the neutral (mm)."""

    mean: Float[np.ndarray, "V 3"]
    modes: Float[np.ndarray, "K V 3"]

    @staticmethod
    def of(displacements: Float[np.ndarray, "M V 3"], count: int) -> LinearFace:
        """The `count` principal modes of the displacements, fewer where they span fewer."""
        flat = displacements.reshape(len(displacements), -1)
        modes, spread = principal_modes(flat, np.ones(flat.shape[1]), count, at_most=True)
        return LinearFace(displacements.mean(axis=0, dtype=np.float64), (modes * spread[:, None]).reshape(-1, *displacements.shape[1:]).astype(np.float64))

    def pose(self, neutral: Float[np.ndarray, "V 3"], weights: Float[np.ndarray, "T K"]) -> Float[np.ndarray, "T V 3"]:
        return neutral + np.tensordot(weights, self.modes, axes=1)

    def nearest(self, neutral: Float[np.ndarray, "V 3"], meshes: Float[np.ndarray, "T V 3"]) -> Float[np.ndarray, "T V 3"]:
        """The meshes as well as the modes can show them: what no fit can beat (least squares over all vertices)."""
        modes = self.modes.reshape(len(self.modes), -1)
        weights = (meshes - neutral).reshape(len(meshes), -1) @ modes.T / (modes**2).sum(axis=1)
        return self.pose(neutral, weights)

    def fit(
        self,
        neutral: Float[np.ndarray, "V 3"],
        landmarks: Float[np.ndarray, "T L 2"],
        found: Bool[np.ndarray, " T"],
        topology: FaceTopology,
        intrinsics: Float[np.ndarray, "3 3"],
        *,
        caution: float = 1.0,
    ) -> Float[np.ndarray, "T V 3"]:
        """Each frame's landmarks (px) explained by head pose and weights, on a known neutral before a known camera; the neutral where no face was found.

        Maximum a posteriori under weights of unit variance. The landmarks' noise is estimated with them in each frame, by expectation
        maximisation, as if each erred by itself. A detector's errors go together and pass for expression: `caution` is how many times
        larger than it looks the noise variance counts (a large one ends at the neutral).
        """
        rest, modes = topology.landmarks(neutral), topology.landmarks(self.modes)
        weights, pose = np.zeros((len(landmarks), len(modes))), None
        for frame in np.flatnonzero(found):
            pose = solve_head_pose(rest, landmarks[frame].astype(np.float64), intrinsics, pose)
            weights[frame] = _fitted(rest, modes, landmarks[frame].astype(np.float64), intrinsics, pose, caution)
        return self.pose(neutral, weights)


def _fitted(
    rest: Float[np.ndarray, "L 3"], modes: Float[np.ndarray, "K L 3"], seen: Float[np.ndarray, "L 2"], intrinsics: Float[np.ndarray, "3 3"],
    pose: Float[np.ndarray, "4 4"], caution: float,
) -> Float[np.ndarray, " K"]:  # fmt: skip
    """Gauss-Newton on head rotation, translation and weights at once, from a start of the pose; the pose itself has no prior."""
    rotation, shift, weights = pose[:3, :3], pose[:3, 3], np.zeros(len(modes))
    prior = np.concatenate([np.zeros(6), np.ones(len(modes))])
    noise = 0.0
    for number in range(ROUNDS + LAST_ROUNDS):
        learning = number < ROUNDS  # the noise; then the fit that believes the landmarks less
        turned = (rest + np.tensordot(weights, modes, axes=1)) @ rotation.T
        points = turned + shift
        homogeneous = points @ intrinsics.T
        residual = (seen - homogeneous[:, :2] / homogeneous[:, 2:]).ravel()
        noise = noise or max(float(np.mean(residual**2)), LEAST_NOISE_PX**2)
        believed = noise if learning else caution * noise
        steps = np.concatenate([np.cross(np.eye(3)[:, None], turned[None]), np.broadcast_to(np.eye(3)[:, None], (3, *rest.shape)), modes @ rotation.T])
        jacobian = _seen_steps(points, steps, intrinsics).reshape(len(steps), -1).T
        covariance = np.linalg.inv(jacobian.T @ jacobian / believed + np.diag(prior))
        change = covariance @ (jacobian.T @ residual / believed - prior * np.concatenate([np.zeros(6), weights]))
        rotation, shift, weights = Rotation.from_rotvec(change[:3]).as_matrix() @ rotation, shift + change[3:6], weights + change[6:]
        if learning:
            left, spread = residual - jacobian @ change, float(np.einsum("na,ab,nb->", jacobian, covariance, jacobian, optimize=True))
            noise = max((float(left @ left) + spread) / len(left), LEAST_NOISE_PX**2)
    return weights


def _seen_steps(points: Float[np.ndarray, "L 3"], steps: Float[np.ndarray, "N L 3"], intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "N L 2"]:
    """How the points' places in the picture (px) change with each step (mm) of theirs in the camera's frame."""
    depth = points[:, 2:]
    moved = steps[..., :2] / depth - points[:, :2] * steps[..., 2:] / depth**2
    return moved @ intrinsics[:2, :2].T
