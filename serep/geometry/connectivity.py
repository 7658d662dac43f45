"""How the triangles of a mesh hang together: seams, open borders and separate parts."""
from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from jaxtyping import Int

from serep.geometry.mesh import Mesh

SEAM = 1e-4  # mm: border vertices nearer than this are one vertex that a texture seam has split


def welded_faces(mesh: Mesh) -> Int[np.ndarray, "F 3"]:
    """The faces with vertices at the same place given one id, so that texture seams vanish.

    Only vertices on an edge of a single face are joined: lips that touch stay two.
    """
    faces = mesh.faces
    keys, _, uses = _edges(faces, len(mesh.vertices))
    open_vertices = np.unique(np.concatenate(np.divmod(np.unique(keys)[uses == 1], len(mesh.vertices)))).astype(int)
    ids = np.arange(len(mesh.vertices))
    cells = np.round(mesh.vertices[open_vertices] / SEAM).astype(np.int64)
    _, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    ids[open_vertices] = open_vertices[first[inverse.ravel()]]
    return ids[faces].astype(np.int32)


def boundary_edges(mesh: Mesh) -> Int[np.ndarray, "n 2"]:
    """(face, corner) of each edge that belongs to one face only; the edge lies opposite the corner. Texture seams are none."""
    faces = welded_faces(mesh)
    _, inverse, uses = _edges(faces, len(mesh.vertices))
    return np.argwhere((uses[inverse] == 1).reshape(3, -1).T)


def part_labels(mesh: Mesh) -> Int[np.ndarray, " V"]:
    """The number of the connected part that each vertex belongs to; a vertex without faces is a part of its own."""
    faces, count = welded_faces(mesh), len(mesh.vertices)
    # A vertex and the one that it is welded to are joined, too.
    starts = np.concatenate([faces.ravel(), mesh.faces.ravel()])
    ends = np.concatenate([faces[:, [1, 2, 0]].ravel(), faces.ravel()])
    joined = scipy.sparse.coo_array((np.ones(len(starts), np.int8), (starts, ends)), shape=(count, count))
    return scipy.sparse.csgraph.connected_components(joined, directed=False)[1].astype(np.int32)


def _edges(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the edges opposite corner 0, then 1, then 2 of all faces: a key of each, its row among the different keys, and how often each is used."""
    edges = np.sort(np.concatenate([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]]).astype(np.int64), axis=1)
    keys = edges[:, 0] * count + edges[:, 1]
    _, inverse, uses = np.unique(keys, return_inverse=True, return_counts=True)
    return keys, inverse, uses
