"""Torch dataset over parts of the render store: single images, shuffled batches from worker processes, and the whole of a small set in memory."""
from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from serep.data.schema import RENDER_ARRAYS
from serep.data.shards import LABELS, RenderPart, open_part

THREADS = 4  # reading and decoding leave Python's lock; more threads than this wait for it
BATCHES_AHEAD = 4  # of each loader worker: a training step that waits once for a slow disk finds the next ones ready


class RenderDataset(Dataset):
    """Images of several parts, one after the other. Files are opened by the process that reads them: any start method of a DataLoader works."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """FileNotFoundError or ValueError naming the part that is missing, damaged or unlike the first."""
        if not folders:
            raise ValueError("a dataset of renders needs at least one part, got none; name them in params.yaml (render.parts)")
        self.parts: list[RenderPart] = [open_part(folder) for folder in folders]
        first = self.parts[0]
        for part in self.parts[1:]:
            unlike = [f"{axis} {part.sizes[axis]} against {first.sizes[axis]}" for axis in "HWZL" if part.sizes[axis] != first.sizes[axis]]
            unlike += ["other landmarks"] if part.landmark_ids != first.landmark_ids else []
            if unlike:
                raise ValueError(f"{part.folder} and {first.folder} do not fit together ({', '.join(unlike)}); draw them with the same params")
        self._starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self.landmark_ids = first.landmark_ids
        self.sizes = first.sizes | {"N": len(self)}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, image: int) -> dict[str, torch.Tensor]:
        """rgb (H, W, 3) and mask (H, W) uint8; codes, landmarks, intrinsics, world_to_camera float32; subject, expression, seed whole numbers."""
        part, row = self._locate(image)
        item = {"rgb": torch.from_numpy(part.rgb(row)), "mask": torch.from_numpy(part.mask(row))}
        return item | {layout.name: torch.as_tensor(part.labels[layout.name][row]) for layout in LABELS}

    def batch(self, images: Sequence[int]) -> dict[str, torch.Tensor]:
        """The same of several images at once, each array with a leading axis B. Decoded in place: half the cost of single items put together."""
        tensors = {layout.name: _empty(layout.shape(self.sizes | {"N": len(images)}), layout.dtype) for layout in RENDER_ARRAYS}
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        located = [self._locate(image) for image in images]
        for place, (part, row) in enumerate(located):
            part.rgb(row, arrays["rgb"][place])
            part.mask(row, arrays["mask"][place])
        for part in dict.fromkeys(part for part, _ in located):
            places = [place for place, (own, _) in enumerate(located) if own is part]
            rows = [located[place][1] for place in places]
            for layout in LABELS:
                arrays[layout.name][places] = part.labels[layout.name][rows]
        return tensors

    def load_all(self) -> dict[str, np.ndarray]:
        """Every array of RENDER_ARRAYS over all images, in memory: 4 bytes a pixel and image."""
        arrays = {layout.name: np.empty(layout.shape(self.sizes), layout.dtype) for layout in RENDER_ARRAYS}
        shards: list[tuple[RenderPart, int, slice]] = []
        for start, part in zip(self._starts, self.parts, strict=False):
            for layout in LABELS:
                arrays[layout.name][start : start + len(part)] = part.labels[layout.name]
            for shard in range(part.shards):
                first = shard * part.rows_per_file
                shards.append((part, shard, slice(start + first, start + min(first + part.rows_per_file, len(part)))))
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(lambda place: place[0].read_shard(place[1], arrays["rgb"][place[2]], arrays["mask"][place[2]]), shards):
                pass
        return arrays

    def _locate(self, image: int) -> tuple[RenderPart, int]:
        if not 0 <= image < len(self):
            raise IndexError(f"the dataset has {len(self)} images, got {image}")
        number = int(np.searchsorted(self._starts, image, side="right")) - 1
        return self.parts[number], int(image - self._starts[number])


def _empty(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """A tensor to decode into; in a loader's worker it lies where the training process reads it, so that it need not be copied there."""
    kind = getattr(torch, dtype)
    if torch.utils.data.get_worker_info() is None:
        return torch.empty(shape, dtype=kind)
    count = math.prod(shape)
    storage = torch.empty(0, dtype=kind)._typed_storage()._new_shared(count, device="cpu")  # as torch's own collation does
    return torch.empty(0, dtype=kind).new(storage).resize_(shape)


class _Batches(Dataset):
    """What a loader without a batch size of its own asks for: one item is a batch."""

    def __init__(self, renders: RenderDataset) -> None:
        self.renders = renders

    def __len__(self) -> int:
        return len(self.renders)

    def __getitem__(self, images: list[int]) -> dict[str, torch.Tensor]:
        return self.renders.batch(images)


def open_loader(renders: RenderDataset, *, batch_size: int, workers: int, seed: int,
                start_method: Literal["fork", "forkserver", "spawn"]) -> DataLoader:
    """Shuffled full batches (see RenderDataset.batch), read ahead by `workers` processes that live as long as the loader; 0 reads in this one.

    Each pass draws a new order from `seed`. With workers, "forkserver" starts fastest and holds nothing of this process.
    """
    if batch_size > len(renders):
        raise ValueError(f"a batch of {batch_size} images cannot be drawn from {len(renders)}; use a smaller batch or more renders")
    order = RandomSampler(renders, generator=torch.Generator().manual_seed(seed))
    ahead = {"prefetch_factor": BATCHES_AHEAD, "persistent_workers": True, "multiprocessing_context": start_method} if workers else {}
    return DataLoader(_Batches(renders), sampler=BatchSampler(order, batch_size, drop_last=True), batch_size=None, num_workers=workers,
                      pin_memory=torch.cuda.is_available(), **ahead)
