"""What it costs to bind a semantic model to a neutral and to pose it, against one dense product of the same size."""
import time

import numpy as np
import torch

from serep.faces import BUILT_IN_HEADS, open_head_model
from serep.models.semantic import NeuralModel

FRAMES = 256
CODE_SIZE, GRADIENT_MODES = 64, 128


def run() -> dict:
    """Times of an untrained model with random modes of full size on the built-in head; ratios to one (frames, K) x (K, 3V) product."""
    topology = open_head_model("makehuman", BUILT_IN_HEADS).topology
    torch.manual_seed(0)
    model = NeuralModel(topology, code_size=CODE_SIZE, gradient_modes=GRADIENT_MODES, identity_modes=16, width=256, residual_blocks=1)
    for name, tensor in [*model.named_parameters(), ("modes", model.modes), ("identity_modes", model.identity_modes)]:
        if name.endswith(("weight", "modes")):
            torch.nn.init.normal_(tensor.data, std=0.05)
    rng = np.random.default_rng(0)
    neutral = model.mean_neutral
    rig = model.bind(neutral)
    codes = rng.standard_normal((FRAMES, CODE_SIZE)).astype(np.float32)
    weights, flat = rng.standard_normal((FRAMES, GRADIENT_MODES)).astype(np.float32), rig.basis.reshape(GRADIENT_MODES, -1)
    expressive = rig.pose(codes[:16])

    def bind() -> None:
        model._last_bound = None
        model.bind(neutral)

    seconds = {
        "product": _fastest(lambda: weights @ flat),
        "product_of_one_frame": _fastest(lambda: weights[:1] @ flat),
        "pose": _fastest(lambda: rig.pose(codes)),
        "pose_of_one_frame": _fastest(lambda: rig.pose(codes[:1])),
        "bind": _fastest(bind, repeats=3),
        "encode_of_16_on_a_bound_neutral": _fastest(lambda: model.encode(neutral, expressive), repeats=3),
    }
    return {
        "vertices": len(neutral.vertices),
        "frames": FRAMES,
        "milliseconds": {name: 1000 * value for name, value in seconds.items()},
        "pose_over_product": seconds["pose"] / seconds["product"],
        "pose_of_one_frame_over_product": seconds["pose_of_one_frame"] / seconds["product_of_one_frame"],
        "bind_over_product": seconds["bind"] / seconds["product"],
        "frames_per_s": FRAMES / seconds["pose"],
    }


def _fastest(function, repeats: int = 20) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
