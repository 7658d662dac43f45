"""Eyeballs and a mouth bag for heads that come without (scans, the ICT face): drawn only, they follow the landmarks."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from serep.faces.landmark_ids import INNER_LIP_IDS, LEFT_EYE_IDS, RIGHT_EYE_IDS
from serep.faces.topology import FaceTopology

EYES = {"eye_left": (LEFT_EYE_IDS, (263, 362)), "eye_right": (RIGHT_EYE_IDS, (33, 133))}
"""Landmarks of both lids, and the corners: these stay where they are when the eye shuts."""
BALL_SHARE = 0.43
"""Radius of an eyeball over the distance of its corners."""
RINGS_DEG = (5.5, 10.5, 12.5, 20.0, 28.5, 33.5, 42.0, 55.0, 75.0, 90.0)
PUPIL_DEG, IRIS_DEG, SKIRT = 11.5, 31.0, 1.7
"""The last ring is drawn out to SKIRT radii: a dark plate behind gaps between lids and ball."""
SEGMENTS = 20
BAG = ((1.15, 3.0), (1.10, 14.0), (0.75, 32.0), (0.05, 40.0))
"""Rings of the mouth bag: width over that of the lips' inner edge, and mm behind it."""


@dataclass(frozen=True, eq=False)
class Insets:
    """What a topology lacks to be drawn as a face. Nothing is added to a head that has eyes and a mouth."""

    base: FaceTopology

    def add(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "W 3"]:
        """The head's vertices followed by those of the insets, placed by this head's landmarks."""
        marks = self.base.landmarks(vertices)
        pieces = [_ball(marks, *self._eye(name)) for name in self._missing_eyes]
        if self._mouth_is_missing:
            pieces.append(_bag(marks[self.base.landmark_rows(INNER_LIP_IDS)]))
        return np.concatenate([vertices, *pieces]) if pieces else vertices

    @cached_property
    def topology(self) -> FaceTopology:
        """Faces, parts and regions of what `add` returns; the same landmarks. Without mirror: it is for drawing only."""
        base, count = self.base, len(self.base.template)
        faces, parts, iris, pupil = [base.faces], [base.parts], [base.regions["iris"]], [base.regions["pupil"]]
        start, angles = count, np.array([0.0, *np.repeat(RINGS_DEG, SEGMENTS)])
        for name in self._missing_eyes:
            faces.append(start + _fan_and_tube(len(RINGS_DEG), SEGMENTS))
            ball = np.full(len(angles), base.part_names.index(name), np.uint8)
            ball[-SEGMENTS:] = base.part_names.index("mouth_inside")
            parts.append(ball)
            pupil.append((angles < PUPIL_DEG).astype(np.float32))
            iris.append((angles < IRIS_DEG) - pupil[-1])
            start += len(angles)
        if self._mouth_is_missing:
            size = len(BAG) * len(INNER_LIP_IDS)
            faces.append(start + _tube(len(BAG), len(INNER_LIP_IDS))[:, ::-1])
            parts.append(np.full(size, base.part_names.index("mouth_inside"), np.uint8))
            iris.append(np.zeros(size, np.float32))
            pupil.append(np.zeros(size, np.float32))
        if start == count and not self._mouth_is_missing:
            return base
        parts, iris, pupil = (np.concatenate(pieces) for pieces in (parts, iris, pupil))
        regions = {name: np.pad(mask, (0, len(parts) - count)) for name, mask in base.regions.items()}
        balls = np.isin(parts, [base.part_names.index(name) for name in EYES])
        regions |= {"iris": iris, "pupil": pupil, "sclera": balls - iris - pupil}
        return replace(base, faces=np.concatenate(faces), template=self.add(base.template), parts=parts, regions=regions, mirror=None)

    @cached_property
    def _missing_eyes(self) -> tuple[str, ...]:
        return tuple(name for name in EYES if not (self.base.parts == self.base.part_names.index(name)).any())

    @cached_property
    def _mouth_is_missing(self) -> bool:
        return not (self.base.parts == self.base.part_names.index("mouth_inside")).any()

    def _eye(self, name: str) -> tuple[Int[np.ndarray, " two"], Float[np.ndarray, " 3"]]:
        """Landmark rows of the corners, and the ball's centre from their middle in units of their distance, as on the mean head (lids open)."""
        lids, corners = (self.base.landmark_rows(ids) for ids in EYES[name])
        marks = self.base.landmarks(self.base.template)
        middle, distance = marks[corners].mean(axis=0), np.linalg.norm(np.subtract(*marks[corners]))
        radius = BALL_SHARE * distance
        centre = np.array([*(marks[lids, :2].mean(axis=0) + middle[:2]) / 2, 0.0])
        aside = np.linalg.norm(marks[lids, :2] - centre[:2], axis=1)
        near = aside < 0.8 * radius
        # So deep that the middle of both lids lies just on the ball.
        centre[2] = np.median(marks[lids, 2][near] - np.sqrt(radius**2 - aside[near] ** 2)) - 0.5
        return corners, (centre - middle) / distance


def _ball(marks: Float[np.ndarray, "L 3"], corners: Int[np.ndarray, " two"], centre: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "N 3"]:
    distance = np.linalg.norm(np.subtract(*marks[corners]))
    polar, turn = np.radians(RINGS_DEG)[:, None], 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    rings = np.stack(np.broadcast_arrays(np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)), axis=-1)
    rings[-1] *= SKIRT
    unit = np.concatenate([[[0.0, 0.0, 1.0]], rings.reshape(-1, 3)])
    return marks[corners].mean(axis=0) + distance * (centre + BALL_SHARE * unit)


def _bag(lips: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "M 3"]:
    middle = lips.mean(axis=0)
    return np.concatenate([middle + (lips - middle) * width - [0, 0, depth] for width, depth in BAG])


def _tube(rings: int, segments: int) -> Int[np.ndarray, "F 3"]:
    """Rings joined one to the next; seen from outside when the rings lie one behind the other and their points run counter-clockwise."""
    here, there = np.arange(segments), np.roll(np.arange(segments), -1)
    quads = [(r * segments + here, r * segments + there, (r + 1) * segments + there, (r + 1) * segments + here) for r in range(rings - 1)]
    return np.concatenate([np.stack(corners, axis=1) for a, b, c, d in quads for corners in ((a, c, b), (a, d, c))]).astype(np.int32)


def _fan_and_tube(rings: int, segments: int) -> Int[np.ndarray, "F 3"]:
    """A first point in front of the first ring, then rings."""
    here, there = 1 + np.arange(segments), 1 + np.roll(np.arange(segments), -1)
    fan = np.stack([np.zeros_like(here), here, there], axis=1)
    return np.concatenate([fan, 1 + _tube(rings, segments)]).astype(np.int32)
