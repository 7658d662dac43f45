"""What is drawn besides the head's own skin: meshes with their colours, and the shapes that they are built from."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from serep.render.scene import LABELS, Appearance


@dataclass(frozen=True, eq=False)
class Piece:
    """A mesh in the head's frame (mm) with its look."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    look: Appearance
    labels: UInt8[np.ndarray, " F"]

    def at(self, vertices: Float[np.ndarray, "V 3"]) -> Piece:
        """The same piece elsewhere."""
        return replace(self, vertices=vertices)


def piece(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    label: str,
    *,
    albedo: Float[np.ndarray, "*V 3"],
    specular: float | Float[np.ndarray, " V"],
    shininess: float,
) -> Piece:
    """A piece of one kind; a single colour or gloss holds for every vertex."""
    count = len(vertices)
    look = Appearance(np.array(np.broadcast_to(albedo, (count, 3)), np.float64), np.array(np.broadcast_to(specular, count), np.float64),
                      np.full(count, float(shininess)))
    return Piece(np.asarray(vertices, np.float64), np.asarray(faces, np.int32), look, np.full(len(faces), LABELS.index(label), np.uint8))


def joined(pieces: Sequence[Piece]) -> Piece:
    """All in one, in this order."""
    starts = np.cumsum([0, *(len(one.vertices) for one in pieces[:-1])])
    look = Appearance(*(np.concatenate([getattr(one.look, name) for one in pieces]) for name in ("albedo", "specular", "shininess")))
    faces = np.concatenate([one.faces + np.int32(start) for one, start in zip(pieces, starts, strict=True)])
    return Piece(np.concatenate([one.vertices for one in pieces]), faces, look, np.concatenate([one.labels for one in pieces]))


def grid_faces(rows: int, columns: int, *, closed: bool) -> Int[np.ndarray, "F 3"]:
    """Triangles of a grid of rows x columns points, numbered row by row; `closed` joins the last column to the first.

    Seen from the front where rows run downwards and columns to the right.
    """
    here = np.arange(columns if closed else columns - 1)
    there = (here + 1) % columns
    top = columns * np.arange(rows - 1)[:, None]
    a, b, c, d = (corner.ravel() for corner in (top + here, top + there, top + columns + here, top + columns + there))
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)


def tube(spine: Float[np.ndarray, "N 3"], radii: Float[np.ndarray, "N 2"], *, sides: int, up: Float[np.ndarray, " 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a tube along a line, its ends closed by their middle points; `radii` across and along `up`."""
    along = np.gradient(spine, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.cross(along, up)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    high = np.cross(across, along)
    turn = 2 * np.pi * np.arange(sides) / sides
    ring = radii[:, 0, None, None] * np.cos(turn)[:, None] * across[:, None] + radii[:, 1, None, None] * np.sin(turn)[:, None] * high[:, None]
    rings = np.concatenate([np.repeat(spine[:1, None], sides, 1), spine[:, None] + ring, np.repeat(spine[-1:, None], sides, 1)])
    faces = grid_faces(len(rings), sides, closed=True)
    return rings.reshape(-1, 3), faces


def waves(positions: Float[np.ndarray, "V D"], shortest: float, longest: float, *, rng: np.random.Generator) -> Float[np.ndarray, " V"]:
    """Smooth random pattern with about unit deviation: waves of random direction, wavelengths in the positions' unit."""
    directions = rng.normal(0, 1, (positions.shape[1], 5))
    directions *= 2 * np.pi / (np.linalg.norm(directions, axis=0) * rng.uniform(shortest, longest, 5))
    phases = (positions @ directions + rng.uniform(0, 2 * np.pi, 5)).astype(np.float32)  # in float32 sines are many times faster
    return np.sin(phases).sum(axis=1) * np.float32(np.sqrt(2 / 5))


def smooth_noise(count: int, period: float, *, rng: np.random.Generator) -> Float[np.ndarray, " count"]:
    """Random closed sequence with about unit deviation whose values hold for about `period` steps."""
    width = max(period, 0.5)
    steps = np.minimum(np.arange(count), count - np.arange(count))
    kernel = np.exp(-0.5 * (steps / (0.5 * width)) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * np.fft.rfft(kernel), count)
