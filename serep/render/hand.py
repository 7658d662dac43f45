"""A hand before a face, seen from its back: a palm, curled fingers with nails and creases, a forearm with or without a sleeve."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from serep.geometry.mesh import Mesh
from serep.render.ambient_occlusion import ambient_occlusion
from serep.render.pieces import Piece, joined, piece, tube, waves
from serep.render.shading import mesh_normals

# Lengths in mm of a hand of ordinary size, in the hand's own frame: x towards the little finger, y along the fingers, z out of the back.
FINGERS = ((-29.0, 36.0, 72.0), (-9.5, 40.0, 81.0), (10.0, 38.0, 75.0), (28.0, 30.0, 58.0))
"""Knuckle (x, y) and length of index, middle, ring and little finger."""
JOINTS, BENDS = (0.02, 0.46, 0.76), (0.5, 1.0, 0.8)
"""Where along a finger it bends, and by which share of its curl (radians)."""
THICKNESS = ((0.0, 0.2, 0.4, 0.47, 0.55, 0.7, 0.77, 0.84, 0.93, 0.98, 1.0), (10.6, 9.9, 9.2, 9.5, 8.8, 8.2, 8.4, 7.9, 7.1, 5.0, 2.0))
PALM = ((-58, 25, 16), (-50, 26, 17), (-38, 31, 18), (-15, 38, 17), (10, 42, 14.5), (28, 43, 12.5), (38, 41, 10.5), (44, 36, 8), (48, 28, 5))
"""y, half width, half thickness."""
RINGS, SIDES = 26, 14
NAIL = (0.84, 0.985)  # from where to where along a finger
OCCLUSION_RAYS, OCCLUSION_FLOOR = 20, 0.4


def hand_piece(
    wrist_to_face: Float[np.ndarray, "3 3"], place: Float[np.ndarray, " 3"], elbow: Float[np.ndarray, " 3"], *,
    size: float, skin: Float[np.ndarray, " 3"], sleeve: Float[np.ndarray, " 3"] | None, rng: np.random.Generator,
) -> Piece:
    """The hand with its middle at `place` and an arm that comes from `elbow` (mm, the head's frame); rows of `wrist_to_face` are the hand's axes.

    `size` is 1 for an ordinary hand. A left-handed frame makes the other hand.
    """
    curl, spread = rng.uniform(0.1, 0.75), rng.uniform(0.0, 0.09)
    pieces = [_palm(skin)]
    for number, (x, y, length) in enumerate(FINGERS):
        bend = curl * (0.8 + 0.25 * np.sin(number + 3 * curl)) + 0.05
        pieces.append(_finger(np.array([x, y - 10.0, -0.006 * x * x]), length + 10.0, spread * (x - 5) / 15, bend, 0.94 + 0.06 * np.cos(number - 1.2), skin))
    pieces.append(_finger(np.array([-18.0, -36.0, -6.0]), 86.0, rng.uniform(-0.75, -0.4), 0.35 * curl, 1.2, skin))
    hand = joined(pieces)
    vertices = place + size * hand.vertices @ wrist_to_face
    faces = hand.faces if np.linalg.det(wrist_to_face) > 0 else hand.faces[:, ::-1]
    back = place + size * np.array([0.0, -52.0, 0.0]) @ wrist_to_face
    arm = [_arm(back, elbow, (0.0, 0.1, 0.45, 1.0), size * np.array([[25.0, 17.0], [25.0, 19.0], [33.0, 30.0], [42.0, 40.0]]), skin, wrist_to_face[2])]
    if sleeve is not None:
        arm.append(_arm(back, elbow, (0.12, 0.14, 0.45, 1.0), size * np.array([[29.0, 24.0], [36.0, 31.0], [44.0, 40.0], [54.0, 51.0]]), sleeve, wrist_to_face[2]))
    whole = joined([replace(hand, vertices=vertices, faces=faces), *arm])
    return _weathered(whole, rng=rng)


def _palm(skin: Float[np.ndarray, " 3"]) -> Piece:
    y, width, thick = np.array(PALM, np.float64).T
    steps = np.linspace(0, len(y) - 1, 24)
    y, width, thick = (np.interp(steps, np.arange(len(y)), one) for one in (y, width, thick))
    vertices, faces = _tube(np.column_stack([0 * y, y, 0 * y]), np.column_stack([width, thick]), sides=24)
    knuckles = np.max([np.exp(-((vertices[:, 0] - x) ** 2 / 40.0 + (vertices[:, 1] - y) ** 2 / 60.0)) for x, y, _ in FINGERS], axis=0)
    vertices[:, 2] += 2.2 * knuckles * (vertices[:, 2] > 0)
    grooves = 0.07 * np.cos((vertices[:, 0] + 0.3) * 2 * np.pi / 19.5) * np.clip((vertices[:, 1] + 30) / 50, 0, 1)
    albedo = skin * (1 + np.where(vertices[:, 2] > 0, grooves, 0.0))[:, None] * (1 - knuckles[:, None] * [0.02, 0.14, 0.15])
    return piece(vertices, faces, "occluder", albedo=np.clip(albedo, 0.003, 0.9), specular=0.03, shininess=12.0)


def _finger(root: Float[np.ndarray, " 3"], length: float, lean: float, bend: float, thickness: float, skin: Float[np.ndarray, " 3"]) -> Piece:
    along = np.concatenate([np.linspace(0, 0.8, RINGS - 10), np.linspace(0.82, 1.0, 10)])
    angle = bend * sum(share / (1 + np.exp((joint - along) / 0.025)) for joint, share in zip(JOINTS, BENDS, strict=True))
    steps = np.diff(along, prepend=0.0) * length
    forwards = np.cumsum(steps * np.cos(angle))
    spine = root + np.column_stack([np.sin(lean) * forwards, np.cos(lean) * forwards, -np.cumsum(steps * np.sin(angle))])
    radius = thickness * np.interp(along, *THICKNESS)
    vertices, faces = _tube(spine, np.column_stack([radius, 0.9 * radius]), sides=SIDES)
    ring = np.repeat(np.concatenate([along[:1], along, along[-1:]]), SIDES)
    rise = (vertices - np.repeat(np.concatenate([spine[:1], spine, spine[-1:]]), SIDES, axis=0))[:, 2] / np.maximum(np.repeat(
        np.concatenate([radius[:1], radius, radius[-1:]]), SIDES), 1e-6)
    on_back = np.clip(rise * 1.4, 0, 1)
    joint = np.max([np.exp(-(((ring - place) / 0.055) ** 2)) for place in JOINTS[1:]], axis=0)
    crease = np.max([np.exp(-(((ring - place + shift) / 0.014) ** 2)) for place in JOINTS[1:] for shift in (-0.025, 0.02)], axis=0)
    tip = np.clip((ring - 0.75) / 0.2, 0, 1)
    albedo = skin * (1 - (joint * on_back + 0.7 * tip)[:, None] * [0.02, 0.13, 0.14]) * (1 - 0.28 * crease * on_back)[:, None]
    nail = (ring > NAIL[0]) & (ring < NAIL[1]) & (rise > 0.55)
    white = nail & (ring > NAIL[1] - 0.03)
    albedo = np.where(nail[:, None], 0.55 * albedo + 0.45 * np.clip(1.6 * skin, 0, 0.75) * [1.0, 0.8, 0.76], albedo)
    albedo = np.where(white[:, None], 0.4 * albedo + 0.6 * np.array([0.62, 0.55, 0.48]), albedo)
    return piece(vertices, faces, "occluder", albedo=np.clip(albedo, 0.003, 0.9), specular=np.where(nail, 0.12, 0.03), shininess=14.0)


def _arm(wrist: np.ndarray, elbow: np.ndarray, shares: tuple[float, ...], radii: np.ndarray, colour: np.ndarray, up: np.ndarray) -> Piece:
    at = np.linspace(shares[0], shares[-1], 12)
    thick = np.column_stack([np.interp(at, shares, one) for one in radii.T])
    vertices, faces = tube(wrist + at[:, None] * (elbow - wrist), thick, sides=18, up=up)
    return piece(vertices, faces, "occluder", albedo=colour, specular=0.02, shininess=10.0)


def _tube(spine: np.ndarray, radii: np.ndarray, *, sides: int) -> tuple[np.ndarray, np.ndarray]:
    return tube(spine, radii, sides=sides, up=np.array([0.0, 0.0, 1.0]))


def _weathered(whole: Piece, *, rng: np.random.Generator) -> Piece:
    """Uneven colour, and shade between the fingers. Fingers shade each other alone: the face's shade comes from the lamp."""
    sky = ambient_occlusion(Mesh(whole.vertices, whole.faces), rays=OCCLUSION_RAYS, floor=OCCLUSION_FLOOR)
    uneven = 1 + 0.05 * waves(whole.vertices, 14.0, 45.0, rng=rng) + 0.03 * waves(whole.vertices, 5.0, 11.0, rng=rng)
    hollow = 1 - 0.1 * np.clip(-mesh_normals(whole.vertices, whole.faces)[:, 1], 0, 1)
    albedo = whole.look.albedo * (sky * uneven * hollow)[:, None]
    return replace(whole, look=replace(whole.look, albedo=np.clip(albedo, 0.002, 0.9)))
