"""Where on the face a method errs: mean distance a vertex painted on a neutral head, by view and by person."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from serep.benchmark.multirex import FIXED_VIEWS, MULTIFACE_VERTICES
from serep.benchmark.multirex_score import BenchmarkScore, VideoErrors
from serep.benchmark.sequences import view_cameras
from serep.geometry.mesh import Mesh
from serep.render.clay import draw_shapes
from serep.render.sheets import error_colours, jpeg_bytes, tile_sheet, with_colour_bar

TILE_PX = 250
SIDES = ("right_30", "front", "left_30")
UNMEASURED = 0.16  # linear grey of vertices in no region
LIMIT_PERCENTILE = 98.0
COLUMNS = 4


def vertex_means(score: BenchmarkScore, videos: Sequence[VideoErrors]) -> Float[np.ndarray, " V"]:
    """Mean distance (mm) of every Multiface vertex over the kept frames of the videos; NaN where the protocol measures nothing.

    A vertex in two regions counts with both.
    """
    frames = sum(int(video.kept.sum()) for video in videos)
    totals, counts = np.zeros(MULTIFACE_VERTICES), np.zeros(MULTIFACE_VERTICES)
    np.add.at(totals, score.metric_ids, np.sum([video.vertex_sums for video in videos], axis=0) if videos else 0.0)
    np.add.at(counts, score.metric_ids, frames)
    return np.divide(totals, counts, out=np.full(MULTIFACE_VERTICES, np.nan), where=counts > 0)


def view_map(score: BenchmarkScore, neutral: Mesh) -> bytes:
    """One line for all videos, one a view, and one for the answer that never looks (the neutral), each from three sides: JPEG."""
    lines = {"all views": list(score.videos)} | {name: [one for one in score.videos if one.camera in cameras] for name, cameras in FIXED_VIEWS.items()}
    means = {name: vertex_means(score, videos) for name, videos in lines.items() if any(one.kept.any() for one in videos)}
    limit = _limit(list(means.values()))
    still = np.full(MULTIFACE_VERTICES, np.nan)
    still[score.metric_ids] = score.neutral_map
    means["the neutral instead (never looks)"] = still
    tiles = [tile for values in means.values() for tile in _drawn(neutral, values, limit, SIDES)]
    labels = [f"{name}: {np.nanmean(values):.2f} mm a vertex, worst {np.nanmax(values):.2f} mm" for name, values in means.items()]
    return jpeg_bytes(with_colour_bar(tile_sheet(tiles, len(SIDES), TILE_PX, (), row_labels=labels), limit, label="grey: not measured"))


def person_map(score: BenchmarkScore, neutrals: dict[str, Mesh]) -> bytes:
    """Each person's own neutral with the mean over all that person's videos: JPEG."""
    means = {}
    for identity in neutrals:
        own = [one for one in score.videos if one.recording.identity == identity]
        if any(one.kept.any() for one in own):
            means[identity] = vertex_means(score, own)
    limit = _limit(list(means.values()))
    tiles = [tile for identity, values in means.items() for tile in _drawn(neutrals[identity], values, limit, ("front",))]
    captions = [f"{identity}: {np.nanmean(values):.2f} mm a vertex" for identity, values in means.items()]
    return jpeg_bytes(with_colour_bar(tile_sheet(tiles, COLUMNS, TILE_PX, captions), limit, label="grey: not measured"))


def _limit(values: list[np.ndarray]) -> float:
    """The scale's end: a round number that almost no vertex exceeds."""
    high = float(np.nanpercentile(np.concatenate(values), LIMIT_PERCENTILE))
    step = 10 ** np.floor(np.log10(max(high, 0.1)))
    return float(f"{np.ceil(2 * high / step) * step / 2:.6g}")


def _drawn(mesh: Mesh, values: Float[np.ndarray, " V"], limit: float, sides: Sequence[str]) -> list[np.ndarray]:
    measured = np.isfinite(values)
    colours = np.where(measured[:, None], error_colours(np.nan_to_num(values)[None], limit)[0], UNMEASURED)
    cameras = view_cameras(mesh.vertices[_framed(mesh, measured)], size_px=TILE_PX, field_of_view_deg=20.0, fill=1.0)
    shapes = np.repeat(mesh.vertices[None], len(sides), axis=0)
    return list(draw_shapes(shapes, mesh.faces, cameras=[cameras[side] for side in sides], colours=np.repeat(colours[None], len(sides), axis=0)))


def _framed(mesh: Mesh, measured: Bool[np.ndarray, " V"]) -> Bool[np.ndarray, " V"]:
    """The measured vertices: what is behind the ears need not be in the picture."""
    return measured if measured.any() else np.ones(len(mesh.vertices), dtype=bool)
