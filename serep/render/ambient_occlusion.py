"""How much of the sky each vertex sees, baked once per head on the neutral."""
from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float

from serep.geometry.mesh import Mesh, vertex_normals
from serep.render.compiled import compiled
from serep.render.rasteriser import cover

PICTURE_PX = 256
BIAS = 1.5
"""mm by which a vertex must lie behind the nearest surface to count as hidden: about the size of a picture's pixel on a head."""


@compiled
@no_type_check
def _add_visible(
    points, normals, direction, depth, bias, seen, whole
):
    """Adds the cosine to `whole`, and to `seen` the share of it that the depth picture does not hide (bilinear over four pixels)."""
    height, width = depth.shape
    for v in range(points.shape[0]):
        cosine = normals[v, 0] * direction[0] + normals[v, 1] * direction[1] + normals[v, 2] * direction[2]
        if cosine <= 0.0:
            continue
        whole[v] += cosine
        x, y = points[v, 0] - 0.5, points[v, 1] - 0.5
        column, row = int(np.floor(x)), int(np.floor(y))
        x, y, open_share = x - column, y - row, 0.0
        for i in range(2):
            for j in range(2):
                r, c = min(max(row + i, 0), height - 1), min(max(column + j, 0), width - 1)
                if depth[r, c] <= points[v, 2] + bias:
                    open_share += (y if i else 1.0 - y) * (x if j else 1.0 - x)
        seen[v] += cosine * open_share


def ambient_occlusion(mesh: Mesh, *, rays: int, floor: float | Float[np.ndarray, " V"]) -> Float[np.ndarray, " V"]:
    """Cosine-weighted share of the sky that each vertex sees, never under `floor` (float32).

    One parallel depth picture per direction stands for one ray of every vertex: `rays` directions, even over the whole sphere (a Fibonacci spiral).
    The floor may differ by vertex: baked with the mouth shut, teeth would stay black in an open one.
    """
    if rays < 1:
        raise ValueError(f"ambient occlusion needs at least one ray, got {rays}")
    vertices, faces = np.ascontiguousarray(mesh.vertices), np.ascontiguousarray(mesh.faces)
    normals = np.ascontiguousarray(vertex_normals(vertices, faces))
    centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    radius = float(np.linalg.norm(vertices - centre, axis=1).max())
    pixel = 2 * radius / (PICTURE_PX - 2)
    seen, whole = np.zeros(len(vertices)), np.zeros(len(vertices))
    owners = np.zeros((PICTURE_PX, PICTURE_PX), np.int32)
    for direction in sphere_directions(rays):
        side = np.cross(direction, [0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        frame = np.stack([side, np.cross(side, direction), direction])
        points = (vertices - centre) @ frame.T
        points[:, :2] = points[:, :2] / pixel + PICTURE_PX / 2
        points[:, 2] += 2 * radius  # positive and larger when nearer to the light, as `cover` wants it
        depth = np.zeros((PICTURE_PX, PICTURE_PX), np.float32)
        cover(points, faces, depth, owners)
        _add_visible(points, normals, direction, depth, BIAS, seen, whole)
    share = np.where(whole > 0, seen / np.maximum(whole, 1e-12), 1.0)
    return np.maximum(share, floor).astype(np.float32)


def sphere_directions(count: int) -> Float[np.ndarray, "count 3"]:
    """Unit vectors spread evenly over the sphere."""
    index = np.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], axis=1)
