"""Random expressions as weights of a source's expression units, by the rules that keep them possible for a face."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float

from serep.faces.head_model import SubjectPlan

OPPOSED = (
    ("jawLeft", "jawRight"), ("mouthLeft", "mouthRight"), ("mouthFunnel", "mouthRollLower"), ("mouthFunnel", "mouthRollUpper"),
    ("mouthPucker", "mouthStretch"), ("mouthSmile", "mouthFrown"), ("eyeBlink", "eyeWide"), ("eyeSquint", "eyeWide"),
    ("browDown", "browInnerUp"), ("browDown", "browOuterUp"),
    ("mouthUpperUp", "mouthRollUpper"), ("mouthLowerDown", "mouthRollLower"), ("mouthPress", "mouthUpperUp"), ("mouthPress", "mouthLowerDown"),
    # MakeHuman's own units
    ("eye-closure", "eye-opened-up"), ("eye-slit", "eye-opened-up"), ("eye-closure", "eye-slit"), ("eyebrows-down", "eyebrows-up"),
    ("eyebrows-down", "eyebrows-extern-up"), ("eyebrows-down", "eyebrows-inner-up"), ("eyebrows-up", "eyebrows-extern-up"),
    ("eyebrows-up", "eyebrows-inner-up"), ("nose-compression", "nose-dilatation"), ("nose-depression", "nose-elevation"),
    ("mouth-elevation", "mouth-depression"), ("mouth-protusion", "mouth-retraction"), ("mouth-pursing", "mouth-part-later"),
    ("mouth-pursing", "mouth-corner-puller"), ("mouth-compression", "mouth-eversion"), ("mouth-compression", "mouth-open"),
    ("mouth-open", "mouth-depression-retraction"), ("mouth-open", "mouth-part-later"),
)  # fmt: skip
"""Units that no muscle pulls at the same time; with sides, on the same side. The one with the larger weight stays."""
NEEDS_JAW = ("mouthClose", "tongueOut")
"""Only ever with jawOpen and never beyond it: mouthClose is a corrective that shuts the lips of an open jaw."""
BLINKS = ("eyeBlink", "eye-closure")
"""Units that shut the eyes; a source has one of them or none."""
BLINK_MIN, BLINK_MAX = 0.5, 1.0


def sides_of(names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Units without their side, in order of appearance: ("left and right" or one) indices into the names."""
    sides: dict[str, tuple[int, ...]] = {}
    for index, name in enumerate(names):
        stem = name[:-2] if name.endswith(("_L", "_R")) else name
        sides[stem] = (*sides.get(stem, ()), index)
    return sides


def draw_weights(names: tuple[str, ...], count: int, plan: SubjectPlan, *, with_held_out: bool = False,
                 rng: np.random.Generator) -> Float[np.ndarray, "n E"]:
    """(count, E) weights: a few random units each, without gaze, the two sides alike in `symmetric_share` of the expressions.

    A unit with sides counts once; in the other expressions it acts on the left, on the right or on both by different amounts. The plan's
    held-out units never act, or, `with_held_out`, at least one of them acts in every expression. In `blink_share` both eyes shut as well.
    """
    sides = sides_of(names)
    stems = [stem for stem in sides if not stem.startswith("eyeLook") and not (stem in NEEDS_JAW and "jawOpen" not in sides)]
    if unknown := sorted(set(plan.held_out_units) - set(stems)):
        raise ValueError(f"held_out_units names {', '.join(unknown)}, which this source never draws; it draws {', '.join(sorted(stems)) or 'none'}")
    held_out = [stem for stem in stems if stem in plan.held_out_units] if with_held_out else []
    if not with_held_out:
        stems = [stem for stem in stems if stem not in plan.held_out_units and not (stem in NEEDS_JAW and "jawOpen" in plan.held_out_units)]
    if len(stems) < plan.units_max:
        without = f" without {', '.join(plan.held_out_units)}" if plan.held_out_units and not with_held_out else ""
        raise ValueError(f"units_max is {plan.units_max}, but only {len(stems)} units can be drawn{without}: lower it")
    weights = np.zeros((count, len(names)))
    for row in weights:
        chosen = _choose(stems, held_out, plan, rng)
        symmetric = rng.random() < plan.symmetric_share
        for stem in chosen:
            places = list(sides[stem])
            amounts = rng.uniform(plan.weight_min, plan.weight_max, len(places))
            acts = rng.integers(3)  # left only, right only, both
            if len(places) == 2 and symmetric:
                amounts[:] = amounts[0]
            elif len(places) == 2 and acts < 2:
                amounts[1 - acts] = 0
            row[places] = amounts
        _resolve(row, sides, jaw=rng.uniform(plan.weight_min, plan.weight_max), stays=tuple(held_out))
    # After all else, so that the share changes only the expressions that blink.
    if blink := next((stem for stem in BLINKS if plan.blink_share and stem in stems), None):
        for row, blinks, amount in zip(weights, rng.random(count) < plan.blink_share, rng.uniform(BLINK_MIN, BLINK_MAX, count), strict=True):
            shut = row.copy()
            shut[list(sides[blink])] = amount
            _resolve(shut, sides, jaw=0.0, stays=(blink,))
            if blinks and (not held_out or any(shut[list(sides[stem])].any() for stem in held_out)):
                row[:] = shut
    return weights


def _choose(stems: list[str], held_out: list[str], plan: SubjectPlan, rng: np.random.Generator) -> list[str]:
    """The units of one expression; where some are `held_out`, one of these and fewer than units_max others."""
    if not held_out:
        return [stems[index] for index in rng.choice(len(stems), rng.integers(plan.units_min, plan.units_max + 1), replace=False)]
    first = held_out[rng.integers(len(held_out))]
    others = [stem for stem in stems if stem != first]
    return [first, *(others[index] for index in rng.choice(len(others), rng.integers(plan.units_max), replace=False))]


def _resolve(row: np.ndarray, sides: dict[str, tuple[int, ...]], *, jaw: float, stays: tuple[str, ...] = ()) -> None:
    """Makes one row of weights possible for a face: of opposed units one goes, and the jaw opens where a unit needs it.

    The weaker goes, unless it is one of those that stay and the other is not.
    """
    for one, other in OPPOSED:
        if one in sides and other in sides:
            left, right = sides[one], sides[other]
            pairs = zip(left, right, strict=True) if len(left) == len(right) else ((a, b) for a in left for b in right)
            for a, b in pairs:
                if row[a] and row[b]:
                    drops_one = row[a] < row[b] if (one in stays) == (other in stays) else other in stays
                    row[a if drops_one else b] = 0
    for stem in NEEDS_JAW:
        if stem in sides and row[list(sides[stem])].any():
            opening = sides["jawOpen"][0]
            row[opening] = row[opening] or jaw
            row[list(sides[stem])] = np.minimum(row[list(sides[stem])], row[opening])
