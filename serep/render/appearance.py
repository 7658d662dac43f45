"""Random skin, hair and eyes, correlated as in people, as colours per vertex."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float

from serep.faces.topology import FaceTopology
from serep.render.scene import Appearance


def _rgb(*values: float) -> Float[np.ndarray, " 3"]:
    return np.array(values, np.float32)


# Linear RGB. Skin: pale and bloodless, thinned out by melanin (0 none .. 1 darkest) and haemoglobin (0 none, 1 a healthy cheek).
PALE, MELANIN, MELANIN_POWER, HAEMOGLOBIN = _rgb(0.86, 0.66, 0.55), _rgb(2.45, 2.85, 3.20), _rgb(1.40, 1.15, 0.95), _rgb(0.05, 0.36, 0.30)
BLACK_HAIR, BLOND_HAIR, RED_HAIR, GREY_HAIR = _rgb(0.010, 0.008, 0.007), _rgb(0.36, 0.24, 0.12), _rgb(0.26, 0.075, 0.022), _rgb(0.40, 0.39, 0.38)
BROWN_IRIS, DARK_IRIS = _rgb(0.075, 0.033, 0.013), _rgb(0.020, 0.010, 0.006)
LIGHT_IRISES = (_rgb(0.10, 0.20, 0.32), _rgb(0.13, 0.18, 0.08), _rgb(0.19, 0.22, 0.23))
"""Blue, green, grey."""
SCLERA, PUPIL, TEETH, MOUTH = _rgb(0.76, 0.71, 0.68), _rgb(0.004, 0.004, 0.004), _rgb(0.70, 0.64, 0.53), _rgb(0.30, 0.085, 0.075)
LIPSTICKS = (_rgb(0.45, 0.03, 0.04), _rgb(0.50, 0.12, 0.14), _rgb(0.20, 0.02, 0.04), _rgb(0.35, 0.10, 0.07))
BALD_SHARE, BEARD_SHARE, GREY_SHARE, LIPSTICK_SHARE, SHADOW_SHARE = 0.22, 0.38, 0.10, 0.14, 0.12


def skin_colour(melanin: Float[np.ndarray, " V"], haemoglobin: Float[np.ndarray, " V"]) -> Float[np.ndarray, "V 3"]:
    """Linear RGB of skin."""
    return PALE * np.exp(-MELANIN * np.maximum(melanin, 0.0)[:, None] ** MELANIN_POWER - HAEMOGLOBIN * np.maximum(haemoglobin, 0.0)[:, None])


def sample_appearance(topology: FaceTopology, *, rng: np.random.Generator) -> Appearance:
    """One random look. Works on every topology: a region that is empty is not painted."""
    mask = {name: np.asarray(weight, np.float32) for name, weight in topology.regions.items()}
    melanin, blood = 0.92 * rng.beta(1.0, 1.25), rng.uniform(0.3, 1.1)
    coarse, fine = _mottling(topology.template, 25.0, 70.0, rng=rng), _mottling(topology.template, 5.0, 14.0, rng=rng)

    lips, beard, hair, lids, blush = mask["lips"], mask["beard"], mask["hair"], mask["lids"], mask["cheek_blush"]
    brows = np.maximum(mask["brow_left"], mask["brow_right"])
    melanin_map = melanin * (1 + 0.03 * coarse + 0.015 * fine) + 0.006 * fine + rng.uniform(0.0, 0.10) * lids
    blood_map = blood * (1 + 0.10 * coarse + rng.uniform(0.2, 1.3) * blush + rng.uniform(0.1, 0.9) * mask["nose"] + rng.uniform(0.1, 0.7) * lids)
    albedo = skin_colour(melanin_map, blood_map)

    lip_tone = skin_colour(melanin_map * rng.uniform(0.8, 1.0) + rng.uniform(0.03, 0.10), blood_map + rng.uniform(1.4, 3.0))
    albedo = _over(albedo, lip_tone, lips)
    if rng.random() < LIPSTICK_SHARE:
        albedo = _over(albedo, LIPSTICKS[rng.integers(len(LIPSTICKS))] * rng.uniform(0.6, 1.2), lips * rng.uniform(0.5, 0.9))
    if rng.random() < SHADOW_SHARE:
        albedo = _over(albedo, albedo * rng.uniform(0.25, 0.8, 3).astype(np.float32), lids)
    albedo *= 1 - rng.uniform(0.5, 0.8) * mask["nostril"][:, None]

    hair_colour = _hair_colour(melanin, rng=rng)
    brow_weight = np.clip(brows, 0, 1) ** rng.uniform(0.6, 1.6) * rng.uniform(0.45, 0.95)
    albedo = _over(albedo, hair_colour * rng.uniform(0.35, 0.8), brow_weight * (1 + 0.15 * fine))
    beard_weight = np.clip(beard * (1 + 0.1 * fine), 0, 1) * (rng.uniform(0.12, 0.9) if rng.random() < BEARD_SHARE else 0.0)
    albedo = _over(albedo, hair_colour * rng.uniform(0.5, 1.0), beard_weight)
    hair_weight = np.clip(hair * 1.6 - 0.3 + 0.12 * fine, 0, 1) * (0.0 if rng.random() < BALD_SHARE else rng.uniform(0.75, 1.0))
    albedo = _over(albedo, hair_colour * np.exp(0.35 * fine + 0.2 * coarse)[:, None], hair_weight)

    covered = np.maximum(hair_weight, beard_weight)
    specular = rng.uniform(0.015, 0.06) * (1 + 0.2 * coarse + 0.4 * mask["nose"]) * (1 - 0.7 * covered)
    specular = np.maximum(specular, lips * rng.uniform(0.02, 0.09))
    shininess = np.full(len(albedo), rng.uniform(9, 28), np.float32)
    albedo, specular, shininess = _paint_parts(topology, mask, (albedo, specular, shininess), melanin, rng=rng)
    return Appearance(np.clip(albedo, 0.002, 0.95), np.clip(specular, 0, 1), shininess)


def _paint_parts(topology: FaceTopology, mask, look: tuple, melanin: float, *, rng: np.random.Generator):
    """Eyes, teeth and the inside of the mouth painted over a look (albedo, specular, shininess)."""
    albedo, specular, shininess = look
    part = {name: topology.parts == index for index, name in enumerate(topology.part_names)}
    eyes, teeth, mouth = part["eye_left"] | part["eye_right"], part["teeth"], part["mouth_inside"]
    sclera = SCLERA * rng.uniform(0.75, 1.05) * _varied(0.03, rng=rng)
    albedo = np.where(eyes[:, None], sclera, albedo)
    albedo = _over(albedo, _iris_colour(melanin, rng=rng), mask["iris"] * eyes)
    albedo = _over(albedo, PUPIL, mask["pupil"] * eyes)
    albedo = np.where(teeth[:, None], TEETH * rng.uniform(0.6, 1.15) * _varied(0.04, rng=rng), albedo)
    albedo = np.where(mouth[:, None], MOUTH * rng.uniform(0.6, 1.2) * _varied(0.1, rng=rng), albedo)
    for where, gloss, exponent in ((eyes, rng.uniform(0.15, 0.35), 180.0), (teeth, 0.06, 60.0), (mouth, 0.05, 40.0)):
        specular, shininess = np.where(where, gloss, specular), np.where(where, exponent, shininess)
    return albedo, specular, shininess


def _varied(spread: float, *, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """Random gains of the three channels."""
    return np.exp(rng.normal(0, spread, 3)).astype(np.float32)


def _over(below: Float[np.ndarray, "V 3"], colour: Float[np.ndarray, "*V 3"], weight: Float[np.ndarray, " V"]) -> Float[np.ndarray, "V 3"]:
    return below + (colour - below) * np.clip(weight, 0, 1)[:, None]


def _hair_colour(melanin: float, *, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """Dark skin has dark hair; fair skin any, blond and red included. Grey comes with either."""
    light = rng.beta(1.0, 1.5) * max(1 - 2.2 * melanin, 0.0) + 0.12 * rng.random()
    bright = BLOND_HAIR if rng.random() > 0.2 else RED_HAIR
    colour = BLACK_HAIR * (bright / BLACK_HAIR) ** light
    if rng.random() < GREY_SHARE:
        colour = colour + rng.uniform(0.3, 1.0) * (GREY_HAIR - colour)
    return colour


def _iris_colour(melanin: float, *, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    if rng.random() < 0.75 * max(1 - 2.4 * melanin, 0.0):
        return LIGHT_IRISES[rng.integers(len(LIGHT_IRISES))] * rng.uniform(0.6, 1.2)
    return DARK_IRIS + rng.random() * (BROWN_IRIS - DARK_IRIS)


def _mottling(positions: Float[np.ndarray, "V 3"], shortest: float, longest: float, *, rng: np.random.Generator) -> Float[np.ndarray, " V"]:
    """Smooth random pattern over the surface with about unit deviation: waves of random direction, wavelengths in mm."""
    waves = rng.normal(0, 1, (3, 5))
    waves *= 2 * np.pi / (np.linalg.norm(waves, axis=0) * rng.uniform(shortest, longest, 5))
    phases = (positions @ waves + rng.uniform(0, 2 * np.pi, 5)).astype(np.float32)  # in float32 sines are many times faster
    return np.sin(phases).sum(axis=1) * np.float32(np.sqrt(2 / 5))
