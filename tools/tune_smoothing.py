#!/usr/bin/env python3
"""The trade-off of smoothing between jitter at rest and lag in motion, on videos: for development.

usage: tools/tune_smoothing.py MODEL_FOLDER VIDEOS_FOLDER [--plot PNG] [--check]

Each video is captured once without smoothing; then filters run over the tracks of codes, landmarks and head pose. Printed are the settings that no other
beats in both figures (medians over the videos, and the worst video): the jitter left where the face is stillest, as a ratio of second differences, and
the lag in frames where it moves most. --check prints the figures of the settings that the model has now.
"""
from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from serep.benchmark.smoothing_scores import jitter_ratio, lag_frames, still_and_moving
from serep.data.video import VIDEO_SUFFIXES, VideoReader
from serep.export.performance import capture_frames
from serep.models.capture import CaptureModel
from serep.models.head_pose import pose_to_numbers
from serep.models.smoothing import OneEuro, OneEuroFilter

OPEN = OneEuro(min_cutoff=1e9, beta=0.0, speed_cutoff=1.0)
MIN_CUTOFFS, SPEED_CUTOFFS = (0.1, 0.3, 1.0, 3.0), (1.0, 3.0)
BETAS = {("code", False): (0.2, 0.5, 0.7, 1, 2, 4), ("code", True): (0.05, 0.1, 0.2, 0.3, 0.5, 1),
         ("landmark", False): (2, 5, 10, 20, 50), ("landmark", True): (8, 16, 24, 40, 80, 160),
         ("pose", False): (0.5, 2, 5, 10, 20), ("pose", True): (4, 8, 16, 24, 40, 80)}


@dataclass(frozen=True, eq=False)
class Track:
    """One video's unsmoothed numbers, in the unit that smoothing counts in."""

    fps: float
    found: np.ndarray
    numbers: dict[str, np.ndarray]


def tracks(model: CaptureModel, folder: Path) -> list[Track]:
    model.settings = replace(model.settings, code_smoothing=OPEN, landmark_smoothing=OPEN, pose_smoothing=OPEN)
    found = []
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES):
        reader = VideoReader(path)
        result = capture_frames(model, reader, fps=reader.fps)
        side = np.nanmedian(np.ptp(result.landmarks, axis=1).max(axis=1))
        poses = [pose_to_numbers(pose.astype(np.float64)) if seen else np.full(6, np.nan) for pose, seen in zip(result.head_pose, result.found, strict=True)]
        numbers = {"code": result.codes / model.network.code_spread.cpu().numpy(), "pose": np.array(poses),
                   "landmark": result.landmarks.reshape(len(result.found), -1) / side}
        found.append(Track(reader.fps, result.found, {name: values.astype(np.float64) for name, values in numbers.items()}))
        print(f"{path.name}: {result.found.mean():.0%} of {len(result.found)} frames", flush=True)
    return found


def scores(track: Track, kind: str, settings: OneEuro) -> tuple[float, float]:
    raw, one = track.numbers[kind], OneEuroFilter(settings, track.fps)
    smooth = np.full_like(raw, np.nan)
    for row, seen in enumerate(track.found):
        if seen:
            smooth[row] = one(raw[row])
        else:
            one.reset()
    still, moving = still_and_moving(raw, track.found)
    return jitter_ratio(smooth, raw, still), lag_frames(smooth, raw, track.found, moving)


def line(settings: OneEuro, figures: np.ndarray) -> str:
    jitter, lag = np.nanmedian(figures, axis=0)
    return (f"  jitter {jitter:.2f} (worst {np.nanmax(figures[:, 0]):.2f})  lag {lag:.2f} (worst {np.nanmax(figures[:, 1]):.2f})   min_cutoff "
            f"{settings.min_cutoff:g}, beta {settings.beta:g}, speed_cutoff {settings.speed_cutoff:g}")


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("model", type=Path)
    cli.add_argument("videos", type=Path)
    cli.add_argument("--plot", type=Path)
    cli.add_argument("--check", action="store_true")
    args = cli.parse_args()
    model = CaptureModel.load(args.model)
    now = {kind: getattr(model.settings, f"{kind}_smoothing") for kind in ("code", "landmark", "pose")}
    captured, curves = tracks(model, args.videos), {}
    for kind, settings in now.items():
        print(f"{kind}, now (joint {settings.joint}):\n" + line(settings, np.array([scores(track, kind, settings) for track in captured])))
    for (kind, joint), betas in {} if args.check else BETAS.items():
        tried = []
        for numbers in itertools.product(MIN_CUTOFFS, betas, SPEED_CUTOFFS):
            settings = OneEuro(*numbers, joint=joint)
            figures = np.array([scores(track, kind, settings) for track in captured])
            tried.append((*np.nanmedian(figures, axis=0), line(settings, figures)))
        tried.sort()
        best = [one for number, one in enumerate(tried) if all(one[1] < other[1] for other in tried[:number])]
        print(f"{kind}, {'joint' if joint else 'each number by itself'}:\n" + "\n".join(text for *_, text in best), flush=True)
        curves[kind, joint] = np.array([one[:2] for one in best])
    if args.plot and curves:
        plot(args.plot, curves)


def plot(file: Path, curves: dict[tuple[str, bool], np.ndarray]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(12, 4), sharey=True, layout="constrained")
    for panel, kind in zip(panels, ("code", "landmark", "pose"), strict=True):
        for joint, colour in ((False, "#8a8f98"), (True, "#1f6fb2")):
            curve = curves[kind, joint]
            panel.plot(curve[:, 1], curve[:, 0], "o-", color=colour, label="joint" if joint else "each number by itself")
        panel.axhline(0.3, color="#c0392b", linewidth=0.8)
        panel.axvline(1.0, color="#c0392b", linewidth=0.8)
        panel.set(title=kind, xlabel="lag in motion, frames", xlim=(0, 2.5), ylim=(0, 1))
    panels[0].set_ylabel("jitter left at rest")
    panels[0].legend()
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
