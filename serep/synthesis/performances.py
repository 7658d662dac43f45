"""Films a held-out person's performance from every view of the benchmark: one look and one light, a still camera a view."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

from serep.faces.topology import FaceTopology
from serep.geometry.camera import Camera
from serep.render.portrait import Portraits, Shot
from serep.render.ranges import SceneRanges
from serep.render.renderer import Renderer
from serep.render.sampling import sample_light

GLINT = 1.0  # mm: radius of the lamp's reflection in the eyes
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
    sitter = Portraits(topology).sitter(neutral, ranges, rng=rng)
    light, wall = sample_light(ranges, rng=rng), _backdrop(renderer.size_px, rng=rng)
    films = {}
    for view, camera in cameras.items():
        shot = Shot(camera, light, gaze=np.zeros(2), body=np.zeros(3), shadows=True, glint=GLINT, occluder=None)
        frames = np.empty((len(performance), renderer.size_px, renderer.size_px, 3), np.uint8)
        for row, vertices in enumerate(performance):
            layers = renderer.render(sitter.scene(vertices, shot))
            frames[row] = np.where(layers.mask[..., None] > 0, layers.rgb, wall)
        films[view] = frames
    return films


def _backdrop(size_px: int, *, rng: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    top, bottom = rng.uniform(*BACKDROP_RANGE, (2, 3))
    share = np.linspace(0, 1, size_px)[:, None, None]
    return np.broadcast_to((1 - share) * top + share * bottom, (size_px, size_px, 3)).astype(np.uint8)
