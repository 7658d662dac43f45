import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
from renderer_contract import RendererContract

from serep.render import open_renderer

FRESH = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from render_scenes import SIZE, scene, sphere
from serep.render import open_renderer
layers = open_renderer("numba", size_px=SIZE, fallback=None).render(scene(*sphere(40)))
print(hashlib.sha256(layers.rgb.tobytes() + layers.depth.tobytes()).hexdigest())
"""


class TestNumbaRenderer(RendererContract):
    name = "numba"

    def test_same_bytes_in_a_fresh_process(self, renderer):
        from render_scenes import scene, sphere

        layers = renderer.render(scene(*sphere(40)))
        here = hashlib.sha256(layers.rgb.tobytes() + layers.depth.tobytes()).hexdigest()
        fresh = subprocess.run([sys.executable, "-c", FRESH, str(Path(__file__).parent)], capture_output=True, text=True, check=True)
        assert fresh.stdout.strip() == here


def test_shared_edges_leave_no_gap(rng):
    """A closed sphere of slivers covers its disc without a hole."""
    from render_scenes import scene, sphere

    mask = open_renderer("numba", size_px=64, fallback=None).render(scene(*sphere(50, rings=90, sectors=140))).mask
    for row in mask:
        filled = np.flatnonzero(row)
        assert len(filled) == 0 or len(filled) == filled[-1] - filled[0] + 1
