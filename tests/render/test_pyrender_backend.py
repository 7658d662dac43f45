import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from renderer_contract import RendererContract

from serep.render import open_renderer

OPEN = """
import sys, ctypes
if sys.argv[1] == "no library":
    loaded = ctypes._dlopen
    def load(name, *arguments):
        if "libEGL" in str(name):
            raise OSError(f"{name}: cannot open shared object file")
        return loaded(name, *arguments)
    ctypes._dlopen = load
from serep.render import open_renderer
print(open_renderer("pyrender", size_px=16, fallback=sys.argv[2] or None).name)
"""


class TestPyrenderRenderer(RendererContract):
    name = "pyrender"

    @pytest.fixture(autouse=True)
    def _needs_gl(self):
        try:
            open_renderer("pyrender", size_px=64, fallback=None)
        except RuntimeError as error:
            pytest.skip(str(error))

    def test_agrees_with_numba_on_people(self, portraits, topology, scene_ranges):
        """With hair, glasses, shadows and something before the face."""
        size = 96
        renderers = [open_renderer(name, size_px=size, fallback=None) for name in ("numba", "pyrender")]
        ranges = replace(scene_ranges, glasses_share=1.0, occluder_share=1.0, shadow_share=1.0)
        for seed in range(3):
            rng = np.random.default_rng(seed)
            sitter = portraits.sitter(topology.template, ranges, rng=rng)
            person = sitter.scene(topology.template, sitter.sample_shot(ranges, topology.landmarks(topology.template), size_px=size, rng=rng))
            one, other = (renderer.render(person) for renderer in renderers)
            both = (one.mask > 0) & (other.mask > 0)
            assert (one.labels != other.labels).mean() < 0.005 and len(np.unique(one.labels)) > 6
            assert (one.mask != other.mask).mean() < 0.002 and both.mean() > 0.2
            assert np.abs(one.rgb[both].astype(int) - other.rgb[both]).mean() < 0.1
            assert np.median(np.abs(one.depth[both] - other.depth[both])) < 0.01

    def test_two_sizes_in_one_process(self):
        from render_scenes import camera, scene, sphere

        small, large = (open_renderer("pyrender", size_px=size, fallback=None) for size in (32, 64))
        for renderer, size in ((small, 32), (large, 64), (small, 32)):
            assert renderer.render(scene(*sphere(20), camera_used=camera(size=size))).mask.shape == (size, size)

    def test_names_the_driver(self, renderer):
        assert {"GL_RENDERER", "GL_VERSION", "pyrender", "PyOpenGL"} <= set(renderer.describe())


@pytest.mark.parametrize("missing", ["no library", "no driver"])
def test_without_gl_says_what_to_install(missing):
    environment = os.environ | ({"__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent", "__EGL_VENDOR_LIBRARY_FILENAMES": ""} if missing == "no driver" else {})
    refused = subprocess.run([sys.executable, "-c", OPEN, missing, ""], capture_output=True, text=True, env=environment, check=False)
    assert refused.returncode != 0 and "RuntimeError: OpenGL without a display (EGL) cannot be used here" in refused.stderr
    assert "apt-get install --no-install-recommends libegl1 libgl1" in refused.stderr and "render.backend: numba" in refused.stderr


def test_without_gl_the_fallback_draws():
    result = subprocess.run([sys.executable, "-c", OPEN, "no library", "numba"], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "numba" and "will be drawn by 'numba' instead" in result.stderr
