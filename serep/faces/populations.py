"""Groups of people whom a source can draw from: a Gaussian over its identity modes for each."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

EVERYBODY = "all"


@dataclass(frozen=True, eq=False)
class Population:
    """Identity weights `mean + factor @ z` with z drawn from N(0, 1), in standard deviations of the source's modes."""

    mean: Float[np.ndarray, " K"]
    factor: Float[np.ndarray, "K K"]

    def draw(self, *, rng: np.random.Generator) -> Float[np.ndarray, " K"]:
        """A random person's identity weights."""
        return self.mean + self.factor @ rng.standard_normal(len(self.mean))


def mixed(populations: list[Population], shares: Float[np.ndarray, " P"]) -> Population:
    """People of mixed origin: shapes mix linearly, so their mean is the mean of the means, and one z stands for the same traits everywhere."""
    return Population(
        np.tensordot(shares, np.stack([one.mean for one in populations]), axes=1),
        np.tensordot(shares, np.stack([one.factor for one in populations]), axes=1),
    )


def check_populations(source: str, known: tuple[str, ...], wanted: Mapping[str, str]) -> None:
    """ValueError when a setting (its name: the population) names one that the source has not."""
    for setting, name in wanted.items():
        if name not in known:
            raise ValueError(f"{setting} is {name!r}, but the heads of {source} have only {', '.join(known)}: choose one of these")
