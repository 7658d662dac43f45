"""Backgrounds drawn from nothing: noise fields, gradients, bars and blobs."""
from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8


def random_background(size: int, *, rng: np.random.Generator) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """One picture, more or less grey: rooms are less colourful than random numbers."""
    draw = (_noise, _gradient, _bars, _blobs)[rng.integers(4)]
    picture = draw(size, rng)
    grey = rng.random()
    picture = grey * picture.mean(axis=2, keepdims=True) + (1 - grey) * picture
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def _noise(size: int, rng: np.random.Generator) -> Float[np.ndarray, "S S 3"]:
    """Noise summed over octaves; the share of fine detail differs from picture to picture."""
    roughness, total = rng.uniform(0.35, 0.85), np.zeros((size, size, 3))
    for octave in range(6):
        cells = 2 ** (octave + 1)
        total += roughness**octave * cv2.resize(rng.standard_normal((cells, cells, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    return rng.random(3) + rng.uniform(0.1, 0.3) * total


def _gradient(size: int, rng: np.random.Generator) -> Float[np.ndarray, "S S 3"]:
    return cv2.resize(rng.random((2, 2, 3)), (size, size), interpolation=cv2.INTER_LINEAR)


def _bars(size: int, rng: np.random.Generator) -> Float[np.ndarray, "S S 3"]:
    """Sharp parallel edges, as shelves, blinds and door frames have."""
    angle, axis = rng.uniform(0, 2 * np.pi), (np.arange(size) + 0.5) / size
    along = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]
    wave = np.sin(2 * np.pi * (rng.uniform(1, 6) * along + rng.random())) > rng.uniform(-1, 1)
    return np.where(wave[..., None], rng.random(3), rng.random(3))


def _blobs(size: int, rng: np.random.Generator) -> Float[np.ndarray, "S S 3"]:
    """Overlapping discs of flat colour."""
    picture = np.broadcast_to(rng.random(3), (size, size, 3))
    axis = (np.arange(size) + 0.5) / size
    for _ in range(8):
        across, down = rng.random(2)
        inside = (axis[None, :] - across) ** 2 + (axis[:, None] - down) ** 2 < rng.uniform(0.05, 0.3) ** 2
        picture = np.where(inside[..., None], rng.random(3), picture)
    return picture
