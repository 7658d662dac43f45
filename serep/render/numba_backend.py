"""A z-buffer rasteriser of our own: needs no GL, draws the same bytes everywhere."""
from __future__ import annotations

import llvmlite
import numba
import numpy as np

from serep.render.rasteriser import SUPERSAMPLING, cover, paint, projected
from serep.render.renderer import Layers, check_scene, closed_faces, face_labels, resolve, sample_intrinsics
from serep.render.scene import Scene
from serep.render.shading import INSIDE_SHARE, lit_colours

NEAR = 1.0
"""mm; a triangle that reaches nearer than this is left out (heads are never that near)."""


class NumbaRenderer:
    """Renderer on the CPU alone."""

    name = "numba"

    def __init__(self, size_px: int):
        self.size_px = size_px
        samples = size_px * SUPERSAMPLING
        self._inverse_depth = np.zeros((samples, samples), np.float32)
        self._owners = np.zeros((samples, samples), np.int32)
        self._samples = np.zeros((samples, samples, 4), np.uint8)

    def render(self, scene: Scene) -> Layers:
        check_scene(scene, self.size_px)
        faces, vertices = np.ascontiguousarray(scene.faces, np.int32), np.ascontiguousarray(scene.vertices, np.float64)
        points = projected(vertices, scene.camera.world_to_camera, *sample_intrinsics(scene.camera), NEAR)
        self._inverse_depth[:] = 0
        cover(points, faces, closed_faces(scene), self._inverse_depth, self._owners)
        paint(points, faces, lit_colours(scene), face_labels(scene), INSIDE_SHARE, self._inverse_depth, self._owners, self._samples)
        return resolve(self._samples, self._inverse_depth, scale=1.0, shift=0.0, empty=0.0, size_px=self.size_px)

    def describe(self) -> dict[str, str]:
        return {"renderer": self.name, "numba": numba.__version__, "llvmlite": llvmlite.__version__, "supersampling": str(SUPERSAMPLING)}
