"""What smoothing does to a track: how much of the jitter of a still face it leaves, and how far behind a moving one it runs."""
from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d

TREND_FRAMES = 3.0  # standard deviation of the kernel that takes noise off before speed is judged; it is symmetric, so it adds no lag
CLEAN_FRAMES = 1.0  # the same for the track that lag is measured against
STILL_SHARE, MOVING_SHARE = 0.2, 0.2  # of the frames: those with the least and the most motion
LONGEST_LAG, LAG_STEP = 8.0, 0.05  # frames


def speeds(track: Float[np.ndarray, "T D"], valid: Bool[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """Root mean square change per frame of the track's trend; NaN where the face was not seen all around."""
    if len(track) < 3:
        return np.full(len(track), np.nan)
    filled = np.where(valid[:, None], np.nan_to_num(track), 0.0)
    weight = gaussian_filter1d(valid.astype(np.float64), TREND_FRAMES, mode="nearest")[:, None]
    trend = gaussian_filter1d(filled, TREND_FRAMES, axis=0, mode="nearest") / np.maximum(weight, 1e-9)
    speed = np.sqrt((np.gradient(trend, axis=0) ** 2).mean(axis=1))
    whole = np.convolve(np.pad(valid, round(2 * TREND_FRAMES), mode="edge"), np.ones(2 * round(2 * TREND_FRAMES) + 1), mode="valid")
    return np.where(whole == 2 * round(2 * TREND_FRAMES) + 1, speed, np.nan)


def still_and_moving(track: Float[np.ndarray, "T D"], valid: Bool[np.ndarray, " T"]) -> tuple[Bool[np.ndarray, " T"], Bool[np.ndarray, " T"]]:
    """The frames of least and of most motion in one video."""
    speed = speeds(track, valid)
    if not np.isfinite(speed).any():
        return np.zeros(len(track), bool), np.zeros(len(track), bool)
    slow, quick = np.nanquantile(speed, [STILL_SHARE, 1 - MOVING_SHARE])
    return speed <= slow, speed >= quick


def jitter_ratio(smoothed: Float[np.ndarray, "T D"], raw: Float[np.ndarray, "T D"], still: Bool[np.ndarray, " T"]) -> float:
    """Root mean square second difference of the smoothed track over that of the raw one, where the face is still. NaN where no three frames in a row are."""
    thrice = still[:-2] & still[1:-1] & still[2:]
    if not thrice.any():
        return float("nan")
    left, before = (np.sqrt((np.diff(one, n=2, axis=0)[thrice] ** 2).mean()) for one in (smoothed, raw))
    return float(left / before) if before > 0 else float("nan")


def lag_frames(smoothed: Float[np.ndarray, "T D"], raw: Float[np.ndarray, "T D"], valid: Bool[np.ndarray, " T"], moving: Bool[np.ndarray, " T"]) -> float:
    """By how many frames the raw track, freed of noise without delay, must be delayed to be nearest to the smoothed one where the face moves.

    NaN where it moves nowhere. Frames whose past is not seen do not count.
    """
    filled = np.where(valid[:, None], np.nan_to_num(raw), 0.0)
    weight = gaussian_filter1d(valid.astype(np.float64), CLEAN_FRAMES)[:, None]
    clean = gaussian_filter1d(filled, CLEAN_FRAMES, axis=0) / np.maximum(weight, 1e-9)
    reach = int(LONGEST_LAG) + 1
    seen = np.convolve(np.pad(valid, (reach, 0), constant_values=False), np.ones(reach + 1), mode="valid") == reach + 1
    frames = np.flatnonzero(moving & seen)
    if not len(frames):
        return float("nan")
    lags = np.arange(0.0, LONGEST_LAG, LAG_STEP)
    misses = []
    for lag in lags:
        whole, part = int(lag), lag - int(lag)
        delayed = (1 - part) * clean[frames - whole] + part * clean[frames - whole - 1]
        misses.append(((smoothed[frames] - delayed) ** 2).mean())
    return float(lags[int(np.argmin(misses))])
