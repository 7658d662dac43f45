"""The closed-form part of training a semantic model: modes, their covariance, the linear code.

A person's basis is solved once and kept only as its products, which give vertex errors of any coefficients exactly and at no cost.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from serep.data.heads import HeadSet
from serep.faces.frame import to_face_frame
from serep.geometry.mesh import Mesh
from serep.geometry.rigid import rotation_angle_deg
from serep.models.gradient_basis import (
    displacement_products,
    equal_variance_rotation,
    fit_matrix,
    gradient_features,
    gradient_weights,
    learn_covariance,
    mean_square_products,
    order_by_displacement,
    solve_modes,
)
from serep.models.pca import principal_modes
from serep.models.semantic import DisplacementPca, GradientFit, GradientPca, NeuralModel

# A third round was measured to change nothing.
BASIS_ROUNDS = 2
# Modes of the training neutrals' shape at most: enough to bring another mesh near, the rest is done without them.
SHAPE_MODES = 40


@dataclass(frozen=True, eq=False)
class BoundPerson:
    """One person's expressions, seen through the basis solved on the person's neutral.

    products   (K, K) of the basis; measured (n, K) of the displacements with the basis; square (n,) of the displacements: means over vertices, mm²
    coefficients  (n, K) the most probable ones
    """

    products: Float[np.ndarray, "K K"]
    measured: Float[np.ndarray, "n K"]
    square: Float[np.ndarray, " n"]
    coefficients: Float[np.ndarray, "n K"]
    expression_ids: tuple[str, ...]

    def rows(self, rows: list[int]) -> BoundPerson:
        """The same person with some of the expressions."""
        ids = tuple(self.expression_ids[row] for row in rows)
        return BoundPerson(self.products, self.measured[rows], self.square[rows], self.coefficients[rows], ids)

    def error(self, coefficients: Float[np.ndarray, "n K"]) -> Float[np.ndarray, " n"]:
        """Root mean square vertex distance (mm) between the meshes and the basis moved by other coefficients."""
        moved = np.einsum("nk,kl,nl->n", coefficients, self.products, coefficients) - 2 * (coefficients * self.measured).sum(axis=1)
        return np.sqrt(np.maximum(self.square + moved, 0.0))


def fit_displacement_pca(heads: HeadSet, chosen: Int[np.ndarray, " M"], *, code_size: int) -> DisplacementPca:
    """Principal displacements of the chosen expressive meshes."""
    model = _start(DisplacementPca(heads.topology, code_size=code_size, shape_modes=shape_mode_count(len(heads.neutrals))), heads)
    displacements = np.concatenate([(expressive - neutral.vertices).astype(np.float32) for neutral, expressive in _people(heads, chosen)])
    modes, deviations = principal_modes(displacements.reshape(len(displacements), -1), np.ones(displacements[0].size), code_size)
    model.modes.copy_(torch.from_numpy(modes))
    model.decoder.matrix.copy_(torch.diag(torch.from_numpy(deviations)))
    set_code_statistics(model, np.concatenate([model.encode(*person) for person in _people(heads, chosen)]))
    return model.eval()


def fit_gradient_pca(heads: HeadSet, chosen: Int[np.ndarray, " M"], *, code_size: int) -> GradientPca:
    """Principal deformation gradients of the chosen expressive meshes."""
    sizes = {"code_size": code_size, "gradient_modes": code_size, "shape_modes": shape_mode_count(len(heads.neutrals))}
    model = _start(GradientPca(heads.topology, **sizes), heads)
    modes, deviations = _principal_gradients(heads, chosen, model.mean_neutral, code_size)
    model.modes.copy_(torch.from_numpy(modes))
    model.decoder.matrix.copy_(torch.diag(torch.from_numpy(deviations)))
    set_code_statistics(model, np.concatenate([model.encode(*person) for person in _people(heads, chosen)]))
    return model.eval()


def fit_linear_path(
    model: GradientFit, heads: HeadSet, chosen: Int[np.ndarray, " M"], *, displacement_modes: int, tolerance: float, rng: np.random.Generator
) -> list[BoundPerson]:
    """Fill in the basis and the linear encoder and decoder of a model; returns the people bound to that basis.

    The basis starts from the principal deformation gradients and at most `displacement_modes` principal displacements. Both can show the same
    expression on the mean face, and differ in how it changes with a face's shape: which of them, or what mixture, the covariance settles
    on is what the people agree with.

    Each round after the first takes the modes anew from the gradients that the last round's fit explains, plus what the measured gradients
    have beyond them: a mesh shows only that part of an expression's gradients which fits together on that person's shape, and the people
    complete each other.
    """
    _start(model, heads)
    weights = gradient_weights(model.mean_neutral)
    features = np.concatenate([gradient_features(neutral, expressive) for neutral, expressive in _people(heads, chosen)])
    fixed, fixed_deviations = _principal_displacements(heads, chosen, displacement_modes)
    count = model.sizes["gradient_modes"]
    for last in range(BASIS_ROUNDS - 1, -1, -1):
        modes, deviations = principal_modes(features, weights, count)
        bases = ((np.concatenate([solve_modes(neutral, modes, heads.topology.fixed), fixed]), neutral, expressive) for neutral, expressive in _people(heads))
        people = [_products(*one) for one in bases]
        start = np.concatenate([deviations, fixed_deviations])
        covariance = learn_covariance([one[0] for one in people], [one[1] for one in people], start=start, tolerance=tolerance)
        directions, deviations = (one[:count] for one in order_by_displacement(covariance, np.mean([one[0] for one in people], axis=0)))
        model.modes.copy_(torch.from_numpy(directions[:, :count].astype(np.float32) @ modes))
        model.displacement_modes.copy_(torch.from_numpy(directions[:, count:].astype(np.float32) @ fixed.reshape(len(fixed), 3 * len(heads.topology.template))))
        bound = [
            _bound_person(directions @ products @ directions.T, measured @ directions.T, square, ids, deviations, tolerance)
            for (products, measured, square), ids in zip(people, _expression_ids(heads), strict=True)
        ]
        if last:
            among_chosen = np.isin(np.argsort(heads.expression_subject, kind="stable"), chosen)  # rows person by person, as everywhere here
            _add_what_the_fit_explains(features, model, heads, chosen, np.concatenate([person.coefficients for person in bound])[among_chosen])
    model.mode_deviation.copy_(torch.from_numpy(deviations))
    model.tolerance.fill_(tolerance)
    _set_linear_code(model, deviations, rng=rng)
    encode = model.encoder.linear if isinstance(model, NeuralModel) else model.encoder
    set_code_statistics(model, np.concatenate([person.coefficients for person in bound]) @ encode.matrix.numpy())
    return bound


def _add_what_the_fit_explains(
    features: Float[np.ndarray, "M D"], model: GradientFit, heads: HeadSet, chosen: Int[np.ndarray, " M"], coefficients: Float[np.ndarray, "M K"]
) -> None:
    """In place: measured gradients + (gradients of the fitted coefficients − gradients measured on the mesh that they pose)."""
    modes, start = model.modes.numpy().astype(np.float32), 0
    for neutral, expressive in _people(heads, chosen):
        rows = slice(start, start + len(expressive))
        posed = neutral.vertices + np.tensordot(coefficients[rows].astype(np.float32), solve_modes(neutral, modes, heads.topology.fixed), 1)
        features[rows] = gradient_features(neutral, expressive) + coefficients[rows].astype(np.float32) @ modes - gradient_features(neutral, posed)
        start = rows.stop


def bind_people(model: GradientFit, heads: HeadSet) -> list[BoundPerson]:
    """People bound to the finished basis of a model."""
    deviations, tolerance = model.mode_deviation.cpu().numpy(), float(model.tolerance)
    return [
        _bound_person(*_products(model._basis(neutral), neutral, expressive), ids, deviations, tolerance)
        for (neutral, expressive), ids in zip(_people(heads), _expression_ids(heads), strict=True)
    ]


def fit_identity_basis(model: NeuralModel, heads: HeadSet) -> Float[np.ndarray, "S N"]:
    """Fill in the basis of neutral shapes; returns the standardised shapes of the people."""
    mean, weights = model.mean_neutral, gradient_weights(model.mean_neutral)
    features = gradient_features(mean, heads.neutrals)
    count = model.sizes["identity_modes"]
    centre = features.mean(axis=0)
    modes, _ = principal_modes(features - centre, weights, count)
    model.identity_modes.copy_(torch.from_numpy(modes))
    coefficients = features @ (model.identity_modes.numpy().astype(np.float32) * weights.astype(np.float32)).T
    model.identity_mean.copy_(torch.from_numpy(coefficients.mean(axis=0)))
    model.identity_deviation.copy_(torch.from_numpy(coefficients.std(axis=0)))
    return (coefficients - coefficients.mean(axis=0)) / coefficients.std(axis=0)


def shape_mode_count(people: int) -> int:
    """How many modes of neutral shape a model of that many train people keeps."""
    return max(0, min(SHAPE_MODES, people - 1))


def neutral_shapes(neutrals: Float[np.ndarray, "S V 3"], count: int) -> Float[np.ndarray, "K D"]:
    """The leading `count` < S displacements from the mean neutral, float64 mm for one standard deviation; zero beyond the people's rank."""
    offsets = (neutrals - neutrals.mean(axis=0, dtype=np.float64)).reshape(len(neutrals), -1)
    _, vectors = np.linalg.eigh(offsets @ offsets.T)
    modes = vectors[:, ::-1][:, :count].T @ offsets / np.sqrt(len(neutrals))
    peaks = np.take_along_axis(modes, np.abs(modes).argmax(axis=1)[:, None], axis=1)
    return modes * np.where(peaks < 0, -1, 1)


def _start(model, heads: HeadSet):
    """Fill in what a model knows of its training neutrals."""
    neutrals, topology = heads.neutrals, heads.topology
    model.mean_vertices.copy_(torch.from_numpy(neutrals.mean(axis=0, dtype=np.float64)))
    model.shape_modes.copy_(torch.from_numpy(neutral_shapes(neutrals, len(model.shape_modes))))
    model.frame_reach_deg.fill_(max(rotation_angle_deg(to_face_frame(neutral, topology)[0]) for neutral in neutrals))
    return model


def _people(heads: HeadSet, chosen: Int[np.ndarray, " M"] | None = None) -> Iterator[tuple[Mesh, np.ndarray]]:
    """Each person's neutral with the expressive meshes (only the chosen rows); people without any are left out when rows are chosen."""
    wanted = np.ones(len(heads.expressive), bool)
    if chosen is not None:
        wanted[:] = False
        wanted[chosen] = True
    for person, neutral in enumerate(heads.neutrals):
        rows = np.flatnonzero((heads.expression_subject == person) & wanted)
        if len(rows) or chosen is None:
            yield heads.topology.mesh(neutral), heads.expressive[rows]


def _expression_ids(heads: HeadSet) -> list[tuple[str, ...]]:
    return [
        tuple(heads.expression_ids[row] for row in np.flatnonzero(heads.expression_subject == person)) for person in range(len(heads.neutrals))
    ]


def _principal_gradients(heads: HeadSet, chosen: np.ndarray, mean_neutral: Mesh, count: int) -> tuple[np.ndarray, np.ndarray]:
    features = np.concatenate([gradient_features(neutral, expressive) for neutral, expressive in _people(heads, chosen)])
    return principal_modes(features, gradient_weights(mean_neutral), count)


def _principal_displacements(heads: HeadSet, chosen: np.ndarray, count: int) -> tuple[Float[np.ndarray, "K V 3"], Float[np.ndarray, " K"]]:
    """At most `count` modes; none for 0."""
    displacements = np.concatenate([(expressive - neutral.vertices).astype(np.float32) for neutral, expressive in _people(heads, chosen)])
    if not count:
        return np.zeros((0, *displacements.shape[1:]), np.float32), np.zeros(0)
    modes, deviations = principal_modes(displacements.reshape(len(displacements), -1), np.ones(displacements[0].size), count, at_most=True)
    return modes.reshape(len(modes), -1, 3), deviations


def _products(basis: np.ndarray, neutral: Mesh, expressive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    displacements = expressive - neutral.vertices
    return mean_square_products(basis), displacement_products(basis, displacements), (displacements**2).sum(axis=2).mean(axis=1)


def _bound_person(products, measured, square, expression_ids, deviations, tolerance) -> BoundPerson:
    matrix = fit_matrix(products, np.diag(deviations.astype(np.float64) ** 2), tolerance)
    return BoundPerson(products, measured, square, measured @ matrix.T, expression_ids)


def _set_linear_code(model: GradientFit, deviations: np.ndarray, *, rng: np.random.Generator) -> None:
    """The first Z coefficients, rotated to numbers of one variance and brought to unit variance."""
    size = model.code_size
    rotation = equal_variance_rotation(deviations[:size] ** 2, rng=rng)
    scale = np.sqrt(np.mean(deviations[:size] ** 2))
    neural = isinstance(model, NeuralModel)
    (model.encoder.linear if neural else model.encoder).matrix[:size] = torch.from_numpy(rotation / scale)
    (model.decoder.linear if neural else model.decoder).matrix[:, :size] = torch.from_numpy(rotation.T * scale)


def set_code_statistics(model, codes: Float[np.ndarray, "M Z"]) -> None:
    model.code_mean.copy_(torch.from_numpy(codes.mean(axis=0)))
    model.code_deviation.copy_(torch.from_numpy(codes.std(axis=0)))
