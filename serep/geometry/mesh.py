"""Triangle meshes: the one type that everything passes around, normals, areas, and what can be wrong with a scan."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

HEIGHT_RANGE = (80.0, 500.0)  # mm of the bounding box: from a narrow face mask of a child to a head with neck and shoulders


@dataclass(frozen=True, eq=False)
class Mesh:
    """Vertices in millimetres and the triangles that join them; converts to float64 and int32, refuses what does not fit."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]

    def __post_init__(self) -> None:
        vertices, faces = np.asarray(self.vertices, np.float64), np.asarray(self.faces)
        if vertices.ndim != 2 or vertices.shape[1] != 3:
            raise ValueError(f"vertices must have the shape (V, 3), got {vertices.shape}")
        if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer):
            raise ValueError(f"faces must be integers of the shape (F, 3), got {faces.dtype} {faces.shape}; triangulate(polygons) splits quads")
        if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
            raise ValueError(f"faces name the vertices {faces.min()} to {faces.max()}, but there are only 0 to {len(vertices) - 1}")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces.astype(np.int32, copy=False))

    def with_vertices(self, vertices: Float[np.ndarray, "V 3"]) -> Mesh:
        """The same faces over other positions of the same vertices."""
        if np.shape(vertices) != self.vertices.shape:
            raise ValueError(f"this mesh has {len(self.vertices)} vertices, got an array of the shape {np.shape(vertices)}")
        return Mesh(vertices, self.faces)


def _cross_products(vertices: Float[np.ndarray, "*B V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "*B F 3"]:
    """Face normals whose length is twice the area."""
    corners = [vertices[..., faces[:, corner], :] for corner in range(3)]
    return np.cross(corners[1] - corners[0], corners[2] - corners[0])


def face_areas(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, " F"]:
    return np.linalg.norm(_cross_products(vertices, faces), axis=-1) / 2


def vertex_areas(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, " V"]:
    """A third of the area of the faces around each vertex; they sum to the mesh's area."""
    return np.bincount(faces.ravel(), np.repeat(face_areas(vertices, faces) / 3, 3), minlength=len(vertices))


def face_normals(vertices: Float[np.ndarray, "*B V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "*B F 3"]:
    """Unit normals, outwards; zero where a face has no area."""
    return _unit(_cross_products(vertices, faces))


def vertex_normals(vertices: Float[np.ndarray, "*B V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "*B V 3"]:
    """Unit, area-weighted means of the normals of the faces around each vertex; zero where a vertex has no face."""
    count = vertices.shape[-2]
    corner_to_vertex = scipy.sparse.csr_array(
        (np.ones(faces.size, vertices.dtype), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))), shape=(count, len(faces))
    )
    normals = np.empty((*vertices.shape[:-2], count, 3), vertices.dtype)
    for batch in np.ndindex(*vertices.shape[:-2]):
        normals[batch] = corner_to_vertex @ _cross_products(vertices[batch], faces)
    return _unit(normals)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def mesh_problems(mesh: Mesh) -> list[str]:
    """What makes a mesh unfit to learn from, one sentence each; empty for a sound mesh.

    Looks for non-finite positions, faces without area, edges of more than two faces, inconsistent winding, vertices without a face
    and a size that no head has (usually a wrong unit).
    """
    vertices, faces = mesh.vertices, mesh.faces
    if not len(faces):
        return ["has no faces"]
    unsound = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(unsound):
        return [f"{len(unsound)} vertices are not finite (first: vertex {unsound[0]})"]
    problems = []
    empty = np.flatnonzero(zero_area_faces(vertices, faces))
    if len(empty):
        problems.append(f"{len(empty)} faces have no area (first: face {empty[0]}, vertices {faces[empty[0]].tolist()})")
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    directed = directed[directed[:, 0] != directed[:, 1]]
    edges, uses = np.unique(np.sort(directed, axis=1) @ [len(vertices), 1], return_counts=True)
    if (uses > 2).any():
        first = divmod(int(edges[np.argmax(uses > 2)]), len(vertices))
        problems.append(f"{(uses > 2).sum()} edges belong to more than two faces (first: vertices {list(first)})")
    arrows, uses = np.unique(directed @ [len(vertices), 1], return_counts=True)
    if (uses > 1).any():
        first = divmod(int(arrows[np.argmax(uses > 1)]), len(vertices))
        problems.append(f"winding is inconsistent at {(uses > 1).sum()} edges (first: vertices {list(first)}): neighbours look to opposite sides")
    loose = np.flatnonzero(np.bincount(faces.ravel(), minlength=len(vertices)) == 0)
    if len(loose):
        problems.append(f"{len(loose)} vertices belong to no face (first: vertex {loose[0]})")
    height = float(np.ptp(vertices[:, 1]))
    if not HEIGHT_RANGE[0] <= height <= HEIGHT_RANGE[1]:
        problems.append(f"is {height:.4g} mm high, expected {HEIGHT_RANGE[0]:.0f} to {HEIGHT_RANGE[1]:.0f}: check the options unit and up")
    return problems


def zero_area_faces(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> np.ndarray:
    """(F,) bool: faces whose area is nothing beside the square of their longest edge, so that they have no direction."""
    edges = vertices[faces[:, [1, 2, 0]]] - vertices[faces]
    longest = np.einsum("fea,fea->fe", edges, edges).max(axis=1)
    return ~(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) > 1e-10 * longest)
