"""What carries the face: the back of the head where a scan has none, the neck, and shoulders in clothes."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from serep.faces.topology import FaceTopology
from serep.render.measures import Measures
from serep.render.pieces import Piece, grid_faces, piece, smooth_noise
from serep.render.sampling import turn

BACK_STEPS = 7
# Behind the eyes: height above them, and depth, both in units of the distance from the eyes to the mouth (as on the built-in mean head).
BACK_HEIGHTS = (-1.9, -1.32, -1.03, -0.75, -0.46, -0.17, 0.11, 0.4, 0.69, 0.98, 1.26, 1.55)
BACK_DEPTHS = (2.25, 2.28, 2.27, 2.31, 2.53, 2.69, 2.74, 2.76, 2.77, 2.69, 2.51, 2.2)
DOME = 0.22  # by which the top of the head rises between its edge and the back
SIDES = 28
NECK_AXIS = 1.55  # behind the eyes
# Below the chin, half width, half depth and how far behind the neck's axis, in the same unit: root of the neck, its slope, shoulders, arms, chest.
TRUNK = np.array([
    (0.55, 0.85, 0.80, 0.10), (0.85, 1.05, 0.86, 0.16), (1.15, 1.65, 0.92, 0.22), (1.45, 2.45, 1.05, 0.26), (1.95, 3.0, 1.25, 0.24),
    (2.8, 3.15, 1.45, 0.12), (4.4, 3.05, 1.6, 0.05),
])  # fmt: skip
TURN_FROM, TURN_TO = 0.5, 1.8
"""The neck twists between these depths below the chin."""
LONG_NECK = 0.18  # by which the trunk lies deeper under a longer neck
OVER_NECK = 1.08  # of a longer neck's radius: the trunk around it
CLOTH_THICKNESS, GARMENT_ROWS = 0.045, 7
CLOTHES = ((0.02, 0.02, 0.025), (0.6, 0.6, 0.58), (0.03, 0.05, 0.13), (0.16, 0.16, 0.17), (0.28, 0.03, 0.03), (0.05, 0.12, 0.06), (0.32, 0.24, 0.15),
           (0.06, 0.16, 0.30), (0.30, 0.12, 0.22), (0.45, 0.36, 0.08))


def back_of_head(
    neutral: Float[np.ndarray, "V 3"], edges: Int[np.ndarray, "E 2"], eyes: Float[np.ndarray, " 3"], scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces that close a head which is open behind; empty for a whole one, whose only large opening is the neck. `edges`: `open_edges`."""
    nothing = np.zeros((0, 3)), np.zeros((0, 3), np.int32)
    if not len(edges) or neutral[edges, 1].max() < eyes[1]:
        return nothing
    used, numbered = np.unique(edges, return_inverse=True)
    rim, numbered = neutral[used], numbered.reshape(-1, 2)
    height = (rim[:, 1] - eyes[1]) / scale
    behind = np.minimum(eyes[2] - scale * np.interp(height, BACK_HEIGHTS, BACK_DEPTHS), rim[:, 2])
    dome = DOME * scale * np.clip((height - 0.3) / 1.0, 0, 1) ** 2
    share = np.linspace(0, np.pi / 2, BACK_STEPS)[:, None]
    rows = np.stack([
        rim[:, 0] * np.cos(share), rim[:, 1] + dome * np.sin(2 * share), rim[:, 2] + (behind - rim[:, 2]) * np.sin(share),
    ], axis=-1)  # fmt: skip
    count, row = len(rim), len(rim) * np.arange(BACK_STEPS - 1)[:, None]
    a, b = (row + numbered[:, end] for end in (0, 1))
    quads = np.stack([a, b, b + count, a + count], axis=-1).reshape(-1, 4)
    faces = np.concatenate([quads[:, [1, 0, 3]], quads[:, [1, 3, 2]]])
    return rows.reshape(-1, 3), faces.astype(np.int32)


def open_edges(topology: FaceTopology) -> Int[np.ndarray, "E 2"]:
    """The edges of the skin's largest opening, as (from, to) of the one triangle that each belongs to."""
    faces = topology.faces[(topology.parts[topology.faces] == 0).all(axis=1)].astype(np.int64)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = len(topology.template)
    alone = edges[~np.isin(edges @ [count, 1], edges[:, ::-1] @ [count, 1])]
    following = dict(alone.tolist())
    largest: list[int] = []
    while following:
        loop, at = [], next(iter(following))
        while at in following:
            loop.append(at)
            at = following.pop(at)
        span = np.ptp(topology.template[loop], axis=0).max()
        if not largest or span > np.ptp(topology.template[largest], axis=0).max():
            largest = loop
    return np.stack([largest, np.roll(largest, -1)], axis=1) if largest else np.zeros((0, 2), np.int64)


def neck_and_trunk(
    measures: Measures, opening: Float[np.ndarray, "N 3"], skin: Float[np.ndarray, " 3"], *, rng: np.random.Generator
) -> list[Piece]:
    """The neck and shoulders in the colour of the skin, and a garment over them. `opening` is the rim of the head's neck, empty where it has none."""
    scale, axis = measures.scale, measures.eyes[2] - NECK_AXIS * measures.scale
    azimuth = 2 * np.pi * np.arange(SIDES) / SIDES
    build = rng.normal([1.0, 1.0], [0.07, 0.1])
    trunk = TRUNK * np.array([1.0, build[0], build[1], 1.0])
    direction = np.stack([np.sin(azimuth), np.cos(azimuth)], axis=1)
    if len(opening):
        first = _around(opening, axis, azimuth)
        rings = [first * [0.9, 1.0, 0.9] + [0, 0.2 * scale, 0.1 * axis], first]
    else:  # out of the sides of a longer neck, whose end stays inside
        rings = []
        for below, share in ((0.6, 0.7), (0.88, 0.85)):
            height = measures.chin - below * scale
            radius = share * _radius_at(measures, axis, azimuth, height)
            rings.append(np.column_stack([radius * direction[:, 0], np.full(SIDES, height), axis + radius * direction[:, 1]]))
        first, trunk = rings[-1], trunk[1:] + np.array([LONG_NECK, 0.0, 0.0, 0.0])
    for below, width, depth, behind in trunk:
        # A superellipse: shoulders are boxy, the neck is round.
        power = np.interp(below, [0.6, 2.0], [1.0, 0.72])
        x, z = (np.sign(part) * np.abs(part) ** power for part in direction.T)
        level = np.full(SIDES, measures.chin - below * scale)
        if len(opening):
            level = np.minimum(level, first[:, 1] - 0.2 * scale * (below + 0.1))
        if below < 1.2:  # the root of the neck stands higher behind than in front
            level = level + (0.28 if len(opening) else 0.12) * scale * -direction[:, 1]
        ring = np.column_stack([width * scale * x, level, axis - behind * scale + depth * scale * z])
        if not len(opening) and below < 2.0:  # the longer neck stays inside
            distance = np.hypot(ring[:, 0], ring[:, 2] - axis)
            inside = OVER_NECK * _radius_at(measures, axis, azimuth, float(ring[:, 1].mean()), empty=0.0)
            gain = np.maximum(1.0, inside / distance)
            ring = np.column_stack([ring[:, 0] * gain, ring[:, 1], axis + (ring[:, 2] - axis) * gain])
        rings.append(ring)
    vertices = np.concatenate(rings)
    faces = grid_faces(len(rings), SIDES, closed=True)
    garment, neckline = _garment(np.stack(rings), scale, rng=rng)
    shown = faces // SIDES <= neckline[faces % SIDES]
    faces = faces[shown.any(axis=1)]  # what the garment hides is left out, so that it cannot show through
    return [piece(vertices, faces, "skin", albedo=skin, specular=0.03, shininess=14.0), garment]


def neck_opening(neutral: Float[np.ndarray, "V 3"], edges: Int[np.ndarray, "E 2"], measures: Measures) -> Float[np.ndarray, "N 3"]:
    """The rim of a head that is open only at its neck, in order; empty for others."""
    rim = neutral[edges[:, 0]]
    return rim if len(rim) and rim[:, 1].max() < measures.mouth[1] else np.zeros((0, 3))


def _around(rim: Float[np.ndarray, "N 3"], axis: float, azimuth: Float[np.ndarray, " S"]) -> Float[np.ndarray, "S 3"]:
    """The points of a rim at these directions from the neck's axis."""
    angle = np.arctan2(rim[:, 0], rim[:, 2] - axis) % (2 * np.pi)
    order = np.argsort(angle)
    return np.stack([np.interp(azimuth, angle[order], values[order], period=2 * np.pi) for values in rim.T], axis=1)


def _radius_at(measures: Measures, axis: float, azimuth: Float[np.ndarray, " N"], height: float, *, empty: float = 0.8) -> Float[np.ndarray, " N"]:
    """Of the neck around its axis; `empty` (in units of the measures' scale) where there is none."""
    away = measures.outline - [0.0, height, axis]
    distance = np.hypot(away[:, 0], away[:, 2])
    near = (np.abs(away[:, 1]) < 0.15 * measures.scale) & (distance < 1.1 * measures.scale)
    if near.sum() < 8:
        return np.full(len(azimuth), empty * measures.scale)
    angle = np.arctan2(away[near, 0], away[near, 2])
    apart = (azimuth[:, None] - angle + np.pi) % (2 * np.pi) - np.pi
    weights = np.exp(-0.5 * (apart / np.radians(10)) ** 2) + 1e-9
    return weights @ distance[near] / weights.sum(axis=1)


def _garment(rings: Float[np.ndarray, "R S 3"], scale: float, *, rng: np.random.Generator) -> tuple[Piece, Float[np.ndarray, " S"]]:
    """A copy of the trunk, a little outside, from a random neckline down; and that line, as the ring of the trunk at each side."""
    sides = rings.shape[1]
    azimuth = 2 * np.pi * np.arange(sides) / sides
    front = np.clip(np.cos(azimuth), 0, 1)
    start = len(rings) - 6 + rng.uniform(-0.7, 0.6)  # in rings; the neckline dips in front, round or pointed
    neckline = start + rng.uniform(0.0, 1.3) * front ** rng.choice([1.5, 6.0]) + 0.03 * smooth_noise(sides, 5, rng=rng)
    levels = np.linspace(0, 1, GARMENT_ROWS)[:, None] * (len(rings) - 1 - neckline) + neckline
    low = np.minimum(levels.astype(int), len(rings) - 2)
    share, column = (levels - low)[..., None], np.arange(sides)
    points = (1 - share) * rings[low, column] + share * rings[low + 1, column]
    middle = points.mean(axis=1, keepdims=True)
    outward = points - middle
    outward[..., 1] = 0
    length = np.maximum(np.linalg.norm(outward, axis=2, keepdims=True), 1e-9)
    thickness = CLOTH_THICKNESS * scale * (1 + 0.3 * smooth_noise(sides, 4, rng=rng))[:, None]
    points = points + outward / length * thickness + [0, 0.5 * CLOTH_THICKNESS * scale, 0]
    points[0] -= outward[0] / length[0] * thickness * 0.9  # the seam lies on the skin
    vertices = points.reshape(-1, 3)
    colour = np.array(CLOTHES[rng.integers(len(CLOTHES))]) * np.exp(rng.normal(0, 0.25, 3)) * rng.uniform(0.5, 1.3)
    albedo = np.tile(colour, (len(vertices), 1))
    if rng.random() < 0.25:  # stripes
        other = np.array(CLOTHES[rng.integers(len(CLOTHES))]) * rng.uniform(0.5, 1.2)
        albedo[(np.arange(len(vertices)) // sides) % 2 == 1] = other
    folds = 1 + 0.12 * smooth_noise(len(vertices), 7, rng=rng)
    albedo = np.clip(albedo * folds[:, None], 0.004, 0.9)
    faces = grid_faces(len(points), sides, closed=True)
    return piece(vertices, faces, "clothes", albedo=albedo, specular=0.01, shininess=8.0), neckline


def turning_below(measures: Measures) -> float:
    """Height under which `turned_body` moves anything."""
    return measures.chin - TURN_FROM * measures.scale


def turned_body(vertices: Float[np.ndarray, "N 3"], measures: Measures, angles: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "N 3"]:
    """Neck and trunk under a head that is turned by the opposite of these angles (radians: yaw, pitch, roll): the neck twists, the trunk follows whole."""
    joint = np.array([0.0, measures.chin, measures.eyes[2] - NECK_AXIS * measures.scale])
    share = np.clip(((joint[1] - vertices[:, 1]) / measures.scale - TURN_FROM) / (TURN_TO - TURN_FROM), 0, 1)
    rotation = turn(angles[2], 2) @ turn(angles[1], 0) @ turn(angles[0], 1)
    away = vertices - joint
    return vertices + (share * share * (3 - 2 * share))[:, None] * (away @ rotation.T - away)
