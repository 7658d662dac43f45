"""Named masks over a head's vertices, computed from its mean, landmarks and parts: one set of rules for every topology.

METRIC regions are hard, lie on visible skin and are disjoint (but for `mouth_cheek` and `face`, which are unions). PAINT regions are soft and
tell an appearance where lips, brows, hair … go. EYE regions lie on the eyeballs, by the angle from the axis that looks straight ahead.

Lengths are in units of the distance from the eyes to the mouth (about 70 mm), so that the rules fit heads of any size.
"""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from serep.faces.landmark_ids import LEFT_BROW_IDS, LEFT_EYE_IDS, OUTER_LIP_IDS, RIGHT_BROW_IDS, RIGHT_EYE_IDS
from serep.geometry.mesh import vertex_normals

METRIC_REGIONS = ("mouth", "cheek", "nose", "eyes_forehead")
UNION_REGIONS = ("mouth_cheek", "face")
PAINT_REGIONS = ("lips", "brow_left", "brow_right", "lids", "hair", "beard", "cheek_blush", "nostril")
EYE_REGIONS = ("iris", "pupil", "sclera")
REGIONS = METRIC_REGIONS + UNION_REGIONS + PAINT_REGIONS + EYE_REGIONS
PUPIL_DEG, IRIS_DEG = 7.5, 23.3  # from the gaze axis: radii of 2 and 6 mm on an eyeball of 15


def smooth_step(values: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 before `start`, 1 after `end` (either way round), smooth between."""
    share = np.clip((values - start) / (end - start), 0, 1)
    return share * share * (3 - 2 * share)


def distance_to_line(points: Float[np.ndarray, "V D"], line: Float[np.ndarray, "N D"], *, closed: bool) -> Float[np.ndarray, " V"]:
    """Distance to the nearest point of a polyline, in as many dimensions as are given."""
    starts, ends = (line, np.roll(line, -1, axis=0)) if closed else (line[:-1], line[1:])
    along = ends - starts
    share = np.einsum("vsd,sd->vs", points[:, None] - starts, along) / np.maximum((along**2).sum(axis=1), 1e-12)
    return np.linalg.norm(points[:, None] - starts - np.clip(share, 0, 1)[..., None] * along, axis=-1).min(axis=1)


def depth_inside(points: Float[np.ndarray, "V 2"], outline: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, " V"]:
    """Distance to a closed outline, negative outside."""
    (x, y), (x0, y0) = points.T[:, :, None], outline.T
    x1, y1 = np.roll(outline, -1, axis=0).T
    crosses = ((y0 > y) != (y1 > y)) & (x < x0 + (x1 - x0) * (y - y0) / np.where(y1 == y0, 1, y1 - y0))  # a ray to the right
    return distance_to_line(points, outline, closed=True) * np.where(crosses.sum(axis=1) % 2 == 1, 1, -1)


Embedding = Mapping[str, np.ndarray]
"""Points on a mesh: "ids" (L,), "triangles" (L, 3) and "barycentric" (L, 3)."""


def compute_regions(
    template: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    parts: UInt8[np.ndarray, " V"],
    embeddings: tuple[Embedding, ...],
    *,
    hidden: Bool[np.ndarray, " V"] | None = None,
) -> dict[str, Float[np.ndarray, " V"]]:
    """Every region of REGIONS as a mask in 0..1.

    `hidden` marks skin that no camera sees (eye sockets). Without landmarks of the brows their masks are empty.
    """
    points = {
        int(one): at for marks in embeddings
        for one, at in zip(marks["ids"], np.einsum("lka,lk->la", template[marks["triangles"]], marks["barycentric"]), strict=True)
    }  # fmt: skip
    eyes, mouth = (np.mean([points[one] for one in ids], axis=0) for ids in ((33, 133, 362, 263), (61, 291, 13, 14)))
    scale = eyes[1] - mouth[1]
    origin = np.array([(eyes[0] + mouth[0]) / 2, eyes[1], eyes[2]])
    points = {one: (at - origin) / scale for one, at in points.items()}
    at = (template - origin) / scale
    skin = parts == 0
    masks = _metric(at, points, skin if hidden is None else skin & ~hidden)
    masks |= {name: mask * skin for name, mask in _paint(at, points, vertex_normals(template, faces)).items()}
    masks |= _eyes(template, parts)
    return {name: masks[name].astype(np.float32) for name in REGIONS}


def _metric(at: np.ndarray, points: dict[int, np.ndarray], visible: np.ndarray) -> dict[str, np.ndarray]:
    x, y, z = np.abs(at[:, 0]), at[:, 1], at[:, 2]
    face = visible & (z > -0.75) & (y < 1.1) & (y + 0.72 * z > -1.79)  # before the ears, below the hairline, above the jaw's lower edge
    wing = max(abs(points[129][0]), abs(points[358][0])) + 0.05
    nose = face & (y < 0.1) & (y > points[2][1] - 0.03) & (x < np.interp(y, [-0.45, 0.1], [wing, 0.14])) & (z > points[129][2] - 0.25)
    lips = distance_to_line(at, np.array([points[one] for one in OUTER_LIP_IDS]), closed=True)
    mouth = face & ~nose & ((lips < 0.22) | (x < 0.42) & (y < -1))
    eyes_forehead = face & ~nose & ~mouth & (y > min(points[145][1], points[374][1]) - 0.17)
    cheek = face & ~nose & ~mouth & ~eyes_forehead
    return {"mouth": mouth, "cheek": cheek, "nose": nose, "eyes_forehead": eyes_forehead, "mouth_cheek": mouth | cheek, "face": face}


def _paint(at: np.ndarray, points: dict[int, np.ndarray], normals: np.ndarray) -> dict[str, np.ndarray]:
    x, y, z = np.abs(at[:, 0]), at[:, 1], at[:, 2]
    line = lambda ids: np.array([points[one] for one in ids])  # noqa: E731
    outline = line(OUTER_LIP_IDS)
    lips = smooth_step(depth_inside(at[:, :2], outline[:, :2]), -0.02, 0.02) * (z > outline[:, 2].min() - 0.1)
    brows = {
        name: smooth_step(depth_inside(at[:, :2], line(ids)[:, :2]), -0.05, 0.02) * (z > -0.5) if set(ids) <= set(points) else np.zeros(len(at))
        for name, ids in (("brow_left", LEFT_BROW_IDS), ("brow_right", RIGHT_BROW_IDS))
    }
    lids = np.minimum(*(distance_to_line(at, line(ids), closed=True) for ids in (LEFT_EYE_IDS, RIGHT_EYE_IDS)))
    # From back to front: nape, above the ear, sideburn, temple, forehead.
    hairline = np.interp(z, [-1.9, -1.8, -1.02, -0.92, -0.8, -0.55, -0.2, 0.3], [-1.2, 0.33, 0.33, -0.3, -0.2, 0.6, 0.98, 1.02])
    top = np.interp(x, [0, 0.35, 0.6, 0.85, 1.0], [-0.74, -0.74, -1.0, -0.75, -0.45])  # of the beard: under the nose, below the cheek, sideburn
    beard = smooth_step(top - y, -0.03, 0.1) * smooth_step(y + 0.72 * z, -2.0, -1.8) * smooth_step(z, -1.0, -0.85) * (1 - lips)
    blush = np.exp(-((x - 0.6) ** 2 + (y + 0.5) ** 2) / (2 * 0.17**2)) * smooth_step(z, -0.7, -0.4)
    nostril = np.zeros(len(at))
    for wing in (98, 327):  # walls that look at a point inside the opening; the nose's outside looks away from it
        towards = 0.45 * points[wing] + 0.55 * points[2] + [0, 0.08, -0.02] - at
        distance = np.linalg.norm(towards * [1, 1, 0.7], axis=1)
        facing = (towards * normals).sum(axis=1) / np.linalg.norm(towards, axis=1)
        nostril = np.maximum(nostril, smooth_step(distance, 0.22, 0.15) * smooth_step(facing, -0.2, 0.3) * smooth_step(y - points[2][1], 0.0, 0.03))
    return {
        "lips": lips, **brows, "lids": smooth_step(lids, 0.09, 0.02), "hair": smooth_step(y - hairline, -0.05, 0.08),
        "beard": beard, "cheek_blush": blush, "nostril": nostril,
    }  # fmt: skip


def _eyes(template: np.ndarray, parts: np.ndarray) -> dict[str, np.ndarray]:
    iris, pupil, ball = np.zeros(len(parts)), np.zeros(len(parts)), np.isin(parts, (1, 2))
    for part in (1, 2):
        mine = parts == part
        if mine.any():
            away = template[mine] - ball_centre(template[mine])
            angle = np.degrees(np.arccos(np.clip(away[:, 2] / np.linalg.norm(away, axis=1), -1, 1)))
            pupil[mine] = smooth_step(angle, PUPIL_DEG + 0.5, PUPIL_DEG - 0.5)
            iris[mine] = smooth_step(angle, IRIS_DEG + 1, IRIS_DEG - 1) - pupil[mine]
    return {"iris": iris, "pupil": pupil, "sclera": np.maximum(ball - iris - pupil, 0)}


def ball_centre(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " 3"]:
    """Centre of the sphere that fits the points best (least squares on the sphere's linear equation).

    By normal equations, which are five times as fast as an orthogonal factorisation; the points lie around their mean, so nothing is lost.
    """
    middle = points.mean(axis=0)
    away = points - middle
    rows = np.column_stack([2 * away, np.ones(len(away))])
    return middle + np.linalg.solve(rows.T @ rows, rows.T @ np.einsum("na,na->n", away, away))[:3]
