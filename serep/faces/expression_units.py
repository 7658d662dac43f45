"""Random expressions as weights of ARKit's units, by the rules that keep them possible for a face."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float

from serep.faces.head_model import SubjectPlan

OPPOSED = (
    ("jawLeft", "jawRight"), ("mouthLeft", "mouthRight"), ("mouthFunnel", "mouthRollLower"), ("mouthFunnel", "mouthRollUpper"),
    ("mouthPucker", "mouthStretch"), ("mouthSmile", "mouthFrown"), ("eyeBlink", "eyeWide"), ("eyeSquint", "eyeWide"),
    ("browDown", "browInnerUp"), ("browDown", "browOuterUp"),
    ("mouthUpperUp", "mouthRollUpper"), ("mouthLowerDown", "mouthRollLower"), ("mouthPress", "mouthUpperUp"), ("mouthPress", "mouthLowerDown"),
)  # fmt: skip
"""Units that no muscle pulls at the same time; with sides, on the same side. The one with the larger weight stays."""
NEEDS_JAW = ("mouthClose", "tongueOut")
"""Only ever with jawOpen and never beyond it: mouthClose is a corrective that shuts the lips of an open jaw."""


def sides_of(names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Units without their side, in order of appearance: ("left and right" or one) indices into the names."""
    sides: dict[str, tuple[int, ...]] = {}
    for index, name in enumerate(names):
        stem = name[:-2] if name.endswith(("_L", "_R")) else name
        sides[stem] = (*sides.get(stem, ()), index)
    return sides


def draw_weights(names: tuple[str, ...], count: int, plan: SubjectPlan, *, rng: np.random.Generator) -> Float[np.ndarray, "n E"]:
    """(count, E) weights: a few random units each, without gaze, the two sides alike in `symmetric_share` of the expressions.

    A unit with sides counts once; in the other expressions it acts on the left, on the right or on both by different amounts.
    """
    sides = sides_of(names)
    stems = [stem for stem in sides if not stem.startswith("eyeLook") and not (stem in NEEDS_JAW and "jawOpen" not in sides)]
    if len(stems) < plan.units_max:
        raise ValueError(f"units_max is {plan.units_max}, but only {len(stems)} units can be drawn: lower it")
    weights = np.zeros((count, len(names)))
    for row in weights:
        chosen = rng.choice(len(stems), rng.integers(plan.units_min, plan.units_max + 1), replace=False)
        symmetric = rng.random() < plan.symmetric_share
        for stem in (stems[index] for index in chosen):
            places = list(sides[stem])
            amounts = rng.uniform(plan.weight_min, plan.weight_max, len(places))
            acts = rng.integers(3)  # left only, right only, both
            if len(places) == 2 and symmetric:
                amounts[:] = amounts[0]
            elif len(places) == 2 and acts < 2:
                amounts[1 - acts] = 0
            row[places] = amounts
        _resolve(row, sides, jaw=rng.uniform(plan.weight_min, plan.weight_max))
    return weights


def _resolve(row: np.ndarray, sides: dict[str, tuple[int, ...]], *, jaw: float) -> None:
    """Makes one row of weights possible for a face: drops the weaker of opposed units, opens the jaw where a unit needs it."""
    for one, other in OPPOSED:
        if one in sides and other in sides:
            left, right = sides[one], sides[other]
            pairs = zip(left, right, strict=True) if len(left) == len(right) else ((a, b) for a in left for b in right)
            for a, b in pairs:
                if row[a] and row[b]:
                    row[a if row[a] < row[b] else b] = 0
    for stem in NEEDS_JAW:
        if stem in sides and row[list(sides[stem])].any():
            opening = sides["jawOpen"][0]
            row[opening] = row[opening] or jaw
            row[list(sides[stem])] = np.minimum(row[list(sides[stem])], row[opening])
