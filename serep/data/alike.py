"""Pictures that look alike: a hash of which edges go up and which go down, and groups of what is alike."""
from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

GRID = 16  # cells to a side; a hash has 2 x 16 x 16 bits
BITS = 2 * GRID * GRID


def edge_hash(picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "64"]:
    """Whether each cell of a coarse grey picture is brighter than the one before it, along rows and columns: 512 bits.

    Size, compression, brightness and a little noise hardly change it (Krawetz 2013, "dHash", with both directions).
    """
    small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (GRID + 1, GRID + 1), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.packbits(np.stack([small[:-1, 1:] > small[:-1, :-1], small[1:, :-1] > small[:-1, :-1]]))


class Seen:
    """Hashes with the number of whoever had them; finds the nearest."""

    def __init__(self) -> None:
        self._hashes, self._owners, self._count = np.zeros((256, BITS // 8), np.uint8), np.zeros(256, np.int64), 0

    def add(self, one: UInt8[np.ndarray, "64"], owner: int) -> None:
        if self._count == len(self._hashes):
            self._hashes, self._owners = np.concatenate([self._hashes, np.zeros_like(self._hashes)]), np.concatenate([self._owners, self._owners])
        self._hashes[self._count], self._owners[self._count] = one, owner
        self._count += 1

    def owners_near(self, one: UInt8[np.ndarray, "64"], share: float) -> list[int]:
        """Owners of hashes that differ in at most this share of the bits, the nearest first."""
        distances = np.bitwise_count(self._hashes[:self._count] ^ one).sum(axis=1, dtype=np.int64)
        near = np.flatnonzero(distances <= share * BITS)
        return self._owners[near[np.argsort(distances[near], kind="stable")]].tolist()


class Groups:
    """Names that belong together; the first in the alphabet stands for all of its group."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        root = name
        while self._parent.setdefault(root, root) != root:
            root = self._parent[root]
        while self._parent[name] != root:
            self._parent[name], name = root, self._parent[name]
        return root

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self.find(one), self.find(other)))
        self._parent[second] = first
