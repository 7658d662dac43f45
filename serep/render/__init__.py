"""Scenes of one head, and the backends that draw them.

Once per topology `Portraits`, once per person `Portraits.sitter`, per picture `Sitter.sample_shot` and `Sitter.scene`, and
`open_renderer(...).render(scene)`. The pieces that these are made of can be used alone: a `Scene` is plain data.
"""
from serep.render.ambient_occlusion import ambient_occlusion
from serep.render.insets import Insets
from serep.render.portrait import Portraits, Shot, Sitter
from serep.render.ranges import SceneRanges
from serep.render.renderer import Layers, Renderer, open_renderer
from serep.render.sampling import occlusion_floor, sample_camera, sample_gaze, sample_light, sink_inner_parts
from serep.render.scene import LABELS, Appearance, Light, Scene

__all__ = [
    "LABELS", "Appearance", "Insets", "Layers", "Light", "Portraits", "Renderer", "Scene", "SceneRanges", "Shot", "Sitter", "ambient_occlusion",
    "occlusion_floor", "open_renderer", "sample_camera", "sample_gaze", "sample_light", "sink_inner_parts",
]  # fmt: skip
