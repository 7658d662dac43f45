"""Capture while the camera runs: the newest frame is always next, so delay does not add up; frames that nobody had time for are left out."""
from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import UInt8

from serep.data.read_ahead import newest
from serep.geometry.mesh import Mesh
from serep.models.capture import CaptureModel, CaptureResult, CaptureStream


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """The capture of one frame of a source that does not wait."""

    number: int
    """Of the frame among all that the source gave; numbers that are missing were left out."""
    arrived_s: float
    """When it came, on the clock of time.perf_counter."""
    delay_s: float
    """From then until its capture was there."""
    result: CaptureResult
    """One row."""


def live(model: CaptureModel, frames: Iterable[UInt8[np.ndarray, "H W 3"]], *, target: Mesh | None = None, fps: float) -> Iterator[LiveFrame]:
    """Captures frames as they come, at about `fps`. The delay of each is at most the time that one frame takes, plus that of the one before it."""
    stream, previous = CaptureStream(model, target=target, fps=fps), -1
    for number, (arrived_s, frame) in newest((time.perf_counter(), frame) for frame in frames):
        result = stream.push([frame], missed=number - previous - 1)
        previous = number
        yield LiveFrame(number, arrived_s, time.perf_counter() - arrived_s, result)


def recording(captured: Sequence[LiveFrame], *, fps: float) -> CaptureResult:
    """What was captured live as one performance at the rate at which the frames came; each frame that was left out repeats the one before it.

    `fps` is the rate of a recording too short to tell its own.
    """
    if not captured:
        raise ValueError("nothing was captured. Let the camera run for a moment")
    numbers = np.array([one.number for one in captured])
    span_s = captured[-1].arrived_s - captured[0].arrived_s
    rate = (numbers[-1] - numbers[0]) / span_s if span_s > 0 else fps
    joined = CaptureResult.join([one.result for one in captured])
    rows = np.searchsorted(numbers, np.arange(numbers[0], numbers[-1] + 1), side="right") - 1
    per_frame = {field.name: getattr(joined, field.name)[rows] for field in fields(joined) if field.name not in ("landmark_ids", "fps")}
    return replace(joined, **per_frame, fps=float(rate))
