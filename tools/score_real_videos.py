#!/usr/bin/env python3
"""Scores a capture model on real videos that come with another detector's landmarks, and shows what it saw: for development; the videos are no part of this.

usage: tools/score_real_videos.py MODEL VIDEOS_FOLDER LANDMARKS_NPZ --out FOLDER

MODEL is a folder or a registered model (models:/serep-capture@champion). LANDMARKS_NPZ holds an array (T, 478, 2) in px for each video, named by a path
that ends in the video's file name. FOLDER gets scores.json, scores.md, and for each video a sheet of frames: the model's landmarks (green) and the
reference's (red) beside the posed mean head, evenly spaced ones first, then those where most can go wrong or did.
"""
from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from serep.benchmark.capture_scores import LID_OPENING, MOUTH_OPENING, OUTER_EYE_IDS, opening, real_video_scores
from serep.benchmark.smoothing_scores import jitter_ratio, lag_frames, still_and_moving
from serep.data.video import VideoReader
from serep.export.overlay import HeadView, clay_colours, draw_landmarks
from serep.export.performance import capture_frames
from serep.loading import load_model
from serep.models.capture import CaptureModel, CaptureResult
from serep.models.face_boxes import crop_transform, sample_square, to_crop
from serep.models.smoothing import OneEuro

OPEN = OneEuro(min_cutoff=1e9, beta=0.0, speed_cutoff=1.0)
EVEN_FRAMES, COLUMNS, TILE_PX, VIEW_SCALE = 12, 6, 220, 2.2  # VIEW_SCALE: side of what is shown of a frame over that of its landmark square
HELD_FRAMES, HELD_NOISE, HELD_JPEG, SETTLED = 75, 4.0, 90, 15  # frames; spread in 8 bits; quality; frames before the smoothing has settled
REFERENCE = (255, 60, 60)
REACH = {"mouth_r": 0.85, "lid_r": 0.6, "landmark_pct": 3.5, "found_share": 0.97, "jitter_left": 0.3, "held_jitter_left": 0.3, "lag": 1.0}  # medians aimed at
SMALL_IS_GOOD = ("landmark_pct", "false_share", "jitter", "jitter_left", "held_jitter_left", "lag")
SCORES = ("mouth_r", "lid_r", "mouth_2d_r", "lid_2d_r", "landmark_pct", "found_share", "false_share", "jitter", "jitter_left", "held_jitter_left", "lag",
          "frames_per_second")


def smoothing_figures(model: CaptureModel, frames: list[np.ndarray], result: CaptureResult, fps: float) -> dict[str, float]:
    """Jitter that smoothing leaves where the posed face is still, and on one frame held still; its lag in frames where the face moves."""
    raw_model = CaptureModel(model.network, model.semantic, model.landmark_ids,
                             replace(model.settings, code_smoothing=OPEN, landmark_smoothing=OPEN, pose_smoothing=OPEN))
    raw_model.engine = model.engine
    raw = capture_frames(raw_model, iter(frames), fps=fps)
    smooth, rough = (one.mesh_landmarks.reshape(len(frames), -1).astype(np.float64) for one in (result, raw))
    valid = result.found & raw.found
    still, moving = still_and_moving(rough, valid)
    seen = np.flatnonzero(valid)
    held = held_still(frames[seen[len(seen) // 2]]) if len(seen) else []
    pair = [capture_frames(one, iter(held), fps=fps) for one in (model, raw_model)] if held else []
    settled = np.arange(len(held)) >= SETTLED
    found = np.logical_and.reduce([one.found for one in pair]) & settled if pair else settled
    calm, shaky = (one.mesh_landmarks.reshape(len(held), -1).astype(np.float64) for one in pair) if pair else (np.zeros((0, 1)), np.zeros((0, 1)))
    return {"jitter_left": jitter_ratio(smooth, rough, still), "held_jitter_left": jitter_ratio(calm, shaky, found),
            "lag": lag_frames(smooth, rough, valid, moving)}


def held_still(frame: np.ndarray) -> list[np.ndarray]:
    """A frame held as a camera on a stand sees a face that holds still: noise of the sensor and JPEG, anew in each."""
    rng, held = np.random.default_rng(0), []
    for _ in range(HELD_FRAMES):
        noisy = np.clip(frame + rng.normal(0.0, HELD_NOISE, frame.shape), 0, 255).round().astype(np.uint8)
        held.append(cv2.imdecode(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, HELD_JPEG])[1], cv2.IMREAD_COLOR))
    return held


def telling_frames(result: CaptureResult, pseudo: np.ndarray) -> list[tuple[str, int]]:
    """Frames by what they show: extremes of the reference, and where the capture is furthest off it or finds nothing."""
    other = np.isfinite(pseudo).all(axis=(1, 2))
    both = other & result.found
    lost = np.flatnonzero(other & ~result.found)
    chosen = [("lost", int(lost[len(lost) // 2]))] if len(lost) else []
    if both.sum() < 2:
        return chosen
    ids, frames = np.arange(pseudo.shape[1]), np.flatnonzero(both)
    for name, pairs, extreme in (("mouth widest", MOUTH_OPENING, np.argmax), ("lids most shut", LID_OPENING, np.argmin)):
        wanted, seen = opening(pseudo[both], ids, pairs), opening(result.mesh_landmarks[both], result.landmark_ids, pairs)
        off = np.abs((seen - seen.mean()) / max(seen.std(), 1e-9) - (wanted - wanted.mean()) / max(wanted.std(), 1e-9))
        chosen += [(name, int(frames[extreme(wanted)])), (f"{name.split()[0]} most off", int(frames[off.argmax()]))]
    eyes = np.linalg.norm(pseudo[both, OUTER_EYE_IDS[0]] - pseudo[both, OUTER_EYE_IDS[1]], axis=-1)
    misses = np.linalg.norm(result.landmarks[both] - pseudo[both][:, result.landmark_ids], axis=-1).mean(axis=1) / np.maximum(eyes, 1e-6)
    return [*chosen, ("landmarks most off", int(frames[misses.argmax()]))]


def tile(frame: np.ndarray, result: CaptureResult, row: int, pseudo: np.ndarray, view: HeadView, caption: str) -> np.ndarray:
    """What is around the face, with both landmarks, beside the head."""
    points = result.landmarks[row] if result.found[row] else None
    other = pseudo[row][result.landmark_ids]
    seen = points if points is not None else other
    if np.isfinite(seen).all():
        middle, half = 0.5 * (seen.min(axis=0) + seen.max(axis=0)), 0.5 * VIEW_SCALE * float((seen.max(axis=0) - seen.min(axis=0)).max())
    else:
        middle, half = 0.5 * np.array(frame.shape[1::-1], float), 0.5 * max(frame.shape[:2])
    transform = crop_transform(middle, 2 * half, 0.0)
    picture = sample_square(frame, transform, TILE_PX, border=cv2.BORDER_CONSTANT)
    for x, y in TILE_PX * to_crop(other[np.isfinite(other).all(axis=1)].astype(np.float64), transform):
        cv2.circle(picture, (int(x), int(y)), 1, REFERENCE, -1)
    picture = draw_landmarks(picture, None if points is None else TILE_PX * to_crop(points.astype(np.float64), transform), None)
    head = view.draw(result.vertices[row], result.head_pose[row]) if result.found[row] else view.draw(None, None)
    both = np.hstack([picture, head])
    cv2.putText(both, caption, (5, TILE_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(both, caption, (5, TILE_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return both


def sheet(frames: list[np.ndarray], result: CaptureResult, pseudo: np.ndarray, view: HeadView) -> np.ndarray:
    even = [("", int(number)) for number in np.linspace(0, len(frames) - 1, min(EVEN_FRAMES, len(frames)))]
    tiles = [tile(frames[row], result, row, pseudo, view, f"{row} {name}".strip()) for name, row in even + telling_frames(result, pseudo)]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % (COLUMNS // 2))
    return np.vstack([np.hstack(tiles[start:start + COLUMNS // 2]) for start in range(0, len(tiles), COLUMNS // 2)])


def as_markdown(rows: dict[str, dict[str, float]]) -> str:
    lines = ["| video | " + " | ".join(SCORES) + " |", "|---" * (len(SCORES) + 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join([name, *(_written(one.get(key)) for key in SCORES)]) + " |" for name, one in rows.items()]) + "\n"


def _written(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}"


def summary(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Medians and worst values over the videos that have them, and what is aimed at."""
    columns = {key: [one[key] for one in rows.values() if math.isfinite(one.get(key, math.nan))] for key in SCORES}
    worst = {key: (max if key in SMALL_IS_GOOD else min)(values) for key, values in columns.items() if values}
    return {"median": {key: float(np.median(values)) for key, values in columns.items() if values}, "worst": worst, "to reach (median)": REACH}


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("model")
    cli.add_argument("videos", type=Path)
    cli.add_argument("landmarks", type=Path)
    cli.add_argument("--out", type=Path, required=True)
    args = cli.parse_args()
    model = load_model(args.model)
    if not isinstance(model, CaptureModel):
        cli.error(f"{args.model} is no capture model")
    args.out.mkdir(parents=True, exist_ok=True)
    view = HeadView(model.rig.neutral, clay_colours(model.semantic.topology), size_px=TILE_PX)
    rows = {}
    with np.load(args.landmarks, allow_pickle=False) as archive:
        for name in (name for name in archive.files if archive[name].ndim == 3):
            pseudo, reader = archive[name], VideoReader(args.videos / Path(name).name)
            frames = list(itertools.islice(reader, len(pseudo)))
            start = time.perf_counter()
            result = capture_frames(model, iter(frames), fps=reader.fps)
            seconds = time.perf_counter() - start
            pseudo = pseudo[:len(frames)]
            scores = real_video_scores(result.landmark_ids, result.mesh_landmarks, result.landmarks, result.found, pseudo)
            rows[Path(name).stem] = scores | smoothing_figures(model, frames, result, reader.fps) | {"frames_per_second": len(frames) / seconds}
            cv2.imwrite(str(args.out / f"{Path(name).stem}.png"), cv2.cvtColor(sheet(frames, result, pseudo, view), cv2.COLOR_RGB2BGR))
            print(as_markdown({Path(name).stem: rows[Path(name).stem]}).splitlines()[-1], flush=True)
    table = as_markdown(rows | summary(rows))
    (args.out / "scores.md").write_text(table)
    (args.out / "scores.json").write_text(json.dumps({"videos": rows} | summary(rows), indent=2) + "\n")
    print(table)


if __name__ == "__main__":
    main()
