"""One training in several processes: each takes its share of every batch, and all take the same steps.

torch's own launcher (`python -m torch.distributed.run`) starts them; several machines are its business too. The gradients are averaged in one
piece after each step's backward pass: the networks here are a few million numbers, so there is nothing to hide behind the computation.
"""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Group:
    """The processes that train together, seen from one of them."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process validates, reports and writes."""
        return self.rank == 0

    def share(self, size: int, what: str) -> range:
        """This process's rows of a batch. ValueError naming `what` where the batch cannot be split evenly."""
        if size % self.count:
            raise ValueError(f"{what} is {size}, which {self.count} processes cannot share evenly. Choose a multiple of {self.count}, or other processes")
        each = size // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """In place: every process's gradients become their mean. All must have gradients for the same parameters."""
        self._average([parameter.grad for parameter in parameters if parameter.grad is not None])

    def average_buffers(self, module: torch.nn.Module) -> None:
        """In place: running statistics become their mean."""
        self._average([buffer for buffer in module.buffers() if buffer.is_floating_point()])

    def average(self, values: Mapping[str, float]) -> dict[str, float]:
        if self.count == 1:
            return dict(values)
        answers: list[dict[str, float] | None] = [None] * self.count
        distributed.all_gather_object(answers, dict(values))
        return {name: sum(one[name] for one in answers) / self.count for name in values}

    def _average(self, tensors: Sequence[Tensor]) -> None:
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.count
        for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(values.view_as(tensor))


ALONE = Group()


@contextmanager
def joined(device_name: str) -> Iterator[tuple[Group, str]]:
    """This process's place among those that torch's launcher started (ALONE where it did not), and the device that it is to use."""
    if "RANK" not in os.environ:
        yield ALONE, device_name
        return
    on_gpu = device_name == "cuda" or (device_name == "auto" and torch.cuda.is_available())
    device_name = f"cuda:{os.environ['LOCAL_RANK']}" if on_gpu else device_name
    distributed.init_process_group("nccl" if device_name.startswith("cuda") else "gloo",
                                   device_id=torch.device(device_name) if on_gpu else None)
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size()), device_name
    finally:
        distributed.destroy_process_group()


def launched(main: Callable[[], None], module: str) -> None:
    """Runs `main` here, or where SEREP_PROCESSES asks for more than one process, `python -m module` in that many under torch's launcher."""
    count = process_count()
    if count == 1 or "RANK" in os.environ:
        main()
        return
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m", module, *sys.argv[1:]]
    done = subprocess.run(command, env={"OMP_NUM_THREADS": str(threads)} | os.environ, check=False)
    sys.exit(done.returncode)


def process_count() -> int:
    """SEREP_PROCESSES, 1 where it is not set. ValueError for what is no number of processes."""
    text = os.environ.get("SEREP_PROCESSES") or "1"
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"SEREP_PROCESSES={text!r} is no number of processes. Set it to 1 or more, or leave it unset")
    return int(text)
