"""Pictures for the report: pure functions from arrays to PNG (charts) or JPEG (sheets of images) bytes of bounded size."""
from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from serep.benchmark.sequences import view_cameras
from serep.data.render_part import RenderPart
from serep.faces.topology import FaceTopology
from serep.render.clay import draw_shapes
from serep.render.sheets import (
    error_colours,
    jpeg_bytes,
    resized,
    tile_sheet,
    tile_size_px,
    with_colour_bar,
    with_legend,
)

PREDICTED_COLOUR, REFERENCE_COLOUR = (255, 140, 26), (64, 200, 255)
CHART_DPI, GREY = 110, 118


def sample_of(part: RenderPart, images: int) -> UInt8[np.ndarray, "N H W 3"]:
    """At most so many renders, evenly over the part; they have no background and are shown before a grey one."""
    rows = np.linspace(0, len(part) - 1, min(images, len(part))).astype(int).tolist()
    return np.stack([np.where(part.mask(row)[..., None] > 0, part.rgb(row), np.uint8(GREY)) for row in rows])


def contact_sheet(images: UInt8[np.ndarray, "N H W 3"], *, columns: int, captions: Sequence[str] = ()) -> bytes:
    """Images in rows of `columns`, each with its caption below: JPEG."""
    if captions and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} images: give one each, or none")
    tile = tile_size_px(columns)
    return jpeg_bytes(tile_sheet([resized(image, tile) for image in images], columns, tile, captions))


def overlay_sheet(
    images: UInt8[np.ndarray, "N H W 3"],
    predicted: Float[np.ndarray, "N L 2"],
    reference: Float[np.ndarray, "N L 2"],
    *,
    columns: int,
    captions: Sequence[str] = (),
) -> bytes:
    """Landmarks (px of the given images) on each image: predicted as dots, the truth as rings, joined by a line; NaN points are left out: JPEG."""
    tile = tile_size_px(columns)
    tiles = []
    for image, dots, rings in zip(images, predicted, reference, strict=True):
        scale = tile / max(image.shape[:2])
        picture = Image.fromarray(resized(image, 2 * tile))  # drawn at twice the size: smooth edges
        draw = ImageDraw.Draw(picture)
        for dot, ring in zip(dots * 2 * scale, rings * 2 * scale, strict=True):
            dot_seen, ring_seen = np.isfinite(dot).all(), np.isfinite(ring).all()
            if dot_seen and ring_seen:
                draw.line([*ring, *dot], fill=PREDICTED_COLOUR, width=2)
            if ring_seen:
                draw.ellipse([*(ring - 6.5), *(ring + 6.5)], outline=REFERENCE_COLOUR, width=2)
            if dot_seen:
                draw.ellipse([*(dot - 4), *(dot + 4)], fill=PREDICTED_COLOUR)
        tiles.append(np.asarray(picture.reduce(2)))
    sheet = tile_sheet(tiles, columns, tile, captions)
    legend = [("predicted", PREDICTED_COLOUR, True), ("true", REFERENCE_COLOUR, False)]
    return jpeg_bytes(with_legend(sheet, legend if np.isfinite(reference).any() else legend[:1]))


@dataclass(frozen=True, eq=False)
class RetargetingExample:
    """One line of the grid: the expression as the source person shows it, and what each model and the truth give on the target person."""

    label: str
    source: Float[np.ndarray, "V 3"]
    models: dict[str, Float[np.ndarray, "V 3"]]
    truth: Float[np.ndarray, "V 3"]


def retargeting_grid(examples: Sequence[RetargetingExample], topology: FaceTopology, *, limit: float, tile_px: int = 200) -> bytes:
    """One line an example: source, each model, truth, then each model's error against the truth on the face (0 to `limit` mm): JPEG."""
    names = list(examples[0].models)
    tiles = []
    for example in examples:
        if list(example.models) != names:
            raise ValueError(f"example '{example.label}' has models {list(example.models)}, the first has {names}: every line needs the same")
        answers = np.stack(list(example.models.values()))
        colours = error_colours(np.linalg.norm(answers - example.truth, axis=-1), limit)
        tiles += list(draw_faces(example.source[None], topology, size_px=tile_px))
        tiles += list(draw_faces(np.concatenate([answers, example.truth[None]]), topology, size_px=tile_px, framed_on=example.truth))
        tiles += list(draw_faces(np.repeat(example.truth[None], len(names), axis=0), topology, size_px=tile_px, colours=colours))
    headings = ["source", *names, "truth", *(f"error: {name}" for name in names)]
    sheet = tile_sheet(tiles, len(headings), tile_px, (), headings=headings, row_labels=[example.label for example in examples])
    return jpeg_bytes(with_colour_bar(sheet, limit))


def error_map_on_face(
    vertices: Float[np.ndarray, "V 3"], topology: FaceTopology, errors: Mapping[str, Float[np.ndarray, " V"]], *, limit: float, tile_px: int = 230
) -> bytes:
    """Mean error a vertex (mm) painted on one face, one line a model, from three sides: JPEG."""
    tiles, labels, face = [], [], topology.regions["face"] > 0.5
    for name, values in errors.items():
        colours = error_colours(values[None], limit)
        tiles += [draw_faces(vertices[None], topology, size_px=tile_px, colours=colours, view=view)[0] for view in ("right_30", "front", "left_30")]
        labels.append(f"{name}: mean over the face {values[face].mean():.2f} mm, worst vertex {values[face].max():.2f} mm")
    return jpeg_bytes(with_colour_bar(tile_sheet(tiles, 3, tile_px, (), row_labels=labels), limit))


def draw_faces(
    vertices: Float[np.ndarray, "N V 3"],
    topology: FaceTopology,
    *,
    size_px: int,
    colours: Float[np.ndarray, "N V 3"] | None = None,
    framed_on: Float[np.ndarray, "V 3"] | None = None,
    view: str = "front",
) -> UInt8[np.ndarray, "N H W 3"]:
    """Grey shaded faces on the sheet's background, all seen as if framed on one of them, or each framed on itself.

    `colours` (linear RGB in 0..1) are shown almost unshaded, so that a colour bar can be read.
    """
    face = topology.regions["face"] > 0.5
    framed = [shape if framed_on is None else framed_on for shape in vertices]
    cameras = [view_cameras(shape[face], size_px=size_px, field_of_view_deg=20.0, fill=1.12)[view] for shape in framed]
    return draw_shapes(vertices, topology.faces, cameras=cameras, colours=colours)


def curves(rows_per_model: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    """One line of panels a model: its loss terms over the steps, and beside them its validation scores (`val_...`): PNG."""
    figure = _chart(height=3.4 * len(rows_per_model))
    panels = figure.subplots(len(rows_per_model), 2, squeeze=False)
    for line, (model, rows) in zip(panels, rows_per_model.items(), strict=True):
        names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "step"]
        for axes, validated in zip(line, (False, True), strict=True):
            shown = {name: _curve(rows, name) for name in names if name.startswith("val_") == validated}
            shown = {name: points for name, points in shown.items() if len(points)}
            for n, (name, points) in enumerate(shown.items()):
                marker = "o" if len(points) < 25 else None
                axes.plot(*points.T, label=name.removeprefix("val_"), color=f"C{n % 10}", linewidth=1.2, marker=marker, markersize=3)
            values = np.concatenate([points[:, 1] for points in shown.values()]) if shown else np.ones(1)
            if values.min() > 0 and values.max() > 10 * values.min():
                axes.set_yscale("log")
            axes.set_title(f"{model}: {'validation' if validated else 'loss terms'}", loc="left", fontsize=9, fontweight="bold")
            axes.set_xlabel("step", fontsize=8)
            if shown:
                axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
            else:
                axes.text(0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center", fontsize=8)
    return _png(figure)


def _curve(rows: Sequence[Mapping[str, float]], name: str) -> Float[np.ndarray, "n 2"]:
    """(step, value) where the quantity was recorded and finite."""
    points = [(row["step"], row[name]) for row in rows if name in row and np.isfinite(row[name])]
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def coverage_histogram(weights: Float[np.ndarray, "M E"], names: Sequence[str]) -> bytes:
    """How often each expression unit is active in the data (weight > 0.05), by how strongly, and how many are active at once: PNG."""
    if weights.shape[1] != len(names):
        raise ValueError(f"{weights.shape[1]} columns of weights for {len(names)} names")
    if weights.size == 0:
        raise ValueError(f"no weights to count, got shape {weights.shape}: scans have none, leave the figure out for them")
    bands = ((0.05, 0.35, "#9ecae1", "weak (0.05–0.35)"), (0.35, 0.7, "#4292c6", "middle (0.35–0.7)"), (0.7, np.inf, "#08457f", "strong (above 0.7)"))
    figure = _chart(height=1.9 + 0.155 * len(names))
    units, together = figure.subplots(2, 1, height_ratios=[0.155 * len(names), 1.2])
    left = np.zeros(len(names))
    rows = np.arange(len(names))
    for low, high, colour, label in bands:
        share = 100 * ((weights > low) & (weights <= high)).mean(axis=0)
        units.barh(rows, share, left=left, color=colour, label=label)
        left += share
    units.set_yticks(rows, names, fontsize=7)
    units.set_ylim(len(names) - 0.4, -0.6)
    units.set_xlabel("% of the expressions")
    units.legend(fontsize=7.5, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    active = (weights > 0.05).sum(axis=1)
    counts = np.bincount(active)
    together.bar(np.arange(len(counts)), 100 * counts / len(active), color="#4292c6")
    together.set_xlabel("units active at once")
    together.set_ylabel("%")
    return _png(figure)


def _chart(*, height: float) -> Figure:
    figure = Figure(figsize=(8.2, height), dpi=CHART_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7.5)
        axes.grid(True, linewidth=0.4, alpha=0.5)
        axes.set_axisbelow(True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE)  # few colours: a third of the bytes
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


