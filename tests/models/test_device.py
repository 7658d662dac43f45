import pytest
import torch

from serep.models.device import best_device


def test_names():
    assert best_device("cpu") == torch.device("cpu")
    assert best_device("auto").type in ("cpu", "cuda", "mps")


def test_unknown_and_absent_devices_are_refused():
    with pytest.raises(ValueError, match="unknown device 'abacus'"):
        best_device("abacus")
    with pytest.raises(RuntimeError, match="cuda:99"):
        best_device("cuda:99")
