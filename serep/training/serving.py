"""What a served model refuses, before it computes: wrong shapes, numbers that are none, and requests or answers that are too large."""
from __future__ import annotations

import os
from typing import NoReturn

import numpy as np

LIMIT_MB = "SEREP_REQUEST_MB"
USUAL_LIMIT_MB = 128.0


def refuse(reason: str) -> NoReturn:
    """As MLflow's server wants it: status 400 with this text."""
    from mlflow.exceptions import MlflowException

    raise MlflowException.invalid_parameter_value(reason)


def check_frames(frames: np.ndarray, *, vertices: int) -> None:
    """Frames of one clip, (T, H, W, 3) uint8."""
    if frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        refuse(f"expected RGB frames of shape (T, H, W, 3), got {frames.shape}")
    _check_size(frames.size, 12 * vertices * len(frames), "send the clip in pieces or smaller")


def check_rows(rows: np.ndarray, mode: str, *, width: int, answer_width: int) -> None:
    """Rows of `width` numbers each, which will be answered with `answer_width` numbers each."""
    if rows.ndim != 2 or rows.shape[1] != width or len(rows) == 0:
        refuse(f"{mode} takes rows of {width} numbers, got an array of shape {rows.shape}")
    _check_size(4 * rows.size, 4 * answer_width * len(rows), "send fewer rows at a time")
    if not np.isfinite(rows).all():
        refuse(f"{mode} takes finite numbers, row {int(np.argmin(np.isfinite(rows).all(axis=1)))} has others")


def _check_size(asked_bytes: int, answered_bytes: int, remedy: str) -> None:
    limit = float(os.environ.get(LIMIT_MB, USUAL_LIMIT_MB))
    for what, size in (("the request has", asked_bytes), ("the answer would have", answered_bytes)):
        if size > 1e6 * limit:
            refuse(f"{what} {size / 1e6:.0f} MB of numbers, the limit is {limit:g}: {remedy}, or set {LIMIT_MB} where the model is served")
