"""A person with few poses: what their codes need of the basis is added up before the Poisson solve, not after it.

A rig solves every mode of the basis, which pays from as many poses on as there are modes; training images show each person some fifty times.
"""
from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from serep.geometry.deformation import PoissonSolver
from serep.geometry.mesh import Mesh
from serep.models.gradient_basis import gradient_features, gradient_weights
from serep.models.networks import BoundDecoder
from serep.models.semantic import GradientFit, GradientModel, NeuralModel, SemanticModel

SOLVED_AT_ONCE = 10  # poses: their solutions stay in the cache


class FewPoses:
    """`pose` gives what `model.bind(neutral).pose(codes)` gives, to rounding, in less time for fewer codes than the model has modes."""

    def __init__(self, model: SemanticModel) -> None:
        self.model = model
        if isinstance(model, GradientModel):
            count, faces = len(model.modes), len(model.topology.faces)
            modes = model.modes.cpu().numpy().reshape(count, faces, 3, 3)
            # Rows as in the gradient operator (3 face + axis); columns: coordinate, then mode.
            self._modes = np.ascontiguousarray(modes.transpose(1, 3, 2, 0), np.float32).reshape(3 * faces, 3 * count)
        if isinstance(model, GradientFit):
            self._displacements = model.displacement_modes.cpu().numpy().astype(np.float32)
        if isinstance(model, NeuralModel):
            self._identity_modes = (model.identity_modes.cpu().numpy().astype(np.float32)
                                    * gradient_weights(model.mean_neutral).astype(np.float32))

    def pose(self, neutral: Mesh, codes: Float[np.ndarray, "B Z"]) -> Float[np.ndarray, "B V 3"]:
        """Vertices in mm (float32). Their last bits depend on which codes come together: pose the same ones together where bytes matter."""
        if not isinstance(self.model, GradientModel):
            return self.model.bind(neutral).pose(codes)
        bad = ~np.isfinite(codes).all(axis=-1)
        if bad.any():
            raise ValueError(f"{int(bad.sum())} of {len(codes)} expression codes are not finite (first at row {int(bad.argmax())}). Check what made them")
        with torch.no_grad():
            coefficients = self._decoder(neutral)(torch.from_numpy(np.asarray(codes, np.float32))).numpy()
        displacements = _Solver(neutral, fixed=self.model.topology.fixed).combine(self._modes, coefficients)
        if isinstance(self.model, GradientFit):
            displacements += (coefficients @ self._displacements).reshape(displacements.shape)
        displacements += neutral.vertices.astype(np.float32)
        return displacements

    def _decoder(self, neutral: Mesh) -> torch.nn.Module:
        model = self.model
        if not isinstance(model, NeuralModel):
            return model.decoder
        shape = gradient_features(model.mean_neutral, neutral.vertices[None]) @ self._identity_modes.T
        shape = (shape - model.identity_mean.cpu().numpy()) / model.identity_deviation.cpu().numpy()
        return BoundDecoder(model.decoder, model.identity_encoder(torch.from_numpy(shape)))


class _Solver(PoissonSolver):
    def combine(self, modes: Float[np.ndarray, "D C"], coefficients: Float[np.ndarray, "B K"]) -> Float[np.ndarray, "B V 3"]:
        """Displacements (mm, float32) of sums of modes: their divergences are added up in float32, the solve is in float64."""
        poses, count = coefficients.shape
        divergences = (self._divergence.astype(np.float32) @ modes).reshape(-1, count)
        displacements = np.zeros((poses, len(self.neutral.vertices), 3), np.float32)
        for start in range(0, poses, SOLVED_AT_ONCE):
            some = coefficients[start : start + SOLVED_AT_ONCE]
            right = np.asfortranarray((divergences @ some.T).reshape(len(self._free), 3 * len(some)), np.float64)
            solution = self._factor.solve(right).reshape(-1, 3, len(some))
            displacements[start : start + len(some), self._free] = solution.transpose(2, 0, 1)
        for part in self.floating_parts:
            displacements[:, part] -= displacements[:, part].mean(axis=1, keepdims=True)
        return displacements
