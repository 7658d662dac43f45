"""Films a held-out person's performance from every view of the benchmark: one look and one light, a still camera a view."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

from serep.faces.topology import FaceTopology
from serep.geometry.camera import Camera
from serep.render.ambient_occlusion import ambient_occlusion
from serep.render.renderer import Renderer
from serep.render.sampling import SceneRanges, occlusion_floor, sample_appearance, sample_light, sink_inner_parts
from serep.render.scene import Scene

OCCLUSION_RAYS = 96
BACKDROP_RANGE = (40, 150)  # sRGB levels between which the wall behind the person is shaded from top to bottom


def film(
    neutral: Float[np.ndarray, "V 3"],
    performance: Float[np.ndarray, "T V 3"],
    topology: FaceTopology,
    cameras: Mapping[str, Camera],
    *,
    renderer: Renderer,
    ranges: SceneRanges,
    rng: np.random.Generator,
) -> dict[str, UInt8[np.ndarray, "T H W 3"]]:
    """Frames by view. The person's looks, the light and the wall are drawn once and are the same in all views."""
    look = sample_appearance(topology, rng=rng)
    light = sample_light(ranges, rng=rng)
    wall = _backdrop(renderer.size_px, rng=rng)
    occlusion = ambient_occlusion(topology.mesh(neutral), rays=OCCLUSION_RAYS, floor=occlusion_floor(topology))
    films = {}
    for view, camera in cameras.items():
        frames = np.empty((len(performance), renderer.size_px, renderer.size_px, 3), np.uint8)
        for row, vertices in enumerate(performance):
            layers = renderer.render(Scene(sink_inner_parts(vertices, topology, camera), topology.faces, look, occlusion, light, camera))
            frames[row] = np.where(layers.mask[..., None] > 0, layers.rgb, wall)
        films[view] = frames
    return films


def _backdrop(size_px: int, *, rng: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    top, bottom = rng.uniform(*BACKDROP_RANGE, (2, 3))
    share = np.linspace(0, 1, size_px)[:, None, None]
    return np.broadcast_to((1 - share) * top + share * bottom, (size_px, size_px, 3)).astype(np.uint8)
