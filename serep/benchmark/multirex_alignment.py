"""The measuring core of the region protocol: every frame's regions moved onto the truth at once, in compiled loops over blocks of frames."""
from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int

from serep.render.compiled import compiled

FRAMES_AT_ONCE = 32  # few enough that a block stays in the processor's cache


@dataclass(frozen=True, eq=False)
class AlignedFrames:
    """A block of frames, each region moved onto the truth without scale; M is the number of metric vertices of all R regions, one after another.

    official, fixed  mean vertex distance (mm): with and without the freedom to mirror
    mirrored         True where mirroring would fit better
    distances        of the metric vertices, fixed
    """

    official: Float[np.ndarray, "T R"]
    fixed: Float[np.ndarray, "T R"]
    mirrored: Bool[np.ndarray, "T R"]
    distances: Float[np.ndarray, "T M"]


class Aligner:
    """Masks made ready for the compiled loops: each different alignment mask is fitted once, however many regions share it."""

    def __init__(self, metric: tuple[Int[np.ndarray, " _"], ...], alignment: tuple[Int[np.ndarray, " _"], ...]) -> None:
        masks: dict[bytes, int] = {}
        self.group = np.array([masks.setdefault(ids.astype(np.int64).tobytes(), len(masks)) for ids in alignment])
        firsts = [int(np.flatnonzero(self.group == g)[0]) for g in range(len(masks))]
        self.alignment_ids, self.alignment_starts = _packed(tuple(alignment[r] for r in firsts))
        self.metric_ids, self.metric_starts = _packed(metric)

    def align(self, predicted: Float[np.ndarray, "T V 3"], reference: Float[np.ndarray, "T V 3"]) -> AlignedFrames:
        """Both answers for a block of frames."""
        source, target, covariance = _moments(predicted, reference, self.alignment_ids, self.alignment_starts)
        left, _, right = np.linalg.svd(covariance)
        turned = np.linalg.det(covariance) < 0
        free = left @ right
        right[..., 2, :] *= np.where(turned, -1.0, 1.0)[..., None]  # the weakest direction turned round, which costs least
        rotation = left @ right
        shift = target - np.einsum("tgij,tgj->tgi", rotation, source)
        distances = _distances(predicted, reference, self.metric_ids, self.metric_starts, self.group, rotation, shift)
        fixed = self._means(distances)
        official, frames = fixed.copy(), np.flatnonzero(turned.any(axis=1))
        if len(frames):
            free = free[frames]
            free_shift = target[frames] - np.einsum("tgij,tgj->tgi", free, source[frames])
            official[frames] = self._means(
                _distances(predicted[frames], reference[frames], self.metric_ids, self.metric_starts, self.group, free, free_shift)
            )
        return AlignedFrames(official, fixed, turned[:, self.group], distances)

    def _means(self, distances: Float[np.ndarray, "T M"]) -> Float[np.ndarray, "T R"]:
        return np.stack([distances[:, a:b].mean(axis=1) for a, b in zip(self.metric_starts, self.metric_starts[1:], strict=False)], axis=1)


def converted(
    points: Float[np.ndarray, "T C 3"], weights: Float[np.ndarray, " E"], columns: Int[np.ndarray, " E"], starts: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "T V 3"]:
    """A sparse matrix (rows in compressed form, N = V + 1) times the points of each frame."""
    return _converted(points, weights, columns, starts)


def gathered(points: Float[np.ndarray, "T V 3"], ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "T n 3"]:
    """Some of the points, float64, in one pass."""
    return _gathered(points, ids)


def _packed(masks: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(masks).astype(np.int64), np.cumsum([0, *(len(ids) for ids in masks)])


@compiled
@no_type_check
def _gathered(points, ids):
    chosen = np.empty((len(points), len(ids), 3))
    for t in range(len(points)):
        for k in range(len(ids)):
            for i in range(3):
                chosen[t, k, i] = points[t, ids[k], i]
    return chosen


@compiled
@no_type_check
def _converted(points, weights, columns, starts):
    moved = np.empty((len(points), len(starts) - 1, 3))
    for t in range(len(points)):
        for row in range(len(starts) - 1):
            x = y = z = 0.0
            for entry in range(starts[row], starts[row + 1]):
                weight, column = weights[entry], columns[entry]
                x += weight * points[t, column, 0]
                y += weight * points[t, column, 1]
                z += weight * points[t, column, 2]
            moved[t, row, 0], moved[t, row, 1], moved[t, row, 2] = x, y, z
    return moved


@compiled
@no_type_check
def _moments(predicted, reference, ids, starts):
    """(mean of the predicted, mean of the reference, their covariance (reference rows)) of each mask in each frame."""
    frames, groups = len(predicted), len(starts) - 1
    source, target, covariance = np.zeros((frames, groups, 3)), np.zeros((frames, groups, 3)), np.zeros((frames, groups, 3, 3))
    for t in range(frames):
        for g in range(groups):
            count = starts[g + 1] - starts[g]
            for k in range(starts[g], starts[g + 1]):
                for i in range(3):
                    source[t, g, i] += predicted[t, ids[k], i]
                    target[t, g, i] += reference[t, ids[k], i]
            for i in range(3):
                source[t, g, i] /= count
                target[t, g, i] /= count
            a = b = c = d = e = f = p = q = r = 0.0
            for k in range(starts[g], starts[g + 1]):
                v = ids[k]
                x, y, z = predicted[t, v, 0] - source[t, g, 0], predicted[t, v, 1] - source[t, g, 1], predicted[t, v, 2] - source[t, g, 2]
                u, w, s = reference[t, v, 0] - target[t, g, 0], reference[t, v, 1] - target[t, g, 1], reference[t, v, 2] - target[t, g, 2]
                a, b, c = a + u * x, b + u * y, c + u * z
                d, e, f = d + w * x, e + w * y, f + w * z
                p, q, r = p + s * x, q + s * y, r + s * z
            covariance[t, g, 0, 0], covariance[t, g, 0, 1], covariance[t, g, 0, 2] = a, b, c
            covariance[t, g, 1, 0], covariance[t, g, 1, 1], covariance[t, g, 1, 2] = d, e, f
            covariance[t, g, 2, 0], covariance[t, g, 2, 1], covariance[t, g, 2, 2] = p, q, r
    return source, target, covariance


@compiled
@no_type_check
def _distances(predicted, reference, ids, starts, group, rotation, shift):
    distances = np.empty((len(predicted), len(ids)))
    for t in range(len(predicted)):
        for region in range(len(starts) - 1):
            m, s = rotation[t, group[region]], shift[t, group[region]]
            for k in range(starts[region], starts[region + 1]):
                v = ids[k]
                x, y, z = predicted[t, v, 0], predicted[t, v, 1], predicted[t, v, 2]
                u = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + s[0] - reference[t, v, 0]
                w = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + s[1] - reference[t, v, 1]
                r = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + s[2] - reference[t, v, 2]
                distances[t, k] = np.sqrt(u * u + w * w + r * r)
    return distances
