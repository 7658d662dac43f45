"""Expression cloning: a template's displacements, turned and scaled at each vertex as the person's surface is there; no system is solved.

After Noh and Neumann, "Expression cloning", SIGGRAPH 2001: their local frames and boxes, here as the rotation and the scale that carry the
neighbourhood of a vertex best from the template onto the person. Neighbourhoods reach across a shut mouth, so that lips stay together.
"""
from __future__ import annotations

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from serep.geometry.mesh import vertex_areas, vertex_normals

SPREAD = 7.0  # mm: standard deviation of the Gaussian that weighs a neighbourhood; under about 4 the lips of an open jaw grow ragged
REACH = 2.5  # standard deviations


class ExpressionCloning:
    """Carries displacements of one template's vertices to people with the same faces."""

    def __init__(self, template: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> None:
        self._template, self._faces = template, faces
        self._edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
        self._ends = scipy.sparse.csr_array(
            (np.ones(self._edges.size), (self._edges.ravel(order="F"), np.tile(np.arange(len(self._edges)), 2))),
            shape=(len(template), len(self._edges)))
        tree = cKDTree(template)
        near = tree.sparse_distance_matrix(tree, REACH * SPREAD, output_type="coo_matrix")
        near.data = np.exp(-((near.data / SPREAD) ** 2) / 2) * vertex_areas(template, faces)[near.col]
        self._average = scipy.sparse.csr_array(near)
        self._average = scipy.sparse.diags_array(1 / self._average.sum(axis=1)) @ self._average

    def carry(self, displacements: Float[np.ndarray, "n V 3"], person: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "n V 3"]:
        """The template's displacements (mm) as this person performs them."""
        rotations, scales = self.local_changes(person)
        return np.einsum("vab,nvb->nva", rotations * scales[:, None, None], displacements)

    def local_changes(self, person: Float[np.ndarray, "V 3"]) -> tuple[Float[np.ndarray, "V 3 3"], Float[np.ndarray, " V"]]:
        """Per vertex the rotation and the scale that carry the template's neighbourhood best onto the person's."""
        template = self._template
        before, after = (vertices[self._edges[:, 1]] - vertices[self._edges[:, 0]] for vertices in (template, person))
        products = self._ends @ np.einsum("ea,eb->eab", after, before).reshape(-1, 9)
        lengths = self._ends @ np.stack([(after**2).sum(axis=1), (before**2).sum(axis=1)], axis=1)
        # Edges alone leave it open where a flat place's normal goes.
        normals = np.einsum("va,vb->vab", vertex_normals(person, self._faces), vertex_normals(template, self._faces))
        products += (normals * np.sqrt(lengths.prod(axis=1))[:, None, None] / 2).reshape(-1, 9)
        # A vertex counts by its area, whatever the size of its triangles.
        left, _, right = np.linalg.svd((self._average @ (products / lengths[:, 1:])).reshape(-1, 3, 3))
        left[..., 2] *= np.sign(np.linalg.det(left @ right))[:, None]
        return left @ right, np.sqrt(self._average @ (lengths[:, 0] / lengths[:, 1]))
