"""More vertices where paint needs them: triangles of brows, lips and beard are split, so that a coarse mesh can show an edge."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import no_type_check

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int

from serep.faces.landmark_ids import OUTER_LIP_IDS
from serep.faces.regions import depth_inside, smooth_step
from serep.faces.topology import FaceTopology
from serep.render.compiled import compiled
from serep.render.shading import mesh_normals

SPACING = {"brow_left": 2.9, "brow_right": 2.9, "lips": 3.0, "face": 12.0}
"""Edges of these regions that are longer than this (mm on the mean head) are halved, at most LEVELS times."""
PRESENT = 0.3
"""Weight of a soft region from which on a vertex counts as its own."""
LEVELS = 2
ROUNDNESS = 0.7
"""How far the middles are moved from the flat triangles towards the tangent planes of their corners (Boubekeur and Alexa 2008, Phong tessellation)."""
LIP_EDGE = 1.0
"""mm over which skin turns into lip."""


class Refinement:
    """A topology whose added vertices are the middles of edges: `add` follows any head of the base, labels and codes never see them."""

    def __init__(self, base: FaceTopology) -> None:
        self.base = base
        weights = scipy.sparse.eye_array(len(base.template), format="csr")
        faces, template, skin = base.faces, base.template, base.parts == 0
        masks = {name: base.regions[name] > PRESENT for name in SPACING if name in base.regions}
        for _ in range(LEVELS):
            edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
            edges = edges[skin[edges].all(axis=1)]
            chosen = np.unique(edges[_too_long(template, edges, masks)], axis=0)
            faces = _split(faces, chosen, len(template))
            weights = _with_middles(chosen, len(template)) @ weights
            template = weights @ base.template
            skin = np.concatenate([skin, np.ones(len(chosen), bool)])
            masks = {name: np.concatenate([mask, mask[chosen].any(axis=1)]) for name, mask in masks.items()}
        self._middles = scipy.sparse.csr_array(weights[len(base.template) :])
        regions = {name: np.clip(weights @ mask.astype(np.float64), 0, 1) for name, mask in base.regions.items()}
        if {"lips"} <= set(regions) and set(OUTER_LIP_IDS) <= set(base.landmark_ids.tolist()):
            regions["lips"] = _lips(base, template) * skin
        parts = np.concatenate([base.parts, np.zeros(len(template) - len(base.parts), np.uint8)])
        self.topology = replace(base, faces=faces, template=template, parts=parts, regions=regions, mirror=None)

    def add(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "W 3"]:
        """The head's vertices followed by the middles, which lie on a rounded surface through them."""
        vertices = np.ascontiguousarray(vertices, np.float64)
        normals, middles = mesh_normals(vertices, self.base.faces), self._middles
        return _with_rounded_middles(vertices, normals, middles.indptr, middles.indices, middles.data, ROUNDNESS)


@compiled
@no_type_check
def _with_rounded_middles(vertices, normals, starts, corners, weights, roundness):
    """The vertices, then each middle: the weighted mean of its corners, moved towards the mean of its projections on their tangent planes."""
    count, added = vertices.shape[0], starts.shape[0] - 1
    places = np.empty((count + added, 3))
    places[:count] = vertices
    for row in range(added):
        x, y, z = 0.0, 0.0, 0.0
        for k in range(starts[row], starts[row + 1]):
            corner, weight = corners[k], weights[k]
            x += weight * vertices[corner, 0]
            y += weight * vertices[corner, 1]
            z += weight * vertices[corner, 2]
        dx, dy, dz = 0.0, 0.0, 0.0
        for k in range(starts[row], starts[row + 1]):
            corner = corners[k]
            nx, ny, nz = normals[corner, 0], normals[corner, 1], normals[corner, 2]
            away = (x - vertices[corner, 0]) * nx + (y - vertices[corner, 1]) * ny + (z - vertices[corner, 2]) * nz
            away *= weights[k] * roundness
            dx += away * nx
            dy += away * ny
            dz += away * nz
        places[count + row, 0], places[count + row, 1], places[count + row, 2] = x - dx, y - dy, z - dz
    return places


def _too_long(template: np.ndarray, edges: Int[np.ndarray, "E 2"], masks: Mapping[str, np.ndarray]) -> Bool[np.ndarray, " E"]:
    lengths = np.linalg.norm(template[edges[:, 0]] - template[edges[:, 1]], axis=1)
    return np.any([mask[edges].any(axis=1) & (lengths > SPACING[name]) for name, mask in masks.items()], axis=0)


def _with_middles(edges: Int[np.ndarray, "E 2"], count: int) -> scipy.sparse.csr_array:
    rows = np.repeat(np.arange(len(edges)), 2)
    middles = scipy.sparse.csr_array((np.full(2 * len(edges), 0.5), (rows, edges.ravel())), shape=(len(edges), count))
    return scipy.sparse.vstack([scipy.sparse.eye_array(count), middles], format="csr")


def _split(faces: Int[np.ndarray, "F 3"], edges: Int[np.ndarray, "E 2"], count: int) -> Int[np.ndarray, "G 3"]:
    """Every triangle cut along the middles of its chosen edges: into two, three or four."""
    if not len(edges):
        return faces
    faces = faces.astype(np.int64)
    keys = edges.astype(np.int64) @ [count, 1]  # ascending, for the edges are unique and sorted
    sides = np.stack([np.sort(faces[:, pair], axis=1) @ [count, 1] for pair in ([0, 1], [1, 2], [2, 0])], axis=1)
    place = np.minimum(np.searchsorted(keys, sides), len(keys) - 1)
    cut = keys[place] == sides
    middle = np.where(cut, count + place, -1)
    number = cut.sum(axis=1)
    # Turn each triangle so that its first side is cut and, with two cuts, the last is not.
    first = np.where(number == 1, cut.argmax(axis=1), np.where(number == 2, (cut.argmin(axis=1) + 1) % 3, 0))
    order = (first[:, None] + np.arange(3)) % 3
    (a, b, c), (ab, bc, ca) = (np.take_along_axis(values, order, axis=1).T for values in (faces, middle))
    one, two, three = (number == n for n in (1, 2, 3))
    pieces = [
        faces[number == 0],
        np.stack([a, ab, c], 1)[one], np.stack([ab, b, c], 1)[one],
        np.stack([ab, b, bc], 1)[two], np.stack([a, ab, bc], 1)[two], np.stack([a, bc, c], 1)[two],
        np.stack([a, ab, ca], 1)[three], np.stack([ab, b, bc], 1)[three], np.stack([ca, bc, c], 1)[three], np.stack([ab, bc, ca], 1)[three],
    ]  # fmt: skip
    return np.concatenate(pieces).astype(np.int32)


def _lips(base: FaceTopology, template: Float[np.ndarray, "W 3"]) -> Float[np.ndarray, " W"]:
    """The red of the lips, computed anew from their outline instead of blurred between coarse vertices."""
    outline = base.landmarks(base.template)[base.landmark_rows(OUTER_LIP_IDS)]
    inside = smooth_step(depth_inside(template[:, :2], outline[:, :2]), -LIP_EDGE, LIP_EDGE)
    return inside * (template[:, 2] > outline[:, 2].min() - 7.0)
