"""What a person is like, drawn together so that hair fits brows and beard, and eyes fit the skin."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from serep.render.ranges import SceneRanges


def rgb(*values: float) -> Float[np.ndarray, " 3"]:
    return np.array(values, np.float64)


# Linear RGB
BLACK_HAIR, BLOND_HAIR, RED_HAIR, GREY_HAIR = rgb(0.010, 0.008, 0.007), rgb(0.36, 0.24, 0.12), rgb(0.26, 0.075, 0.022), rgb(0.40, 0.39, 0.38)
DYES = (rgb(0.30, 0.03, 0.10), rgb(0.04, 0.10, 0.30), rgb(0.10, 0.02, 0.16), rgb(0.55, 0.48, 0.35))
BROWN_IRIS, DARK_IRIS = rgb(0.075, 0.033, 0.013), rgb(0.020, 0.010, 0.006)
LIGHT_IRISES = (rgb(0.10, 0.20, 0.32), rgb(0.13, 0.18, 0.08), rgb(0.19, 0.22, 0.23))
"""Blue, green, grey."""
DYE_SHARE, STUBBLE_SHARE = 0.04, 0.45
BEARDS = ("full", "goatee", "moustache", "chin strap")
MELANIN_MAX = 0.9


@dataclass(frozen=True, eq=False)
class Traits:
    """One person. Colours are linear RGB; weights in 0..1."""

    feminine: bool
    melanin: float
    """0 none .. 1 darkest."""
    blood: float
    """0 pale .. 1 a healthy cheek."""
    hair: Float[np.ndarray, " 3"]
    brows: Float[np.ndarray, " 3"]
    iris: Float[np.ndarray, " 3"]
    bald: bool
    beard: str
    """One of BEARDS, or empty."""
    beard_weight: float
    made_up: bool


def sample_traits(ranges: SceneRanges, *, rng: np.random.Generator) -> Traits:
    """Dark skin has dark hair and eyes; fair skin any. Beards and bald heads are men's, paint is mostly women's; the shares are of all people."""
    feminine = rng.random() < 0.5
    melanin, blood = MELANIN_MAX * rng.beta(1.0, 1.3), rng.uniform(0.3, 1.1)
    own, hair = _hair_colour(melanin, ranges.grey_share, rng=rng)
    brows = own * rng.uniform(0.35, 0.8)
    bald, bearded = (rng.random() < _share_of_half(share, mostly=not feminine) for share in (ranges.bald_share, ranges.beard_share))
    made_up = rng.random() < _share_of_half(ranges.makeup_share, mostly=feminine)
    stubble = rng.random() < STUBBLE_SHARE
    return Traits(
        feminine=feminine, melanin=melanin, blood=blood, hair=hair, brows=brows, iris=_iris_colour(melanin, rng=rng), bald=bald,
        beard=str(rng.choice(BEARDS, p=[0.55, 0.2, 0.15, 0.1])) if bearded else "",
        beard_weight=(rng.uniform(0.12, 0.45) if stubble else rng.uniform(0.55, 0.95)) if bearded else 0.0, made_up=made_up,
    )  # fmt: skip


def _share_of_half(share: float, *, mostly: bool) -> float:
    """The share among one half of the people of what is found mostly there, and in the other half only where the first is full."""
    return min(2 * share, 1.0) if mostly else max(2 * share - 1, 0.0)


def _hair_colour(melanin: float, grey_share: float, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The own colour, which brows and beard have, too, and that on the head."""
    light = rng.beta(1.0, 1.2) * max(1 - 1.9 * melanin, 0.0) + 0.22 * rng.random() * (1 - 0.6 * melanin)
    bright = BLOND_HAIR if rng.random() > 0.2 else RED_HAIR
    own = BLACK_HAIR * (bright / BLACK_HAIR) ** light
    if rng.random() < grey_share:
        own = own + rng.uniform(0.3, 1.0) * (GREY_HAIR - own)
    if rng.random() < DYE_SHARE:
        return own, DYES[rng.integers(len(DYES))] * rng.uniform(0.6, 1.2)
    return own, own * rng.uniform(0.8, 1.25)


def _iris_colour(melanin: float, *, rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    if rng.random() < 0.75 * max(1 - 2.4 * melanin, 0.0):
        return LIGHT_IRISES[rng.integers(len(LIGHT_IRISES))] * rng.uniform(0.6, 1.2)
    return DARK_IRIS + rng.random() * (BROWN_IRIS - DARK_IRIS)
