"""Random skin, brows, beard, lips and eyes of one person, as colours per vertex."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse
from jaxtyping import Float

from serep.faces.landmark_ids import EYE_CORNER_IDS
from serep.faces.regions import ball_centre, smooth_step
from serep.faces.topology import FaceTopology
from serep.render.pieces import waves
from serep.render.scene import Appearance
from serep.render.traits import Traits, rgb

# Linear RGB. Skin: pale and bloodless, thinned out by melanin (0 none .. 1 darkest) and haemoglobin (0 none, 1 a healthy cheek).
PALE, MELANIN, MELANIN_POWER, HAEMOGLOBIN = rgb(0.86, 0.66, 0.55), rgb(2.45, 2.85, 3.20), rgb(1.40, 1.15, 0.95), rgb(0.05, 0.36, 0.30)
SCLERA, PUPIL, TEETH, MOUTH = rgb(0.66, 0.61, 0.58), rgb(0.004, 0.004, 0.004), rgb(0.70, 0.64, 0.53), rgb(0.30, 0.085, 0.075)
LIPSTICKS = (rgb(0.45, 0.03, 0.04), rgb(0.50, 0.12, 0.14), rgb(0.20, 0.02, 0.04), rgb(0.35, 0.10, 0.07))
SHADOW_SHARE = 0.6  # of made-up people whose lids are painted
STRAP = ((0.0, 0.2, 0.4, 0.6, 0.8, 0.95), (-0.34, -0.33, -0.27, -0.13, 0.08, 0.6))
"""Upper edge of a beard along the jaw: height over the mouth by distance from the middle, both in units of the distance from the eyes to the mouth."""
BLUR = 7.0
FINEST = 2.5
"""Patterns shorter than this many edges of the mesh are left out: they would turn into spots on single vertices."""


def skin_colour(melanin: Float[np.ndarray, " V"], haemoglobin: Float[np.ndarray, " V"]) -> Float[np.ndarray, "V 3"]:
    """Linear RGB of skin."""
    return PALE * np.exp(-MELANIN * np.maximum(melanin, 0.0)[:, None] ** MELANIN_POWER - HAEMOGLOBIN * np.maximum(haemoglobin, 0.0)[:, None])


def paint_head(topology: FaceTopology, traits: Traits, *, rng: np.random.Generator) -> Appearance:
    """One person's colours. Works on every topology: a region that is empty is not painted. Hair of the head comes as a piece of its own."""
    mask = {name: np.asarray(weight, np.float64) for name, weight in topology.regions.items()}
    at, spacing = topology.template, _spacing(topology)
    coarse, fine = (_mottling(at, spacing, shortest, longest, rng=rng) for shortest, longest in ((25.0, 70.0), (6.0, 14.0)))
    lips, lids, blush = mask["lips"], mask["lids"], mask["cheek_blush"]
    melanin_map = traits.melanin * (1 + 0.04 * coarse + 0.02 * fine) + 0.006 * fine + rng.uniform(0.0, 0.10) * lids
    redness = 0.10 * coarse + rng.uniform(0.0, 0.7) * blush + rng.uniform(0.0, 0.45) * mask["nose"] + rng.uniform(0.1, 0.5) * lids
    blood_map = traits.blood * (1 + redness)
    albedo = skin_colour(melanin_map, blood_map)
    lip_tone = skin_colour(melanin_map * rng.uniform(0.8, 1.0) + rng.uniform(0.03, 0.10), blood_map + rng.uniform(1.0, 2.4))
    albedo = over(albedo, lip_tone, lips * rng.uniform(0.6, 1.0))
    if traits.made_up:
        albedo = over(albedo, LIPSTICKS[rng.integers(len(LIPSTICKS))] * rng.uniform(0.6, 1.2), lips * rng.uniform(0.5, 0.9))
        if rng.random() < SHADOW_SHARE:
            albedo = over(albedo, albedo * rng.uniform(0.3, 0.85, 3), lids)
    albedo *= 1 - rng.uniform(0.5, 0.8) * mask["nostril"][:, None]
    albedo = over(albedo, traits.brows, brow_weight(topology, mask, spacing, feminine=traits.feminine, rng=rng))
    beard = _beard(topology, mask["beard"], traits, rng=rng) * (1 + 0.05 * fine)
    albedo = over(albedo, traits.brows * rng.uniform(0.9, 1.3), np.clip(beard, 0, 1))
    specular = rng.uniform(0.015, 0.06) * (1 + 0.2 * coarse + 0.4 * mask["nose"]) * (1 - 0.7 * beard)
    specular = np.maximum(specular, lips * rng.uniform(0.02, 0.09))
    shininess = np.full(len(albedo), rng.uniform(9, 28))
    albedo, specular, shininess = _paint_parts(topology, mask, (albedo, specular, shininess), traits, rng=rng)
    return Appearance(np.clip(albedo, 0.002, 0.95), np.clip(specular, 0, 1), shininess)


def brow_weight(
    topology: FaceTopology, mask: Mapping[str, np.ndarray], spacing: Float[np.ndarray, " V"], *, feminine: bool, rng: np.random.Generator
) -> Float[np.ndarray, " V"]:
    """Random brows along the middle lines of the brow regions: thick or thin, straight or arched, of single strokes where the mesh is fine enough."""
    thickness, arch, lift = rng.uniform(0.55, 0.95) if feminine else rng.uniform(0.75, 1.35), rng.normal(0, 1.2), rng.normal(0, 1.0)
    density, softness = rng.uniform(0.5, 0.95), rng.uniform(0.35, 0.8)
    weight = np.zeros(len(topology.template))
    for name in ("brow_left", "brow_right"):
        core = mask[name]
        if core.sum() < 3:
            continue
        x, y = np.abs(topology.template[:, 0]), topology.template[:, 1]
        inside = core > 0.3
        start, end = np.quantile(x[inside], [0.02, 0.98])
        line = np.polynomial.Polynomial.fit(x[inside], y[inside], 3, w=core[inside])
        half = 1.5 * np.sqrt(np.average((y[inside] - line(x[inside])) ** 2, weights=core[inside]))
        along = (x - start) / (end - start)
        ridge = line(np.clip(x, start, end)) + lift + arch * (np.sin(np.pi * np.clip(along, 0, 1)) - 0.6)
        taper = np.interp(along, [-0.05, 0.05, 0.35, 0.7, 1.0, 1.08], [0.5, 0.95, 1.1, 0.85, 0.35, 0.1])
        across = (y - ridge) / (half * thickness * taper)
        ends = smooth_step(along, -0.08, 0.06) * smooth_step(along, 1.1, 0.95)
        near = smooth_step(np.abs(across), 1.0 + softness / 2, 1.0 - softness) * ends
        strokes = np.sin(2 * np.pi * (along * rng.uniform(14, 24) + 0.35 * across) + rng.uniform(0, 6)) * np.clip(1.2 - spacing / 2.5, 0, 1)
        weight = np.maximum(weight, near * density * (1 + 0.18 * strokes) * (topology.template[:, 2] > np.quantile(topology.template[inside, 2], 0.0) - 6))
    return np.clip(weight, 0, 1) * (topology.parts == 0)


def _beard(topology: FaceTopology, region: Float[np.ndarray, " V"], traits: Traits, *, rng: np.random.Generator) -> Float[np.ndarray, " V"]:
    if not traits.beard:
        return np.zeros(len(region))
    marks = topology.landmarks(topology.template)
    eyes, mouth = (marks[topology.landmark_rows(ids)].mean(axis=0) for ids in (EYE_CORNER_IDS, (13, 14)))
    scale = eyes[1] - mouth[1]
    x, y = np.abs(topology.template[:, 0]) / scale, (topology.template[:, 1] - mouth[1]) / scale
    width = rng.uniform(0.36, 0.5)
    goatee = smooth_step(x, width + 0.06, width - 0.06)
    moustache = smooth_step(y, -0.06, 0.04) * smooth_step(x, 0.55, 0.42)
    jaw = smooth_step(np.interp(x, *STRAP) + 0.9 * (width - 0.42) - y, -0.06, 0.06)
    shape = {"full": 1.0, "goatee": goatee, "moustache": moustache, "chin strap": jaw}[traits.beard]
    return _blurred(region * shape, topology) * (1 - topology.regions["lips"]) * traits.beard_weight


def _blurred(weight: Float[np.ndarray, " V"], topology: FaceTopology) -> Float[np.ndarray, " V"]:
    """Averaged over neighbours until an edge is BLUR mm wide."""
    starts, ends = topology.faces.ravel(), np.roll(topology.faces, -1, axis=1).ravel()
    lengths = np.linalg.norm(topology.template[starts] - topology.template[ends], axis=1)
    count = len(weight)
    near = scipy.sparse.coo_array((1 / (lengths + 1.0), (starts, ends)), shape=(count, count)).tocsr()
    near = near + near.T
    total = np.maximum(near.sum(axis=1), 1e-9)
    skin = topology.parts == 0
    for _ in range(max(1, round((BLUR / max(float(np.median(lengths)), 1.0)) ** 2))):
        weight = np.where(skin, 0.5 * weight + 0.5 * (near @ weight) / total, weight)
    return weight


def _paint_parts(topology: FaceTopology, mask: Mapping[str, np.ndarray], look: tuple, traits: Traits, *, rng: np.random.Generator):
    """Eyes, teeth and the inside of the mouth painted over a look (albedo, specular, shininess)."""
    albedo, specular, shininess = look
    part = {name: topology.parts == index for index, name in enumerate(topology.part_names)}
    eyes, teeth, mouth = part["eye_left"] | part["eye_right"], part["teeth"], part["mouth_inside"]
    sclera = SCLERA * rng.uniform(0.75, 1.15) * _varied(0.04, rng=rng)
    albedo = np.where(eyes[:, None], sclera, albedo)
    albedo = over(albedo, traits.iris * _iris_tone(topology, mask["iris"], (part["eye_left"], part["eye_right"]))[:, None], mask["iris"] * eyes)
    albedo = over(albedo, PUPIL, mask["pupil"] * eyes)
    albedo = np.where(teeth[:, None], TEETH * rng.uniform(0.6, 1.15) * _varied(0.04, rng=rng), albedo)
    albedo = np.where(mouth[:, None], MOUTH * rng.uniform(0.6, 1.2) * _varied(0.04, rng=rng), albedo)
    for where, gloss, exponent in ((eyes, 0.03, 50.0), (teeth, 0.06, 60.0), (mouth, 0.05, 40.0)):
        specular, shininess = np.where(where, gloss, specular), np.where(where, exponent, shininess)
    return albedo, specular, shininess


def _iris_tone(topology: FaceTopology, iris: Float[np.ndarray, " V"], balls: tuple[np.ndarray, ...]) -> Float[np.ndarray, " V"]:
    """Brighter around the pupil, dark at the iris's rim."""
    tone = np.ones(len(iris))
    for ball in balls:
        shown = ball & (iris > 0.1)
        if shown.sum() < 3:
            continue
        away = topology.template[ball] - ball_centre(topology.template[ball])
        angle = np.arccos(np.clip(away[:, 2] / np.linalg.norm(away, axis=1), -1, 1))
        tone[ball] = np.interp(angle / angle[iris[ball] > 0.1].max(), [0.4, 0.7, 0.85, 1.0], [1.25, 1.0, 0.75, 0.3])
    return tone


def over(below: Float[np.ndarray, "V 3"], colour: Float[np.ndarray, "*V 3"], weight: Float[np.ndarray, " V"]) -> Float[np.ndarray, "V 3"]:
    """`colour` laid over `below` with this weight."""
    return below + (colour - below) * np.clip(weight, 0, 1)[:, None]


def _varied(spread: float, *, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """Random gains of the three channels."""
    return np.exp(rng.normal(0, spread, 3))


def _spacing(topology: FaceTopology) -> Float[np.ndarray, " V"]:
    """Mean length (mm) of the edges around each vertex."""
    starts, ends = topology.faces.ravel(), np.roll(topology.faces, -1, axis=1).ravel()
    lengths = np.linalg.norm(topology.template[starts] - topology.template[ends], axis=1)
    both, count = np.concatenate([starts, ends]), len(topology.template)
    return np.bincount(both, np.tile(lengths, 2), minlength=count) / np.maximum(np.bincount(both, minlength=count), 1)


def _mottling(at: Float[np.ndarray, "V 3"], spacing: Float[np.ndarray, " V"], shortest: float, longest: float, *, rng: np.random.Generator):
    """Smooth random pattern over the surface with about unit deviation, faded out where the mesh is too coarse for it."""
    return waves(at, shortest, longest, rng=rng) * np.clip(2 - FINEST * spacing / shortest, 0, 1)
