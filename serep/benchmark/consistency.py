"""Cross-identity consistency: does one code mean the same on many people, in measures that people name?"""
from __future__ import annotations

import numpy as np
from jaxtyping import Float

from serep.benchmark.capture_scores import LID_OPENING, MOUTH_OPENING, opening
from serep.data.heads import HeadSet
from serep.faces.topology import FaceTopology
from serep.models.semantic import SemanticModel

MOUTH_WIDTH = (((61, 291), (33, 263)),)  # a distance over a distance, so that the size of a head plays no part
BROWS = ("brow_left", "brow_right")
SMALLEST_RANGE = 1e-3  # of a measure: below, the face does not perform it and its own range says nothing


def facial_measures(vertices: Float[np.ndarray, "B V 3"], topology: FaceTopology) -> dict[str, Float[np.ndarray, " B"]]:
    """What a face does: mouth opening and width and lid opening (ratios of distances), brow height (mm).

    Only those whose landmarks or regions the topology has. The brow's height is its place in the head's frame, since nothing near it holds
    still in all expressions: only its change from the neutral says anything.
    """
    known, measures = set(topology.landmark_ids.tolist()), {}
    landmarks = topology.landmarks(vertices.astype(np.float64))
    for name, pairs in {"mouth opening": MOUTH_OPENING, "mouth width": MOUTH_WIDTH, "lid opening": LID_OPENING}.items():
        if known.issuperset(one for pair in pairs for ends in pair for one in ends):
            measures[name] = opening(landmarks, topology.landmark_ids, pairs)
    if all(name in topology.regions and topology.regions[name].any() for name in BROWS):
        weights = sum(topology.regions[name].astype(np.float64) for name in BROWS)
        measures["brow height"] = vertices[..., 1].astype(np.float64) @ (weights / weights.sum())
    return measures


def cross_identity_consistency(model: SemanticModel, heads: HeadSet) -> dict[str, dict[str, float | int | None]]:
    """For each measure, how much one code differs between people (all of `heads`), as a share of each face's own range.

    Every expression that all people perform is encoded from one of them, in turn, and posed on all. A measure on a face is taken as its
    change from the neutral over the range that this face's true performance of all the expressions spans.

    spread        standard deviation across people, mean over expressions
    true_spread   the same for the true meshes: what the people themselves differ by
    signal        standard deviation across expressions of the mean over people: a model that never moves has no spread, and no signal
    correlation   with the true measure, over people and expressions
    people, expressions   how many the figures are from

    Empty where people share no expression. People whose range of a measure is below 0.001 are left out of it.
    """
    performed, shared = [heads.rows_by_expression(person) for person in range(len(heads.neutrals))], heads.shared_expressions()
    if not shared:
        return {}
    topology = heads.topology
    codes = np.empty((len(shared), model.code_size), np.float32)
    for number in range(len(performed)):
        own = list(range(number, len(shared), len(performed)))
        if own:
            rows = [performed[number][shared[place]] for place in own]
            codes[own] = model.encode(topology.mesh(heads.neutrals[number]), heads.expressive[rows])
    posed, true = [], []
    for neutral, rows in zip(heads.neutrals, performed, strict=True):
        at_rest = facial_measures(neutral[None], topology)
        of_truth = facial_measures(heads.expressive[[rows[name] for name in shared]], topology)
        of_pose = facial_measures(model.bind(topology.mesh(neutral)).pose(codes), topology)
        true.append({name: values - at_rest[name] for name, values in of_truth.items()})
        posed.append({name: values - at_rest[name] for name, values in of_pose.items()})
    return {name: _agreement(np.stack([one[name] for one in posed]), np.stack([one[name] for one in true])) for name in true[0]}


def _agreement(posed: Float[np.ndarray, "S E"], true: Float[np.ndarray, "S E"]) -> dict[str, float | int | None]:
    reach = np.ptp(true, axis=1, keepdims=True)
    able = reach[:, 0] > SMALLEST_RANGE
    if able.sum() < 2:
        return {"spread": None, "true_spread": None, "signal": None, "correlation": None, "people": int(able.sum()), "expressions": true.shape[1]}
    posed, true = posed[able] / reach[able], true[able] / reach[able]
    moves = posed.std() > 0
    return {
        "spread": float(posed.std(axis=0).mean()),
        "true_spread": float(true.std(axis=0).mean()),
        "signal": float(posed.mean(axis=0).std()),
        "correlation": float(np.corrcoef(posed.ravel(), true.ravel())[0, 1]) if moves else None,
        "people": len(posed),
        "expressions": posed.shape[1],
    }
