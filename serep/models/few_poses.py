"""A person with few poses: what their codes need of the basis is added up before the Poisson solve, not after it.

A rig solves every mode of the basis, which pays from as many poses on as there are modes; training images show each person some fifty times.
"""
from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from serep.geometry.deformation import PoissonSolver
from serep.geometry.mesh import Mesh
from serep.models.semantic import GradientFit, GradientModel, SemanticModel


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

    def pose(self, neutral: Mesh, codes: Float[np.ndarray, "B Z"]) -> Float[np.ndarray, "B V 3"]:
        """Vertices in mm (float32). Their last bits depend on which codes come together: pose the same ones together where bytes matter."""
        if not isinstance(self.model, GradientModel):
            return self.model.bind(neutral).pose(codes)
        bad = ~np.isfinite(codes).all(axis=-1)
        if bad.any():
            raise ValueError(f"{int(bad.sum())} of {len(codes)} expression codes are not finite (first at row {int(bad.argmax())}). Check what made them")
        with torch.no_grad():
            coefficients = self.model.bound_decoder(neutral)(torch.from_numpy(np.asarray(codes, np.float32))).numpy()
        displacements = PoissonSolver(neutral, fixed=self.model.topology.fixed).solve_sums(self._modes, coefficients)
        if isinstance(self.model, GradientFit):
            displacements += (coefficients @ self._displacements).reshape(displacements.shape)
        displacements += neutral.vertices.astype(np.float32)
        return displacements
