"""Teeth, gums and a tongue for every head, the jaw that carries the lower ones, and the light that the open lips let in.

Heads' own teeth, where they have any, are plates of a few triangles; these have single teeth and reach back into the mouth. Nothing here touches labels.
"""
from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float

from serep.faces.topology import FaceTopology
from serep.geometry.camera import Camera, project, to_camera
from serep.render.compiled import compiled
from serep.render.measures import Measures
from serep.render.pieces import Piece, grid_faces, piece

TOOTH_WIDTHS = (8.5, 6.6, 7.6, 7.0, 6.8, 9.5)  # of one side, from the middle
UPPER_HEIGHTS, LOWER_HEIGHTS = (9.6, 8.6, 9.8, 8.4, 7.6, 6.8), (8.4, 8.6, 9.4, 8.0, 7.4, 7.0)
LOWER_WIDTH_SHARE = 0.9
ARCH_HALF_WIDTH, ARCH_DEPTH = 29.0, 44.0
"""mm of the upper dental arch: half an ellipse."""
BEHIND_LIPS, OVERBITE = 5.5, 2.4
"""mm from where the lips meet back to the upper front teeth, and from those to the lower ones."""
UPPER_EDGE, LOWER_EDGE = -0.8, 0.4
"""mm of the front teeth's edges above where the lips meet."""
TYPICAL_SCALE = 70.0
COLUMNS = (0.0, 0.16, 0.84)  # of a tooth: the gap before it, and its two shoulders
GUM, ENAMEL, TONGUE = (0.34, 0.11, 0.10), (0.70, 0.64, 0.53), (0.36, 0.12, 0.11)
HINGE = (0.30, 0.15)
"""The jaw's joint: below the eyes and before the skull's centre, in units of the distance from the eyes to the mouth."""
CHIN_VERTICES = 30
THROAT_FROM, THROAT_FADE = 14.0, 22.0
"""mm behind the lips from which on light fades beside the opening's angle, and the length of that."""
LIP_MARGIN = 1.5  # mm by which the landmarks of the inner lips may err
OPEN_ANGLE = np.pi
"""Solid angle of the lips' opening, seen from inside, that lets full light in."""


def teeth(measures: Measures, *, upper: bool, rng: np.random.Generator) -> Piece:
    """One dental arch with its gum, where it lies while the mouth is shut."""
    unit = measures.scale / TYPICAL_SCALE
    widths = np.array(TOOTH_WIDTHS) * (1.0 if upper else LOWER_WIDTH_SHARE)
    heights = np.array(UPPER_HEIGHTS if upper else LOWER_HEIGHTS) + rng.normal(0, 0.25, len(widths))
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    along = np.concatenate([edges[tooth] + np.array(COLUMNS) * width for tooth, width in enumerate(widths)] + [edges[-1:]])
    height = np.append(np.repeat(heights, len(COLUMNS)), heights[-1])
    gap = np.append(np.tile([1.0, 0.0, 0.0], len(widths)), 1.0)
    # The other side is the mirror of this one; the middle column is common.
    along, height, gap = (np.concatenate([sign * values[:0:-1], values]) for sign, values in ((-1, along), (1, height), (1, gap)))
    position, outward = _arch(along, 0.0 if upper else OVERBITE)
    rise = 1.0 if upper else -1.0
    start = UPPER_EDGE if upper else LOWER_EDGE
    curve = -0.02 * np.maximum(np.abs(along) - 12, 0) ** 1.2 * rise  # the back teeth bite a little higher
    rows = []  # from the gum to the tooth's edge: share of the tooth's height, mm outwards
    for share, out in ((1.5, 0.0), (1.0, 0.7), (0.5, 1.0), (0.1, 0.35), (0.0, -0.6)):
        inset = gap * np.interp(share, [0.0, 0.15, 1.0, 1.2], [1.2, 0.7, 0.45, 0.0])
        level = start + curve + rise * (share * height + gap * (0.5 if share < 0.2 else 0.0))
        rows.append(np.column_stack([position[:, 0] + outward[:, 0] * (out - inset), level, position[:, 1] + outward[:, 1] * (out - inset)]))
    if not upper:
        rows.reverse()
    vertices = np.array([0.0, measures.mouth[1], measures.mouth[2]]) + unit * np.concatenate(rows)
    stain = np.exp(rng.normal(0, 0.05, 3)) * rng.uniform(0.7, 1.2)
    enamel, gum = np.array(ENAMEL) * stain, np.array(GUM) * rng.uniform(0.7, 1.2)
    tone = (1 - 0.35 * gap) * (1 - 0.25 * np.clip((np.abs(along) - 20) / 20, 0, 1))
    colours = [np.tile(gum, (len(along), 1))] + [enamel * tone[:, None]] * 3 + [enamel * 0.6 * tone[:, None]]
    if not upper:
        colours.reverse()
    return piece(vertices, grid_faces(len(rows), len(along), closed=False), "teeth", albedo=np.clip(np.concatenate(colours), 0, 0.9), specular=0.05,
                 shininess=50.0)


def _arch(along: Float[np.ndarray, " N"], behind: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (x, z) at these lengths along the arch from its middle, and the outward directions there."""
    angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 721)
    line = np.stack([(ARCH_HALF_WIDTH - 0.8 * behind) * np.sin(angle), ARCH_DEPTH * (np.cos(angle) - 1) - BEHIND_LIPS - behind], axis=1)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    length -= length[360]
    points = np.stack([np.interp(along, length, axis) for axis in line.T], axis=1)
    tangent = np.stack([np.interp(along, length, np.gradient(axis, length)) for axis in line.T], axis=1)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    return points, np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)


def tongue(measures: Measures, *, rng: np.random.Generator) -> Piece:
    """The upper side of a tongue at rest behind the lower teeth."""
    unit = measures.scale / TYPICAL_SCALE
    back, across = np.meshgrid(np.linspace(0, 1, 8), np.linspace(-1, 1, 9), indexing="ij")
    half = 17.0 * np.sqrt(np.clip(1 - (1 - back) ** 3, 0, 1))
    level = -8.0 + 9.0 * np.sin(np.pi * np.minimum(back * 0.75, 1)) - 7.0 * across**2 + 1.2 * np.abs(across)
    vertices = np.stack([half * across, level - 6.0 * (back == 0), -(BEHIND_LIPS + 8.0) - 44.0 * back], axis=-1).reshape(-1, 3)
    colour = np.array(TONGUE) * rng.uniform(0.75, 1.25) * np.exp(rng.normal(0, 0.06, 3))
    vertices = np.array([0.0, measures.mouth[1], measures.mouth[2]]) + unit * vertices
    return piece(vertices, grid_faces(8, 9, closed=False)[:, ::-1], "mouth_inside", albedo=colour, specular=0.04, shininess=30.0)


class Jaw:
    """How the lower teeth move: with the chin, about the joint of the jaw. Soft parts may rise, the jaw never closes further than at rest."""

    def __init__(self, neutral: Float[np.ndarray, "V 3"], topology: FaceTopology, measures: Measures) -> None:
        skin = np.flatnonzero((topology.parts == 0) & (np.abs(neutral[:, 0]) < 0.25 * measures.scale) & (neutral[:, 2] > measures.mouth[2] - 0.5 * measures.scale))
        order = np.argsort(np.abs(neutral[skin, 1] - (measures.chin + 0.12 * measures.scale)))
        self._chin = skin[order[:CHIN_VERTICES]]
        self._rest = neutral[self._chin].mean(axis=0)
        self._hinge = np.array([0.0, measures.eyes[1] - HINGE[0] * measures.scale, measures.centre[2] + HINGE[1] * measures.scale])

    def move(self, points: Float[np.ndarray, "N 3"], vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "N 3"]:
        """Points of the jaw at rest, where this expression carries them."""
        shift = vertices[self._chin].mean(axis=0) - self._rest
        arm = self._rest - self._hinge
        reach = np.hypot(arm[1], arm[2])
        rest = np.arctan2(arm[1], arm[2])
        angle = max(rest - np.arcsin(np.clip((arm[1] + min(shift[1], 0.0)) / reach, -1, 1)), 0.0)
        turned = self._hinge + (points - self._hinge) @ _about_x(angle).T
        swung = self._hinge + _about_x(angle) @ arm
        rest_of_shift = vertices[self._chin].mean(axis=0) - swung
        return turned + np.array([rest_of_shift[0], 0.0, np.clip(rest_of_shift[2], -4.0, 8.0)])


def _about_x(angle: float) -> Float[np.ndarray, "3 3"]:
    """Rotation that lowers what lies in front (+z)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


@compiled
@no_type_check
def _solid_angles(points, loop):
    """Solid angle of a closed loop of points seen from each point (van Oosterom and Strackee 1983, over a fan; the
    angles are added as complex numbers are multiplied, so beyond a half-space they count down again)."""
    count, corners = points.shape[0], loop.shape[0]
    angles = np.empty(count)
    for p in range(count):
        px, py, pz = points[p, 0], points[p, 1], points[p, 2]
        ax, ay, az = loop[0, 0] - px, loop[0, 1] - py, loop[0, 2] - pz
        bx, by, bz = loop[1, 0] - px, loop[1, 1] - py, loop[1, 2] - pz
        la, lb = np.sqrt(ax * ax + ay * ay + az * az), np.sqrt(bx * bx + by * by + bz * bz)
        real, imaginary = 1.0, 0.0
        for k in range(2, corners):
            cx, cy, cz = loop[k, 0] - px, loop[k, 1] - py, loop[k, 2] - pz
            lc = np.sqrt(cx * cx + cy * cy + cz * cz)
            volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            ab, bc, ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, cx * ax + cy * ay + cz * az
            level = la * lb * lc + ab * lc + bc * la + ca * lb
            size = 1.0 / max(abs(level), abs(volume), 1e-30)
            level, volume = level * size, volume * size
            real, imaginary = real * level - imaginary * volume, real * volume + imaginary * level
            bx, by, bz, lb = cx, cy, cz, lc
        angles[p] = 2.0 * abs(np.arctan2(imaginary, real))
    return angles


@compiled
@no_type_check
def _far_outside(points, outline, margin):
    """Whether points lie outside of a closed outline by more than the margin, in the plane."""
    count, corners = points.shape[0], outline.shape[0]
    outside = np.empty(count, np.bool_)
    for p in range(count):
        x, y, inside, nearest = points[p, 0], points[p, 1], False, np.inf
        bx, by = outline[corners - 1, 0], outline[corners - 1, 1]
        for k in range(corners):
            ax, ay, bx, by = bx, by, outline[k, 0], outline[k, 1]
            dx, dy = bx - ax, by - ay
            if (ay > y) != (by > y) and x < ax + dx * (y - ay) / dy:
                inside = not inside
            share = min(max(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-12), 0.0), 1.0)
            nearest = min(nearest, (x - ax - share * dx) ** 2 + (y - ay - share * dy) ** 2)
        outside[p] = not inside and nearest > margin * margin
    return outside


def beside_lips(points: Float[np.ndarray, "N 3"], lips: Float[np.ndarray, "L 3"], camera: Camera) -> Bool[np.ndarray, " N"]:
    """Points that a camera does not see through the opening between the inner lips (in order), by more than LIP_MARGIN."""
    outline = project(lips, camera)
    pixels_per_mm = camera.intrinsics[0, 0] / to_camera(lips, camera)[:, 2].mean()
    return _far_outside(project(points, camera), outline, LIP_MARGIN * pixels_per_mm)


def light_through_lips(points: Float[np.ndarray, "N 3"], lips: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, " N"]:
    """Share of the light that reaches points inside the mouth: by the solid angle of the lips' opening, less in the dark throat; full before the lips."""
    behind = lips[:, 2].mean() - points[:, 2]
    share = _solid_angles(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(lips, np.float64)) / OPEN_ANGLE
    share = np.minimum(share, 1.0) * np.exp(-np.maximum(behind - THROAT_FROM, 0.0) / THROAT_FADE)
    return np.clip(np.maximum(share, (1.0 - behind) / 6.0), 0.0, 1.0)
