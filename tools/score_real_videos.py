#!/usr/bin/env python3
"""Scores a capture model on real videos that come with another detector's landmarks: for development; the videos are no part of the project.

usage: tools/score_real_videos.py MODEL_FOLDER VIDEOS_FOLDER LANDMARKS_NPZ [--sheet PNG]

LANDMARKS_NPZ holds an array (T, 478, 2) in px for each video, named by a path that ends in the video's file name.
--sheet draws frames of each video with the landmarks (green: the model's, red: the reference's).
"""
from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import cv2
import numpy as np

from serep.benchmark.capture_scores import real_video_scores
from serep.data.video import VideoReader
from serep.models.capture import CaptureModel, CaptureResult, CaptureStream

COLUMNS = ("mouth_r", "lid_r", "mouth_2d_r", "lid_2d_r", "landmark_pct", "found_share", "false_share", "jitter")
PIECE, TILES, TILE_PX = 64, 10, 160


def capture(model: CaptureModel, frames: list[np.ndarray], fps: float) -> CaptureResult:
    stream = CaptureStream(model, fps=fps)
    return CaptureResult.join([stream.push(frames[start:start + PIECE]) for start in range(0, len(frames), PIECE)])


def tiles(frames: list[np.ndarray], result: CaptureResult, pseudo: np.ndarray) -> np.ndarray:
    row = []
    for number in np.linspace(0, len(frames) - 1, TILES).astype(int):
        points, other = result.landmarks[number], pseudo[number][result.landmark_ids]
        seen = points if result.found[number] else other
        if not np.isfinite(seen).all():
            row.append(cv2.resize(frames[number], (TILE_PX, TILE_PX)))
            continue
        middle, half = 0.5 * (seen.min(axis=0) + seen.max(axis=0)), 0.75 * (seen.max(axis=0) - seen.min(axis=0)).max()
        to_tile = np.array([[1, 0, half - middle[0]], [0, 1, half - middle[1]]]) * TILE_PX / (2 * half)
        tile = cv2.warpAffine(frames[number], to_tile, (TILE_PX, TILE_PX), flags=cv2.INTER_AREA)
        for dots, colour in ((other, (255, 60, 60)), (points, (60, 255, 60))):
            for x, y in (dots @ to_tile[:, :2].T + to_tile[:, 2])[np.isfinite(dots).all(axis=1)]:
                cv2.circle(tile, (int(x), int(y)), 0, colour, -1)
        row.append(tile)
    return np.hstack(row)


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("model", type=Path)
    cli.add_argument("videos", type=Path)
    cli.add_argument("landmarks", type=Path)
    cli.add_argument("--sheet", type=Path)
    args = cli.parse_args()
    model = CaptureModel.load(args.model)
    rows, sheet = [], []
    print(f"{'video':28s}" + "".join(f"{name:>13s}" for name in COLUMNS) + f"{'fps':>8s}")
    with np.load(args.landmarks, allow_pickle=False) as archive:
        for name in (name for name in archive.files if archive[name].ndim == 3):
            pseudo, reader = archive[name], VideoReader(args.videos / Path(name).name)
            frames = list(itertools.islice(reader, len(pseudo)))
            start = time.perf_counter()
            result = capture(model, frames, reader.fps)
            speed = len(frames) / (time.perf_counter() - start)
            scores = real_video_scores(result.landmark_ids, result.mesh_landmarks, result.landmarks, result.found, pseudo[:len(frames)])
            rows.append([scores.get(column, float("nan")) for column in COLUMNS])
            print(f"{Path(name).stem[-28:]:28s}" + "".join(f"{value:13.3f}" for value in rows[-1]) + f"{speed:8.1f}", flush=True)
            sheet.append(tiles(frames, result, pseudo))
    print(f"{'median':28s}" + "".join(f"{value:13.3f}" for value in np.nanmedian(rows, axis=0)))
    print(f"{'mean':28s}" + "".join(f"{value:13.3f}" for value in np.nanmean(rows, axis=0)))
    if args.sheet:
        cv2.imwrite(str(args.sheet), cv2.cvtColor(np.vstack(sheet), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
