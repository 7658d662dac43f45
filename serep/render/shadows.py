"""What stands between the lamp and each vertex: one depth picture from the lamp's side, looked up softly. Both backends draw its result alike."""
from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int

from serep.render.ambient_occlusion import facing_frame, seen_along
from serep.render.compiled import compiled
from serep.render.rasteriser import cover
from serep.render.shading import mesh_normals

PICTURE_PX = 176
SOFTNESS_PX = 1.8
"""Half the width of a shadow's edge."""
BIAS, LIFT = 2.0, 2.5
"""mm by which a vertex must lie behind the nearest surface, and by which it is first lifted along its normal."""
FACING_FROM, FACING_TO = 0.0, 0.3
"""Cosines to the lamp between which the shadow sets in: beyond, shading itself turns dark, and a surface always shades its own far side."""


@compiled
@no_type_check
def _seen_share(points, normals, frame, depth, pixels_per_mm, bias, lift, softness, low, high):
    """Share of a lamp seen by each point, lifted off its surface: mean over 4 x 4 samples of the depth picture."""
    height, width = depth.shape
    shares = np.ones(points.shape[0])
    for v in range(points.shape[0]):
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        facing = frame[2, 0] * nx + frame[2, 1] * ny + frame[2, 2] * nz
        weight = min(max((facing - low) / (high - low), 0.0), 1.0)
        if weight == 0.0:
            continue
        across = points[v, 0] + lift * pixels_per_mm * (frame[0, 0] * nx + frame[0, 1] * ny + frame[0, 2] * nz)
        along = points[v, 1] + lift * pixels_per_mm * (frame[1, 0] * nx + frame[1, 1] * ny + frame[1, 2] * nz)
        # Seen at a slant, the surface itself rises within the width of the soft edge.
        level = points[v, 2] + lift * facing + bias + softness / pixels_per_mm * np.sqrt(max(1.0 - facing * facing, 0.0)) / max(facing, 0.1)
        hidden = 0.0
        for i in range(4):
            row = int(np.floor(along + (i - 1.5) * softness * 0.667))
            if not 0 <= row < height:
                continue
            for j in range(4):
                column = int(np.floor(across + (j - 1.5) * softness * 0.667))
                if 0 <= column < width and depth[row, column] > level:
                    hidden += 1.0
        shares[v] = 1.0 - weight * hidden / 16.0
    return shares


def lamp_share(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    direction: Float[np.ndarray, " 3"],
    *,
    blockers: Int[np.ndarray, "G 3"],
    closed: Bool[np.ndarray, " G"],
    centre: Float[np.ndarray, " 3"],
    radius: float,
) -> Float[np.ndarray, " V"]:
    """Share of a lamp far away in this direction that each vertex of the mesh sees past the triangles `blockers`, 0..1.

    Shadows are cast within `radius` mm of `centre`; beyond, all is lit. `closed` as in Scene.
    """
    vertices, faces = np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int32)
    frame, pixels_per_mm = facing_frame(direction), PICTURE_PX / (2 * radius)
    points = seen_along(vertices, frame, np.asarray(centre, np.float64), pixels_per_mm, PICTURE_PX / 2, 10 * radius)
    depth, owners = np.zeros((PICTURE_PX, PICTURE_PX), np.float32), np.empty((PICTURE_PX, PICTURE_PX), np.int32)
    cover(points, np.ascontiguousarray(blockers, np.int32), closed, depth, owners)
    return _seen_share(points, mesh_normals(vertices, faces), frame, depth, pixels_per_mm, BIAS, LIFT, SOFTNESS_PX, FACING_FROM, FACING_TO)
