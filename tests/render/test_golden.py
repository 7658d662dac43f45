"""One stored picture of the built-in head. If a change of look is meant: SEREP_WRITE_GOLDEN=1 pytest tests/render/test_golden.py and look at it."""
import os
from pathlib import Path

import numpy as np
from PIL import Image

from serep.render import LABELS, open_renderer

GOLDEN = Path(__file__).parent / "golden" / "head_64.png"


def test_head_looks_as_stored(portraits, topology, scene_ranges):
    sitter = portraits.sitter(topology.template, scene_ranges, rng=np.random.default_rng(11))
    shot = sitter.sample_shot(scene_ranges, topology.landmarks(topology.template), size_px=64, rng=np.random.default_rng(12))
    layers = open_renderer("numba", size_px=64, fallback=None).render(sitter.scene(topology.template, shot))
    assert {LABELS.index(name) for name in ("background", "skin", "lips", "brows", "hair")} <= set(np.unique(layers.labels).tolist())
    picture = np.dstack([layers.rgb, layers.mask])
    if os.environ.get("SEREP_WRITE_GOLDEN"):
        Image.fromarray(picture).save(GOLDEN)
    stored = np.asarray(Image.open(GOLDEN)).astype(int)
    difference = np.abs(picture - stored)
    assert difference.mean() <= 0.2 and (difference > 8).mean() < 0.005
