"""Principal modes of wide data under a weighted inner product, in float64 and with fixed signs."""
from __future__ import annotations

import numpy as np
from jaxtyping import Float

CHUNK = 8192


def principal_modes(
    samples: Float[np.ndarray, "N D"], column_weights: Float[np.ndarray, " D"], count: int, *, at_most: bool = False
) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, " K"]]:
    """The `count` directions of largest second moment about zero, and the root mean square of the samples along them.

    Not centred: zero samples keep zero coefficients, so "no displacement" stays the origin. Modes (float32) are orthonormal under the
    weights: `(modes * column_weights) @ modes.T = I`, and each mode's entry of largest magnitude is positive.
    With `at_most` there are fewer modes where the samples span fewer directions, else a ValueError says how many.
    The N × N Gram matrix is summed in float64 over chunks of columns, so a wide float32 `samples` is never copied whole.
    """
    count = min(count, len(samples)) if at_most else count
    if not 1 <= count <= len(samples):
        raise ValueError(f"{count} modes cannot be drawn from {len(samples)} samples. Ask for 1 to {len(samples)} modes or give more meshes")
    gram = np.zeros((len(samples), len(samples)))
    for start in range(0, samples.shape[1], CHUNK):
        block = samples[:, start : start + CHUNK].astype(np.float64)
        gram += (block * column_weights[start : start + CHUNK]) @ block.T
    if not np.isfinite(gram).all():
        raise ValueError("the samples of a PCA hold values that are not finite. Run the preprocessing that puts bad meshes aside")
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.maximum(values[::-1][:count], 0.0), vectors[:, ::-1][:, :count]
    rank = int((values > values[0] * 1e-12).sum()) if values[0] > 0 else 0
    if at_most and 0 < rank < count:
        values, vectors, count = values[:rank], vectors[:, :rank], rank
    if rank < count:
        raise ValueError(f"the samples span {rank} directions, {count} modes were asked for. Ask for at most {rank} modes or give more meshes")
    modes = np.empty((count, samples.shape[1]), np.float32)
    for start in range(0, samples.shape[1], CHUNK):
        modes[:, start : start + CHUNK] = (vectors / np.sqrt(values)).T @ samples[:, start : start + CHUNK].astype(np.float64)
    peaks = np.take_along_axis(modes, np.abs(modes).argmax(axis=1)[:, None], axis=1)
    return modes * np.sign(peaks), np.sqrt(values / len(samples))
