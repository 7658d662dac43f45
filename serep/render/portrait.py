"""From a head's vertices to a scene: the one way in which training images and benchmark films photograph people.

`Portraits` belongs to a topology, a `Sitter` is one person with skin, eyes, mouth, hair, clothes and perhaps glasses, a `Shot` is what changes from
picture to picture. Landmarks and codes come from the head's own vertices and never see what is added here.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from serep.faces.landmark_ids import INNER_LIP_IDS
from serep.faces.topology import FaceTopology
from serep.geometry.camera import Camera
from serep.geometry.mesh import Mesh
from serep.render.ambient_occlusion import ambient_occlusion
from serep.render.appearance import over, paint_head
from serep.render.body import back_of_head, neck_and_trunk, neck_opening, open_edges, turned_body, turning_below
from serep.render.eyes import EyeDetails
from serep.render.glasses import sample_glasses
from serep.render.hair import hair_piece, sample_haircut, scalp_weight, under_hair
from serep.render.insets import Insets
from serep.render.measures import Measures, measure
from serep.render.mouth import Jaw, beside_lips, light_through_lips, teeth, tongue
from serep.render.occluders import sample_occluder
from serep.render.pieces import Piece, joined, piece
from serep.render.ranges import SceneRanges
from serep.render.refinement import Refinement
from serep.render.sampling import EYE_SINK, MOUTH_SINK, mouth_depths, occlusion_floor, sample_camera, sample_gaze, sample_light, sunk
from serep.render.scene import LABELS, Appearance, Light, Scene
from serep.render.shadows import lamp_share
from serep.render.traits import Traits, sample_traits

OCCLUSION_RAYS = 36
REACH = 165.0
"""mm around the head within which things shade one another."""
DARKEST_MOUTH = 0.03
HIDE = 40.0
"""mm by which the inside of a mouth withdraws where the camera does not see it through the lips: there it could only come out of the skin."""
BLOCKERS = ("back", "neck", "garment", "hair", "glasses")
CLOSED = ("head", "back", "neck", "garment", "glasses")
"""Pieces that no camera sees from inside."""
LABEL_FROM = 0.5  # weight of a soft region from which on it names a triangle


@dataclass(frozen=True, eq=False)
class Shot:
    """What changes from picture to picture."""

    camera: Camera
    light: Light
    gaze: Float[np.ndarray, " 2"]
    """Turn of both eyes, see `turn_eyes`."""
    body: Float[np.ndarray, " 3"]
    """Turn of the trunk under the head, see `turned_body`."""
    shadows: bool
    glint: float
    """Radius (mm) of the lamp's reflection in the eyes."""
    occluder: Piece | None


class Portraits:
    """What all heads of a topology share when they are drawn: finer skin, eyes and a mouth where they have none."""

    def __init__(self, topology: FaceTopology) -> None:
        self.base = topology
        self.refinement = Refinement(topology)
        self.insets = Insets(self.refinement.topology)
        self.drawn = self.insets.topology
        self.eyes = EyeDetails(self.drawn)
        self.has_mouth = bool((topology.parts == topology.part_names.index("mouth_inside")).any())
        unseen = self.eyes.backs()
        unseen[self.drawn.parts == self.drawn.part_names.index("teeth")] = True
        self.faces = self.drawn.faces[~unseen[self.drawn.faces].all(axis=1)]
        self.labels = _labels(self.drawn, self.faces)
        self.edges = open_edges(topology)
        self.skin_faces = topology.faces[(topology.parts[topology.faces] == 0).all(axis=1)]
        self.lips = topology.landmark_rows(INNER_LIP_IDS)

    def head(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "W 3"]:
        """The drawn head of these vertices."""
        return self.insets.add(self.refinement.add(vertices))

    def sitter(self, neutral: Float[np.ndarray, "V 3"], ranges: SceneRanges, *, rng: np.random.Generator) -> Sitter:
        return Sitter(self, neutral, ranges, rng=rng)


class Sitter:
    """One person, ready to be photographed with any expression."""

    def __init__(self, portraits: Portraits, neutral: Float[np.ndarray, "V 3"], ranges: SceneRanges, *, rng: np.random.Generator) -> None:
        self.portraits, self.traits = portraits, sample_traits(ranges, rng=rng)
        base, drawn = portraits.base, portraits.drawn
        rough = measure(neutral, base, np.zeros((0, 3)))
        back, back_faces = back_of_head(neutral, portraits.edges, rough.eyes, rough.scale)
        self.measures: Measures = measure(neutral, base, back) if len(back) else rough
        measures = self.measures
        head = portraits.head(neutral)
        look = paint_head(drawn, self.traits, rng=rng)
        haircut = None if self.traits.bald else sample_haircut(feminine=self.traits.feminine, rng=rng)
        scalp = scalp_weight(haircut, head, measures) * (drawn.parts == 0) * (rng.uniform(0, 0.5) if self.traits.bald else 0.9)
        look = replace(look, albedo=over(look.albedo, 0.8 * self.traits.hair, scalp), specular=look.specular * (1 - 0.7 * scalp))
        self.skin = _skin_tone(drawn, look)
        glasses = sample_glasses(neutral, base, measures, seen=head, rng=rng) if rng.random() < ranges.glasses_share else None
        if glasses is not None:
            look = replace(look, albedo=look.albedo * glasses.tint)
        self._jaw = Jaw(neutral, base, measures)
        self._lash = rng.uniform(2.2, 4.8) if self.traits.feminine else rng.uniform(1.0, 2.4)
        lash_colour = self.skin + (0.5 * self.traits.brows - self.skin) * (rng.uniform(0.75, 1.0) if self.traits.feminine else rng.uniform(0.4, 0.8))
        opening = neck_opening(neutral, portraits.edges, measures)
        shown = np.ones(len(portraits.faces), bool) if haircut is None else ~under_hair(haircut, head, measures)[portraits.faces].all(axis=1)
        pieces = {"head": Piece(head, portraits.faces[shown], look, portraits.labels[shown])}
        if len(back):
            pieces["back"] = _back_piece(back, back_faces, self.skin, scalp_weight(haircut, back, measures), self.traits)
        pieces["neck"], pieces["garment"] = neck_and_trunk(measures, opening, self.skin, rng=rng)
        if haircut is not None:
            pieces["hair"] = hair_piece(haircut, measures, self.traits.hair, rng=rng)
        pieces["upper teeth"], pieces["lower teeth"] = teeth(measures, upper=True, rng=rng), teeth(measures, upper=False, rng=rng)
        if not portraits.has_mouth:
            pieces["tongue"] = tongue(measures, rng=rng)
        if glasses is not None:
            pieces["glasses"] = glasses.piece
        pieces["lashes"], pieces["glints"] = portraits.eyes.lashes(lash_colour, self.skin), portraits.eyes.glints()
        self._gather(pieces, CLOSED if haircut is None or haircut.hangs else (*CLOSED, "hair"))

    def _gather(self, pieces: dict[str, Piece], closed: tuple[str, ...]) -> None:
        """Joins the pieces, notes where each lies, and bakes the light of the sky on the neutral."""
        ends = np.cumsum([len(one.vertices) for one in pieces.values()])
        self._rows = {name: slice(int(end) - len(one.vertices), int(end)) for (name, one), end in zip(pieces.items(), ends, strict=True)}
        self._still = {name: one.vertices for name, one in pieces.items()}
        self._all = joined(list(pieces.values()))
        drawn, count = self.portraits.drawn, len(self._all.vertices)
        floor = np.full(count, 0.15)
        floor[self._rows["head"]] = occlusion_floor(drawn)
        inner = self._vertices_of(("upper teeth", "lower teeth", "tongue"))
        inner[self._rows["head"]] = np.isin(drawn.parts, [drawn.part_names.index(name) for name in ("mouth_inside", "teeth")])
        self._inner = np.flatnonzero(inner)
        self._loose = self._inner >= self._rows["head"].stop
        self._body = np.flatnonzero((self._all.vertices[:, 1] < turning_below(self.measures)) & self._vertices_of(("head", "back", "neck", "garment")))
        self._closed, solid = (np.concatenate([np.full(len(one.faces), name in names) for name, one in pieces.items()]) for names in (closed, BLOCKERS))
        self._eyes = np.concatenate([*self.portraits.eyes.balls, np.arange(self._rows["glints"].start, self._rows["glints"].stop)])
        # Light and shadow see the head's own triangles without those that finer paint needs, and nothing that lies inside of it.
        self._blockers = np.concatenate([self.portraits.skin_faces, self._all.faces[solid]])
        self._closed_blockers = np.concatenate([np.ones(len(self.portraits.skin_faces), bool), self._closed[solid]])
        self._occlusion = ambient_occlusion(
            Mesh(self._all.vertices, self._all.faces), blockers=self._blockers, closed=self._closed_blockers, rays=OCCLUSION_RAYS, floor=floor,
            centre=self.measures.eyes - [0, 0.3 * self.measures.scale, self.measures.scale], reach=REACH,
        ).astype(np.float64)
        for name in ("lashes", "glints"):
            self._occlusion[self._rows[name]] = 1.0

    def _vertices_of(self, names: tuple[str, ...]) -> Bool[np.ndarray, " V"]:
        chosen = np.zeros(len(self._all.vertices), bool)
        for name in names:
            if name in self._rows:
                chosen[self._rows[name]] = True
        return chosen

    def scene(self, vertices: Float[np.ndarray, "V 3"], shot: Shot) -> Scene:
        """The scene that shows this person with an expression (vertices of the head) in a shot."""
        portraits, rows = self.portraits, self._rows
        eyes = portraits.eyes.turn(portraits.head(vertices), shot.gaze)
        places = self._all.vertices.copy()
        places[rows["head"]] = eyes.vertices
        places[self._body] = turned_body(places[self._body], self.measures, shot.body)
        for name in ("lower teeth", "tongue"):
            if name in rows:
                places[rows[name]] = self._jaw.move(self._still[name], vertices)
        places[rows["lashes"]] = portraits.eyes.lash_vertices(eyes, self._lash)
        places[rows["glints"]] = portraits.eyes.glint_vertices(eyes, shot.light, shot.camera.centre, shot.glint)
        occlusion = self._occlusion.copy()
        portraits.eyes.lid_shade(eyes, occlusion[rows["head"]])
        lips = portraits.base.landmarks(vertices)[portraits.lips[::2]]
        occlusion[self._inner] = DARKEST_MOUTH + (1 - DARKEST_MOUTH) * light_through_lips(places[self._inner], lips)
        everything, seen = self._all, places.copy()
        seen[self._eyes] = sunk(places[self._eyes], np.full(len(self._eyes), EYE_SINK), shot.camera)
        depths = mouth_depths(places[self._inner], lips[:, 2].mean())
        beside = beside_lips(places[self._inner], portraits.base.landmarks(vertices)[portraits.lips], shot.camera)
        depths += HIDE * beside * np.where(self._loose, 1.0, depths / MOUTH_SINK)  # a head's own tongue may come out
        seen[self._inner] = sunk(places[self._inner], depths, shot.camera)
        blockers, closed_blockers = self._blockers, self._closed_blockers
        if shot.occluder is not None:
            blockers = np.concatenate([blockers, shot.occluder.faces + np.int32(len(places))])
            closed_blockers = np.concatenate([closed_blockers, np.ones(len(shot.occluder.faces), bool)])
            everything = joined([everything, shot.occluder])
            places, seen = (np.concatenate([some, shot.occluder.vertices]) for some in (places, seen))
            occlusion = np.concatenate([occlusion, np.ones(len(shot.occluder.vertices))])
        shares = None
        if shot.shadows:
            middle = self.measures.eyes - [0, 0, self.measures.scale]
            shares = lamp_share(places, everything.faces, shot.light.direction, blockers=blockers, closed=closed_blockers, centre=middle, radius=REACH)
        closed = np.concatenate([self._closed, np.ones(len(everything.faces) - len(self._closed), bool)])
        return Scene(seen, everything.faces, everything.look, occlusion, shot.light, shot.camera, everything.labels, closed, shares)

    def sample_shot(self, ranges: SceneRanges, landmarks: Float[np.ndarray, "L 3"], *, size_px: int, rng: np.random.Generator) -> Shot:
        """A random camera, light, gaze and posture, and sometimes something before the face."""
        camera, light = sample_camera(ranges, landmarks, size_px=size_px, rng=rng), sample_light(ranges, rng=rng)
        gaze = sample_gaze(ranges, rng=rng)
        body = rng.normal(0, 1, 3) * np.radians([18.0, 9.0, 7.0])
        shadows, glint = bool(rng.random() < ranges.shadow_share), float(rng.uniform(0.6, 1.5))
        occluder = sample_occluder(self.measures, landmarks, self.skin, rng=rng) if rng.random() < ranges.occluder_share else None
        return Shot(camera, light, gaze, body, shadows, glint, occluder)


def _labels(drawn: FaceTopology, faces: np.ndarray) -> UInt8[np.ndarray, " F"]:
    """Label of each triangle: its part, and lips and brows on the skin."""
    number = np.array([LABELS.index(name) for name in drawn.part_names], np.uint8)
    labels = number[drawn.parts[faces].min(axis=1)]
    for label, names in (("brows", ("brow_left", "brow_right")), ("lips", ("lips",))):
        weight = np.max([drawn.regions[name] for name in names], axis=0)
        labels[(weight[faces].mean(axis=1) > LABEL_FROM) & (labels == LABELS.index("skin"))] = LABELS.index(label)
    return labels


def _skin_tone(drawn: FaceTopology, look: Appearance) -> Float[np.ndarray, " 3"]:
    """The plain colour of the skin, for what continues it."""
    bare = (drawn.regions["cheek"] > 0) & (drawn.regions["beard"] < 0.05)
    return np.median(look.albedo[bare if bare.any() else drawn.parts == 0], axis=0)


def _back_piece(vertices: np.ndarray, faces: np.ndarray, skin: Float[np.ndarray, " 3"], scalp: Float[np.ndarray, " V"], traits: Traits) -> Piece:
    colour = over(np.tile(skin, (len(vertices), 1)), 0.8 * traits.hair, scalp * (0.3 if traits.bald else 0.9))
    return piece(vertices, faces, "skin", albedo=colour, specular=0.03, shininess=14.0)
