"""Glasses that sit on the nose and the ears of a head: thin or thick frames, empty, tinted or dark lenses."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from serep.faces.landmark_ids import LEFT_EYE_IDS, RIGHT_EYE_IDS
from serep.faces.topology import FaceTopology
from serep.render.measures import Measures
from serep.render.pieces import Piece, grid_faces, joined, piece

RIM = 28  # points around a lens
NOSE_IDS = (168, 6, 197)
CLEARANCE = 2.5  # mm between glass and skin at least
FRAME_COLOURS = ((0.012, 0.011, 0.010), (0.06, 0.025, 0.012), (0.35, 0.30, 0.22), (0.22, 0.22, 0.23), (0.02, 0.03, 0.10), (0.30, 0.04, 0.05), (0.5, 0.5, 0.5))
METAL_SHARE, DARK_SHARE, TINTED_SHARE, HALF_RIM_SHARE = 0.4, 0.14, 0.15, 0.15
TINTS = ((0.75, 0.70, 0.60), (0.55, 0.60, 0.66), (0.66, 0.55, 0.42), (0.45, 0.48, 0.42))


@dataclass(frozen=True, eq=False)
class Glasses:
    """The piece, and the gain of every vertex's albedo that is seen through a tinted lens."""

    piece: Piece
    tint: Float[np.ndarray, "W 3"]


def sample_glasses(
    neutral: Float[np.ndarray, "V 3"], topology: FaceTopology, measures: Measures, *, seen: Float[np.ndarray, "W 3"], rng: np.random.Generator
) -> Glasses:
    """Random glasses that fit the neutral; they stay where they are while the face moves. `seen` are the drawn vertices, which tinted lenses colour."""
    marks = topology.landmarks(neutral)
    eyes = [marks[topology.landmark_rows(ids)].mean(axis=0) for ids in (LEFT_EYE_IDS, RIGHT_EYE_IDS)]
    metal, unit = rng.random() < METAL_SHARE, measures.scale / 70.0
    apart = eyes[0][0] - eyes[1][0]
    width = np.clip(rng.normal(49, 3.5) * unit, 0.62 * apart, 0.92 * apart)
    height = width * rng.uniform(0.62, 0.95)
    power = rng.uniform(2.0, 4.2)  # 2 is round, 4 nearly a rectangle
    drop = rng.uniform(-0.02, 0.10) * height
    wire = (rng.uniform(0.8, 1.5) if metal else rng.uniform(1.8, 4.2)) * unit
    turn = 2 * np.pi * np.arange(RIM) / RIM
    outline = np.stack([np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / power), np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / power)], 1)
    outline[:, 0] *= 1 + rng.uniform(-0.1, 0.25) * outline[:, 1]  # wider above, like many frames
    rims, wrap = [], rng.uniform(0.10, 0.22)
    for eye in eyes:
        side = np.sign(eye[0])
        flat = eye[:2] + np.stack([side * outline[:, 0] * width / 2, outline[:, 1] * height / 2 - drop], axis=1)
        flat[:, 0] += side * (0.5 * width + 0.12 * apart - abs(eye[0])) * 0.5
        rims.append(np.column_stack([flat, -wrap * (np.abs(flat[:, 0]) - 0.5 * apart)]))
    depth = _depth(neutral, topology, rims, marks[topology.landmark_rows(NOSE_IDS[:2])].mean(axis=0)) + 0.5 * wire
    rims = [rim + np.array([0.0, 0.0, depth]) for rim in rims]
    colour = np.array(FRAME_COLOURS[rng.integers(len(FRAME_COLOURS))]) * rng.uniform(0.6, 1.4)
    gloss = {"albedo": colour, "specular": 0.25 if metal else 0.08, "shininess": 60.0 if metal else 30.0}
    half_rim = rng.random() < HALF_RIM_SHARE
    pieces = [_ring(rim, wire, wire * (0.8 if metal else 0.55), upper_only=half_rim, **gloss) for rim in rims]
    pieces.append(_bridge(rims, wire, **gloss))
    pieces += [_temple(rim, measures, neutral, topology, wire, **gloss) for rim in rims]
    kind, tint = rng.random(), np.ones((len(seen), 3))
    if kind < DARK_SHARE:
        shade = np.array(TINTS[rng.integers(len(TINTS))]) * rng.uniform(0.01, 0.06)
        pieces += [_lens(rim, shade) for rim in rims]
    elif kind < DARK_SHARE + TINTED_SHARE:
        glass = np.array(TINTS[rng.integers(len(TINTS))]) ** rng.uniform(0.4, 1.1)
        for rim in rims:
            tint[_behind(seen, rim)] = glass
    return Glasses(joined(pieces), tint)


def _depth(neutral: np.ndarray, topology: FaceTopology, rims: list[np.ndarray], bridge: np.ndarray) -> float:
    """The depth (z) to add to the rims so that they rest on the nose and touch neither lids nor brows."""
    skin = neutral[topology.parts == 0]
    front = skin[skin[:, 2] > bridge[2] - 60]
    clear = bridge[2] - 7.0
    for rim in rims:
        inside = front[_behind(front, rim.mean(axis=0) + (rim - rim.mean(axis=0)) * [1.12, 1.12, 1.0])]
        if len(inside):
            wrap = np.interp(np.abs(inside[:, 0]), np.sort(np.abs(rim[:, 0])), rim[np.argsort(np.abs(rim[:, 0])), 2])
            clear = max(clear, float(np.quantile(inside[:, 2] - wrap, 0.985)) + CLEARANCE)
    return clear


def _behind(points: Float[np.ndarray, "V 3"], rim: Float[np.ndarray, "N 3"]) -> np.ndarray:
    """(V,) bool: seen from the front the points lie within the rim."""
    middle, reach = rim[:, :2].mean(axis=0), np.ptp(rim[:, :2], axis=0) / 2
    near = np.hypot(*((points[:, :2] - middle) / reach).T) < 1.35
    inside = np.zeros(len(points), bool)
    following = np.roll(rim[:, :2], -1, axis=0)
    edge, away = following - rim[:, :2], points[near, None, :2] - rim[:, :2]
    turns = edge[:, 0] * away[..., 1] - edge[:, 1] * away[..., 0]
    inside[near] = (turns > 0).all(axis=1) | (turns < 0).all(axis=1)  # the outline is convex
    return inside & (points[:, 2] > -40)


def _ring(rim: Float[np.ndarray, "N 3"], wide: float, deep: float, *, upper_only: bool, **look) -> Piece:
    """A bar of rectangular section around a lens; `upper_only` leaves a thread below."""
    middle = rim.mean(axis=0)
    outward = rim - middle
    outward[:, 2] = 0
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    lower = rim[:, 1] < middle[1] - 0.05 * np.ptp(rim[:, 1])
    wide_here = np.where(lower & upper_only, 0.3, wide)[:, None]
    deep_here = np.where(lower & upper_only, 0.3, deep)[:, None] * [0.0, 0.0, 1.0]
    section = [rim - deep_here / 2, rim + deep_here / 2, rim + outward * wide_here + deep_here / 2, rim + outward * wide_here - deep_here / 2]
    faces = grid_faces(4, len(rim), closed=True)
    last = grid_faces(2, len(rim), closed=True)
    last = np.where(last >= len(rim), last - len(rim), last + 3 * len(rim))
    faces = np.concatenate([faces, last])
    return piece(np.concatenate(section), _outward(np.concatenate(section), faces, rim + outward * wide_here / 2), "glasses", **look)


def _outward(vertices: np.ndarray, faces: np.ndarray, core: Float[np.ndarray, "N 3"]) -> np.ndarray:
    """The faces turned so that they look away from the bar's nearest core point."""
    middle = vertices[faces].mean(axis=1)
    nearest = core[faces[:, 0] % len(core)]
    normal = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    return np.where((normal * (middle - nearest)).sum(axis=1, keepdims=True) < 0, faces[:, ::-1], faces)


def _bar(points: Float[np.ndarray, "N 3"], high: float, deep: float, **look) -> Piece:
    """A bar of rectangular section along a line that runs sideways or backwards."""
    along = np.gradient(points, axis=0)
    across = np.cross(along, [0.0, 1.0, 0.0])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    up = np.array([0.0, 1.0, 0.0])
    section = [points + s * up * high / 2 + t * across * deep / 2 for s, t in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
    faces = grid_faces(4, len(points), closed=False)
    last = grid_faces(2, len(points), closed=False)
    faces = np.concatenate([faces, np.where(last >= len(points), last - len(points), last + 3 * len(points))])
    vertices = np.concatenate(section)
    return piece(vertices, _outward(vertices, faces, points), "glasses", **look)


def _bridge(rims: list[Float[np.ndarray, "N 3"]], wire: float, **look) -> Piece:
    inner = [rim[np.argmin(np.abs(rim[:, 0]) - 0.35 * rim[:, 1])] for rim in rims]
    share = np.linspace(0, 1, 7)[:, None]
    line = (1 - share) * inner[0] + share * inner[1]
    line[:, 1] += 0.08 * np.abs(inner[0][0] - inner[1][0]) * np.sin(np.pi * share[:, 0])
    line[:, 2] += 1.5 * np.sin(np.pi * share[:, 0])
    return _bar(line, 0.9 * wire, 0.8 * wire, **look)


def _temple(rim: Float[np.ndarray, "N 3"], measures: Measures, neutral: np.ndarray, topology: FaceTopology, wire: float, **look) -> Piece:
    """From the rim's outer upper corner along the side of the head to behind the ear's root."""
    side = np.sign(rim[:, 0].mean())
    start = rim[np.argmax(side * rim[:, 0] + 0.35 * rim[:, 1])] + [side * 0.5 * wire, 0, 0]
    depth = np.linspace(0, 1, 9)
    end = np.array([side * (measures.half_width + 1.5), measures.eyes[1] + 0.10 * measures.scale, measures.centre[2] - 0.05 * measures.scale])
    line = (1 - depth[:, None]) * start + depth[:, None] * end
    skin = neutral[topology.parts == 0]
    for k in range(len(line)):
        around = skin[(np.abs(skin[:, 1] - line[k, 1]) < 10) & (np.abs(skin[:, 2] - line[k, 2]) < 10) & (np.abs(skin[:, 0]) < measures.half_width + 4)]
        if len(around):
            line[k, 0] = side * max(abs(line[k, 0]), (side * around[:, 0]).max() + 1.2)
    line[-1, 1] -= 4.0
    return _bar(line, max(wire, 1.6), 0.6 * wire + 0.4, **look)


def _lens(rim: Float[np.ndarray, "N 3"], colour: Float[np.ndarray, " 3"]) -> Piece:
    """A dark lens, domed a little so that it mirrors the lamp in one place; lighter below, as many are."""
    middle = rim.mean(axis=0)
    rows = [middle + (rim - middle) * share + [0, 0, 2.5 * (1 - share**2)] for share in (0.01, 0.35, 0.7, 1.0)]
    vertices = np.concatenate(rows)
    faces = grid_faces(len(rows), len(rim), closed=True)
    normal = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    faces = np.where(normal[:, 2:] < 0, faces[:, ::-1], faces)
    below = np.clip((middle[1] - vertices[:, 1]) / np.ptp(rim[:, 1]) + 0.5, 0, 1)
    return piece(vertices, faces, "glasses", albedo=colour * (0.6 + 1.2 * below[:, None]), specular=0.35, shininess=90.0)
