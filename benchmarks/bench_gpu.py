"""Batched capture on one device: uint8 crops on the host to posed targets of 9,409 vertices, in frames per second; on a GPU where there is one.

usage: python -m benchmarks.bench_gpu [cpu | cuda | cuda:1]      (or python -m benchmarks gpu; SEREP_DEVICE says the same)

A frame here is one crop through the network, and its code through a target's rig. Finding and cutting faces, decoding and smoothing are not in it:
bench_capture has them. Weights are random, which no speed depends on; sizes are those of the default parameters.
Needs torch and numpy.
"""
from __future__ import annotations

import copy
import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from serep.models.capture_network import CaptureNetwork
from serep.models.device import best_device

CROP_PX, CODE_SIZE, LANDMARKS, MODES, DECODER_WIDTH, TARGET_VERTICES = 112, 32, 84, 128, 128, 9409
GPU_BATCHES, CPU_BATCHES = (256, 512, 1024), (8, 64)
AIM = 2000.0  # frames per second on a GPU
SPAN_S, REPEATS = 1.0, 3  # each figure is the best of some spans of about this length


class CropsToVertices(torch.nn.Module):
    """Network, bound decoder, and the rig's one matrix product: (B, S, S, 3) uint8 to (B, V, 3) mm."""

    def __init__(self, network: CaptureNetwork, decoder: torch.nn.Module, basis: torch.Tensor, neutral: torch.Tensor, half: torch.dtype | None = None):
        """`basis` (K, 3 V) and `neutral` (3 V,) in mm. `half` is what the network's products are rounded to, None for single precision throughout."""
        super().__init__()
        self.network, self.decoder, self._half = network, decoder, half
        self.register_buffer("basis", basis)
        self.register_buffer("neutral", neutral)

    def codes(self, crops: torch.Tensor) -> torch.Tensor:
        with torch.autocast(crops.device.type, self._half, enabled=self._half is not None):
            return self.network(crops.permute(0, 3, 1, 2).float().div_(255.0)).codes.float()

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.neutral, self.decoder(self.codes(crops)), self.basis).unflatten(1, (-1, 3))


def random_model() -> CropsToVertices:
    """Of the default parameters' sizes."""
    torch.manual_seed(0)
    network = CaptureNetwork(encoder="residual_small", image_size=CROP_PX, code_size=CODE_SIZE, landmark_count=LANDMARKS, local_width=16, hidden_width=256)
    decoder = torch.nn.Sequential(torch.nn.Linear(CODE_SIZE, DECODER_WIDTH), torch.nn.SiLU(), torch.nn.Linear(DECODER_WIDTH, MODES))
    return CropsToVertices(network, decoder, torch.randn(MODES, 3 * TARGET_VERTICES), torch.randn(3 * TARGET_VERTICES)).eval()


def on_device(model: CropsToVertices, device: torch.device, half: torch.dtype | None = None) -> CropsToVertices:
    """A copy of `model` there, laid out as engines lay it out."""
    placed = copy.deepcopy(model).to(device)
    placed.network.to(memory_format=torch.channels_last)
    placed._half = half
    return placed


def frames_per_second(step: Callable[[], object], batch: int, device: torch.device) -> float:
    """The best of some spans of consecutive calls, each until the device has done all of it."""
    def span(calls: int) -> float:
        synchronise(device)
        start = time.perf_counter()
        for _ in range(calls):
            step()
        synchronise(device)
        return time.perf_counter() - start

    for _ in range(3):  # libraries choose their kernels in the first calls
        span(1)
    calls = max(1, round(SPAN_S / span(1)))
    return batch * calls / min(span(calls) for _ in range(REPEATS))


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def batch_figures(model: CropsToVertices, batch: int, device: torch.device) -> dict[str, float]:
    """Frames per second with crops that lie on the host, vertices left on the device and copied back; and of the network alone, with crops on the device."""
    cuda = device.type == "cuda"
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (batch, CROP_PX, CROP_PX, 3), dtype=np.uint8))
    crops = crops.pin_memory() if cuda else crops
    back = torch.empty(batch, TARGET_VERTICES, 3, pin_memory=cuda)
    there = crops.to(device)

    def posed() -> torch.Tensor:
        return model(crops.to(device, non_blocking=cuda))

    acts: dict[str, Callable[[], object]] = {
        "to_vertices_on_device": posed,
        "to_vertices_on_host": lambda: back.copy_(posed(), non_blocking=cuda),
        "network_alone": lambda: model.codes(there),
    }
    with torch.inference_mode():
        return {name: frames_per_second(act, batch, device) for name, act in acts.items()}


def device_figures(model: CropsToVertices, device: torch.device, batches: tuple[int, ...]) -> dict:
    """By precision and batch."""
    precisions: dict[str, torch.dtype | None] = {"float32": None}
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        precisions["bfloat16"] = torch.bfloat16
    figures: dict = {"name": torch.cuda.get_device_name(device) if device.type == "cuda" else f"processor, {torch.get_num_threads()} threads"}
    for name, half in precisions.items():
        placed = on_device(model, device, half)
        figures[name] = {f"batch_{size}": batch_figures(placed, size, device) for size in batches}
    if device.type == "cuda":
        figures["most_memory_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    return figures


def difference(model: CropsToVertices, device: torch.device) -> float:
    """Largest between the vertices that the device and the processor make of the same crops in single precision, over the vertices' spread."""
    crops = np.random.default_rng(1).integers(0, 255, (16, CROP_PX, CROP_PX, 3), dtype=np.uint8)
    with torch.inference_mode():
        here, there = model(torch.from_numpy(crops)), on_device(model, device)(torch.from_numpy(crops).to(device)).cpu()
    return float((there - here).abs().max() / here.std())


def run(device_name: str | None = None) -> dict:
    wanted = device_name or os.environ.get("SEREP_DEVICE") or "auto"
    device, model = best_device(wanted), random_model()
    figures: dict = {"cpu": device_figures(model, torch.device("cpu"), CPU_BATCHES)}
    if device.type != "cuda":
        return figures | {"gpu": f"not measured: no CUDA device was found or asked for (device {wanted})"}
    figures["gpu"] = device_figures(model, device, GPU_BATCHES)
    best = {name: max(one[name] for precision in ("float32", "bfloat16") for one in figures["gpu"].get(precision, {}).values())
            for name in ("to_vertices_on_device", "to_vertices_on_host")}
    return figures | {"best_on_gpu": best, "aim": AIM, "aim_reached": best["to_vertices_on_device"] >= AIM, "relative_difference_to_cpu": difference(model, device)}


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:2]), indent=2))
