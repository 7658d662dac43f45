"""How a prediction moves in time: how much it shakes beside the truth, and how many frames it comes late."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from serep.geometry.rigid import apply_rigid, rigid_align

LAG_WINDOW = 15  # frames either way
REST = 1e-6  # mm²: motion so small is none
MIN_CORRELATION = 0.3  # below it two motions share too little to say which comes first


def held_still(points: Float[np.ndarray, "T N 3"], rest: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "T N 3"]:
    """Every frame moved rigidly onto the same resting shape: head motion goes, and a prediction at rest stays at rest.

    Onto the truth of each frame instead, a prediction at rest would borrow the truth's motion.
    """
    return apply_rigid(points, *rigid_align(points, rest))


def shake(points: Float[np.ndarray, "T N 3"]) -> float:
    """Mean squared second difference over time, mm²: zero for rest and for even motion. NaN for fewer than three frames."""
    if len(points) < 3:
        return float("nan")
    bend = points[2:] - 2 * points[1:-1] + points[:-2]
    return float(np.einsum("tna,tna->", bend, bend) / (bend.shape[0] * bend.shape[1]))


def jitter_ratio(predicted_shake: float, reference_shake: float) -> float:
    """Root mean square second difference over that of the truth: 1 moves as evenly as the truth, above 1 shakes, below 1 smooths. NaN at rest."""
    return float(np.sqrt(predicted_shake / reference_shake)) if reference_shake > 0 else float("nan")


def lag_over_people(lags: Mapping[str, Sequence[float]]) -> float:
    """Mean over people of each one's median over videos, of those that have a lag; NaN where nobody has."""
    finite = {person: [value for value in values if np.isfinite(value)] for person, values in lags.items()}
    medians = [np.median(values) for values in finite.values() if values]
    return float(np.mean(medians)) if medians else float("nan")


def lag(predicted: Float[np.ndarray, "T N 3"], reference: Float[np.ndarray, "_ _ 3"], *, window: int = LAG_WINDOW) -> float:
    """Frames by which the prediction follows the truth, to a fraction of a frame; negative when it runs ahead.

    The shift at which the two motions (positions less their means over time) correlate best, refined by a parabola through the neighbours.
    A smaller or offset motion has the same lag. NaN when either is at rest, when they never correlate, or when the best shift is the window's end.
    """
    if predicted.shape != reference.shape:
        raise ValueError(f"predicted has shape {predicted.shape}, reference {reference.shape}: give the same points of the same frames")
    window = min(window, (len(predicted) - 1) // 3)
    if window < 1:
        return float("nan")
    scores = _correlations(predicted, reference, window)
    best = int(np.argmax(scores))
    if scores[best] < MIN_CORRELATION or best in (0, len(scores) - 1):
        return float("nan")
    before, peak, after = scores[best - 1 : best + 2]
    bend = before - 2 * peak + after
    return best - window + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def _correlations(predicted: np.ndarray, reference: np.ndarray, window: int) -> Float[np.ndarray, " S"]:
    """For each shift from -window to window, of the frames that both have when the prediction is moved so many frames earlier.

    Each window of frames has its own mean; running sums give it without another pass.
    """
    one, other = (np.ascontiguousarray(points.reshape(len(points), -1) - points.reshape(len(points), -1).mean(axis=0)) for points in (predicted, reference))
    sums, squares = zip(*(_running(side) for side in (one, other)), strict=True)
    scores = np.zeros(2 * window + 1)
    for row, shift in enumerate(range(-window, window + 1)):
        late, early = max(shift, 0), max(-shift, 0)
        count = len(one) - late - early
        spans = (late, late + count), (early, early + count)
        means = [total[end] - total[start] for total, (start, end) in zip(sums, spans, strict=True)]
        energies = [square[end] - square[start] - mean @ mean / count for square, (start, end), mean in zip(squares, spans, means, strict=True)]
        scale = np.sqrt(max(energies[0], 0.0) * max(energies[1], 0.0))
        together = np.vdot(one[slice(*spans[0])], other[slice(*spans[1])]) - means[0] @ means[1] / count
        scores[row] = together / scale if scale > REST else 0.0
    return scores


def _running(points: Float[np.ndarray, "T D"]) -> tuple[Float[np.ndarray, "_ D"], Float[np.ndarray, " _"]]:
    """Sums of the first k frames, and of their squares, for k from 0."""
    first = np.zeros((1, points.shape[1]))
    return np.concatenate([first, np.cumsum(points, axis=0)]), np.concatenate([[0.0], np.cumsum(np.einsum("td,td->t", points, points))])
