"""The learned parts of the semantic model: identity encoder, expression encoder, mesh decoder.

All see coefficients, never vertices: the basis of deformation-gradient modes and the Poisson solve carry the geometry. Encoder and decoder
are a fixed linear path plus a learned correction that starts at zero and vanishes for the neutral, so before training they are the linear
model, and the neutral has the code zero whatever the weights.
"""
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Identity features beyond this many standard deviations of the training people say only "far out": networks do not extrapolate.
IDENTITY_REACH = 2.0
# No number of a learned correction exceeds this (in units of one deviation of the code or coefficient): on expressions of a kind that nobody
# trained on, an unbounded one throws the mesh millimetres off where the linear path alone is right.
CORRECTION_REACH = 2.0


class LinearMap(nn.Module):
    """A fixed matrix, set once from the data; the decoder of the linear kinds."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.register_buffer("matrix", torch.zeros(inputs, outputs))

    def forward(self, inputs: Float[Tensor, "B N"]) -> Float[Tensor, "B M"]:
        return inputs @ self.matrix


class ResidualNetwork(nn.Module):
    """Pre-activation residual blocks between two linear layers, the result bounded; the last layer starts at zero, so the network starts as the zero map."""

    def __init__(self, inputs: int, outputs: int, *, width: int, residual_blocks: int):
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(residual_blocks)
        )
        self.leave = nn.Linear(width, outputs)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, inputs: Float[Tensor, "B N"]) -> Float[Tensor, "B M"]:
        return self.after_entrance(self.enter(inputs))

    def after_entrance(self, hidden: Float[Tensor, "B W"]) -> Float[Tensor, "B M"]:
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return CORRECTION_REACH * torch.tanh(self.leave(nn.functional.silu(hidden)) / CORRECTION_REACH)


class IdentityEncoder(nn.Module):
    """Standardised coefficients of a neutral's shape to bounded identity features."""

    def __init__(self, identity_modes: int):
        super().__init__()
        self.mix = nn.Linear(identity_modes, identity_modes)

    def forward(self, shape: Float[Tensor, "B N"]) -> Float[Tensor, "B I"]:
        return torch.tanh(self.mix(torch.tanh(shape / IDENTITY_REACH)))


class ExpressionEncoder(nn.Module):
    """Fitted coefficients and identity features to an expression code.

    `scale` (K,) brings coefficients to unit size for the learned part.
    """

    def __init__(self, modes: int, identity_modes: int, code_size: int, *, width: int, residual_blocks: int):
        super().__init__()
        self.linear = LinearMap(modes, code_size)
        self.correction = ResidualNetwork(modes + identity_modes, code_size, width=width, residual_blocks=residual_blocks)
        self.register_buffer("scale", torch.ones(modes))

    def forward(self, coefficients: Float[Tensor, "B K"], identity: Float[Tensor, "B I"]) -> Float[Tensor, "B Z"]:
        scaled = coefficients / self.scale
        at_zero = self.correction(torch.cat([torch.zeros_like(scaled), identity], dim=1))
        return self.linear(coefficients) + self.correction(torch.cat([scaled, identity], dim=1)) - at_zero


class MeshDecoder(nn.Module):
    """Expression code and identity features to coefficients of the basis, whose displacements are added to the neutral."""

    def __init__(self, code_size: int, identity_modes: int, modes: int, *, width: int, residual_blocks: int):
        super().__init__()
        self.linear = LinearMap(code_size, modes)
        self.correction = ResidualNetwork(code_size + identity_modes, modes, width=width, residual_blocks=residual_blocks)
        self.register_buffer("scale", torch.ones(modes))

    def forward(self, codes: Float[Tensor, "B Z"], identity: Float[Tensor, "B I"]) -> Float[Tensor, "B K"]:
        at_zero = self.correction(torch.cat([torch.zeros_like(codes), identity], dim=1))
        return self.linear(codes) + (self.correction(torch.cat([codes, identity], dim=1)) - at_zero) * self.scale


class BoundDecoder(nn.Module):
    """A mesh decoder for one identity: codes to coefficients, what depends on the identity alone computed once."""

    def __init__(self, decoder: MeshDecoder, identity: Float[Tensor, "1 I"]):
        super().__init__()
        self.decoder = decoder
        correction = decoder.correction
        codes = decoder.linear.matrix.shape[0]
        with torch.no_grad():
            self.register_buffer("identity_term", identity @ correction.enter.weight[:, codes:].T + correction.enter.bias, persistent=False)
            self.register_buffer("at_zero", correction(torch.cat([identity.new_zeros(1, codes), identity], dim=1)), persistent=False)

    def forward(self, codes: Float[Tensor, "B Z"]) -> Float[Tensor, "B K"]:
        correction = self.decoder.correction
        learned = correction.after_entrance(codes @ correction.enter.weight[:, : codes.shape[1]].T + self.identity_term) - self.at_zero
        return self.decoder.linear(codes) + learned * self.decoder.scale
