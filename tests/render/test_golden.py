"""One stored picture of the built-in head. If a change of look is meant: SEREP_WRITE_GOLDEN=1 pytest tests/render/test_golden.py and look at it."""
import os
from pathlib import Path

import numpy as np
from PIL import Image

from serep.render import Scene, ambient_occlusion, occlusion_floor, open_renderer, sample_appearance, sample_camera, sample_light, sink_inner_parts

GOLDEN = Path(__file__).parent / "golden" / "head_64.png"


def test_head_looks_as_stored(topology, scene_ranges):
    rng = np.random.default_rng(11)
    look, light = sample_appearance(topology, rng=rng), sample_light(scene_ranges, rng=rng)
    camera = sample_camera(scene_ranges, topology.landmarks(topology.template), size_px=64, rng=rng)
    occlusion = ambient_occlusion(topology.mesh(topology.template), rays=32, floor=occlusion_floor(topology))
    head = Scene(sink_inner_parts(topology.template, topology, camera), topology.faces, look, occlusion, light, camera)
    layers = open_renderer("numba", size_px=64, fallback=None).render(head)
    picture = np.dstack([layers.rgb, layers.mask])
    if os.environ.get("SEREP_WRITE_GOLDEN"):
        Image.fromarray(picture).save(GOLDEN)
    stored = np.asarray(Image.open(GOLDEN)).astype(int)
    difference = np.abs(picture - stored)
    assert difference.mean() <= 0.2 and (difference > 8).mean() < 0.005
