import pytest

from serep.render import open_renderer


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown renderer 'vulkan'; use one of numba, pyrender"):
        open_renderer("vulkan", size_px=64, fallback=None)
    with pytest.raises(ValueError, match="unknown renderer 'gpu'"):
        open_renderer("numba", size_px=64, fallback="gpu")
    with pytest.raises(ValueError, match="size_px must be at least 1, got 0"):
        open_renderer("numba", size_px=0, fallback=None)
