"""Frames of a camera as they come: (H, W, 3) uint8 RGB, without end."""
from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import UInt8

from serep.data.video import FALLBACK_FPS, MAX_FPS


class Camera:
    """An open camera; iterating reads it until it is unplugged. Use as a context manager."""

    def __init__(self, number: int) -> None:
        """RuntimeError when there is no camera of that number, or another program has it."""
        self._device = cv2.VideoCapture(number)
        self._number = number
        opened, first = self._device.read() if self._device.isOpened() else (False, None)
        if not opened:
            self.close()
            raise RuntimeError(f"camera {number} gives no picture: check its number (0 is the first), that no other program uses it, and your right to")
        rate = self._device.get(cv2.CAP_PROP_FPS)
        self.fps = rate if 1 <= rate <= MAX_FPS else float(FALLBACK_FPS)
        self.size = first.shape[:2]  # (height, width)

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        while True:
            read, picture = self._device.read()
            if not read:
                return
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        self._device.release()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
