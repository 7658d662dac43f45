"""The performances that the report shows in 3D: unseen expressions carried to another person by each model, and read from a film by the capture."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

from serep.benchmark.metrics import vertex_distances
from serep.benchmark.report_viewer import Clip, Head
from serep.benchmark.sequences import range_of_motion
from serep.data.heads import HeadSet
from serep.models.semantic import SemanticModel


def retargeting_clip(
    models: Mapping[str, SemanticModel], heads: HeadSet, *, expressions: int, frames_per_expression: int, fps: float, seed: int
) -> Clip:
    """One test person's expressions on another, both drawn with `seed`: the source, what each model makes of it, and the truth.

    Shown are those `expressions` of all that both perform on which the first model (the released one) errs most, worst first. Where the drawn two
    share none, the source is its own target.
    """
    if len(models) < 1 or expressions < 1:
        raise ValueError(f"a clip needs at least one model and one expression, got {len(models)} models and {expressions} expressions")
    rng = np.random.default_rng(seed)
    source = int(rng.integers(len(heads.neutrals)))
    target = (source + 1 + int(rng.integers(len(heads.neutrals) - 1))) % len(heads.neutrals) if len(heads.neutrals) > 1 else source
    source_rows, target_rows = heads.rows_by_expression(source), heads.rows_by_expression(target)
    if not source_rows.keys() & target_rows.keys():
        target, target_rows = source, source_rows
    if not source_rows:
        raise ValueError(f"test person {heads.subject_ids[source]} has no expressive mesh. Leave the person out or give at least one")
    names = [name for name in source_rows if name in target_rows]
    source_mesh, target_mesh = heads.topology.mesh(heads.neutrals[source]), heads.topology.mesh(heads.neutrals[target])
    played, true = heads.expressive[[source_rows[name] for name in names]], heads.expressive[[target_rows[name] for name in names]]
    rigs = {name: model.bind(target_mesh) for name, model in models.items()}  # before encoding: models remember the last neutral they were bound to
    own = next(iter(models))
    posed = rigs[own].pose(models[own].encode(source_mesh, played))
    errors = vertex_distances(posed, true)[:, heads.topology.regions["face"] > 0.5].mean(axis=1)
    worst = np.argsort(-errors, kind="stable")[:expressions]
    source_film, true_film = (
        range_of_motion(heads.neutrals[person], meshes[worst], frames_per_expression=frames_per_expression)
        for person, meshes in ((source, played), (target, true))
    )
    shown = [Head("source", "source", source_film)]
    for role, (name, model) in zip(("own", *["baseline"] * (len(models) - 1)), models.items(), strict=True):
        shown.append(Head(name, role, rigs[name].pose(model.encode(source_mesh, source_film))))
    shown.append(Head("truth", "truth", true_film))
    whom = f"{heads.subject_ids[source]} to {heads.subject_ids[target]}"
    title = f"{whom}: the {len(worst)} of {len(names)} unseen expressions that {own} misses most, worst first"
    marks = tuple((place * frames_per_expression + frames_per_expression // 2, names[row]) for place, row in enumerate(worst))
    return Clip("retargeting", title, tuple(shown), fps, marks)


def capture_clip(
    heads: HeadSet, captured: Float[np.ndarray, "T V 3"], film: UInt8[np.ndarray, "T S S 3"], *, frames_per_expression: int, fps: float
) -> Clip:
    """What the capture read from the frontal film of the first test person's range of motion, beside the truth and a face that never moves.

    `captured` and `film` are those of the benchmark, whose motion is made here anew from `heads`, the test people. The expression that is missed
    most is shown first.
    """
    rows = np.flatnonzero(heads.expression_subject == 0)[: (len(captured) - 1) // frames_per_expression]
    truth = range_of_motion(heads.neutrals[0], heads.expressive[rows], frames_per_expression=frames_per_expression)
    if len(truth) != len(captured):
        raise ValueError(f"{len(captured)} captured frames, but {len(rows)} expressions of {heads.subject_ids[0]} at {frames_per_expression} frames each "
                         f"make {len(truth)}. Was the benchmark run with other settings?")
    still = np.repeat(heads.neutrals[:1], len(truth), axis=0)
    shown = (Head("capture", "own", captured), Head("never moves", "baseline", still), Head("truth", "truth", truth))
    face = heads.topology.regions["face"] > 0.5
    marks = [(place * frames_per_expression + frames_per_expression // 2, heads.expression_ids[row]) for place, row in enumerate(rows)]
    errors = {frame: float(vertex_distances(captured[frame], truth[frame])[face].mean()) for frame, _ in marks}
    title = f"{heads.subject_ids[0]}, {len(rows)} unseen expressions as the front camera sees them"
    return Clip("capture", title, shown, fps, tuple(sorted(marks, key=lambda mark: -errors[mark[0]])), film)
