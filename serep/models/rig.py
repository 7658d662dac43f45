"""A decoder bound to one neutral: a blendshape rig that an expression code drives."""
from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from serep.geometry.mesh import Mesh


class Rig(torch.nn.Module):
    """`vertices = neutral + coefficients(code) · basis`: one small network and one matrix product per frame.

    neutral     the mesh that the code zero shows
    basis       (K, V, 3) float32 displacements, mm per unit of coefficient
    code_size   Z
    """

    def __init__(self, neutral: Mesh, basis: Float[np.ndarray, "K V 3"], decoder: torch.nn.Module, code_size: int):
        """`decoder` turns codes (B, Z) into coefficients (B, K), on the processor and in float32."""
        super().__init__()
        self.neutral = neutral
        self.basis = np.ascontiguousarray(basis, dtype=np.float32)
        self.decoder = decoder
        self.code_size = code_size
        self._flat_basis = self.basis.reshape(len(self.basis), -1)
        self._flat_neutral = neutral.vertices.astype(np.float32).reshape(-1)

    def coefficients(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, K) weights of the basis for codes (B, Z); differentiable, and zero for the code zero."""
        if codes.ndim != 2 or codes.shape[1] != self.code_size:
            raise ValueError(f"expression codes must have shape (B, {self.code_size}), got {tuple(codes.shape)}. Were they made by another model?")
        return self.decoder(codes)

    def pose(self, codes: Float[np.ndarray, "B Z"]) -> Float[np.ndarray, "B V 3"]:
        """Vertices in mm, float32. Raises ValueError for codes of another size or with values that are not finite."""
        bad = ~np.isfinite(codes).all(axis=-1)
        if bad.any():
            raise ValueError(f"{int(bad.sum())} of {len(codes)} expression codes are not finite (first at row {int(bad.argmax())}). Check what made them")
        with torch.no_grad():
            weights = self.coefficients(torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32))).numpy()
        vertices = weights @ self._flat_basis
        vertices += self._flat_neutral
        return vertices.reshape(len(codes), *self.neutral.vertices.shape)
