import numpy as np
import pytest

from serep.geometry import Camera, project, to_camera

INTRINSICS = np.array([[500.0, 0, 64], [0, 400, 48], [0, 0, 1]])


def looking_at_face(distance: float) -> np.ndarray:
    """World (y up, z towards the camera) to camera (y down, z forward)."""
    motion = np.diag([1.0, -1.0, -1.0, 1.0])
    motion[2, 3] = distance
    return motion


def test_known_pixels():
    camera = Camera(INTRINSICS, looking_at_face(1000), 128, 96)
    pixels = project(np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [10, 10, 500]]), camera)
    np.testing.assert_allclose(pixels, [[64, 48], [69, 48], [64, 44], [74, 40]])
    np.testing.assert_allclose(camera.centre, [0, 0, 1000])
    assert to_camera(np.array([0.0, 0, 100]), camera)[2] == 900


def test_keeps_leading_axes_and_hides_what_is_behind():
    camera = Camera(INTRINSICS, looking_at_face(1000), 128, 96)
    pixels = project(np.full((2, 5, 3), 2000.0), camera)
    assert pixels.shape == (2, 5, 2) and np.isnan(pixels).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"intrinsics": -INTRINSICS}, "focal"),
        ({"world_to_camera": np.diag([1.0, 1, -1, 1])}, "rotation"),
        ({"world_to_camera": 2 * np.eye(4)}, "rotation"),
        ({"width": 0}, "pixel"),
    ],
)
def test_refusals(changes, words):
    fields = {"intrinsics": INTRINSICS, "world_to_camera": np.eye(4), "width": 4, "height": 4} | changes
    with pytest.raises(ValueError, match=words):
        Camera(**fields)
