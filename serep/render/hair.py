"""Hair as a shell around the skull: a grid of strands from the crown to a random hairline, cropped, long, curly or falling into the forehead."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from serep.render.measures import COARSE_DIRECTIONS, Measures
from serep.render.pieces import Piece, grid_faces, piece, smooth_noise, waves

STRANDS, ROWS = 76, 14
CROWN = np.pi / 2
LOOSE_BELOW = 0.45  # below the eyes; strands beside and behind the face that end deeper fall straight
HIDDEN_FROM = 0.2  # above the hairline
LOOSE_HEM = 0.4  # from which share of the thickness on the ends of hair hang free
# Where the strands end: azimuth in degrees from the front to the side to the back, and height above the eyes over the distance from the eyes to the mouth.
AZIMUTHS = (0, 20, 38, 52, 66, 78, 92, 112, 140, 180)
SHORT = (1.02, 1.02, 0.98, 0.72, 0.30, 0.10, 0.38, 0.10, -0.55, -0.70)
LONG = (1.05, 1.04, 1.0, 0.85, 0.40, -1.5, -1.9, -2.2, -2.4, -2.4)
CURTAIN = (1.05, 1.04, 1.0, 0.55, -1.3, -1.7, -2.0, -2.3, -2.4, -2.4)
BOB = (1.05, 1.04, 1.0, 0.75, 0.15, -0.75, -0.95, -1.05, -1.1, -1.1)
STYLES = {"short": (SHORT, 0.2, 0.78), "long": (LONG, 0.28, 0.05), "curtain": (CURTAIN, 0.18, 0.03), "bob": (BOB, 0.2, 0.04), "afro": (SHORT, 0.14, 0.1)}
"""Ends of the strands, and how often women and men wear the style."""


@dataclass(frozen=True, eq=False)
class Haircut:
    """One person's hair; lengths in units of the distance from the eyes to the mouth."""

    ends: Float[np.ndarray, " N"]
    """Height of each strand's end above the eyes."""
    volume: float
    """Thickness at the crown."""
    hem: float
    """Share of the thickness that is left at the ends."""
    roughness: float
    """How far strands stand out from one another."""
    curl: float
    """Depth of curls or waves."""
    contrast: float
    """Of the strands' colours (logarithm)."""

    @property
    def hangs(self) -> bool:
        """Whether the ends hang free, so that the inside of the hair can be seen."""
        return self.hem >= LOOSE_HEM


def sample_haircut(*, feminine: bool, rng: np.random.Generator) -> Haircut:
    """A random style, hairline, fringe or parting, and texture."""
    style = rng.choice(list(STYLES), p=[shares[0 if feminine else 1] for _, *shares in STYLES.values()])
    azimuth = _azimuths()
    ends = np.array(STYLES[style][0], float)
    forehead = np.array(AZIMUTHS) < 45
    ends[forehead] += rng.normal(0, 0.07)
    ends[2:4] += rng.normal(0.0, 0.10)  # temples: receding or low
    ends[4:] += rng.normal(0, 0.06 if style in ("short", "afro") else 0.3)
    low = style not in ("short", "afro")
    side = np.interp(np.abs(azimuth), np.radians(AZIMUTHS), ends)
    if style != "afro" and rng.random() < 0.42:  # a fringe, level or swept to a side
        width, tilt = np.radians(rng.uniform(28, 58)), rng.normal(0, 0.28)
        fringe = rng.uniform(0.45, 0.85) + tilt * azimuth / np.radians(40)
        side = np.where(np.abs(azimuth) < width, np.minimum(side, np.clip(fringe, 0.36, 1.1)), side)
    elif rng.random() < 0.4:  # a parting, where the forehead shows higher
        side = side + 0.10 * np.exp(-0.5 * ((azimuth - rng.uniform(-0.5, 0.5)) / 0.15) ** 2)
    ragged = rng.uniform(0.01, 0.05) * (1.0 + 2.0 * low * (np.abs(azimuth) > 1.1))
    side = side + ragged * smooth_noise(STRANDS, 1.2, rng=rng) + 0.5 * ragged * smooth_noise(STRANDS, 6, rng=rng)
    if style == "afro":
        return Haircut(side, rng.uniform(0.3, 0.8), rng.uniform(0.25, 0.5), 0.05, rng.uniform(0.03, 0.07), rng.uniform(0.2, 0.4))
    volume = rng.uniform(0.07, 0.3) if style == "short" else rng.uniform(0.12, 0.35)
    hem = rng.uniform(0.1, 0.35) if style == "short" else rng.uniform(0.5, 0.9)
    return Haircut(side, volume, hem, rng.uniform(0.008, 0.03), rng.uniform(0.0, 0.03), rng.uniform(0.15, 0.45))


def hair_piece(haircut: Haircut, measures: Measures, colour: Float[np.ndarray, " 3"], *, rng: np.random.Generator) -> Piece:
    """The shell on this head, in the colour with lighter and darker strands."""
    scale, centre = measures.scale, measures.centre
    azimuth, share = _azimuths(), np.linspace(0, 1, ROWS)
    ends = measures.eyes[1] + scale * haircut.ends
    angle, height = _paths(measures, ends, share)
    upper = np.isnan(height)
    skull = np.where(upper, _spherical(measures, azimuth, angle), _hanging(measures, azimuth, height))
    row = share[:, None]
    thickness = haircut.volume * ((1 - haircut.hem) * (1 - row**3) + haircut.hem)
    thickness = thickness * (1 + 0.25 * smooth_noise(STRANDS, 14, rng=rng)) + haircut.roughness * row * smooth_noise(STRANDS, 1.0, rng=rng)
    thickness = np.maximum(thickness, 0.035)
    thickness = thickness + haircut.curl * waves(np.stack(np.broadcast_arrays(azimuth * 9, row * 14 + 0 * azimuth), -1).reshape(-1, 2), 2.2, 5.0,
                                                 rng=rng).reshape(ROWS, STRANDS)
    # Roots come out of the skin, ends that hang thin out.
    thickness[-1] = np.where(upper[-1] | (not haircut.hangs), -0.03, 0.5 * thickness[-1])
    radius = skull + scale * thickness
    flat = np.where(upper, np.cos(angle), 1.0) * radius
    level = np.where(upper, centre[1] + np.sin(angle) * radius, height)
    points = np.stack([flat * np.sin(azimuth), level, centre[2] + flat * np.cos(azimuth)], axis=-1)
    points[0] = points[0].mean(axis=0)
    strands = haircut.contrast * (0.7 * smooth_noise(STRANDS, 1.0, rng=rng) + 0.5 * smooth_noise(STRANDS, 5, rng=rng))
    tone = np.exp(strands[None] * (0.4 + 0.6 * row) + 0.12 * haircut.contrast * rng.standard_normal((ROWS, STRANDS)) - 0.25 * (row > 0.97))
    albedo = np.clip(colour * tone[..., None], 0.003, 0.9).reshape(-1, 3)
    return piece(points.reshape(-1, 3), grid_faces(ROWS, STRANDS, closed=True), "hair", albedo=albedo, specular=rng.uniform(0.01, 0.07), shininess=14.0)


def scalp_weight(haircut: Haircut | None, vertices: Float[np.ndarray, "V 3"], measures: Measures) -> Float[np.ndarray, " V"]:
    """Where hair grows on the skin, 0..1: above the hairline, soft at its edge, under the shell; of a bald head its natural hairline."""
    ears = np.abs(vertices[:, 0]) > measures.half_width + 2.0
    return np.clip(_above_hairline(haircut, vertices, measures) / 0.10 + 0.35, 0, 1) * ~ears


def under_hair(haircut: Haircut, vertices: Float[np.ndarray, "V 3"], measures: Measures) -> Bool[np.ndarray, " V"]:
    """Vertices of the scalp that the shell hides from every side."""
    return (_above_hairline(haircut, vertices, measures) > HIDDEN_FROM) & (vertices[:, 1] > measures.eyes[1] + HIDDEN_FROM * measures.scale)


def _above_hairline(haircut: Haircut | None, vertices: Float[np.ndarray, "V 3"], measures: Measures) -> Float[np.ndarray, " V"]:
    """Height above the hairline, or the natural one where the strands end lower, over the distance from the eyes to the mouth."""
    away = vertices - measures.centre
    azimuth = np.arctan2(away[:, 0], away[:, 2])
    line = np.interp(np.abs(azimuth), np.radians(AZIMUTHS), SHORT)
    if haircut is not None:
        order = np.argsort(_azimuths())
        line = np.maximum(np.interp(azimuth, _azimuths()[order], haircut.ends[order], period=2 * np.pi), line - 0.04)
    return (vertices[:, 1] - measures.eyes[1]) / measures.scale - line


def _azimuths() -> Float[np.ndarray, " N"]:
    """From the front to the subject's left, -pi to pi."""
    return (2 * np.pi * np.arange(STRANDS) / STRANDS + np.pi) % (2 * np.pi) - np.pi


def _paths(measures: Measures, ends: Float[np.ndarray, " N"], share: Float[np.ndarray, " R"]) -> tuple[np.ndarray, np.ndarray]:
    """Elevation (radians) where a strand lies on the skull's cap, height (mm) where it hangs below; NaN heights on the cap."""
    azimuth, centre = _azimuths(), measures.centre[1]
    equator = measures.spherical_radius(azimuth, np.zeros(STRANDS))
    last = np.arcsin(np.clip((ends - centre) / (1.08 * equator), 0.0, 0.98))
    arc, drop = equator * (CROWN - last), np.maximum(centre - ends, 0.0)
    along = share[:, None] * (arc + drop)
    angle = CROWN - np.minimum(along, arc) / equator
    return angle, np.where(along > arc + 1e-9, centre - (along - arc), np.nan)


def _spherical(measures: Measures, azimuth: Float[np.ndarray, " N"], angle: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "R N"]:
    """Radius of the skull, looked up on a coarse grid of directions."""
    coarse_azimuth = 2 * np.pi * np.arange(COARSE_DIRECTIONS) / COARSE_DIRECTIONS
    levels = np.linspace(0, CROWN, 9)
    grid = np.meshgrid(coarse_azimuth, levels)
    radii = measures.spherical_radius(*(axis.ravel() for axis in grid)).reshape(len(levels), COARSE_DIRECTIONS)
    return _bilinear(radii, azimuth, angle / CROWN * (len(levels) - 1))


def _hanging(measures: Measures, azimuth: Float[np.ndarray, " N"], height: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "R N"]:
    """Radius at which strands hang: on the nape and the temples close to the skin, further down they fall straight."""
    coarse_azimuth = 2 * np.pi * np.arange(COARSE_DIRECTIONS) / COARSE_DIRECTIONS
    top, bottom = measures.centre[1], measures.mouth[1] - 0.3 * measures.scale
    levels = np.linspace(bottom, top, 8)
    grid = np.meshgrid(coarse_azimuth, levels)
    radii = measures.cylindrical_radius(*(axis.ravel() for axis in grid)).reshape(len(levels), COARSE_DIRECTIONS)
    close = _bilinear(radii, azimuth, (np.nan_to_num(height, nan=top) - bottom) / (top - bottom) * (len(levels) - 1))
    depth = (top - np.nan_to_num(height, nan=top)) / measures.scale
    falling = measures.spherical_radius(azimuth, np.zeros(STRANDS)) * (1.0 + 0.05 * np.minimum(depth, 2))
    aside = np.clip((np.abs(azimuth) - 0.9) / 0.5, 0, 1)  # before the ears and further back
    hangs = np.nan_to_num(height, nan=top).min(axis=0) < measures.eyes[1] - LOOSE_BELOW * measures.scale
    beside = np.exp(-0.5 * ((np.abs(azimuth) - 1.6) / 0.4) ** 2)  # over the ears
    falling = np.maximum(falling, (1.05 * measures.ear_width + 2.0) * beside)
    return np.where(hangs, np.maximum(close, falling * np.interp(depth, [0, 0.5], [0.97, 1.0]) * aside), close)


def _bilinear(grid: Float[np.ndarray, "L A"], azimuth: Float[np.ndarray, " N"], level: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "R N"]:
    """Values at azimuths (radians) and levels (rows of the grid, which goes once around)."""
    column = (azimuth % (2 * np.pi)) / (2 * np.pi) * grid.shape[1]
    left, low = np.floor(column).astype(int), np.clip(np.floor(level).astype(int), 0, len(grid) - 2)
    along, up = column - left, np.clip(level, 0, len(grid) - 1) - low
    right, left = (left + 1) % grid.shape[1], left % grid.shape[1]
    below, above = ((1 - along) * grid[low + step, left] + along * grid[low + step, right] for step in (0, 1))
    return (1 - up) * below + up * above
