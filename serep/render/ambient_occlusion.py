"""How much of the sky each vertex sees, baked once per head on the neutral."""
from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int

from serep.geometry.mesh import Mesh, vertex_normals
from serep.render.compiled import compiled
from serep.render.rasteriser import cover

PICTURE_PX = 160
BIAS = 2.0
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
                r, c = row + i, column + j
                if r < 0 or c < 0 or r >= height or c >= width or depth[r, c] <= points[v, 2] + bias:
                    open_share += (y if i else 1.0 - y) * (x if j else 1.0 - x)
        seen[v] += cosine * open_share


@compiled
@no_type_check
def seen_along(vertices, frame, centre, pixels_per_mm, middle, nearest):
    """Columns and rows on a picture taken along a frame's third axis from afar, and how near each vertex is (positive, as `cover` wants it)."""
    points = np.empty_like(vertices)
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0] - centre[0], vertices[v, 1] - centre[1], vertices[v, 2] - centre[2]
        points[v, 0] = (frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z) * pixels_per_mm + middle
        points[v, 1] = (frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z) * pixels_per_mm + middle
        points[v, 2] = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z + nearest
    return points


def ambient_occlusion(
    mesh: Mesh,
    *,
    rays: int,
    floor: float | Float[np.ndarray, " V"],
    blockers: Int[np.ndarray, "G 3"] | None = None,
    closed: Bool[np.ndarray, " G"] | None = None,
    centre: Float[np.ndarray, " 3"] | None = None,
    reach: float | None = None,
) -> Float[np.ndarray, " V"]:
    """Cosine-weighted share of the sky that each vertex sees, never under `floor` (float32).

    One parallel depth picture per direction stands for one ray of every vertex: `rays` directions, even over the whole sphere (a Fibonacci spiral).
    The floor may differ by vertex: baked with the mouth shut, teeth would stay black in an open one.
    Only `blockers` (by default all faces) within `reach` mm of `centre` (by default everywhere) shade; beyond, the sky is open.
    `closed` (of the blockers) is the scene's.
    """
    if rays < 1:
        raise ValueError(f"ambient occlusion needs at least one ray, got {rays}")
    vertices, faces = np.ascontiguousarray(mesh.vertices), np.ascontiguousarray(mesh.faces)
    normals = np.ascontiguousarray(vertex_normals(vertices, faces))
    centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2 if centre is None else centre
    farthest = float(np.linalg.norm(vertices - centre, axis=1).max())
    radius = farthest if reach is None else min(reach, farthest)
    blocking = faces if blockers is None else np.ascontiguousarray(blockers, np.int32)
    one_sided = np.zeros(len(blocking), bool) if closed is None else closed
    pixel = 2 * radius / (PICTURE_PX - 2)
    seen, whole = np.zeros(len(vertices)), np.zeros(len(vertices))
    owners, depth = np.empty((PICTURE_PX, PICTURE_PX), np.int32), np.empty((PICTURE_PX, PICTURE_PX), np.float32)
    centre = np.asarray(centre, np.float64)
    for direction in sphere_directions(rays):
        frame = facing_frame(direction)
        points = seen_along(vertices, frame, centre, 1 / pixel, PICTURE_PX / 2, 2 * farthest)
        depth[:] = 0
        cover(points, blocking, one_sided, depth, owners)
        _add_visible(points, normals, direction, depth, BIAS, seen, whole)
    share = np.where(whole > 0, seen / np.maximum(whole, 1e-12), 1.0)
    return np.maximum(share, floor).astype(np.float32)


def facing_frame(direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Rows: columns, rows and nearness of a picture seen from this direction, on which outsides turn as on a camera's."""
    x, y, z = direction
    side = np.array([-z, 0.0, x]) if abs(y) < 0.9 else np.array([0.0, z, -y])  # across it and an axis
    a, b, c = side / np.sqrt(side @ side)
    return np.array([[a, b, c], [b * z - c * y, c * x - a * z, a * y - b * x], [x, y, z]])


def sphere_directions(count: int) -> Float[np.ndarray, "count 3"]:
    """Unit vectors spread evenly over the sphere."""
    index = np.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], axis=1)
