"""Deformation-gradient modes: measured on meshes, solved on a neutral, and fitted to a subject's expressions.

Mode shapes are gradients, so they know nothing of whose face it is; the Poisson solve turns them into the displacements of one neutral.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from serep.geometry.deformation import PoissonSolver, deformation_gradients
from serep.geometry.mesh import Mesh, face_areas

# Expressions whose deformation gradients are held at once: 64 x 18,000 faces x 9 float64 is 85 MB.
BATCH = 64


def gradient_weights(mean_neutral: Mesh) -> Float[np.ndarray, " D"]:
    """Share of the surface that each of the D = 9F gradient entries stands for."""
    areas = face_areas(mean_neutral.vertices, mean_neutral.faces)
    return np.repeat(areas / areas.sum(), 9)


def gradient_features(neutral: Mesh, expressive: Float[np.ndarray, "B V 3"]) -> Float[np.ndarray, "B D"]:
    """Deformation gradients minus identity, flattened to D = 9F, float32; zero for the neutral."""
    features = np.empty((len(expressive), 9 * len(neutral.faces)), np.float32)
    for start in range(0, len(expressive), BATCH):
        gradients = deformation_gradients(neutral.vertices, expressive[start : start + BATCH].astype(np.float64), neutral.faces)
        features[start : start + BATCH] = (gradients - np.eye(3)).reshape(len(gradients), -1)
    return features


def project_gradients(neutral: Mesh, expressive: Float[np.ndarray, "B V 3"], weighted_modes: Float[np.ndarray, "K D"]) -> Float[np.ndarray, "B K"]:
    """Inner products of the expressive meshes' gradient features with modes that already carry the area weights."""
    coefficients = np.zeros((len(expressive), len(weighted_modes)), np.float32)
    for start in range(0, len(expressive), BATCH):
        coefficients[start : start + BATCH] = gradient_features(neutral, expressive[start : start + BATCH]) @ weighted_modes.T
    return coefficients


def solve_modes(neutral: Mesh, modes: Float[np.ndarray, "K D"], fixed: Int[np.ndarray, " n"]) -> Float[np.ndarray, "K V 3"]:
    """Displacements (mm, float32) that realise each mode on a neutral: the basis of its rig."""
    solver = PoissonSolver(neutral, fixed=fixed)
    basis = np.empty((len(modes), len(neutral.vertices), 3), np.float32)
    for start in range(0, len(modes), BATCH):
        block = modes[start : start + BATCH].astype(np.float64)
        basis[start : start + BATCH] = solver.solve_displacements(block.reshape(len(block), -1, 3, 3))
    return basis


def mean_square_products(basis: Float[np.ndarray, "K V 3"]) -> Float[np.ndarray, "K K"]:
    """Products of the basis displacements, mean over vertices: `c @ products @ c` is the mean square displacement of coefficients c in mm²."""
    flat = basis.reshape(len(basis), -1).astype(np.float64)
    return flat @ flat.T / basis.shape[1]


def displacement_products(basis: Float[np.ndarray, "K V 3"], displacements: Float[np.ndarray, "B V 3"]) -> Float[np.ndarray, "B K"]:
    """Products of displacements with the basis, mean over vertices, float64."""
    flat = basis.reshape(len(basis), -1).astype(np.float64)
    return displacements.reshape(len(displacements), -1).astype(np.float64) @ flat.T / basis.shape[1]


def fit_matrix(products: Float[np.ndarray, "K K"], covariance: Float[np.ndarray, "K K"], tolerance: float) -> Float[np.ndarray, "K K"]:
    """The matrix that turns `displacement_products` into the most probable coefficients, as `products @ matrix`.

    Coefficients are Gaussian with `covariance`; what they leave over is noise of `tolerance` mm along every direction. So directions in
    which the basis moves the face by less than the tolerance are not fitted.
    """
    # (G / t² + S⁻¹)⁻¹ / t² written without S⁻¹, which does not exist where a direction has died out.
    return covariance @ np.linalg.inv(products @ covariance + tolerance**2 * np.eye(len(products)))


def learn_covariance(
    products: Sequence[Float[np.ndarray, "K K"]],
    measured: Sequence[Float[np.ndarray, "n K"]],
    *,
    start: Float[np.ndarray, " K"],
    tolerance: float,
    rounds: int = 30,
) -> Float[np.ndarray, "K K"]:
    """Covariance of the coefficients behind many subjects' displacements, by expectation maximisation (factor analysis with known loadings).

    Each subject has its own loadings (the basis solved on its neutral), so what differs between subjects explains nothing that the
    coefficients must: this is what keeps identity out of the code. `start` are the deviations of the coefficients to begin with.
    """
    covariance = np.diag(start.astype(np.float64) ** 2)
    for _ in range(rounds):
        total = np.zeros_like(covariance)
        count = 0
        for gram, values in zip(products, measured, strict=True):
            matrix = fit_matrix(gram, covariance, tolerance)
            means = values @ matrix.T
            total += means.T @ means + len(values) * (tolerance**2 * matrix)
            count += len(values)
        covariance = (total + total.T) / (2 * count)
    return covariance


def order_by_displacement(
    covariance: Float[np.ndarray, "K K"], mean_products: Float[np.ndarray, "K K"]
) -> tuple[Float[np.ndarray, "K K"], Float[np.ndarray, " K"]]:
    """(directions, deviations): uncorrelated directions of the coefficients, the one that moves the face most first.

    Row k holds the coefficients of direction k, scaled to a root mean square displacement of 1 mm on the average subject; `deviations`
    are the mm that each contributes in the data.
    """
    root = np.linalg.cholesky(mean_products + 1e-12 * np.trace(mean_products) / len(mean_products) * np.eye(len(mean_products)))
    variances, vectors = np.linalg.eigh(root.T @ covariance @ root)
    vectors, variances = vectors[:, ::-1], np.maximum(variances[::-1], 0.0)
    directions = np.linalg.solve(root.T, vectors).T
    peaks = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return directions * np.sign(peaks), np.sqrt(variances)


def equal_variance_rotation(variances: Float[np.ndarray, " Z"], *, rng: np.random.Generator) -> Float[np.ndarray, "Z Z"]:
    """An orthogonal matrix R: uncorrelated numbers x of these variances become `x @ R`, numbers of one common variance.

    Distances stay, so an error of a code still means the same millimetres in every direction, while no number is left that holds only
    the noise of the last directions. A random rotation mixes; Givens rotations then set one number after the other to the mean exactly.
    """
    rotation, upper = np.linalg.qr(rng.standard_normal((len(variances), len(variances))))
    rotation = rotation * np.sign(np.diag(upper))
    mean = float(variances.mean())
    for first in range(len(variances) - 1):
        current = variances @ rotation[:, first:] ** 2
        # A partner on the other side of the mean: some rotation of the two gives `first` exactly the mean.
        second = first + int(current.argmin() if current[0] > mean else current.argmax())
        if second == first:
            continue
        pair = rotation[:, [first, second]]
        a, d, b = variances @ pair[:, 0] ** 2, variances @ pair[:, 1] ** 2, variances @ (pair[:, 0] * pair[:, 1])
        # cos² a + 2 cos sin b + sin² d = mean, a quadratic in tan.
        tangent = (-b + np.sqrt(max(b * b - (d - mean) * (a - mean), 0.0))) / (d - mean) if abs(d - mean) > 1e-300 else 0.0
        cosine = 1 / np.sqrt(1 + tangent**2)
        rotation[:, first], rotation[:, second] = cosine * (pair[:, 0] + tangent * pair[:, 1]), cosine * (pair[:, 1] - tangent * pair[:, 0])
    return rotation
