"""The mean head's rig at a few places, for losses that are measured in mm."""
from __future__ import annotations

import copy

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from serep.models.semantic import SemanticModel

VERTEX_SAMPLES = 400  # moving vertices on which predicted and true expressions are compared
MOVING_MM = 0.3  # mean motion over the training renders beyond which a vertex counts as moving


class PosedRig:
    """The mean head's rig at its landmarks and at some moving vertices, as two small matrices: differentiable and cheap."""

    def __init__(self, semantic: SemanticModel, codes: Float[np.ndarray, "N Z"], *, device: torch.device, rng: np.random.Generator):
        rig = semantic.bind(semantic.mean_neutral)
        basis = rig.basis
        probe = torch.from_numpy(codes[rng.permutation(len(codes))[:256]])
        with torch.no_grad():
            weights = rig.coefficients(probe).numpy()
        motion = np.mean([np.linalg.norm(np.tensordot(row, basis, axes=1), axis=-1) for row in weights], axis=0)
        moving = np.flatnonzero(motion > MOVING_MM)
        if not len(moving):
            raise ValueError("the renders' codes move no vertex of the mean head: were they drawn with another semantic model? "
                             "Draw them again (dvc repro -f render)")
        chosen = np.sort(rng.permutation(moving)[:VERTEX_SAMPLES])
        # A copy: the semantic model keeps its own decoder, on the processor and as it was trained.
        self._decoder = copy.deepcopy(rig.decoder).to(device).eval().requires_grad_(False)
        self.vertices = torch.from_numpy(basis[:, chosen].copy()).to(device)
        self.landmarks = torch.from_numpy(semantic.topology.landmarks(basis.astype(np.float64)).astype(np.float32)).to(device)

    def displacements(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Of the sampled vertices (B, v, 3) and of the landmarks (B, L, 3), in mm."""
        weights = self._decoder(codes)
        return torch.einsum("bk,kva->bva", weights, self.vertices), torch.einsum("bk,kva->bva", weights, self.landmarks)
