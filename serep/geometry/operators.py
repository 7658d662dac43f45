"""Differential operators on a triangle mesh: areas, the gradient, the Laplacian and its eigenbasis."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float

from serep.geometry.mesh import Mesh, vertex_areas, zero_area_faces

EIGENSOLVER_SHIFT = 1e-8  # beside the largest diagonal entry: makes the semidefinite Laplacian regular, moves no eigenvector


@dataclass(frozen=True, eq=False)
class SurfaceOperators:
    """Linear operators on functions over the vertices (V,) of one mesh."""

    face_areas: Float[np.ndarray, " F"]
    vertex_areas: Float[np.ndarray, " V"]
    """A third of the area of the faces around each vertex: the lumped mass matrix's diagonal."""
    gradient: scipy.sparse.csr_array
    """(3F, V): row 3f + axis is the derivative of the function on face f along that axis; it lies in the face's plane."""
    laplacian: scipy.sparse.csc_array
    """(V, V): gradient^T areas gradient, the positive semidefinite cotangent Laplacian."""


def surface_operators(mesh: Mesh) -> SurfaceOperators:
    """ValueError when a face has no area or a vertex is not finite: gradients do not exist there."""
    vertices, faces = mesh.vertices, mesh.faces
    if not np.isfinite(vertices).all():
        raise ValueError(f"{(~np.isfinite(vertices).all(axis=1)).sum()} vertices are not finite: mesh_problems(mesh) names them")
    empty = np.flatnonzero(zero_area_faces(vertices, faces))
    if len(empty):
        raise ValueError(
            f"{len(empty)} faces have no area (first: face {empty[0]}, vertices {faces[empty[0]].tolist()}), so they have no gradient: "
            "remove these faces or move their vertices apart"
        )
    opposite = vertices[faces[:, [2, 0, 1]]] - vertices[faces[:, [1, 2, 0]]]  # (F, corner, axis): the edge that faces each corner
    normals = np.cross(opposite[:, 0], opposite[:, 1])
    areas = np.linalg.norm(normals, axis=1) / 2
    hat_gradients = np.cross((normals / (2 * areas[:, None]))[:, None], opposite) / (2 * areas[:, None, None])  # (F, corner, axis)
    face_count, vertex_count = len(faces), len(vertices)
    gradient = scipy.sparse.csr_array(  # three entries in every row, so the compressed form can be written down directly
        (hat_gradients.transpose(0, 2, 1).ravel(), np.repeat(faces, 3, axis=0).ravel(), 3 * np.arange(3 * face_count + 1)),
        shape=(3 * face_count, vertex_count),
    )
    gradient.sort_indices()
    laplacian = (gradient.T @ gradient.multiply(np.repeat(areas, 3)[:, None])).tocsc()
    return SurfaceOperators(areas, vertex_areas(vertices, faces), gradient, laplacian)


def eigenbasis(operators: SurfaceOperators, count: int) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "V k"]]:
    """The `count` smoothest functions: (eigenvalues in 1/mm², ascending; eigenvectors with vectors^T mass vectors = identity).

    The sign of each vector is fixed (its largest entry is positive), so that two runs agree. ValueError when count does not fit the
    mesh, or when a vertex has no area.
    """
    vertex_count = len(operators.vertex_areas)
    if not 1 <= count < vertex_count:
        raise ValueError(f"count must be 1 to {vertex_count - 1} for a mesh of {vertex_count} vertices, got {count}")
    if not (operators.vertex_areas > 0).all():
        raise ValueError(f"vertex {np.argmin(operators.vertex_areas > 0)} belongs to no face: remove it before asking for an eigenbasis")
    scale = np.sqrt(1 / operators.vertex_areas)
    symmetric = (operators.laplacian * scale[:, None] * scale[None, :]).tocsc()  # ordinary symmetric problem: M^-1/2 L M^-1/2
    shift = EIGENSOLVER_SHIFT * symmetric.diagonal().max()
    start = np.random.default_rng(0).standard_normal(vertex_count)  # any start serves; a fixed one makes runs repeat
    values, vectors = scipy.sparse.linalg.eigsh(symmetric, k=count, sigma=-shift, v0=start)
    order = np.argsort(values)
    vectors = vectors[:, order] * scale[:, None]
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(count)])
    return np.maximum(values[order], 0), vectors
