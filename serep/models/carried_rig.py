"""A basis of displacements, carried from a model's topology to the vertices of a mesh on which it lies.

Skin takes the displacement of its place on the model's skin. The obvious other way, to carry gradients and solve on the target's own triangles,
was measured too: what its solution drifts by on the way from the still vertices to the lips costs several times the error.
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from jaxtyping import Bool, Float, Int

from serep.faces.regions import ball_centre
from serep.faces.topology import FaceTopology
from serep.geometry.connectivity import boundary_edges, part_labels
from serep.geometry.extension import Extension
from serep.geometry.mesh import Mesh, vertex_normals
from serep.geometry.surface_map import Surface

REACH, ON_BORDER_REACH = 3.0, 0.3  # mm from the model's skin that a vertex still moves with it; where the model ends
FADE = 50.0  # mm over which motion dies out where the model has no skin
STRAIN_LIMIT, STRAIN_SLACK = 1.5, 0.2  # stretch of an edge (and mm) by common expressions beyond which its ends lie on different lips
SMALLEST_ISLAND = 0.05  # of the largest patch: smaller ones are what strayed
NEAR_SKIN, NEAR_SHARE = 3.0, 1 / 3  # mm and share of the vertices that make a lash of a loose part
NEAR_PART = 4.0  # mm from the model's teeth or eyes at which a loose part is taken for the same
ROUND = 0.1  # deviation of the distances from the centre, beside the radius, of an eyeball
MODES_AT_ONCE = 16


def carried_basis(
    topology: FaceTopology,
    model_neutral: Mesh,
    basis: Float[np.ndarray, "K V 3"],
    deviations: Float[np.ndarray, " K"],
    target: Mesh,
    skin: Bool[np.ndarray, " N"],
) -> Float[np.ndarray, "K N 3"]:
    """The basis (float32, mm) at the target's N vertices; both meshes in one frame, the model's on the target's `skin` (whole connected parts).

    What the model does not reach fades to stillness. Of separate parts, thin ones close to the skin (lashes, brows) follow it; parts like
    the model's own eyes or teeth move with them; all others stand still. `deviations` say how strongly each mode is used.
    """
    inside = topology.part_names.index("mouth_inside") if "mouth_inside" in topology.part_names else 0
    surface = _part_of(model_neutral, np.isin(topology.parts, (0, inside)))
    places = surface.nearest(target.vertices, vertex_normals(target.vertices, target.faces), max_distance=REACH)
    held = skin & places.found & (~places.on_border | (places.distance < ON_BORDER_REACH))
    held = _without_strays(target, places.matrix, held, basis, deviations)
    carry = (scipy.sparse.diags_array(held.astype(np.float64)) @ places.matrix).tocsr()
    for vertices, rows in _loose_parts(topology, model_neutral, target, skin, surface):
        carry = carry + scipy.sparse.csr_array((np.ones(len(vertices)), (vertices, np.arange(len(vertices)))), shape=(len(skin), len(vertices))) @ rows
    extension = Extension(target, held | ~skin, fade=FADE)
    carried = np.empty((len(basis), len(skin), 3), np.float32)
    for start in range(0, len(basis), MODES_AT_ONCE):
        values = extension(_at_points(carry, basis[start : start + MODES_AT_ONCE]))
        carried[start : start + MODES_AT_ONCE] = values.reshape(len(values), -1, 3).transpose(1, 0, 2)
    return carried


def _part_of(mesh: Mesh, kept: np.ndarray) -> Surface:
    return Surface(Mesh(mesh.vertices, mesh.faces[kept[mesh.faces].all(axis=1)]))


def _at_points(matrix: scipy.sparse.csr_array, basis: np.ndarray) -> np.ndarray:
    """(N, 3 k): the displacements of k modes at points."""
    return matrix @ basis.transpose(1, 0, 2).reshape(basis.shape[1], -1).astype(np.float64)


def _without_strays(target: Mesh, matrix: scipy.sparse.csr_array, held: np.ndarray, basis: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Of the held vertices, those whose neighbours move much alike, in patches of some size.

    Lips that touch are near in place, and at their rims in normal, too: a vertex that took the wrong one's motion would tear the mesh.
    """
    edges = np.unique(np.sort(target.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    edges = edges[held[edges].all(axis=1)]
    square = np.zeros(len(edges))
    for start in range(0, len(basis), MODES_AT_ONCE):
        modes = slice(start, start + MODES_AT_ONCE)
        moves = _at_points(matrix, basis[modes] * deviations[modes, None, None].astype(np.float32))
        square += ((moves[edges[:, 0]] - moves[edges[:, 1]]) ** 2).sum(axis=1)
    length = np.linalg.norm(target.vertices[edges[:, 0]] - target.vertices[edges[:, 1]], axis=1)
    held = held.copy()
    held[edges[np.sqrt(square) > STRAIN_LIMIT * length + STRAIN_SLACK]] = False
    joined = edges[held[edges].all(axis=1)]
    graph = scipy.sparse.coo_array((np.ones(len(joined), np.int8), tuple(joined.T)), shape=(len(held), len(held)))
    patch = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
    size = np.bincount(patch, weights=held)
    return held & (size[patch] > SMALLEST_ISLAND * size.max())


def _loose_parts(
    topology: FaceTopology, model_neutral: Mesh, target: Mesh, skin: np.ndarray, surface: Surface
) -> Iterator[tuple[Int[np.ndarray, " n"], scipy.sparse.csr_array]]:
    """(vertices, rows that read the model's vertices) of each separate part of the target that moves."""
    labels = part_labels(target)
    border = np.bincount(labels[target.faces[boundary_edges(target)[:, 0], 0]], minlength=labels.max() + 1)
    model_labels = part_labels(model_neutral)
    own = np.setdiff1d(model_labels, model_labels[topology.parts == 0])
    for label in np.setdiff1d(labels, labels[skin]):
        vertices = np.flatnonzero(labels == label)
        points = target.vertices[vertices]
        if border[label] and not _is_ball(points):
            near = surface.nearest(points)
            if (near.distance < NEAR_SKIN).mean() > NEAR_SHARE:
                yield vertices, near.matrix
                continue
        likest = min(
            (_part_of(model_neutral, model_labels == one).nearest(points) for one in own), key=lambda near: float(np.median(near.distance)), default=None
        )
        if likest is not None and np.median(likest.distance) < NEAR_PART:
            yield vertices, likest.matrix


def _is_ball(points: np.ndarray) -> bool:
    """Whether points lie on a sphere, or on a good piece of one."""
    if len(points) < 12:
        return False
    distance = np.linalg.norm(points - ball_centre(points), axis=1)
    return bool(distance.std() < ROUND * distance.mean() and np.ptp(points, axis=0).max() > distance.mean())
