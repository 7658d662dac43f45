"""Hands and things that come before a face: fingers, a phone, a microphone, a cup; simple shapes with the label `occluder`."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float

from serep.render.hand import hand_piece
from serep.render.measures import Measures
from serep.render.pieces import Piece, grid_faces, joined, piece, tube
from serep.render.sampling import turn

KINDS = {"hand": 0.45, "phone": 0.2, "microphone": 0.15, "cup": 0.12, "ball": 0.08}
"""What is drawn, and how often."""
GAP = 3.0  # mm between a thing and the face
HAND_SKIN_SHARE = 0.8  # of hands that are the person's own
SLEEVE_SHARE = 0.6  # of arms


def sample_occluder(measures: Measures, landmarks: Float[np.ndarray, "L 3"], skin: Float[np.ndarray, " 3"], *, rng: np.random.Generator) -> Piece:
    """A thing near the mouth, a cheek or the chin of this head."""
    kind = rng.choice(list(KINDS), p=list(KINDS.values()))
    side = rng.choice([-1.0, 1.0])
    scale = measures.scale
    if kind == "hand":
        colour = skin * np.exp(rng.normal(0, 0.05, 3)) if rng.random() < HAND_SKIN_SHARE else skin * rng.uniform(0.4, 1.3)
        return _hand(measures, landmarks, side, np.clip(colour, 0.01, 0.9), rng=rng)
    lips = measures.mouth
    if kind == "phone":  # at the ear and the cheek, or held up before the mouth
        if rng.random() < 0.75:
            middle = np.array([side * (measures.half_width + 14), lips[1] + rng.uniform(0.1, 0.7) * scale, measures.centre[2] + rng.uniform(0.5, 0.9) * scale])
            axes = _axes(rng.normal(0, 0.15), side * rng.uniform(1.1, 1.5), side * rng.uniform(0.1, 0.5))
        else:
            middle = lips + np.array([rng.normal(0, 0.35) * scale, rng.uniform(-1.4, -0.7) * scale, rng.uniform(0.3, 0.7) * scale])
            axes = _axes(rng.normal(0.2, 0.2), rng.normal(0, 0.2), rng.normal(0, 0.3))
        return _box(middle, axes, np.array([36.0, 74.0, 4.0]) * rng.uniform(0.9, 1.1), _dull(rng=rng))
    if kind == "microphone":
        head = lips + np.array([rng.normal(0, 0.2) * scale, rng.uniform(-0.75, -0.25) * scale, rng.uniform(0.45, 0.8) * scale])
        away = np.array([side * rng.uniform(0.0, 0.8), -1.0, rng.uniform(0.1, 0.8)])
        ball = _ellipsoid(head, np.eye(3), np.full(3, rng.uniform(20, 28)), np.full(3, rng.uniform(0.02, 0.25)))
        return joined([ball, _stick(head, head + 220 * away / np.linalg.norm(away), 13.0, np.full(3, 0.02))])
    if kind == "cup":
        rim = lips + np.array([rng.normal(0, 0.1) * scale, rng.uniform(-0.15, 0.1) * scale, rng.uniform(0.12, 0.3) * scale])
        axis = np.array([0.0, -1.0, rng.uniform(0.2, 1.2)])
        axis /= np.linalg.norm(axis)
        spine = rim + np.outer(np.array([0.0, 1, 50, 95, 96]), axis) + [0, -8, 34]
        vertices, faces = tube(spine, np.array([[34, 34], [38, 38], [35, 35], [29, 29], [20, 20.0]]), sides=22, up=np.array([1.0, 0, 0]))
        return piece(vertices, faces, "occluder", albedo=_dull(rng=rng), specular=0.06, shininess=30.0)
    middle = lips + np.array([side * rng.uniform(0.1, 0.8) * scale, rng.uniform(-0.8, 0.5) * scale, 0.0])
    radii = rng.uniform(13, 26, 3)
    nearest = landmarks[np.argmin(np.linalg.norm(landmarks[:, :2] - middle[:2], axis=1)), 2]
    return _ellipsoid(np.array([*middle[:2], nearest + radii.max() + GAP]), _axes(*rng.uniform(-1, 1, 3)), radii, _dull(rng=rng))


def _hand(measures: Measures, landmarks: Float[np.ndarray, "L 3"], side: float, skin: Float[np.ndarray, " 3"], *, rng: np.random.Generator) -> Piece:
    """A hand that lies before chin, mouth or cheek, on a forearm from below."""
    scale = measures.scale
    target = measures.mouth + np.array([side * rng.uniform(-0.1, 0.85) * scale, rng.uniform(-0.75, 0.45) * scale, 0.0])
    near = landmarks[np.argsort(np.linalg.norm(landmarks[:, :2] - target[:2], axis=1))[:6]]
    depth = max(near[:, 2].max(), measures.mouth[2] - 6.0 if target[1] > measures.chin else -1e9) + GAP + 8.0
    lean = side * rng.uniform(-0.9, 0.5)  # of the fingers against upright
    along, flat = np.array([np.sin(lean), np.cos(lean), 0.0]), np.array([np.cos(lean), -np.sin(lean), 0.0])
    place = np.array([*target[:2], depth]) - along * rng.uniform(45, 75) + [0, 0, 8]
    elbow = place - 48 * along + np.array([side * rng.uniform(0, 90), -230.0, rng.uniform(-20, 60)])
    axes = np.stack([rng.choice([-1.0, 1.0]) * flat, along, [0.0, 0.0, 1.0]])
    sleeve = _dull(rng=rng) if rng.random() < SLEEVE_SHARE else None
    return hand_piece(axes, place, elbow, size=scale / 70 * rng.uniform(0.9, 1.08), skin=skin, sleeve=sleeve, rng=rng)


def _dull(*, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """Colour of a thing: mostly dark or light grey, sometimes bright."""
    grey = np.exp(rng.uniform(np.log(0.012), np.log(0.7)))
    return np.clip(grey * np.exp(rng.normal(0, rng.choice([0.08, 0.7], p=[0.6, 0.4]), 3)), 0.005, 0.85)


def _axes(pitch: float, yaw: float, roll: float) -> Float[np.ndarray, "3 3"]:
    """Rows: where the thing's own x, y and z point."""
    return (turn(yaw, 1) @ turn(pitch, 0) @ turn(roll, 2)).T


def _stick(start: Float[np.ndarray, " 3"], end: Float[np.ndarray, " 3"], radius: float, colour: Float[np.ndarray, " 3"]) -> Piece:
    line = np.linspace(0, 1, 4)[:, None] * (end - start) + start
    vertices, faces = tube(line, np.full((4, 2), radius), sides=10, up=np.array([0.1, 0.2, 0.97]))
    return piece(vertices, faces, "occluder", albedo=colour, specular=0.08, shininess=30.0)


def _ellipsoid(middle: Float[np.ndarray, " 3"], axes: Float[np.ndarray, "3 3"], radii: Float[np.ndarray, " 3"], colour: Float[np.ndarray, " 3"]) -> Piece:
    polar, turn = np.linspace(0.02, np.pi - 0.02, 11)[:, None], 2 * np.pi * np.arange(18) / 18
    unit = np.stack(np.broadcast_arrays(np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)), axis=-1).reshape(-1, 3)
    return piece(middle + (unit * radii) @ axes, grid_faces(11, 18, closed=True), "occluder", albedo=colour, specular=0.04, shininess=20.0)


def _box(middle: Float[np.ndarray, " 3"], axes: Float[np.ndarray, "3 3"], half: Float[np.ndarray, " 3"], colour: Float[np.ndarray, " 3"]) -> Piece:
    """A slab with rounded outline and a darker front."""
    turn = 2 * np.pi * (np.arange(24) + 0.5) / 24
    outline = np.stack([np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.25, np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.25], 1) * half[:2]
    profile = ((0.0, 1.0), (0.9, 1.0), (0.97, 0.9), (1.0, 0.3), (1.0, -0.3), (0.9, -1.0), (0.0, -1.0))
    rows = [np.column_stack([outline * share, np.full(24, level * half[2])]) for share, level in profile]
    vertices = middle + np.concatenate(rows) @ axes
    albedo = np.repeat([colour * 0.3] * 2 + [colour] * 5, 24, axis=0)
    return piece(vertices, grid_faces(len(rows), 24, closed=True), "occluder", albedo=albedo, specular=0.12, shininess=50.0)
