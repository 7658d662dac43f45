"""Scenes of one head, and the backends that draw them.

Once per topology `Insets` (eyes and mouth for heads without; everything below takes its `topology` and vertices that went through its `add`).
Once per person `ambient_occlusion` of the neutral, with `occlusion_floor`. Per picture `sample_appearance`, `sample_gaze` and `turn_eyes`,
`sample_light`, `sample_camera`, `sink_inner_parts`, a `Scene`, and `open_renderer(...).render(scene)`.
"""
from serep.render.ambient_occlusion import ambient_occlusion
from serep.render.insets import Insets
from serep.render.renderer import Layers, Renderer, open_renderer
from serep.render.sampling import (
    SceneRanges,
    occlusion_floor,
    sample_appearance,
    sample_camera,
    sample_gaze,
    sample_light,
    sink_inner_parts,
    turn_eyes,
)
from serep.render.scene import Appearance, Light, Scene

__all__ = [
    "Appearance", "Insets", "Layers", "Light", "Renderer", "Scene", "SceneRanges", "ambient_occlusion", "occlusion_floor", "open_renderer",
    "sample_appearance", "sample_camera", "sample_gaze", "sample_light", "sink_inner_parts", "turn_eyes",
]  # fmt: skip
