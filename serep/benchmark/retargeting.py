"""Semantic models on unseen people and expressions: reconstruction, retargeting, and what their codes say about the person."""
from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from serep.benchmark.metrics import (
    identity_leak,
    left_right_swap,
    moving_vertices,
    relative_difference,
    vertex_distances,
)
from serep.data.heads import HeadSet
from serep.models.semantic import SemanticModel

LOGGER = logging.getLogger(__name__)
METRIC_REGIONS = ("mouth", "cheek", "nose", "eyes_forehead")
EXAMPLES = 4


@dataclass(frozen=True, eq=False)
class _Person:
    rows: dict[str, int]
    displacements: Float[np.ndarray, "n V 3"]
    codes: Float[np.ndarray, "n Z"]


def score_semantic(model: SemanticModel, heads: HeadSet, *, max_pairs: int, seed: int) -> dict[str, float | int | str | None]:
    """Metrics of one model on test people (all of `heads`), as plain numbers under plain keys. None where the heads offer no truth.

    reconstruction_mm, retargeting_mm      mean vertex distance over the moving vertices, on the same and on another person; also per region
                                           (`retargeting_mouth_mm`, whole region)
    neutral_mm, copied_mm                  the same for a model that never moves, and (retargeting) for displacements copied unchanged
    moving_motion_mm                       mean true motion of the moving vertices
    identity_leak, identity_leak_per_number   see `serep.benchmark.metrics`
    neutral_leak_mm                        |pose of the neutral's own code on another person − that person's neutral|
    code_cycle                             pose on another person and encode again: relative change of the code
    left_right_swap                        share of one-sided expressions that come out on the wrong side

    At most `max_pairs` source-target pairs are posed, drawn with `seed`.
    """
    people, shared = _encoded(model, heads)
    moving = moving_vertices(np.concatenate([person.displacements for person in people]))
    regions = {name: heads.topology.regions[name] > 0.5 for name in METRIC_REGIONS if name in heads.topology.regions}
    rng = np.random.default_rng(seed)
    pairs = [(source, target) for target in range(len(people)) for source in range(len(people)) if source != target]
    pairs = [pairs[place] for place in sorted(rng.permutation(len(pairs))[:max_pairs])] if shared else []
    same, other, swaps, neutral_leaks, cycles = [], [], [], [], []
    for target, person in enumerate(people):
        neutral = heads.topology.mesh(heads.neutrals[target])
        rig = model.bind(neutral)
        base = neutral.vertices.astype(np.float32)
        same.append(_errors(rig.pose(person.codes) - base, person.displacements, moving, regions))
        own_rows = [person.rows[name] for name in shared]
        for source in (source for source, other_target in pairs if other_target == target):
            codes = people[source].codes[[people[source].rows[name] for name in shared]]
            posed, true = rig.pose(codes) - base, person.displacements[own_rows]
            copied = people[source].displacements[[people[source].rows[name] for name in shared]]
            other.append(_errors(posed, true, moving, regions) | {"copied": vertex_distances(copied, true)[:, moving].mean()})
            if heads.topology.mirror is not None:
                swaps.append(left_right_swap(posed, true, heads.topology.mirror, moving))
        source = (target + 1) % len(people)
        neutral_code = model.encode(heads.topology.mesh(heads.neutrals[source]), heads.neutrals[source][None])
        neutral_leaks.append(vertex_distances(rig.pose(neutral_code)[0], base)[moving].mean())
        cycles.append((model.encode(neutral, rig.pose(people[source].codes)), people[source].codes))
    motion = np.concatenate([np.linalg.norm(person.displacements[:, moving], axis=-1) for person in people])
    scores: dict[str, float | int | str | None] = {
        "reconstruction_mm": _mean(same, "moving"),
        "retargeting_mm": _mean(other, "moving"),
        "neutral_mm": float(motion.mean()),
        "copied_mm": _mean(other, "copied"),
        "moving_motion_mm": float(motion.mean()),
        "moving_vertices": int(moving.sum()),
        **{f"reconstruction_{name}_mm": _mean(same, name) for name in regions},
        **{f"retargeting_{name}_mm": _mean(other, name) for name in regions},
        "neutral_leak_mm": float(np.mean(neutral_leaks)),
        "code_cycle": relative_difference(*(np.concatenate(side) for side in zip(*cycles, strict=True))),
        "left_right_swap": _mean([{"swap": value} for value in swaps if value is not None], "swap"),
        "people": len(people),
        "shared_expressions": len(shared),
        "pairs": len(pairs),
        "identity_leak": None,
        "identity_leak_per_number": None,
    }
    if shared and len(people) > 1:
        codes = np.stack([person.codes[[person.rows[name] for name in shared]] for person in people])
        scores["identity_leak"], scores["identity_leak_per_number"] = identity_leak(codes)
    else:
        LOGGER.warning("the test people share no expression: retargeting and identity leak have no truth and stay empty")
    return scores


def retargeting_examples(models: Mapping[str, SemanticModel], heads: HeadSet, *, max_pairs: int, seed: int) -> dict[str, np.ndarray]:
    """Arrays for a figure of a few expressions carried from one test person to another.

    labels (n,), source and truth (n, V, 3), and `model/<name>` (n, V, 3) for each model. Where no expressions are shared, the target is the
    source itself. `max_pairs` bounds the number of examples.
    """
    rng = np.random.default_rng(seed)
    shared = heads.shared_expressions()
    people = len(heads.neutrals)
    count = min(EXAMPLES, max_pairs) if max_pairs else EXAMPLES
    arrays: dict[str, list] = {"labels": [], "source": [], "truth": [], **{f"model/{name}": [] for name in models}}
    for source in rng.permutation(people)[:count].tolist():
        target = int(source + 1 + rng.integers(people - 1)) % people if shared and people > 1 else source
        rows = heads.rows_by_expression(source)
        expression = str(rng.choice(sorted(shared) if shared else sorted(rows)))
        row = rows[expression]
        true = heads.rows_by_expression(target)[expression]
        arrays["labels"].append(f"{heads.subject_ids[source]} to {heads.subject_ids[target]}, {expression}")
        arrays["source"].append(heads.expressive[row])
        arrays["truth"].append(heads.expressive[true])
        for name, model in models.items():
            code = model.encode(heads.topology.mesh(heads.neutrals[source]), heads.expressive[row][None])
            arrays[f"model/{name}"].append(model.bind(heads.topology.mesh(heads.neutrals[target])).pose(code)[0])
    return {name: np.array(values) if name == "labels" else np.stack(values).astype(np.float32) for name, values in arrays.items()}


def _encoded(model: SemanticModel, heads: HeadSet) -> tuple[list[_Person], list[str]]:
    people = []
    for person, vertices in enumerate(heads.neutrals):
        rows = np.flatnonzero(heads.expression_subject == person)
        if not len(rows):
            raise ValueError(f"test person {heads.subject_ids[person]} has no expressive mesh. Leave the person out or give at least one")
        codes = model.encode(heads.topology.mesh(vertices), heads.expressive[rows])
        people.append(_Person({heads.expression_ids[row]: place for place, row in enumerate(rows)}, heads.expressive[rows] - vertices, codes))
    return people, heads.shared_expressions()


def _errors(posed: np.ndarray, true: np.ndarray, moving: np.ndarray, regions: dict[str, np.ndarray]) -> dict[str, float]:
    distances = vertex_distances(posed, true)
    return {name: float(distances[:, mask].mean()) for name, mask in {"moving": moving, **regions}.items() if mask.any()}


def _mean(rows: list[dict[str, float]], name: str) -> float | None:
    values = [row[name] for row in rows if name in row]
    return float(np.mean(values)) if values else None
