"""From the stages' metrics and arrays to the sections of the report."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from serep.benchmark.figures import (
    RetargetingExample,
    contact_sheet,
    coverage_histogram,
    curves,
    error_map_on_face,
    overlay_sheet,
    retargeting_grid,
)
from serep.benchmark.report_content import Column, Figure, Row, Section, Table
from serep.benchmark.report_tables import region_table, view_table
from serep.data.coverage import ACTIVE, EXTREME, STRONG, UnitCoverage
from serep.faces.topology import FaceTopology

KIND_NAMES = {
    "neural": "neural", "gradient_fit": "linear fit of gradient modes", "gradient_pca": "PCA of deformation gradients",
    "displacement_pca": "linear 3DMM (PCA of displacements)",
}
ERROR_LIMIT = 1.0  # mm at the bright end of retargeting error maps
CAPTURE_ERROR_LIMIT = 4.0
GAZE_UNITS = "eyeLook"  # how ARKit's names of the eyes' turns begin
Metrics = Mapping[str, object]


def data_section(
    images: UInt8[np.ndarray, "N H W 3"], captions: Sequence[str], weights: Float[np.ndarray, "M E"], names: Sequence[str], counts: Mapping[str, Metrics],
    *, coverage: Sequence[UnitCoverage] = (), recipes: Mapping[str, float] | None = None,
) -> Section:
    """Contact sheet of training images, how often each expression unit occurs in meshes and in renders, and what the parts hold.

    Without `coverage` (scans have no weights of units) the table of renders is left out.
    """
    rows = tuple(Row(name, (part["images"], part["people"], part["expressions"], part["bytes_per_image"])) for name, part in counts.items())
    columns = (Column("images"), Column("people"), Column("expressions"), Column("bytes per image"))
    figures = [Figure(contact_sheet(images, columns=8, captions=captions), "Random training images on a grey background, as they are stored.", "Rendered faces")]
    if weights.size:
        figures.append(Figure(coverage_histogram(weights, names), "How often each expression unit is active in the training meshes.", "Bars, one a unit"))
    return Section(tables=(Table("Rendered parts", columns, rows, "part"), *_coverage_table(coverage, recipes or {})), figures=tuple(figures))


def _coverage_table(coverage: Sequence[UnitCoverage], recipes: Mapping[str, float]) -> tuple[Table, ...]:
    if not coverage:
        return ()
    columns = (Column("renders"), Column("shown in", "% of all", decimals=1), Column(f"at {STRONG:g} or more", "% of all", decimals=1),
               Column(f"at {EXTREME:g} or more", "% of all", decimals=2), Column("one-sided", "% of those", decimals=0), Column("largest weight", decimals=2))
    rows = []
    for one in coverage:
        alone = None if one.one_sided is None or not one.active else 100 * one.one_sided / one.active
        values = (one.images, 100 * one.active, 100 * one.strong, 100 * one.extreme, alone, one.largest)
        rows.append(Row(one.unit, values, group=re.match("[a-z]+", one.unit).group() if re.match("[a-z]", one.unit) else "other"))
    kinds = ", ".join(f"{name} {100 * share:.0f} %" for name, share in recipes.items())
    note = (f"Training renders that show a unit with a weight of at least {ACTIVE:g}, by the recipe of each code; one-sided: not on the other side. "
            f"Weights beyond 1 come from sums and extrapolation. Codes: {kinds}.")
    if any(one.unit.startswith(GAZE_UNITS) and not one.images for one in coverage):
        note += " Gaze is no part of the codes: every render turns the eyes at random."
    return (Table("Expression units in the training renders", columns, tuple(rows), "unit", note),)


def semantic_section(
    metrics: Mapping[str, Metrics], examples: Mapping[str, np.ndarray], topologies: Mapping[str, Metrics], topology: FaceTopology, *, released: str
) -> Section:
    """Every kind of model on unseen people and expressions, what other topologies cost, and the retargeting grid."""
    columns = (
        Column("reconstruction", "mm", "low", 3), Column("retargeting", "mm", "low", 3), Column("identity leak", "", "low", 5),
        Column("leak per number", "", "low", 5), Column("neutral leak", "mm", decimals=3), Column("code cycle", decimals=4),  # linear kinds have 0 by construction
        Column("left-right swaps", "", "low", 3),
    )
    keys = ("reconstruction_mm", "retargeting_mm", "identity_leak", "identity_leak_per_number", "neutral_leak_mm", "code_cycle", "left_right_swap")
    rows = [Row(KIND_NAMES[kind], tuple(one[key] for key in keys), "own" if kind == released else "baseline") for kind, one in metrics.items()]
    first = next(iter(metrics.values()))
    rows.append(Row("copy the displacement", (0.0, first["copied_mm"], None, None, None, None, None)))
    rows.append(Row("never move", (first["neutral_mm"], first["neutral_mm"], None, None, 0.0, None, None)))
    note = (f"{first['people']} people and {first['shared_expressions']} expressions never trained on; mean over the vertices that move by more than "
            f"0.3 mm on average ({first['moving_vertices']} of {len(topology.template)}; they move {first['moving_motion_mm']:.2f} mm). "
            f"Retargeting over {first['pairs']} pairs of people.")
    kinds = [name.removeprefix("model/") for name in examples if name.startswith("model/")]
    lines = [RetargetingExample(str(label), examples["source"][row], {KIND_NAMES[kind]: examples[f"model/{kind}"][row] for kind in kinds}, examples["truth"][row])
             for row, label in enumerate(examples["labels"])]
    grid = Figure(retargeting_grid(lines, topology, limit=ERROR_LIMIT), "An unseen expression carried to another unseen person, and the error of each model.",
                  "Rows of grey faces and error maps")
    regions = tuple(name for name in ("mouth", "nose", "cheek", "eyes_forehead") if f"retargeting_{name}_mm" in first)
    by_region = Table("Retargeting by region", tuple(Column(name.replace("_", " "), "mm", "low", 3) for name in regions),
                      tuple(Row(KIND_NAMES[kind], tuple(one[f"retargeting_{name}_mm"] for name in regions), "own" if kind == released else "baseline")
                            for kind, one in metrics.items()), "model")
    tables = (Table("Semantic model", columns, tuple(rows), "model", note), by_region, *_consistency_table(metrics, released), *_topology_table(topologies))
    return Section(tables=tables, figures=(grid,))


def _consistency_table(metrics: Mapping[str, Metrics], released: str) -> tuple[Table, ...]:
    """One code on many people; nothing where the people share no expression or the topology has no such measure."""
    first = next(iter(metrics.values()))["consistency"]
    if not first:
        return ()
    columns = (Column("spread over people", "% of the face's range", decimals=2), Column("spread over expressions", "%", decimals=1),
               Column("correlation with the truth", "", "high", 4))
    rows = []
    for measure, truth in first.items():
        for kind, one in metrics.items():
            found = one["consistency"][measure]
            values = (_percent(found["spread"]), _percent(found["signal"]), found["correlation"])
            rows.append(Row(KIND_NAMES[kind], values, "own" if kind == released else "baseline", measure))
        rows.append(Row("the true meshes", (_percent(truth["true_spread"]), None, None), "", measure))
    note = ("The code of every shared expression, taken from one person, on all test people. Measures are changes from the neutral over the range that the "
            "person's own true performance of the same expressions spans. A good model spreads as much as the true meshes, not less.")
    return (Table("One code on many people", columns, tuple(rows), "model", note),)


def _topology_table(topologies: Mapping[str, Metrics]) -> tuple[Table, ...]:
    """The released kind on other triangles; nothing where the people share no expression."""
    if not topologies:
        return ()
    columns = (Column("vertices", decimals=0), Column("reconstruction", "mm", decimals=3), Column("retargeting from it", "mm", decimals=3),
               Column("retargeting onto it", "mm", decimals=3), Column("code difference", "%", decimals=1), Column("registration", "mm", decimals=2),
               Column("refused", decimals=0))
    rows = tuple(Row(name, (one.get("vertices"), one["reconstruction_mm"], one["from_it_mm"], one["onto_it_mm"], _percent(one["code_difference"]),
                            one["registration_mm"], one["refused"])) for name, one in topologies.items())
    note = (f"{topologies['own']['people']} test people, shared expressions; the other side of a retargeting has the topology of training. Remeshed: the "
            "whole head with as many vertices elsewhere. Face only: cut out, in another order, without inner mouth, eyes and skull. Dense: four times the "
            "triangles. Registration: from the model's face, laid onto the neutral without any hint, to its surface.")
    return (Table("Meshes of other topologies", columns, rows, "topology", note),)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def capture_section(metrics: Metrics, examples: Mapping[str, np.ndarray], *, text: str) -> Section:
    """The network on test renders and in the simulated target domain beside trivial answers, on photographs with landmarks, and its landmarks on some."""
    note = f"{metrics['images']} renders of people and expressions never trained on; vertices that move, posed on the mean head."
    simulated = metrics["simulated"]
    other = (f"{simulated['images']} renders of people and expressions never trained on, drawn with another lens, light and looks and taken by another camera: "
             "what a network meets that leaves its training renders. They stand in for photographs, and unlike these have the truth.")
    tables = [_capture_table("Capture on test renders", metrics, note), _capture_table("Capture in the simulated target domain", simulated, other)]
    if metrics["real"].get("landmark_pct") is not None:
        columns = (Column("landmarks", "% of eye distance", "low", 2), Column("mouth opening", "correlation", "high", 2),
                   Column("lid opening", "correlation", "high", 2))
        values = tuple(metrics["real"].get(key) for key in ("landmark_pct", "mouth_r", "lid_r"))
        tables.append(Table("Capture on real faces", columns, (Row("capture network", values),), "method",
                            f"{metrics['real']['faces']} faces with landmarks of files kept from training."))
    figures = tuple(Figure(overlay_sheet(*(examples[prefix + key] for key in ("images", "predicted", "reference")), columns=6), caption, "Faces with dots")
                    for prefix, caption in (("", "Landmarks on test renders."), ("simulated_", "Landmarks in the simulated target domain.")))
    return Section(text, tuple(tables), figures)


def _capture_table(title: str, metrics: Metrics, note: str) -> Table:
    names = {"ours": ("capture network", "own"), "neutral": ("neutral", "baseline"), "mean_expression": ("mean expression", "baseline"),
             "ridge_landmarks": ("ridge regression from the true landmarks", "baseline")}
    columns = (Column("vertex error", "mm", "low", 3), Column("landmarks", "% of eye distance", "low", 2))
    rows = tuple(Row(label, (metrics[key]["vertex_mm"], metrics[key].get("landmark_pct")), role) for key, (label, role) in names.items())
    return Table(title, columns, rows, "method", note)


def benchmark_section(metrics: Metrics, examples: Mapping[str, np.ndarray], vertex_errors: Mapping[str, np.ndarray], topology: FaceTopology) -> Section:
    """Region errors by method and by view, error maps, and frames from every view."""
    methods: Mapping[str, Metrics] = metrics["methods"]
    roles = {name: "own" if name == "capture" else "" if name.startswith("true ") else "baseline" for name in methods}
    note = (f"{metrics['people']} unseen people, {metrics['frames']} frames from five cameras; a face was found in {100 * metrics['found_share']:.1f} % of them "
            "(the others count as neutral). Measured as the real benchmark's fixed answer: each region is aligned rigidly, without scale or mirroring. "
            "'linear 3DMM' explains the capture's own landmarks, told the true camera, and believes them as far as suits it best on these very frames; "
            "'mean expression' is the training people's. The 'true' rows never look at a picture: they are as near as each expression model can come. "
            "p: paired sign-flip test over people (below six people none can pass 0.05). Jitter above 1 shakes, below 1 smooths.")
    tables = (region_table(methods, own="capture", roles=roles, note=note), view_table(methods, own="capture", roles=roles))
    face = error_map_on_face(topology.template, topology, dict(vertex_errors), limit=CAPTURE_ERROR_LIMIT)
    frames = overlay_sheet(examples["images"], examples["predicted"], examples["reference"], columns=5, captions=[str(view) for view in examples["view"]])
    return Section(tables=tables, figures=(
        Figure(frames, "One expression at its height, from the five views.", "Faces with landmarks from five sides"),
        Figure(face, "Mean error by vertex, not aligned.", "Faces coloured by error")))


def training_section(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> Section:
    """Curves of every model that was trained by steps; linear ones have none."""
    trained = {name: lines for name, lines in rows.items() if lines}
    return Section(figures=(Figure(curves(trained), "Losses over the training steps, and scores on held-out people.", "Line charts"),))
