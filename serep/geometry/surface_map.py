"""Nearest places on a surface, as triangles and barycentric weights: what one mesh shows, read at the points of another."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from serep.geometry.connectivity import boundary_edges
from serep.geometry.mesh import Mesh, face_areas, face_normals, vertex_normals, zero_area_faces

NEIGHBOURS = (12, 64, 320)  # triangles looked at per point: more only where fewer cannot be sure
LEVELS = 4  # of triangle sizes, each half the last
MAX_SPLITS = 12  # of a triangle that is much larger than the others
ON_EDGE = 1e-6  # of a barycentric weight


@dataclass(frozen=True, eq=False)
class SurfaceMap:
    """For each of n points its nearest admissible place on a mesh of V vertices; `face` is −1 where there is none.

    distance   mm, infinite where there is none
    on_border  the place lies on an open border of the mesh, so the point may lie beyond it
    """

    face: Int[np.ndarray, " n"]
    corners: Int[np.ndarray, "n 3"]
    weights: Float[np.ndarray, "n 3"]
    distance: Float[np.ndarray, " n"]
    on_border: Bool[np.ndarray, " n"]
    vertex_count: int

    @property
    def found(self) -> Bool[np.ndarray, " n"]:
        return self.face >= 0

    @property
    def matrix(self) -> scipy.sparse.csr_array:
        """(n, V): values at the vertices to values at the points; an empty row where there is no place."""
        rows, found = np.flatnonzero(self.found), self.found
        entries = self.weights[found].ravel(), (np.repeat(rows, 3), self.corners[found].ravel())
        return scipy.sparse.csr_array(entries, shape=(len(self.face), self.vertex_count))

    def where(self, admitted: Bool[np.ndarray, " n"]) -> SurfaceMap:
        """The same map without the places of the points that are not admitted."""
        return SurfaceMap(
            np.where(admitted, self.face, -1), self.corners, self.weights * admitted[:, None], np.where(admitted, self.distance, np.inf),
            self.on_border & admitted, self.vertex_count,
        )  # fmt: skip

    def places(self, vertices: Float[np.ndarray, "*B V 3"]) -> Float[np.ndarray, "*B n 3"]:
        """The places on a mesh with these vertices; NaN where there is none."""
        places = np.einsum("...nca,nc->...na", vertices[..., self.corners, :], self.weights)
        places[..., ~self.found, :] = np.nan
        return places


class Surface:
    """A mesh made ready to be asked for nearest places, many times.

    Triangles are found through a tree of middle points; large ones are split for it until a middle point stands for a small area, so that
    the nearest triangle is among a few nearest middle points. Faces without area are not part of the surface.
    """

    def __init__(self, mesh: Mesh) -> None:
        """ValueError when no face has an area."""
        sound = np.flatnonzero(~zero_area_faces(mesh.vertices, mesh.faces)) if len(mesh.faces) else np.zeros(0, int)
        if not len(sound):
            raise ValueError(f"the mesh has no face with an area ({len(mesh.faces)} faces): there is no surface to map to")
        self.mesh = mesh
        self.normals = face_normals(mesh.vertices, mesh.faces)
        self.middles, self.owners, self.radii = _cover(mesh.vertices[mesh.faces[sound]], face_areas(mesh.vertices, mesh.faces[sound]), sound)
        smooth = vertex_normals(mesh.vertices, mesh.faces)[mesh.faces[self.owners]].mean(axis=1)
        self.middle_normals = smooth / np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), np.finfo(float).tiny)
        self._tree = cKDTree(self.middles)
        # Triangles of about one size have a tree of their own: a large one among small ones would spoil the bound on what is near enough.
        level_of = np.minimum(np.floor(np.log2(self.radii.max() / self.radii)), LEVELS - 1)
        rows = [np.flatnonzero(level_of == one) for one in np.unique(level_of)]
        self._levels = [(cKDTree(self.middles[one]), one, self.radii[one].max()) for one in rows]
        self._alike_trees: dict[float, cKDTree] = {}
        self._border = _border_flags(mesh)

    def nearest(
        self, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"] | None = None, *, min_cosine: float = 0.5,
        max_distance: float = np.inf, either_side: bool = False,
    ) -> SurfaceMap:
        """The nearest place whose face looks the way that the point's normal does, no further away than `max_distance`.

        `min_cosine` bounds the angle between the two, so that an upper lip never finds the lower one; `either_side` forgives the sign.
        Without normals every place is admissible. A place that only lies beyond hundreds of others that are not is missed.
        """
        count = len(points)
        best = np.full(count, -1), np.zeros((count, 3)), np.full(count, np.inf)
        for level in self._levels:
            self._search_level(level, points, normals, best, min_cosine, max_distance, either_side)
        face, weights, distance = best
        beyond = distance > max_distance
        face[beyond], weights[beyond], distance[beyond] = -1, 0, np.inf
        found = face >= 0
        corners = np.where(found[:, None], self.mesh.faces[face], 0)
        return SurfaceMap(face, corners, weights, distance, self._on_border(face, weights), len(self.mesh.vertices))

    def near(self, points: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
        """(middle point of a triangle near each point, its normal): rough and fast."""
        rows = self._tree.query(points)[1]
        return self.middles[rows], self.middle_normals[rows]

    def alike(
        self, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], *, normal_reach: float
    ) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"], Bool[np.ndarray, " n"]]:
        """(middle point, its normal, whether it is on an open border) that is alike in place and normal; unlike normals count `normal_reach` mm."""
        if normal_reach not in self._alike_trees:
            self._alike_trees[normal_reach] = cKDTree(np.concatenate([self.middles, normal_reach * self.middle_normals], axis=1))
        rows = self._alike_trees[normal_reach].query(np.concatenate([points, normal_reach * normals], axis=1))[1]
        return self.middles[rows], self.middle_normals[rows], self._border[self.owners[rows]].any(axis=1)

    def _search_level(self, level, points, normals, best, min_cosine, max_distance, either_side) -> None:
        """Improve the best places (face, weights, distance) of all points, in place, by the triangles of one size."""
        tree, middles, largest = level
        open_points, seen = np.arange(len(points)), 0
        for neighbours in NEIGHBOURS:
            k = min(neighbours, len(middles))
            reach, rows = tree.query(points[open_points], k=k, distance_upper_bound=max_distance + largest)
            reach, rows = reach.reshape(len(open_points), k), rows.reshape(len(open_points), k)
            # A triangle is no nearer than its middle point less its size; and those of the last round were looked at.
            bound = np.minimum(best[2][open_points], max_distance)
            worth = (reach - largest <= bound[:, None]) & (rows < len(middles)) & (np.arange(k) >= seen)
            point, column = np.nonzero(worth)
            self._search(points, normals, open_points[point], self.owners[middles[rows[point, column]]], best, min_cosine, either_side)
            seen = k
            # What was not looked at is at least this far away.
            sure = np.minimum(best[2][open_points], max_distance) <= reach[:, -1] - largest
            open_points = open_points[~sure]
            if not len(open_points) or k == len(middles):
                return

    def _search(self, points, normals, ids, faces, best, min_cosine, either_side) -> None:
        """Improve the best places, in place, of points by a face each."""
        face, weights, distance = best
        if normals is not None:
            cosine = np.einsum("na,na->n", normals[ids], self.normals[faces])
            kept = (np.abs(cosine) if either_side else cosine) >= min_cosine
            faces, ids = faces[kept], ids[kept]
        if not len(ids):
            return
        triangles = self.mesh.vertices[self.mesh.faces[faces]]
        barycentric = closest_weights(points[ids], triangles)
        away = np.linalg.norm(points[ids] - np.einsum("nca,nc->na", triangles, barycentric), axis=1)
        order = np.lexsort((faces, away, ids))
        first = order[np.unique(ids[order], return_index=True)[1]]
        better = first[away[first] < distance[ids[first]]]
        face[ids[better]], weights[ids[better]], distance[ids[better]] = faces[better], barycentric[better], away[better]

    def _on_border(self, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        # Edge k lies opposite corner k; a place on a corner lies on both of its edges.
        on_edge = weights < ON_EDGE
        return (self._border[face] & on_edge).any(axis=1) & (face >= 0)


def map_to_surface(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"] | None, mesh: Mesh, *, min_cosine: float = 0.5, max_distance: float = np.inf
) -> SurfaceMap:
    """The nearest places of a mesh whose faces look the way that the points' normals do; see `Surface.nearest`."""
    return Surface(mesh).nearest(points, normals, min_cosine=min_cosine, max_distance=max_distance)


def closest_weights(points: Float[np.ndarray, "n 3"], triangles: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3"]:
    """Barycentric weights of the point of each triangle that is nearest to each point."""
    origin = triangles[:, 0]
    first, second, away = triangles[:, 1] - origin, triangles[:, 2] - origin, points - origin
    a, b, c = (np.einsum("na,na->n", *pair) for pair in ((first, first), (first, second), (second, second)))
    d, e = np.einsum("na,na->n", first, away), np.einsum("na,na->n", second, away)
    determinant = np.maximum(a * c - b * b, np.finfo(float).tiny)
    along, across = (c * d - b * e) / determinant, (a * e - b * d) / determinant
    weights = np.stack([1 - along - across, along, across], axis=1)
    outside = np.flatnonzero((weights < 0).any(axis=1))
    if len(outside):
        weights[outside] = _closest_on_edges(points[outside], triangles[outside])
    return weights


def _closest_on_edges(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    starts, ends = triangles, triangles[:, [1, 2, 0]]
    along = ends - starts
    share = np.einsum("nea,nea->ne", points[:, None] - starts, along) / np.maximum(np.einsum("nea,nea->ne", along, along), np.finfo(float).tiny)
    share = np.clip(share, 0, 1)
    square = ((points[:, None] - starts - share[..., None] * along) ** 2).sum(axis=-1)
    edge, rows = square.argmin(axis=1), np.arange(len(points))
    weights = np.zeros((len(points), 3))
    weights[rows, edge] = 1 - share[rows, edge]
    weights[rows, (edge + 1) % 3] = share[rows, edge]
    return weights


def _cover(triangles: np.ndarray, areas: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(middle points, their faces, radii): every point of a triangle lies within the radius of one of its middle points."""
    def radii(corners: np.ndarray) -> np.ndarray:
        return np.linalg.norm(corners - corners.mean(axis=1, keepdims=True), axis=2).max(axis=1)

    order = np.argsort(radii(triangles))
    # Half of the area lies in triangles no larger than this, so splitting the others costs no more points than there are triangles, about.
    typical = radii(triangles)[order[np.searchsorted(np.cumsum(areas[order]), areas.sum() / 2)]]
    for _ in range(MAX_SPLITS):
        large = radii(triangles) > 1.5 * typical
        if not large.any():
            break
        corners = triangles[large]
        edges = np.linalg.norm(corners[:, [1, 2, 0]] - corners, axis=2)
        turn = (edges.argmax(axis=1)[:, None] + np.arange(3)) % 3  # the longest edge first
        start, end, apex = (np.take_along_axis(corners, turn[:, [corner], None], axis=1)[:, 0] for corner in range(3))
        middle = (start + end) / 2
        triangles = np.concatenate([triangles[~large], np.stack([start, middle, apex], 1), np.stack([middle, end, apex], 1)])
        owners = np.concatenate([owners[~large], owners[large], owners[large]])
    return triangles.mean(axis=1), owners, radii(triangles)


def _border_flags(mesh: Mesh) -> np.ndarray:
    """(F, 3) bool: whether the edge opposite each corner is an open border."""
    flags = np.zeros(mesh.faces.shape, bool)
    flags[tuple(boundary_edges(mesh).T)] = True
    return flags
