"""What makes eyes look alive: lashes on the upper lids, the shade of the lids on the eyeballs, and the lamp's reflection."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from serep.faces.landmark_ids import LEFT_EYE_IDS, RIGHT_EYE_IDS
from serep.faces.regions import ball_centre
from serep.faces.topology import FaceTopology
from serep.render.ambient_occlusion import facing_frame
from serep.render.pieces import Piece, grid_faces, piece
from serep.render.sampling import turn
from serep.render.scene import Light

EYE_LIMITS = np.radians([34.0, 24.0])
"""Largest turn of an eye from straight ahead: sideways, up and down."""
BACK_OF_EYE = -0.35
"""Cosine to straight ahead from which on an eyeball is never seen."""
UPPER_LIDS = (LEFT_EYE_IDS[9:], RIGHT_EYE_IDS[9:])
"""Along the upper lid from the inner side to the outer, without the corners, left eye first."""
LASH_POINTS = 13  # along one lid
LASH_PROFILE = np.array([0.0, 0.35, 0.55, 0.75, 0.85, 0.95, 1.0, 1.0, 1.0, 0.95, 0.85, 0.6, 0.1])
LASH_TIP = 0.45  # share of the lashes' own colour at their tips
LASH_FAN = 4.0  # mm before the eyeball's centre: lashes stand more upright than its radii
LASH_ROOT = np.array([0.0, -0.7, 0.0])
"""mm from the lid's edge to where lashes start to be seen, dark and dense, before the eyeball."""
LID_SHADE, LID_SHADE_MM = 0.55, 4.0
"""How much of the light the upper lid takes from the eyeball right below it, and how far down that reaches."""
GLINT_SIDES, GLINT_OUT = 7, 0.25
DISC = np.stack([part(2 * np.pi * np.arange(GLINT_SIDES) / GLINT_SIDES) for part in (np.cos, np.sin)], axis=1)
CORNEA = 0.58
"""The cornea is rounder than the eyeball: a reflection lies at about this share of the angle from the gaze that it would have on a ball."""
GLINT_LIMIT = 0.72
"""Cosine of the largest angle between the gaze and a reflection: beyond, the white of the eye shows none that would be noticed."""


@dataclass(frozen=True, eq=False)
class Eyes:
    """Both eyes of one expression."""

    vertices: Float[np.ndarray, "V 3"]
    """Of the whole head, the eyes turned."""
    landmarks: Float[np.ndarray, "L 3"]
    centres: tuple[Float[np.ndarray, " 3"], ...]
    """Of the eyeballs, left and right."""


class EyeDetails:
    """For heads of one topology (with eyes); rows of the upper lids' landmarks, and which vertices are eyeballs."""

    def __init__(self, topology: FaceTopology) -> None:
        self.topology = topology
        self.lids = [topology.landmark_rows(ids) for ids in UPPER_LIDS]
        steps, points = np.linspace(0, len(UPPER_LIDS[0]) - 1, LASH_POINTS), np.eye(len(UPPER_LIDS[0]))
        self._along = np.stack([np.interp(steps, np.arange(len(points)), point) for point in points], axis=1)
        self.balls = [np.flatnonzero(topology.parts == topology.part_names.index(name)) for name in ("eye_left", "eye_right")]
        self.fronts = [ball[topology.regions["pupil"][ball] > 0.5] for ball in self.balls]

    def backs(self) -> Bool[np.ndarray, " V"]:
        """Vertices of the eyeballs that stay inside the head however the eyes turn."""
        backs = np.zeros(len(self.topology.template), bool)
        for ball in self.balls:
            away = self.topology.template[ball] - ball_centre(self.topology.template[ball])
            backs[ball] = away[:, 2] < BACK_OF_EYE * np.linalg.norm(away, axis=1)
        return backs

    def turn(self, vertices: Float[np.ndarray, "V 3"], gaze: Float[np.ndarray, " 2"]) -> Eyes:
        """The head with each eyeball turned about its own centre by `gaze` (radians: to the subject's left, and down), but no further than eyes go.

        An expression may have turned them already (heads with eyes of their own know units for that).
        """
        turned, centres = vertices.copy(), []
        for ball, front in zip(self.balls, self.fronts, strict=True):
            centre = ball_centre(vertices[ball])
            centres.append(centre)
            x, y, z = vertices[front].mean(axis=0) - centre
            own = np.array([np.arctan2(x, z), np.arctan2(-y, np.hypot(x, z))])
            aim = np.clip(own + gaze, -EYE_LIMITS, EYE_LIMITS)
            rotation = turn(aim[0], 1) @ turn(aim[1] - own[1], 0) @ turn(-own[0], 1)
            turned[ball] = (vertices[ball] - centre) @ rotation.T + centre
        return Eyes(turned, self.topology.landmarks(vertices), tuple(centres))

    def lashes(self, colour: Float[np.ndarray, " 3"], skin: Float[np.ndarray, " 3"]) -> Piece:
        """Two strips whose place is given by `lash_vertices`; the colour stands for many hairs with skin between them, more of it at their tips."""
        faces = grid_faces(2, LASH_POINTS, closed=False)
        both = np.concatenate([faces, faces[:, ::-1], 2 * LASH_POINTS + faces, 2 * LASH_POINTS + faces[:, ::-1]])
        albedo = np.tile(np.repeat([LASH_TIP * colour + (1 - LASH_TIP) * skin, colour], LASH_POINTS, axis=0), (2, 1))
        return piece(np.zeros((4 * LASH_POINTS, 3)), both, "skin", albedo=albedo, specular=0.0, shininess=10.0)

    def lash_vertices(self, eyes: Eyes, length: float) -> Float[np.ndarray, "N 3"]:
        """Along the lids of this expression, forwards and away from the eyeballs; `length` in mm."""
        places = []
        for lid, centre in zip(self.lids, eyes.centres, strict=True):
            line = eyes.landmarks[lid]
            root = self._along @ line
            away = root - centre - [0.0, 0.0, LASH_FAN]
            away /= np.linalg.norm(away, axis=1, keepdims=True)
            root += 0.7 * away
            away = away * [0.55, 1.0, 1.0] + [0.0, 0.35, 0.25]
            root += LASH_ROOT * LASH_PROFILE[:, None]
            places += [root + length * LASH_PROFILE[:, None] * away / np.linalg.norm(away, axis=1, keepdims=True), root]
        return np.concatenate(places)

    def lid_shade(self, eyes: Eyes, occlusion: Float[np.ndarray, " V"]) -> None:
        """Darkens `occlusion` in place where eyeballs lie in the shade of their upper lids."""
        for lid, ball in zip(self.lids, self.balls, strict=True):
            line, places = eyes.landmarks[lid], eyes.vertices[ball]
            order = np.argsort(line[:, 0])
            below = np.interp(places[:, 0], line[order, 0], line[order, 1]) - places[:, 1]
            occlusion[ball] *= 1 - LID_SHADE * np.clip(1 - below / LID_SHADE_MM, 0, 1) ** 2

    def glints(self) -> Piece:
        """Two small discs whose place is given by `glint_vertices`."""
        rim = np.arange(GLINT_SIDES)
        disc = np.stack([np.full(GLINT_SIDES, GLINT_SIDES), (rim + 1) % GLINT_SIDES, rim], axis=1)
        faces = np.concatenate([disc + side * (GLINT_SIDES + 1) for side in range(2)])
        vertices = np.zeros((2 * (GLINT_SIDES + 1), 3))
        return piece(vertices, faces.astype(np.int32), "eye_left", albedo=np.array([0.6, 0.6, 0.6]), specular=1.0, shininess=20.0)

    def glint_vertices(self, eyes: Eyes, light: Light, eye: Float[np.ndarray, " 3"], radius: float) -> Float[np.ndarray, "N 3"]:
        """Where the eyeballs reflect the lamp towards a camera at `eye`; points without extent where they do not."""
        places = []
        for front, centre in zip(self.fronts, eyes.centres, strict=True):
            pupil = eyes.vertices[front]
            gaze = pupil.mean(axis=0) - centre
            size = np.linalg.norm(pupil - centre, axis=1).max() + GLINT_OUT
            gaze /= np.linalg.norm(gaze)
            half = light.direction + (eye - centre) / np.linalg.norm(eye - centre)
            half = half / np.linalg.norm(half) if half @ half > 1e-6 else light.direction
            shown = radius if half @ gaze > GLINT_LIMIT and half @ light.direction > 0.1 else 0.0
            place = CORNEA * half + (1 - CORNEA) * gaze
            place /= np.linalg.norm(place)
            middle = centre + size * place
            places += [middle + shown * DISC @ facing_frame(place)[:2], middle[None]]
        return np.concatenate(places)
