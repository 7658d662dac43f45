"""The ways to keep pictures that benchmarks/bench_shards.py compares, each with the same two acts: its length, and reading one picture into arrays."""
from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import zarr
from torch.utils.data import Dataset

from serep.data.shards import DrawnImages, open_part

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


class Serep:
    def __init__(self, scratch: Path) -> None:
        self.part = open_part(scratch / "part")

    def __len__(self) -> int:
        return len(self.part)

    def read(self, image: int, rgb: np.ndarray, mask: np.ndarray) -> None:
        self.part.rgb(image, rgb)
        self.part.mask(image, mask)


class Memmap:
    """Raw pixels: what no codec can beat."""

    def __init__(self, scratch: Path, size_px: int) -> None:
        self.rgb = np.memmap(scratch / "rgb", np.uint8, "r").reshape(-1, size_px, size_px, 3)
        self.mask = np.memmap(scratch / "mask", np.uint8, "r").reshape(-1, size_px, size_px)

    def __len__(self) -> int:
        return len(self.rgb)

    def read(self, image: int, rgb: np.ndarray, mask: np.ndarray) -> None:
        rgb[...], mask[...] = self.rgb[image], self.mask[image]


class Zarr(Memmap):
    """The same part through Zarr's own indexing."""

    def __init__(self, scratch: Path, size_px: int) -> None:
        group = zarr.open_group(scratch / "part" / "images.zarr", mode="r")
        self.rgb, self.mask = group["rgb"], group["mask"]


class Tar:
    """Tar shards of pictures, with a table of where each lies: their usual reader can only go through them in order."""

    def __init__(self, scratch: Path, kind: str) -> None:
        self.files, self.places = sorted(scratch.glob(f"{kind}-*.tar")), []
        for number, file in enumerate(self.files):
            with tarfile.open(file) as tar:
                members = tar.getmembers()
            self.places += [(number, rgb.offset_data, rgb.size, mask.offset_data, mask.size) for rgb, mask in zip(members[::2], members[1::2], strict=True)]
        self._open: dict[int, io.BufferedReader] = {}

    def __len__(self) -> int:
        return len(self.places)

    def read(self, image: int, rgb: np.ndarray, mask: np.ndarray) -> None:
        number, *places = self.places[image]
        stream = self._open.get(number) or self._open.setdefault(number, self.files[number].open("rb"))
        for out, (offset, size), flag in ((rgb, places[:2], cv2.IMREAD_COLOR_RGB), (mask, places[2:], cv2.IMREAD_GRAYSCALE)):
            stream.seek(offset)
            out[...] = cv2.imdecode(np.frombuffer(stream.read(size), np.uint8), flag)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_open": {}}

    def in_order(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for file in self.files:
            with tarfile.open(file, "r|") as tar:
                pictures = (cv2.imdecode(np.frombuffer(tar.extractfile(member).read(), np.uint8), cv2.IMREAD_UNCHANGED) for member in tar)
                yield from zip(pictures, pictures, strict=True)


class Batches(Dataset):
    """Batches of a layout, as RenderDataset.batch makes them."""

    def __init__(self, layout: Serep | Memmap | Tar, size_px: int) -> None:
        self.layout, self.size_px = layout, size_px

    def __len__(self) -> int:
        return len(self.layout)

    def __getitem__(self, images: list[int]) -> dict[str, torch.Tensor]:
        shape = (len(images), self.size_px, self.size_px)
        rgb, mask = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)
        for place, image in enumerate(images):
            self.layout.read(image, rgb[place], mask[place])
        return {"rgb": torch.from_numpy(rgb), "mask": torch.from_numpy(mask)}


def write_tars(scratch: Path, kind: str, suffix: str, options: list[int], drawn: DrawnImages, *, images_per_shard: int) -> None:
    for start in range(0, len(drawn.subject_ids), images_per_shard):
        with tarfile.open(scratch / f"{kind}-{start // images_per_shard:06d}.tar", "w") as tar:
            for image in range(start, min(start + images_per_shard, len(drawn.subject_ids))):
                rgb = cv2.imencode(suffix, drawn.arrays["rgb"][image][..., ::-1], options)[1].tobytes()
                mask = cv2.imencode(".png", drawn.arrays["mask"][image], PNG)[1].tobytes()
                for name, data in ((f"{image:06d}.rgb{suffix}", rgb), (f"{image:06d}.mask.png", mask)):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
