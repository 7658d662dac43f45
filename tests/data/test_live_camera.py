import cv2
import numpy as np
import pytest

from serep.data.camera import Camera


class Device:
    """Stands in for OpenCV's access to a camera: gives blue pictures, three of them, then is unplugged."""

    opened, rate, released = True, 0.0, 0

    def __init__(self, number):
        self.left = 3

    def isOpened(self):
        return self.opened

    def read(self):
        self.left -= 1
        return (True, np.full((4, 6, 3), (255, 0, 10), np.uint8)) if self.left >= 0 else (False, None)

    def get(self, what):
        return self.rate

    def release(self):
        Device.released += 1


def test_frames_are_rgb_until_the_camera_is_unplugged(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    with Camera(1) as camera:
        frames = list(camera)
        assert camera.size == (4, 6) and camera.fps == 25.0  # a camera that tells no rate
    assert len(frames) == 2 and frames[0][0, 0].tolist() == [10, 0, 255]
    assert Device.released == 1
    monkeypatch.setattr(Device, "rate", 60.0)
    assert Camera(0).fps == 60.0


def test_a_camera_that_is_not_there(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(Device, "opened", False)
    with pytest.raises(RuntimeError, match="camera 7 gives no picture: check its number"):
        Camera(7)
