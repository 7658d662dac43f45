"""What it costs to bind a semantic model to a neutral and to pose it, against one dense product of the same size."""
import time

import numpy as np
import torch
import trimesh
from threadpoolctl import threadpool_limits

from serep.faces import BUILT_IN_HEADS, open_head_model
from serep.faces.topology import FaceTopology
from serep.geometry.mesh import Mesh
from serep.models.semantic import NeuralModel

FRAMES = 256
CODE_SIZE, GRADIENT_MODES = 64, 128


def run() -> dict:
    """Times of an untrained model with random modes of full size, on the built-in head and on the same head with every triangle split in four."""
    head = open_head_model("makehuman", BUILT_IN_HEADS).topology
    fine = Mesh(*trimesh.remesh.subdivide(head.template, head.faces))
    results = {name: _measure(topology) for name, topology in {"head": head, "fine_head": _bare_topology(fine, head)}.items()}
    return results["head"] | {f"fine_{name}": value for name, value in results["fine_head"].items()}


def _bare_topology(mesh: Mesh, head: FaceTopology) -> FaceTopology:
    """Only what binding needs; splitting keeps the old vertices first."""
    none = np.zeros(0, np.int32)
    return FaceTopology(name="fine-head", faces=mesh.faces, template=mesh.vertices, landmark_ids=none, landmark_triangles=np.zeros((0, 3), np.int32),
                        landmark_barycentric=np.zeros((0, 3)), regions={}, parts=np.zeros(len(mesh.vertices), np.uint8), fixed=head.fixed)


def _measure(topology: FaceTopology) -> dict:
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

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        seconds = {
            "product": _fastest(lambda: weights @ flat),
            "product_of_one_frame": _fastest(lambda: weights[:1] @ flat),
            "pose": _fastest(lambda: rig.pose(codes)),
            "pose_of_one_frame": _fastest(lambda: rig.pose(codes[:1])),
            "bind": _fastest(bind, repeats=3),
            "encode_of_16_on_a_bound_neutral": _fastest(lambda: model.encode(neutral, expressive), repeats=3),
        }
    torch.set_num_threads(threads)
    return {
        "vertices": len(neutral.vertices),
        "frames": FRAMES,
        "milliseconds_on_one_core": {name: 1000 * value for name, value in seconds.items()},
        "pose_ms_a_frame": 1000 * seconds["pose"] / FRAMES,
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
