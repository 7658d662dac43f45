"""How often the images of drawn parts show each expression unit, and how lopsided; from the weights of the heads that their codes came from."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from serep.data.heads import HeadSet
from serep.data.render_part import RenderPart
from serep.faces.expression_units import sides_of

ACTIVE, STRONG, EXTREME = 0.1, 0.6, 1.0  # weight of a unit from which it shows, from which it shows clearly, and as much as the source ever has it


@dataclass(frozen=True)
class UnitCoverage:
    """One expression unit in the images of some parts; shares are of all their images."""

    unit: str
    images: int
    """That show it, with a weight of at least ACTIVE."""
    active: float
    """Share of them in all images."""
    strong: float
    """Weight of at least STRONG."""
    extreme: float
    """Weight of at least EXTREME."""
    largest: float
    """Weight; beyond 1 where codes were summed or extrapolated."""
    one_sided: float | None
    """This side active while the other is not; None for units without sides."""


def image_weights(part: RenderPart, heads: HeadSet) -> Float[np.ndarray, "N E"]:
    """Weight of each unit in each image of the part, by the recipe of its code; `heads` are those that the part was drawn from.

    Codes add up nearly as weights do, so this is close to what the image shows, not exact. ValueError where the heads have no weights (scans),
    or are others.
    """
    if not heads.weights.shape[1]:
        raise ValueError("these heads have no weights of expression units, as scans do not; which units their images show is not known")
    index = part.index
    if max(max(rows) for rows in index["recipe_rows"]) >= len(heads.weights):
        raise ValueError(f"part {part.name} names expression {max(max(rows) for rows in index['recipe_rows'])}, the heads have {len(heads.weights)}; "
                         f"read the heads that it was drawn from. {part.remedy}")
    weights = np.zeros((len(part), heads.weights.shape[1]))
    for image, (rows, shares) in enumerate(zip(index["recipe_rows"], index["recipe_shares"], strict=True)):
        weights[image] = np.asarray(shares) @ heads.weights[rows]
    halves = np.array([kind == "halves" for kind in index["recipe"]])
    if halves.any():
        weights[halves] = _halves(index, heads, halves)
    return weights


def unit_coverage(parts: Sequence[RenderPart], heads: HeadSet) -> list[UnitCoverage]:
    """A row for each expression unit, in the order of the heads' names, over all images of the parts."""
    weights = np.concatenate([image_weights(part, heads) for part in parts])
    other_side = {one: other for places in sides_of(heads.expression_names).values() if len(places) == 2 for one, other in (places, places[::-1])}
    active, rows = weights >= ACTIVE, []
    for place, unit in enumerate(heads.expression_names):
        alone = float((active[:, place] & ~active[:, other_side[place]]).mean()) if place in other_side else None
        strong, extreme = (float((weights[:, place] >= least).mean()) for least in (STRONG, EXTREME))
        shown = active[:, place]
        rows.append(UnitCoverage(unit, int(shown.sum()), float(shown.mean()), strong, extreme, float(weights[:, place].max()), alone))
    return rows


def recipe_shares(parts: Sequence[RenderPart]) -> dict[str, float]:
    """Share of the images of the parts whose code came about in each way."""
    kinds, counts = np.unique([kind for part in parts for kind in part.index["recipe"]], return_counts=True)
    return {str(kind): float(count) / int(counts.sum()) for kind, count in zip(kinds, counts, strict=True)}


def _halves(index: dict[str, list], heads: HeadSet, images: np.ndarray) -> Float[np.ndarray, "n E"]:
    """Units of the left from the first expression, of the right from the second; those of the middle from both, by half."""
    numbers = np.flatnonzero(images)
    first, second = (np.array([[index["recipe_rows"][image][place], index["recipe_shares"][image][place]] for image in numbers]) for place in (0, 1))
    left, right = (heads.weights[rows[:, 0].astype(int)] * rows[:, 1:] for rows in (first, second))
    way = np.full(len(heads.expression_names), 0.5)
    for places in sides_of(heads.expression_names).values():
        if len(places) == 2:
            for place in places:
                way[place] = 1.0 if heads.expression_names[place].endswith("_L") else 0.0
    return way * left + (1 - way) * right
