"""The batched speed figures: they need torch and numpy alone, and say so where there is no GPU."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import bench_gpu

ROOT = Path(__file__).resolve().parents[1]
LEAN = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"av", "zarr", "mlflow", "dvc", "trimesh", "cv2", "scipy", "rich", "typer", "pandas", "pyarrow", "onnxruntime", "numba"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from benchmarks import bench_gpu
print(bench_gpu.AIM)
"""


@pytest.fixture
def small(monkeypatch):
    for name, value in {"CROP_PX": 32, "TARGET_VERTICES": 50, "SPAN_S": 0.01, "CPU_BATCHES": (2,)}.items():
        monkeypatch.setattr(bench_gpu, name, value)


def test_it_imports_with_few_packages():
    done = subprocess.run([sys.executable, "-c", LEAN], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == bench_gpu.AIM


def test_without_a_gpu_it_says_so(small, monkeypatch):
    monkeypatch.setenv("SEREP_DEVICE", "cpu")
    figures = bench_gpu.run()
    assert figures["gpu"] == "not measured: no CUDA device was found or asked for (device cpu)"
    assert all(value > 0 for value in figures["cpu"]["float32"]["batch_2"].values())
    assert set(figures["cpu"]["float32"]["batch_2"]) == {"to_vertices_on_device", "to_vertices_on_host", "network_alone"}


def test_a_gpu_that_is_asked_for_and_not_there_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(RuntimeError, match="has 0 CUDA devices"):
        bench_gpu.run("cuda")


def test_vertices_are_those_of_the_rig(small):
    model = bench_gpu.random_model()
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8))
    with torch.inference_mode():
        weights = model.decoder(model.network(crops.permute(0, 3, 1, 2) / 255).codes)
        expected = (model.neutral + weights @ model.basis).reshape(3, 50, 3)
        torch.testing.assert_close(model(crops), expected, rtol=1e-4, atol=1e-3)
        assert bench_gpu.difference(model, torch.device("cpu")) < 1e-5
