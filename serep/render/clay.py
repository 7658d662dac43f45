"""Faces to look at: grey clay in studio light, or colours that stand for numbers, shown almost unshaded so that a colour bar can be read."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from serep.geometry.camera import Camera
from serep.render.numba_backend import NumbaRenderer
from serep.render.scene import Appearance, Light, Scene
from serep.render.sheets import FLAT_LIGHT, SHEET_BACKGROUND

CLAY_ALBEDO = 0.55


def draw_shapes(
    vertices: Float[np.ndarray, "N V 3"], faces: Int[np.ndarray, "F 3"], *, cameras: Sequence[Camera], colours: Float[np.ndarray, "N V 3"] | None = None
) -> UInt8[np.ndarray, "N S S 3"]:
    """One picture a shape, each through its own camera (all of one square size), on the sheet's background. `colours` are linear RGB in 0..1."""
    renderer = NumbaRenderer(cameras[0].width)
    ones = np.ones(vertices.shape[1])
    images = []
    for n, (shape, camera) in enumerate(zip(vertices.astype(np.float64), cameras, strict=True)):
        towards = -camera.world_to_camera[2, :3]
        albedo = np.full(shape.shape, CLAY_ALBEDO) if colours is None else colours[n].astype(np.float64)
        light = _clay_light(towards) if colours is None else _flat_light(towards)
        layers = renderer.render(Scene(shape, faces, Appearance(albedo, 0 * ones, ones), ones, light, camera))
        images.append(np.where(layers.mask[..., None] > 0, layers.rgb, np.array(SHEET_BACKGROUND, np.uint8)))
    return np.stack(images)


def portrait_camera(extent: float, *, size_px: int, field_of_view_deg: float) -> Camera:
    """Before the origin, level with it and looking at it: `extent` mm at the origin take the whole picture."""
    half = np.tan(np.radians(field_of_view_deg / 2))
    focal, middle = size_px / 2 / half, size_px / 2
    world_to_camera = np.diag([1.0, -1.0, -1.0, 1.0])
    world_to_camera[2, 3] = extent / 2 / half
    return Camera(np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]), world_to_camera, size_px, size_px)


def _flat_light(towards: Float[np.ndarray, " 3"]) -> Light:
    """Irradiance FLAT_LIGHT on what faces the camera, less aslant and below: shape stays visible, colours stay readable."""
    return Light(_harmonics(FLAT_LIGHT - 0.16, 0.16 * towards + [0.0, 0.13, 0.0]), towards, np.zeros(3))


def _clay_light(towards: Float[np.ndarray, " 3"]) -> Light:
    lamp = 0.45 * towards + np.array([-0.8 * towards[2], 0.75, 0.8 * towards[0]])
    return Light(_harmonics(0.12, 0.1 * towards), lamp / np.linalg.norm(lamp), np.full(3, 0.9))


def _harmonics(mean: float, slope: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "9 3"]:
    """Irradiance `mean + slope . normal`, grey, as spherical harmonics."""
    coefficients = np.zeros((9, 3))
    coefficients[0] = mean / 0.282095
    coefficients[1:4] = slope[[1, 2, 0], None] / 0.488603
    return coefficients
