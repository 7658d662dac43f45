"""The light on every vertex, shared by all backends so that they draw the same colours.

linear = gain * (albedo * occlusion * surroundings(normal) + lamp's share * lamp * (albedo * wrapped cosine + Blinn-Phong)), then a soft shoulder and sRGB.
The gain is an automatic exposure: it keeps the mean light (not the mean colour, so dark skin stays dark) on what the camera sees within bounds.
"""
from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from serep.render.compiled import compiled
from serep.render.scene import Scene

EXPOSURE_FLOOR = 0.5
EXPOSURE_CEILING = 1.05
WRAP = 0.35
"""How far beyond the terminator the lamp reaches: skin scatters light."""
SHOULDER = 0.75
"""Linear value above which highlights are rolled off towards 1 instead of clipped."""
INSIDE_SHARE = 0.22
"""Of a triangle's own colour (sRGB) that shows when it is seen from behind: the inside of hair, of clothes, of a nostril."""


@compiled
@no_type_check
def _normals(vertices, faces, normals):
    """Area-weighted vertex normals, not yet unit: the length grows with the area around the vertex."""
    normals[:] = 0.0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz


@compiled
@no_type_check
def _unit_normals(vertices, faces):
    normals = np.empty((vertices.shape[0], 3))
    _normals(vertices, faces, normals)
    for v in range(vertices.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if length > 0.0:
            normals[v, 0] /= length
            normals[v, 1] /= length
            normals[v, 2] /= length
    return normals


TABLE = 2048


def _srgb_table() -> np.ndarray:
    """sRGB over the square root of the linear value, which is nearly straight: powers cost more than all else here."""
    linear = np.linspace(0.0, 1.0, TABLE + 1) ** 2
    return np.append(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055), 1.0)


SRGB = _srgb_table()


@compiled
@no_type_check
def _irradiance(sh, x, y, z, channel):
    return (
        sh[0, channel] * 0.282095
        + 0.488603 * (sh[1, channel] * y + sh[2, channel] * z + sh[3, channel] * x)
        + 1.092548 * (sh[4, channel] * x * y + sh[5, channel] * y * z + sh[7, channel] * x * z)
        + sh[6, channel] * 0.315392 * (3.0 * z * z - 1.0)
        + sh[8, channel] * 0.546274 * (x * x - y * y)
    )


@compiled
@no_type_check
def _shade(vertices, faces, albedo, specular, shininess, occlusion, lamp_share, sh, lamp, lamp_colour, eye, floor, ceiling, wrap, shoulder, srgb):
    count = vertices.shape[0]
    normals = np.empty((count, 3))
    _normals(vertices, faces, normals)
    diffuse = np.empty((count, 3))
    gloss = np.zeros(count)
    total, total_weight = 0.0, 0.0
    for v in range(count):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        scale = 1.0 / length if length > 0.0 else 0.0
        x, y, z = normals[v, 0] * scale, normals[v, 1] * scale, normals[v, 2] * scale
        ex, ey, ez = eye[0] - vertices[v, 0], eye[1] - vertices[v, 1], eye[2] - vertices[v, 2]
        distance = 1.0 / max(np.sqrt(ex * ex + ey * ey + ez * ez), 1e-9)
        ex, ey, ez = ex * distance, ey * distance, ez * distance
        facing = x * lamp[0] + y * lamp[1] + z * lamp[2]
        wrapped = max(facing + wrap, 0.0) / (1.0 + wrap) * (0.4 + 0.6 * occlusion[v]) * lamp_share[v]
        for channel in range(3):
            diffuse[v, channel] = max(_irradiance(sh, x, y, z, channel), 0.0) * occlusion[v] + lamp_colour[channel] * wrapped
        if facing > 0.0 and specular[v] > 0.0 and lamp_share[v] > 0.0:
            hx, hy, hz = lamp[0] + ex, lamp[1] + ey, lamp[2] + ez
            half = max(np.sqrt(hx * hx + hy * hy + hz * hz), 1e-9)
            cosine = max((x * hx + y * hy + z * hz) / half, 0.0)
            # (n + 2) / 8 keeps the energy of the lobe about constant over the exponent; under a thousandth the slow power is spared
            if shininess[v] * (1.0 - cosine) < 9.0:
                gloss[v] = specular[v] * (shininess[v] + 2.0) / 8.0 * cosine ** shininess[v] * min(facing * 4.0, 1.0) * occlusion[v] * lamp_share[v]
        seen = (x * ex + y * ey + z * ez) * length
        if seen > 0.0:
            total += seen * (0.2126 * diffuse[v, 0] + 0.7152 * diffuse[v, 1] + 0.0722 * diffuse[v, 2])
            total_weight += seen
    mean = total / total_weight if total_weight > 0.0 else 1.0
    gain = min(max(mean, floor), ceiling) / max(mean, 1e-6)
    colours = np.empty((count, 3), np.float32)
    for v in range(count):
        for channel in range(3):
            value = gain * (albedo[v, channel] * diffuse[v, channel] + gloss[v] * lamp_colour[channel])
            if value > shoulder:
                value = 1.0 - (1.0 - shoulder) * np.exp((shoulder - value) / (1.0 - shoulder))
            place = np.sqrt(max(value, 0.0)) * (len(srgb) - 2)
            low = int(place)
            colours[v, channel] = srgb[low] + (place - low) * (srgb[low + 1] - srgb[low])
    return colours


def mesh_normals(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    """Unit normals as the shading sees them; zero where a vertex has no face. Many times faster than for a batch of meshes."""
    return _unit_normals(np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int32))


def lit_colours(scene: Scene) -> Float[np.ndarray, "V 3"]:
    """sRGB colour of every vertex in 0..1, as the scene's camera sees it (float32)."""
    look, light = scene.appearance, scene.light
    lamp_share = np.ones(len(scene.vertices)) if scene.lamp_share is None else scene.lamp_share
    surface = (look.albedo, look.specular, look.shininess, scene.ambient_occlusion, lamp_share)
    numbers = (*surface, light.sh, light.direction, light.colour, scene.camera.centre)
    return _shade(
        np.ascontiguousarray(scene.vertices, np.float64), np.ascontiguousarray(scene.faces, np.int32),
        *(np.ascontiguousarray(values, np.float64) for values in numbers), EXPOSURE_FLOOR, EXPOSURE_CEILING, WRAP, SHOULDER, SRGB,
    )  # fmt: skip
