"""Which processor the networks run on."""
from __future__ import annotations

import torch


def best_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" takes CUDA, then Apple's Metal, then the processor.

    Raises ValueError when the name is no device, RuntimeError when this machine lacks it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}. Use auto, cpu, mps, cuda or cuda:<number>") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RuntimeError(f"device {name!r} was asked for, but this machine has {torch.cuda.device_count()} CUDA devices. Use auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError(f"device {name!r} was asked for, but this machine has no Metal device. Use auto or cpu")
    return device
