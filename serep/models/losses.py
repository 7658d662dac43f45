"""Losses of the semantic model: one function per term, in millimetres or in units of the code.

Coefficients of the gradient basis are ordered and scaled so that on the average training face the vertices' root mean square displacement
is the coefficients' length in mm: a distance of coefficients is a vertex error, and no mesh has to be posed.
"""
from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

# Added under square roots: their slope at zero stays finite.
FLOOR = 1e-6


def displacement_distance(predicted: Float[Tensor, "B K"], reference: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """Mean over the batch of the root mean square vertex distance on the average face, mm."""
    return ((predicted - reference).square().sum(dim=1) + FLOOR).sqrt().mean()


def code_distance(predicted: Float[Tensor, "B Z"], reference: Float[Tensor, "B Z"]) -> Float[Tensor, ""]:
    """Mean over the batch of the root mean square difference of code numbers."""
    return ((predicted - reference).square().mean(dim=1) + FLOOR).sqrt().mean()
