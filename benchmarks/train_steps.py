"""What bench_training.py starts, alone or under torch's launcher: some steps of the capture training at full size; the leading process prints their seconds.

usage: train_steps.py STEPS THREADS AHEAD
"""
import dataclasses
import sys
import time

import numpy as np
import torch

from serep.config import build, load_params
from serep.faces import BUILT_IN_HEADS, open_head_model
from serep.models.capture import CaptureSettings
from serep.models.device import best_device
from serep.models.semantic import DisplacementPca
from serep.training.augmentation import AugmentationRanges
from serep.training.capture_data import LabelledRenders
from serep.training.capture_task import train_capture
from serep.training.processes import joined

RENDERS, SIDE, WARM_UP = 600, 160, 8


def main() -> None:
    steps, threads, ahead = (int(one) for one in sys.argv[1:])
    torch.set_num_threads(threads)
    params = load_params(".").capture
    training = params.training.model_dump() | {"steps": WARM_UP + steps, "log_every": 1, "validate_every": 10**6}
    weights, stamps = training.pop("loss_weights"), []
    semantic, renders = _stand_ins(np.random.default_rng(0))
    few = LabelledRenders(renders.layers[:8], renders.landmarks[:8], renders.codes[:8])
    with joined("cpu") as (group, device):
        train_capture(renders, few, semantic, real=None, backgrounds=[], augmentation=build(AugmentationRanges, params.augmentation), loss_weights=weights,
                      settings=build(CaptureSettings, params.settings), device=best_device(device), ahead=ahead, group=group,
                      on_metrics=lambda _, step: stamps.append(time.perf_counter()), **training)
        if group.leads:
            print((stamps[-2] - stamps[WARM_UP - 1]) / (len(stamps) - 1 - WARM_UP))  # without the last step, which validates


def _stand_ins(rng: np.random.Generator) -> tuple[DisplacementPca, LabelledRenders]:
    """What pictures show plays no part in how long a step takes; where the landmarks are does, for the crops."""
    topology = open_head_model("makehuman", BUILT_IN_HEADS).topology
    model = DisplacementPca(topology, code_size=32)
    with torch.no_grad():
        model.modes.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
        model.decoder.matrix.copy_(torch.eye(32))
    flat = topology.landmarks(topology.template)[:, :2] * [1, -1]
    places = (flat - flat.mean(axis=0)) * (0.4 * SIDE / np.ptp(flat, axis=0).max()) + SIDE / 2
    layers = rng.integers(256, size=(RENDERS, SIDE, SIDE, 4), dtype=np.uint8)
    codes = rng.standard_normal((RENDERS, 32)).astype(np.float32)
    model.topology = dataclasses.replace(topology, mirror=None)
    return model.eval(), LabelledRenders(layers, np.repeat(places[None], RENDERS, axis=0).astype(np.float32), codes)


if __name__ == "__main__":
    main()
