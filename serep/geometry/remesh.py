"""The same surface with other triangles, and the matrix that carries whatever is known at the old vertices to the new ones.

For trying out how well something holds on a mesh that nobody prepared for it; new vertices lie on the old surface.
"""
from __future__ import annotations

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int

from serep.geometry.mesh import Mesh, face_normals

Remesh = tuple[Mesh, scipy.sparse.csr_array]
"""(mesh, (new, old) matrix): `matrix @ values` has the new vertices' values; rows sum to one."""

SHIFT = 0.45  # at most, of the way to the far side of a neighbouring triangle
MOST_TURNED = 0.8  # cosine between a triangle's normals before and after
THINNEST = 0.08  # twice a triangle's area over its longest edge's square
MOST_ROUNDS = 200


def subdivided(mesh: Mesh) -> Remesh:
    """Every triangle cut into four at the middles of its edges."""
    faces, count = mesh.faces, len(mesh.vertices)
    edges, inverse = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    (a, b, c), (ab, bc, ca) = faces.T, (count + inverse.reshape(-1, 3)).T
    cut = np.concatenate([np.stack(corners, axis=1) for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    middles = scipy.sparse.csr_array((np.full(edges.size, 0.5), (np.repeat(np.arange(len(edges)), 2), edges.ravel())), shape=(len(edges), count))
    return _carried(mesh, scipy.sparse.vstack([scipy.sparse.eye_array(count), middles]), cut)


def cropped(mesh: Mesh, kept: Bool[np.ndarray, " V"]) -> Remesh:
    """The faces whose vertices are all kept, and the vertices that these faces use."""
    used, corners = np.unique(mesh.faces[kept[mesh.faces].all(axis=1)], return_inverse=True)
    return _carried(mesh, scipy.sparse.eye_array(len(mesh.vertices)).tocsr()[used], corners.reshape(-1, 3))


def permuted(mesh: Mesh, *, rng: np.random.Generator) -> Remesh:
    """Vertices and faces in another order."""
    order = rng.permutation(len(mesh.vertices))
    faces = np.argsort(order)[mesh.faces][rng.permutation(len(mesh.faces))]
    return _carried(mesh, scipy.sparse.eye_array(len(order)).tocsr()[order], faces)


def remeshed(mesh: Mesh, vertex_count: int, *, rng: np.random.Generator) -> Remesh:
    """About `vertex_count` vertices at random places of the surface, as dense as the old ones were there; borders keep theirs.

    Subdivides, shifts the vertices within the surface, turns edges at random and then takes vertices away. Thinning ends early where it
    would fold the surface, so a little more may be left.
    """
    matrix, fine = scipy.sparse.eye_array(len(mesh.vertices)).tocsr(), mesh
    while len(fine.vertices) < 2 * vertex_count:
        fine, step = subdivided(fine)
        matrix = step @ matrix
    step = _shifts(fine, rng)
    fine, matrix = fine.with_vertices(step @ fine.vertices), step @ matrix
    faces = _turned_edges(fine, rng)
    surplus = len(fine.vertices) - vertex_count
    for _ in range(MOST_ROUNDS):
        if surplus <= 0:
            break
        faces, taken = _thinned(fine.vertices, faces, surplus, rng)
        surplus -= taken
    used, corners = np.unique(faces, return_inverse=True)
    return _carried(mesh, matrix.tocsr()[used], corners.reshape(-1, 3))


def _carried(mesh: Mesh, matrix: scipy.sparse.sparray, faces: np.ndarray) -> Remesh:
    matrix = scipy.sparse.csr_array(matrix)
    return Mesh(matrix @ mesh.vertices, faces.astype(np.int32)), matrix


def _inner(faces: np.ndarray, count: int) -> np.ndarray:
    """Vertices that triangles surround."""
    fan = np.bincount(faces.ravel(), minlength=count)
    return (fan > 0) & (fan == np.diff(_neighbours(faces, count).indptr))


def _neighbours(faces: np.ndarray, count: int) -> scipy.sparse.csr_array:
    starts, ends = faces[:, [0, 1, 2, 1, 2, 0]].ravel(), faces[:, [1, 2, 0, 0, 1, 2]].ravel()
    matrix = scipy.sparse.csr_array((np.ones(len(starts)), (starts, ends)), shape=(count, count))
    matrix.data[:] = 1
    return matrix


def _shifts(mesh: Mesh, rng: np.random.Generator) -> scipy.sparse.csr_array:
    """Moves inner vertices to random places of a triangle around them; those whose triangles would fold stay."""
    faces, count = mesh.faces, len(mesh.vertices)
    corner = np.empty(count, int)
    order = rng.permutation(faces.size)
    corner[faces.ravel()[order]] = order  # a random one of each vertex's triangles
    face, place = np.divmod(corner, 3)
    others = np.stack([faces[face, (place + step) % 3] for step in (1, 2)], axis=1)
    share = SHIFT * rng.random((count, 2)) * rng.random((count, 1)) * _inner(faces, count)[:, None]
    before = face_normals(mesh.vertices, faces)
    for _ in range(MOST_ROUNDS):
        rows = np.arange(count)
        step = scipy.sparse.csr_array(
            (np.concatenate([1 - share.sum(axis=1), share.ravel()]), (np.concatenate([rows, np.repeat(rows, 2)]), np.concatenate([rows, others.ravel()]))),
            shape=(count, count),
        )
        folded = ~_sound(step @ mesh.vertices, faces, before)
        if not folded.any() or not share[faces[folded]].any():
            break
        share[faces[folded]] = 0
    return step


def _sound(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], normals: Float[np.ndarray, "F 3"]) -> Bool[np.ndarray, " F"]:
    """Triangles that look about as the given normals do and are no slivers."""
    corners = vertices[faces]
    edges = corners[:, [1, 2, 0]] - corners
    doubled = np.cross(edges[:, 0], edges[:, 1])
    area, longest = np.linalg.norm(doubled, axis=1), (edges**2).sum(axis=2).max(axis=1)
    return (np.einsum("fa,fa->f", doubled, normals) > MOST_TURNED * area) & (area > THINNEST * longest)


def _turned_edges(mesh: Mesh, rng: np.random.Generator) -> Int[np.ndarray, "F 3"]:
    """The faces with the common edge of random pairs of triangles turned to the other two corners, where that folds nothing."""
    faces, count = mesh.faces.astype(np.int64), len(mesh.vertices)
    normals = face_normals(mesh.vertices, mesh.faces)
    starts, ends = faces.ravel(), faces[:, [1, 2, 0]].ravel()
    keys = np.minimum(starts, ends) * count + np.maximum(starts, ends)
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero((keys[order][1:] == keys[order][:-1]) & (np.unique(keys, return_counts=True)[1][np.unique(keys, return_inverse=True)[1]] == 2)[order][1:])
    pairs = np.stack([order[first], order[first + 1]], axis=1)  # half-edges of inner edges
    pairs = pairs[rng.permutation(len(pairs))]
    used, result, known = np.zeros(len(faces), bool), faces.copy(), set(keys.tolist())
    for left, right in pairs[: len(pairs) // 2].tolist():
        (one, at), (other, there) = divmod(left, 3), divmod(right, 3)
        if used[one] or used[other]:
            continue
        a, b, apex, far = faces[one, at], faces[one, (at + 1) % 3], faces[one, (at + 2) % 3], faces[other, (there + 2) % 3]
        key = int(min(apex, far) * count + max(apex, far))
        new = np.array([[apex, a, far], [far, b, apex]])
        if key in known or faces[other, there] != b or not _sound(mesh.vertices, new, normals[[one, other]]).all():
            continue
        used[[one, other]], result[[one, other]] = True, new
        known.add(key)
    return result


def _thinned(vertices: np.ndarray, faces: np.ndarray, surplus: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """(faces, number) after vertices far from each other were each merged into their nearest neighbour."""
    count = len(vertices)
    adjacency, inner = _neighbours(faces, count), _inner(faces, count)
    rank = np.where(inner, rng.permutation(count) + 1.0, 0.0)
    around = rank
    for _ in range(2):  # the highest of its neighbours' neighbours: no two of these share a triangle's surroundings
        around = np.maximum(around, adjacency.multiply(around[None, :]).tocsr().max(axis=1).toarray().ravel())
    chosen = np.flatnonzero((rank == around) & inner)[:surplus]
    rows = adjacency[chosen].tocoo()
    length = np.linalg.norm(vertices[chosen[rows.row]] - vertices[rows.col], axis=1)
    order = np.lexsort((length, rows.row))
    onto = rows.col[order[np.unique(rows.row[order], return_index=True)[1]]]
    # An edge may vanish when its ends have just the two neighbours in common that its triangles have.
    chosen, onto = (kept[adjacency[chosen].multiply(adjacency[onto]).sum(axis=1) == 2] for kept in (chosen, onto))
    target = np.arange(count)
    target[chosen] = onto
    merged = target[faces]
    gone = (merged == merged[:, [1, 2, 0]]).any(axis=1)
    bad = (merged != faces).any(axis=1) & ~gone & ~_sound(vertices, merged, face_normals(vertices, faces))
    spared = np.isin(chosen, faces[bad])
    target[chosen[spared]] = chosen[spared]
    merged = target[faces]
    return merged[~(merged == merged[:, [1, 2, 0]]).any(axis=1)], int((~spared).sum())
