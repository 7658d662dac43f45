"""Semantic expression models: a mesh of anyone in, an expression code out, and a rig of anyone that plays the code.

Kinds, from plain to learned:
displacement_pca   linear 3DMM: fixed displacements for everybody
gradient_pca       principal deformation gradients, measured on the mesh, solved on each neutral
gradient_fit       gradients and displacements mixed as the people show it; the code is fitted through the subject's own rig (factor analysis with known loadings)
neural             gradient_fit as the linear path of ExpressionEncoder, IdentityEncoder and MeshDecoder
"""
from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from serep.faces.topology import FaceTopology
from serep.geometry.mesh import Mesh
from serep.models.gradient_basis import (
    displacement_products,
    fit_matrix,
    gradient_features,
    gradient_weights,
    mean_square_products,
    project_gradients,
    solve_modes,
)
from serep.models.networks import BoundDecoder, ExpressionEncoder, IdentityEncoder, LinearMap, MeshDecoder
from serep.models.rig import Rig
from serep.models.store import load_arrays, load_weights, save_weights

TOPOLOGY_FILE = "topology.npz"


class SemanticModel(torch.nn.Module):
    """What every kind shares: the topology, the mean neutral, checks at the border, and the model folder.

    A subclass names its `kind`, has `_encode` and `_basis`, and can be built empty from `sizes` before its weights are loaded.
    """

    kind: ClassVar[str]
    decoder: torch.nn.Module

    def __init__(self, topology: FaceTopology, *, code_size: int, shape_modes: int = 0):
        super().__init__()
        self.topology = topology
        self.code_size = code_size
        self.sizes: dict[str, Any] = {"code_size": code_size, "shape_modes": shape_modes}
        self.register_buffer("mean_vertices", torch.from_numpy(np.array(topology.template, np.float32)))
        # Of the training neutrals, for whoever brings another mesh: displacements from their mean (mm for one standard deviation), and the
        # largest angle by which one of them is turned against the template's face.
        self.register_buffer("shape_modes", torch.zeros(shape_modes, 3 * len(topology.template), dtype=torch.float16))
        self.register_buffer("frame_reach_deg", torch.zeros(()))
        # Of the training set, for whoever regresses codes: the scale of each number.
        self.register_buffer("code_mean", torch.zeros(code_size))
        self.register_buffer("code_deviation", torch.ones(code_size))

    @property
    def mean_neutral(self) -> Mesh:
        """The mean of the training neutrals, mm."""
        return self.topology.mesh(self.mean_vertices.cpu().numpy().astype(np.float64))

    def encode(self, neutral: Mesh, expressive: Float[np.ndarray, "B V 3"]) -> Float[np.ndarray, "B Z"]:
        """Expression codes (float32) of one subject's expressive meshes, mm, in the neutral's frame. The neutral itself has the code zero."""
        self._check(neutral)
        self._check_vertices(expressive, "expressive mesh")
        return self._encode(neutral, expressive).astype(np.float32)

    def bind(self, neutral: Mesh) -> Rig:
        """The rig of one neutral; costs one Poisson factorisation and one solve per mode."""
        self._check(neutral)
        return Rig(neutral, self._basis(neutral), self.bound_decoder(neutral), self.code_size)

    def save(self, folder: Path) -> None:
        """Write a folder that `SemanticModel.load` reads: config.json, weights.safetensors, topology.npz."""
        config = {"kind": self.kind, "sizes": self.sizes, "topology": self.topology.name}
        save_weights(folder, self.state_dict(), config, arrays={TOPOLOGY_FILE: self.topology.to_arrays()})

    @staticmethod
    def load(folder: Path) -> SemanticModel:
        """The model that `save` wrote. Raises FileNotFoundError or ValueError when the folder is not complete and unchanged."""
        state, config = load_weights(folder)
        kind = config.get("kind")
        if kind not in SEMANTIC_KINDS:
            raise ValueError(f"{folder} holds a model of kind {kind!r}. Give the folder of a semantic model ({', '.join(SEMANTIC_KINDS)})")
        topology = FaceTopology.from_arrays(load_arrays(folder, TOPOLOGY_FILE, config))
        try:
            model = SEMANTIC_KINDS[kind](topology, **config["sizes"])
            model.load_state_dict(state)
        except (TypeError, RuntimeError) as error:  # unknown sizes, missing or misshapen weights
            raise ValueError(f"{folder} was saved by another version of serep: {str(error).splitlines()[-1].strip()} Train the model again") from error
        return model.eval().requires_grad_(False)

    def _encode(self, neutral: Mesh, expressive: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _basis(self, neutral: Mesh) -> np.ndarray:
        raise NotImplementedError

    def bound_decoder(self, neutral: Mesh) -> torch.nn.Module:
        """Codes to the coefficients of the basis, for one neutral."""
        return self.decoder

    def _check(self, neutral: Mesh) -> None:
        self._check_vertices(neutral.vertices, "neutral")
        if not np.array_equal(neutral.faces, self.topology.faces):
            raise ValueError(
                f"the neutral's faces are not those of the model's topology {self.topology.name!r}: got {len(neutral.faces):,} faces, "
                f"the model has {len(self.topology.faces):,} in its own order. Give a mesh registered to that topology"
            )

    def _check_vertices(self, vertices: np.ndarray, what: str) -> None:
        expected = len(self.topology.template)
        if vertices.shape[-2] != expected:
            raise ValueError(
                f"the model expects {expected:,} vertices (topology {self.topology.name!r}), the {what} has {vertices.shape[-2]:,}. "
                "Give a mesh registered to that topology"
            )
        bad = ~np.isfinite(vertices).all(axis=-1)
        if bad.any():
            raise ValueError(f"the {what} has {int(bad.sum()):,} vertices with NaN or infinite positions. Repair it or leave it out")


class DisplacementPca(SemanticModel):
    """Linear 3DMM: the code scales fixed displacements (`modes`, orthonormal), the same for everybody."""

    kind = "displacement_pca"

    def __init__(self, topology: FaceTopology, *, code_size: int, shape_modes: int = 0):
        super().__init__(topology, code_size=code_size, shape_modes=shape_modes)
        self.register_buffer("modes", torch.zeros(code_size, 3 * len(topology.template)))
        self.decoder = LinearMap(code_size, code_size)

    def _encode(self, neutral: Mesh, expressive: np.ndarray) -> np.ndarray:
        displacements = (expressive - neutral.vertices).reshape(len(expressive), -1)
        return displacements @ self.modes.numpy().T / self.decoder.matrix.diagonal().numpy()

    def _basis(self, neutral: Mesh) -> np.ndarray:
        return self.modes.numpy().reshape(self.code_size, -1, 3)


class GradientModel(SemanticModel):
    """Base of the kinds whose basis is made of deformation-gradient modes, solved on each neutral (Sumner & Popović 2004).

    Modes are kept as float16: a rounding of 5e-4 of each entry, averaged out by the Poisson solve, for half the size on disk.
    """

    def __init__(self, topology: FaceTopology, *, code_size: int, gradient_modes: int, shape_modes: int = 0):
        super().__init__(topology, code_size=code_size, shape_modes=shape_modes)
        self.sizes["gradient_modes"] = gradient_modes
        self.register_buffer("modes", torch.zeros(gradient_modes, 9 * len(topology.faces), dtype=torch.float16))
        self.decoder: torch.nn.Module = LinearMap(code_size, gradient_modes)
        self._last_bound: tuple[bytes, np.ndarray] | None = None

    def _basis(self, neutral: Mesh) -> np.ndarray:
        # The last neutral is remembered: a subject is encoded and then posed.
        key = neutral.vertices.tobytes()
        if self._last_bound is None or self._last_bound[0] != key:
            self._last_bound = (key, self._solve(neutral))
        return self._last_bound[1]

    def _solve(self, neutral: Mesh) -> np.ndarray:
        return solve_modes(neutral, self.modes.cpu().numpy(), self.topology.fixed)


class GradientPca(GradientModel):
    """The code is the leading principal coefficients of the measured deformation gradients, standardised.

    Modes are orthonormal under the mean neutral's face areas (summing to one), so a coefficient is a root mean square gradient.
    """

    kind = "gradient_pca"

    def _encode(self, neutral: Mesh, expressive: np.ndarray) -> np.ndarray:
        weighted = self.modes.numpy().astype(np.float32) * gradient_weights(self.mean_neutral).astype(np.float32)
        return project_gradients(neutral, expressive, weighted) / self.decoder.matrix.diagonal().numpy()


class GradientFit(GradientModel):
    """The code comes from the most probable coefficients of the subject's own rig, so the subject's shape is accounted for, not encoded.

    Each mode has a part made of deformation gradients, solved on the neutral, and one of displacements, the same on everybody: how much an
    expression changes with the shape of a face is learned from the people, not assumed. Modes are ordered and scaled in mm: coefficient k
    has the root mean square `mode_deviation[k]` over the training set and moves the mean training face by that much. The code is a rotation
    of the first Z coefficients, chosen so that all its numbers have the same variance: a distance between codes means millimetres in every
    direction, and no number holds only the noise of the last modes.
    """

    kind = "gradient_fit"

    def __init__(self, topology: FaceTopology, *, code_size: int, gradient_modes: int, shape_modes: int = 0):
        super().__init__(topology, code_size=code_size, gradient_modes=gradient_modes, shape_modes=shape_modes)
        self.register_buffer("displacement_modes", torch.zeros(gradient_modes, 3 * len(topology.template), dtype=torch.float16))
        self.register_buffer("mode_deviation", torch.ones(gradient_modes))
        self.register_buffer("tolerance", torch.zeros(()))
        self.encoder: torch.nn.Module = LinearMap(gradient_modes, code_size)

    def _solve(self, neutral: Mesh) -> np.ndarray:
        basis = super()._solve(neutral)
        return basis + self.displacement_modes.cpu().numpy().astype(np.float32).reshape(basis.shape)

    def fit(self, neutral: Mesh, expressive: Float[np.ndarray, "B V 3"]) -> Float[np.ndarray, "B K"]:
        """The most probable coefficients of expressive meshes on their neutral's basis, float64."""
        basis = self._basis(neutral)
        covariance = np.diag(self.mode_deviation.double().numpy() ** 2)
        matrix = fit_matrix(mean_square_products(basis), covariance, float(self.tolerance))
        return displacement_products(basis, expressive - neutral.vertices) @ matrix.T

    def _encode(self, neutral: Mesh, expressive: np.ndarray) -> np.ndarray:
        return self.fit(neutral, expressive) @ self.encoder.matrix.double().numpy()


class NeuralModel(GradientFit):
    """SEREP's three networks on fitted coefficients; before training it is `gradient_fit`."""

    kind = "neural"

    def __init__(
        self,
        topology: FaceTopology,
        *,
        code_size: int,
        gradient_modes: int,
        identity_modes: int,
        width: int,
        residual_blocks: int,
        shape_modes: int = 0,
    ):
        super().__init__(topology, code_size=code_size, gradient_modes=gradient_modes, shape_modes=shape_modes)
        self.sizes |= {"identity_modes": identity_modes, "width": width, "residual_blocks": residual_blocks}
        shape = {"width": width, "residual_blocks": residual_blocks}
        self.identity_encoder = IdentityEncoder(identity_modes)
        self.encoder = ExpressionEncoder(gradient_modes, identity_modes, code_size, **shape)
        self.decoder = MeshDecoder(code_size, identity_modes, gradient_modes, **shape)
        # Neutral shape: gradients from the mean neutral to the neutral, projected on area-weighted modes and standardised.
        self.register_buffer("identity_modes", torch.zeros(identity_modes, 9 * len(topology.faces), dtype=torch.float16))
        self.register_buffer("identity_mean", torch.zeros(identity_modes))
        self.register_buffer("identity_deviation", torch.ones(identity_modes))

    def neutral_shape(self, neutral: Mesh) -> Float[np.ndarray, "1 N"]:
        """Standardised coefficients of a neutral's shape, the identity encoder's input."""
        coefficients = gradient_features(self.mean_neutral, neutral.vertices[None]) @ self._weighted_identity_modes.T
        return (coefficients - self.identity_mean.cpu().numpy()) / self.identity_deviation.cpu().numpy()

    @cached_property
    def _weighted_identity_modes(self) -> np.ndarray:
        return self.identity_modes.cpu().numpy().astype(np.float32) * gradient_weights(self.mean_neutral).astype(np.float32)

    def _identity(self, neutral: Mesh) -> torch.Tensor:
        return self.identity_encoder(torch.from_numpy(self.neutral_shape(neutral)))

    def _encode(self, neutral: Mesh, expressive: np.ndarray) -> np.ndarray:
        coefficients = torch.from_numpy(self.fit(neutral, expressive).astype(np.float32))
        with torch.no_grad():
            return self.encoder(coefficients, self._identity(neutral).expand(len(coefficients), -1)).numpy()

    def bound_decoder(self, neutral: Mesh) -> torch.nn.Module:
        with torch.no_grad():
            return BoundDecoder(self.decoder, self._identity(neutral))


SEMANTIC_KINDS: dict[str, type[SemanticModel]] = {model.kind: model for model in (DisplacementPca, GradientPca, GradientFit, NeuralModel)}
