"""Reading one finished part of the render store (see serep.data.shards) so that damage is never taken for an image."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import zarr
from jaxtyping import UInt8

from serep.data.schema import RENDER_ARRAYS, RENDERS, RENDERS_FORMAT, ArrayLayout, check_arrays, read_table
from serep.data.shard_file import ShardedRows, read_chunk_file

IMAGES_FILE, INDEX_FILE, PART_FILE = "images.zarr", "index.parquet", "part.json"
LABELS = tuple(layout for layout in RENDER_ARRAYS if not layout.sharded)


class RenderPart:
    """One finished part. Cheap to open, safe to pickle and to fork; images are read one by one, labels once, as a whole."""

    def __init__(self, folder: Path, description: Mapping[str, object], sizes: Mapping[str, int]) -> None:
        self.folder, self.description = folder, description
        self.name: str = description["part"]
        self.split: str = description["split"]
        self.landmark_ids: tuple[int, ...] = tuple(description["landmark_ids"])
        self.sizes = dict(sizes)
        self.rows_per_file: int = min(description["images_per_shard"], self.sizes["N"])
        self.remedy = remedy_of(self.name)
        self._images = {layout.name: ShardedRows(folder / IMAGES_FILE / layout.name, shape=layout.shape(self.sizes), dtype=np.dtype(layout.dtype),
                                                 rows_per_file=self.rows_per_file, remedy=self.remedy)
                        for layout in RENDER_ARRAYS if layout.sharded}

    def __len__(self) -> int:
        return self.sizes["N"]

    def rgb(self, image: int, out: np.ndarray | None = None) -> UInt8[np.ndarray, "H W 3"]:
        return self._images["rgb"].row(image, out)

    def mask(self, image: int, out: np.ndarray | None = None) -> UInt8[np.ndarray, "H W"]:
        return self._images["mask"].row(image, out)

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """Every array of RENDER_ARRAYS except the images, in memory."""
        return {layout.name: self._read_label(layout) for layout in LABELS}

    @cached_property
    def index(self) -> dict[str, list]:
        """Columns of index.parquet."""
        table, _ = read_table(self.folder / INDEX_FILE, RENDERS, file_format=RENDERS_FORMAT, remedy=self.remedy)
        return table.to_pydict()

    def summary(self) -> dict[str, int | float | str]:
        """A few numbers for a metrics file; the same for the same part."""
        stored = sum(file["bytes"] for file in self.description["files"].values())
        renderer = "; ".join(f"{key} {value}" for key, value in self.description["renderer"].items())
        return {"images": len(self), "people": len(set(self.index["subject_id"])), "expressions": len(set(self.index["expression_id"])),
                "bytes_per_image": round(stored / len(self)), "renderer": renderer}

    def verify(self) -> None:
        """Reads every byte; ValueError naming the first file that is not what was written."""
        for name, expected in self.description["files"].items():
            file = self.folder / name
            if not file.is_file():
                raise FileNotFoundError(f"{file} is missing. {self.remedy}")
            if digest(file) != expected:
                raise ValueError(f"{file} is damaged: its SHA-256 is not the one in {self.folder / PART_FILE}. {self.remedy}")

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("labels", "index")}  # the other process reads its own

    def _read_label(self, layout: ArrayLayout) -> np.ndarray:
        shape = layout.shape(self.sizes)
        shards = -(-len(self) // self.rows_per_file)
        chunks = [read_chunk_file(self.folder / shard_file_name(layout, shard), shape=(self.rows_per_file, *shape[1:]),
                                  dtype=np.dtype(layout.dtype), remedy=self.remedy) for shard in range(shards)]
        return np.concatenate(chunks)[:len(self)]


def open_part(folder: Path) -> RenderPart:
    """Opens a part and checks that all its files are there with the right sizes; FileNotFoundError or ValueError naming what is not."""
    folder = Path(folder)
    file, remedy = folder / PART_FILE, remedy_of(folder.name)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: {folder} is not a finished part of the render store. {remedy}")
    try:
        description = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is damaged ({error}). {remedy}") from error
    if description.get("format") != RENDERS_FORMAT:
        raise ValueError(f"{file} has format {description.get('format')!r}, this version reads {RENDERS_FORMAT!r}. {remedy}")
    for name, expected in description["files"].items():
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing. {remedy}")
        if (folder / name).stat().st_size != expected["bytes"]:
            raise ValueError(f"{folder / name} is damaged: {(folder / name).stat().st_size} bytes instead of {expected['bytes']}. {remedy}")
    store = folder / IMAGES_FILE
    sizes = check_arrays(zarr.open_group(store, mode="r"), RENDER_ARRAYS, file=store, remedy=remedy)
    if sizes["N"] != description["images"]:
        raise ValueError(f"{store} holds {sizes['N']} images, {file} says {description['images']}. {remedy}")
    return RenderPart(folder, description, sizes)


def remedy_of(part: str) -> str:
    return f"Draw the part again: dvc repro -f render@{part}"


def shard_file_name(layout: ArrayLayout, shard: int) -> str:
    """The file that holds one shard of an array, relative to the part."""
    return "/".join([IMAGES_FILE, layout.name, "c", str(shard), *["0"] * (len(layout.axes) - 1)])


def digest(file: Path) -> dict[str, object]:
    """Size and SHA-256 of a file, as part.json lists them."""
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
