"""What `serep score multirex` writes: per_frame.parquet and summary.json (stable), and the same numbers as Markdown, HTML and pictures beside them."""
from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serep.benchmark.compare import PairedDifference, paired_difference
from serep.benchmark.multirex import FIXED_VIEWS, OFFICIAL_VIEWS, ScoreSummary, VideoScore, summarise
from serep.benchmark.multirex_score import BenchmarkScore, VideoErrors
from serep.benchmark.tables import Picture, TextTable, html_page, markdown, number, with_interval
from serep.benchmark.temporal import jitter_ratio, lag_over_people
from serep.files import partial_file, write_file

LICENCE = ("Measured on MultiREX (Ubisoft La Forge, CC BY-NC-ND 4.0) and Multiface (Meta, CC BY-NC 4.0): numbers may be quoted, "
           "pictures of the heads are adapted material and may not be shared.")  # fmt: skip
PARQUET_SCHEMA = pa.schema([
    ("source_video", pa.string()), ("camera", pa.string()), ("region", pa.string()), ("identity", pa.string()), ("frame", pa.int64()),
    ("official_mm", pa.float64()), ("fixed_mm", pa.float64()),
])  # fmt: skip


def summarise_score(score: BenchmarkScore, *, resamples: int, seed: int) -> dict[str, Any]:
    """The content of summary.json: `official` and `fixed` side by side, floors, handedness and temporal scores; mm, None where nothing was measured."""
    def of(name: str, views: dict[str, tuple[str, ...]]) -> ScoreSummary:
        scores = [VideoScore(one.recording.identity, one.camera, getattr(one, name)[one.kept]) for one in score.videos if one.kept.any()]
        return summarise(scores, score.regions, views=views, resamples=resamples, rng=np.random.default_rng(seed))

    official, fixed = of("official", OFFICIAL_VIEWS), of("fixed", FIXED_VIEWS)
    trivial = {name: of(name, FIXED_VIEWS) for name in ("neutral", "mean") if score.videos[0].mean is not None or name == "neutral"}
    mirrored = {one.name: int(one.mirrored.sum()) for one in score.videos if one.mirrored.any()}
    floor = dict(zip(score.regions, np.mean(list(score.floor.values()), axis=0).tolist(), strict=True))
    frames = sum(len(one.fixed) for one in score.videos)
    return _without_nan({
        "method": score.method,
        "people": fixed.people, "videos": len(score.videos), "frames": frames, "rows": frames * len(score.regions),
        "rows_after_exclusion": fixed.frames * len(score.regions),
        "published_frames": score.published_frames, "complete": None if score.published_frames is None else frames == score.published_frames,
        "official": _means(official),
        "fixed": _means(fixed) | {
            "macro_mean_mm": fixed.macro_mean, "macro_interval_mm": [fixed.macro_low, fixed.macro_high],
            "macro_region_mm": {name: vars(one) for name, one in fixed.macro_regions.items()},
            "macro_view_mm": {name: vars(one) for name, one in fixed.macro_views.items()},
            "person_mean_mm": fixed.person_means,
            "region_view_person": _cells(score),
            "mirrored": {"frames": sum(mirrored.values()), "videos": mirrored},
        },
        "floors": {"conversion": {"region_mean_mm": floor, "mean_of_region_means_mm": float(np.mean(list(floor.values())))}} | {
            name: _means(one) | {"macro_mean_mm": one.macro_mean, "macro_interval_mm": [one.macro_low, one.macro_high],
                                 "less_than_by_mm": _improvement(one, fixed, resamples, seed)} for name, one in trivial.items()},
        "temporal": _temporal(score),
        "frames_without_face": sum(one.lost_frames for one in score.videos),
        "bootstrap": {"over": "people", "resamples": resamples, "seed": seed, "interval": "2.5 to 97.5 %"},
        "licence": LICENCE,
    })  # fmt: skip


def _means(summary: ScoreSummary) -> dict[str, Any]:
    return {"region_mean_mm": summary.region_means, "mean_of_region_means_mm": summary.headline, "view_mean_mm": summary.view_means}


def _improvement(trivial: ScoreSummary, fixed: ScoreSummary, resamples: int, seed: int) -> dict[str, Any]:
    """By how much the method errs less than a trivial answer, over the same people."""
    values = [np.array(list(one.person_means.values())) for one in (trivial, fixed)]
    draws = np.random.default_rng(seed).integers(len(values[0]), size=(resamples, len(values[0])))
    one: PairedDifference = paired_difference(*values, draws=draws, rng=np.random.default_rng([seed, 1]))
    return {"mean": one.mean, "low": one.low, "high": one.high, "p_value": one.p_value, "noise": one.is_noise}


def _cells(score: BenchmarkScore) -> list[dict[str, Any]]:
    """Region means (fixed) of each person in each view."""
    rows = []
    for identity in score.floor:
        for view, cameras in FIXED_VIEWS.items():
            own = [one.fixed[one.kept] for one in score.videos if one.recording.identity == identity and one.camera in cameras]
            errors = np.concatenate(own) if own else np.zeros((0, len(score.regions)))
            if len(errors):
                means = errors.mean(axis=0)
                rows.append({"identity": identity, "view": view, "frames": len(errors), "mean_mm": float(means.mean()),
                             "region_mm": dict(zip(score.regions, means.tolist(), strict=True))})  # fmt: skip
    return rows


def _temporal(score: BenchmarkScore) -> dict[str, Any]:
    """Jitter as the root of summed squares over all videos; lag as the mean over people of each one's median over videos."""
    known = [one for one in score.videos if np.isfinite(one.shake_reference).all()]
    return {
        "jitter_ratio": _jitter(known),
        "jitter_ratio_region": {region: jitter_ratio(sum(float(one.shake_predicted[r]) for one in known), sum(float(one.shake_reference[r]) for one in known))
                                for r, region in enumerate(score.regions)},
        "lag_frames": lag_over_people({identity: [one.lag for one in known if one.recording.identity == identity] for identity in score.floor}),
        "videos": {one.name: {"identity": one.recording.identity, "camera": one.camera, "jitter_ratio": _jitter([one]), "lag_frames": one.lag}
                   for one in known},
    }  # fmt: skip


def _jitter(videos: Sequence[VideoErrors]) -> float:
    return jitter_ratio(sum(float(one.shake_predicted.sum()) for one in videos), sum(float(one.shake_reference.sum()) for one in videos))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def score_tables(summary: dict[str, Any]) -> list[TextTable]:
    """The numbers of summary.json as tables."""
    official, fixed, floors, temporal = (summary[name] for name in ("official", "fixed", "floors", "temporal"))
    regions, trivial = list(official["region_mean_mm"]), [name for name in ("neutral", "mean") if name in floors]

    def interval(one: dict[str, Any]) -> str:
        return with_interval(one["mean"], one["low"], one["high"])

    rows = [(_plain(region), number(official["region_mean_mm"][region]), number(fixed["region_mean_mm"][region]), interval(fixed["macro_region_mm"][region]),
             number(floors["conversion"]["region_mean_mm"][region]), *(number(floors[name]["region_mean_mm"][region]) for name in trivial))
            for region in regions]  # fmt: skip
    macro = with_interval(fixed["macro_mean_mm"], *fixed["macro_interval_mm"])
    everything = ("mean of regions", number(official["mean_of_region_means_mm"]), number(fixed["mean_of_region_means_mm"]), macro,
                  number(floors["conversion"]["mean_of_region_means_mm"]), *(number(floors[name]["mean_of_region_means_mm"]) for name in trivial))  # fmt: skip
    views = [(view, number(official["view_mean_mm"].get(view)), number(mean), interval(fixed["macro_view_mm"][view]),
              *(number(floors[name]["view_mean_mm"][view]) for name in trivial)) for view, mean in fixed["view_mean_mm"].items()]  # fmt: skip
    people = [(f"{one['identity']} {one['view']}", str(one["frames"]), *(number(one["region_mm"][region]) for region in regions), number(one["mean_mm"]))
              for one in fixed["region_view_person"]]  # fmt: skip
    mirrored = fixed["mirrored"]["videos"]
    videos = [(f"{one['identity']} {one['camera']}", number(one["jitter_ratio"], 2), number(one["lag_frames"], 1), str(mirrored.get(name, 0)))
              for name, one in temporal["videos"].items()]  # fmt: skip
    still = ("all", number(temporal["jitter_ratio"], 2), number(temporal["lag_frames"], 1), str(fixed["mirrored"]["frames"]))
    return [
        TextTable("Regions (mm)", ("region", "official", "fixed", "fixed, mean over people [95 %]", "floor", *trivial), (*rows, everything),
                  "floor: what the conversion to the truth's topology costs on the neutrals alone; a score near it is no error of the method. "
                  "neutral, mean: answers that never look at the video, the person's neutral and the neutral with the other people's mean expression.",
                  frozenset({len(rows)})),
        TextTable("Views (mm)", ("view", "official", "fixed", "fixed, mean over people [95 %]", *trivial), tuple(views),
                  "official counts #400347 in two views and #400485 in none; fixed has every camera in exactly one."),
        TextTable("People and views (fixed, mm)", ("person, view", "frames", *map(_plain, regions), "mean"), tuple(people)),
        TextTable("Motion", ("video", "jitter", "lag (frames)", "mirrored frames"), (still, *videos),
                  "jitter: root mean square second difference over the truth's (1 is as even as the truth, above shakes, below smooths). "
                  "lag: shift that correlates best; – at rest.", frozenset({0})),
    ]  # fmt: skip


def remarks(summary: dict[str, Any]) -> list[str]:
    """What a reader must know before the numbers, the gravest first."""
    fixed, found = summary["fixed"], []
    mirrored = fixed["mirrored"]
    if mirrored["frames"]:
        found.append(f"MIRRORED: {mirrored['frames']} of {summary['frames']} frames in {len(mirrored['videos'])} of {summary['videos']} videos fit better "
                     "mirrored. The official number lets them; the fixed one does not. Check the handedness of the meshes (x to the subject's left).")
    for name in ("neutral", "mean"):
        better = summary["floors"].get(name, {}).get("less_than_by_mm")
        if better and better["noise"]:
            text = with_interval(better["mean"], better["low"], better["high"])
            found.append(f"NOT BETTER THAN {name.upper()}: the method errs less than the {name} answer by {text} mm, which is not more than noise.")
        elif better and better["mean"] < 0:
            text = with_interval(-better["mean"], -better["high"], -better["low"])
            found.append(f"WORSE THAN {name.upper()}: the method errs more than the {name} answer, which never looks, by {text} mm.")
    if summary["complete"] is False:
        found.append(f"Not the whole benchmark: {summary['frames']} of {summary['published_frames']} frames. Do not quote beside published numbers.")
    if summary["frames_without_face"]:
        found.append(f"{summary['frames_without_face']} captured frames had no face and were scored as the neutral.")
    return found  # fmt: skip


def write_score(
    out: Path, score: BenchmarkScore, *, resamples: int, seed: int, pictures: Callable[[BenchmarkScore], Sequence[Picture]] | None
) -> dict[str, Any]:
    """All files of one score into a folder, summary.json last: where it is, the rest is complete. The summary comes back."""
    out.mkdir(parents=True, exist_ok=True)
    for old in (out / "summary.json", *out.glob("error_map_*.jpg")):
        old.unlink(missing_ok=True)
    summary = summarise_score(score, resamples=resamples, seed=seed)
    with partial_file(out / "per_frame.parquet") as partial:
        pq.write_table(per_frame_table(score), partial)
    drawn = pictures(score) if pictures else ()
    for picture in drawn:
        write_file(out / picture.file_name, picture.content)
    title, tables = f"MultiREX: {score.method}", score_tables(summary)
    counts = f"{summary['videos']} videos, {summary['frames']} frames, {summary['people']} people; mm; intervals by bootstrap over people."
    warnings = remarks(summary)
    write_file(out / "scores.md", markdown(title, [*warnings, counts], tables, drawn, foot=LICENCE).encode())
    write_file(out / "scores.html", html_page(title, [counts], tables, drawn, warnings=warnings, pictures_after=2, foot=LICENCE).encode())
    write_file(out / "summary.json", (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode())
    return summary


def per_frame_table(score: BenchmarkScore) -> pa.Table:
    """One row a video, region and frame, damaged frames included: people and regions in the order of the published script, cameras by number."""
    runs = [(f"{one.name}.npy", one.camera, region, one.recording.identity, len(one.fixed)) for one in score.videos for region in score.regions]
    texts = [_text_column([row[k] for row in runs], [row[4] for row in runs]) for k in range(4)]
    frames = np.concatenate([np.arange(row[4]) for row in runs])
    errors = [np.concatenate([values.T.ravel() for values in answer]) for answer in
              ([one.official for one in score.videos], [one.fixed for one in score.videos])]  # fmt: skip
    numbers = [pa.Array.from_buffers(field.type, len(frames), [None, pa.py_buffer(values)])
               for field, values in zip(list(PARQUET_SCHEMA)[4:], (frames, *errors), strict=True)]  # fmt: skip
    return pa.Table.from_arrays([*texts, *numbers], schema=PARQUET_SCHEMA)


def _text_column(texts: Sequence[str], counts: Sequence[int]) -> pa.Array:
    """Each text so many times. From buffers, for pa.array and pa.repeat import pandas, which takes as long as scoring some hundred frames."""
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum(np.repeat([len(text) for text in encoded], counts))]).astype(np.int32)
    content = b"".join(text * count for text, count in zip(encoded, counts, strict=True))
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(content)])


def _plain(region: str) -> str:
    return region.removesuffix("_region").replace("_", " and ")

