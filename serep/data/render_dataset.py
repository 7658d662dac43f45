"""Torch dataset over parts of the render store, and the whole of a small set in memory."""
from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from serep.data.schema import RENDER_ARRAYS
from serep.data.shards import LABELS, RenderPart, open_part

THREADS = 4  # reading and decoding leave Python's lock; more threads than this wait for it


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

    def load_all(self) -> dict[str, np.ndarray]:
        """Every array of RENDER_ARRAYS over all images, in memory: 4 bytes a pixel and image."""
        arrays = {layout.name: np.empty(layout.shape(self.sizes), layout.dtype) for layout in RENDER_ARRAYS}
        for start, part in zip(self._starts, self.parts, strict=False):
            for layout in LABELS:
                arrays[layout.name][start : start + len(part)] = part.labels[layout.name]

        def read(image: int) -> None:
            part, row = self._locate(image)
            part.rgb(row, arrays["rgb"][image])
            part.mask(row, arrays["mask"][image])

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(read, range(len(self)), chunksize=64):
                pass
        return arrays

    def _locate(self, image: int) -> tuple[RenderPart, int]:
        if not 0 <= image < len(self):
            raise IndexError(f"the dataset has {len(self)} images, got {image}")
        number = int(np.searchsorted(self._starts, image, side="right")) - 1
        return self.parts[number], int(image - self._starts[number])
