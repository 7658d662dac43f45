"""How fast the region protocol scores a video of the benchmark's size, against one frame and one region at a time."""
import time

import numpy as np

from serep.benchmark.multirex import MULTIFACE_VERTICES, RegionProtocol, region_errors
from serep.geometry.rigid import apply_rigid, rigid_align

FRAMES = 600
BENCHMARK_FRAMES = 49_641  # of the whole benchmark: 39 videos
MASK_SIZES = {"mouth": (504, 1224), "nose": (549, 549), "cheek": (721, 1224), "eyes_forehead": (1129, 1129)}


def run() -> dict:
    """Frames a second and ratios, measured in one run on random meshes with masks of the official sizes."""
    rng = np.random.default_rng(0)
    reference = (80 * rng.standard_normal((FRAMES, MULTIFACE_VERTICES, 3))).astype(np.float32)
    predicted = reference + rng.standard_normal(reference.shape)
    face = rng.permutation(MULTIFACE_VERTICES)
    jaw, nose, eyes = face[:1224], face[1224:1773], face[1773:2902]
    masks = {"mouth": (jaw[:504], jaw), "nose": (nose, nose), "cheek": (jaw[503:1224], jaw), "eyes_forehead": (eyes, eyes)}
    assert {name: (len(metric), len(alignment)) for name, (metric, alignment) in masks.items()} == MASK_SIZES
    metric, alignment = zip(*((np.sort(m), np.sort(a)) for m, a in masks.values()), strict=True)
    protocol = RegionProtocol(tuple(masks), metric, alignment, MULTIFACE_VERTICES)
    small, ids = protocol.compact()
    small_predicted, small_reference = predicted[:, ids], reference[:, ids]

    seconds = {
        "whole meshes": _fastest(lambda: region_errors(predicted, reference, protocol, mode="official")),
        "needed vertices": _fastest(lambda: region_errors(small_predicted, small_reference, small, mode="official")),
        "needed vertices, fixed": _fastest(lambda: region_errors(small_predicted, small_reference, small, mode="fixed")),
        "frame by frame": _fastest(lambda: _frame_by_frame(predicted, reference, protocol), repeats=1),
    }
    difference = np.abs(
        region_errors(small_predicted, small_reference, small, mode="official") - _frame_by_frame(predicted, reference, protocol)
    ).max()
    return {
        "frames": FRAMES,
        "frames_per_s": {name: round(FRAMES / value) for name, value in seconds.items()},
        "times_faster_than_frame_by_frame": round(seconds["frame by frame"] / seconds["needed vertices"], 2),
        "whole_benchmark_s": round(BENCHMARK_FRAMES * seconds["needed vertices"] / FRAMES, 1),
        "largest_difference": float(difference),
    }


def _frame_by_frame(predicted: np.ndarray, reference: np.ndarray, protocol: RegionProtocol) -> np.ndarray:
    """As the published script goes: each region aligns the whole mesh of each frame."""
    errors = np.empty((len(predicted), len(protocol.regions)))
    for r, (metric, alignment) in enumerate(zip(protocol.metric, protocol.alignment, strict=True)):
        for t, (source, target) in enumerate(zip(predicted, reference, strict=True)):
            moved = apply_rigid(source, *rigid_align(source[alignment], target[alignment], allow_reflection=True))
            errors[t, r] = np.linalg.norm(moved[metric] - target[metric], axis=1).mean()
    return errors


def _fastest(function, repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)

