"""The One-Euro filter (Casiez, Roussel and Vogel 2012): steady when the signal rests, quick when it moves."""
from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class OneEuro:
    """Settings for a signal of unit scale.

    min_cutoff  Hz that pass when the signal rests: lower removes more jitter and adds more lag
    beta        Hz of cutoff added per unit per second of speed: higher follows quick motion more closely
    speed_cutoff  Hz of the filter on the speed itself
    joint       one cutoff for all numbers, which grows with the square of their root mean square speed: a face moves as a whole, and noise of single
                numbers opens the filter less. At equal jitter this lags half as far behind as a cutoff for each number from its own speed
    """

    min_cutoff: float
    beta: float
    speed_cutoff: float
    joint: bool = False  # models saved before there was a choice

    def __post_init__(self) -> None:
        if self.min_cutoff <= 0 or self.speed_cutoff <= 0 or self.beta < 0:
            raise ValueError(f"One-Euro cutoffs must be positive and beta not negative, got {asdict(self)} (params: capture.smoothing)")


class OneEuroFilter:
    """Filters an array frame by frame; causal, so it runs on live video."""

    def __init__(self, settings: OneEuro, fps: float):
        self._settings, self._interval = settings, 1.0 / fps
        self.reset()

    def reset(self) -> None:
        """Forget the past: after a cut or a lost face the next value passes as it is."""
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None

    def __call__(self, value: Float[np.ndarray, "..."], *, steps: int = 1) -> Float[np.ndarray, "..."]:
        """The smoothed value; `steps` frames have gone by since the last one that was given."""
        value, interval = np.asarray(value, np.float64), steps * self._interval
        if self._value is None:
            self._value, self._speed = value, np.zeros_like(value)
            return value
        speed = (value - self._value) / interval
        self._speed = self._speed + _weight(self._settings.speed_cutoff, interval) * (speed - self._speed)
        quickness = (self._speed**2).mean() if self._settings.joint else np.abs(self._speed)
        cutoff = self._settings.min_cutoff + self._settings.beta * quickness
        self._value = self._value + _weight(cutoff, interval) * (value - self._value)
        return self._value


def _weight(cutoff: np.ndarray | float, interval: float) -> np.ndarray | float:
    turn = 2 * np.pi * cutoff * interval
    return turn / (turn + 1)
