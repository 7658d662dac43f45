"""Reading one finished part of the render store (see serep.data.shards) so that damage is never taken for an image."""
from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zarr
from jaxtyping import UInt8
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from serep.data.blobs import BlobStore
from serep.data.part_files import PartFiles, default_cache
from serep.data.schema import RENDER_ARRAYS, RENDERS, RENDERS_FORMAT, ArrayLayout, check_arrays, read_table
from serep.data.shard_file import ShardedRows, decode_chunk

IMAGES_FILE, INDEX_FILE, PART_FILE = "images.zarr", "index.parquet", "part.json"
READERS = 8  # threads that fetch small files: at a URL they mostly wait
LABELS = tuple(layout for layout in RENDER_ARRAYS if not layout.sharded)


class RenderPart:
    """One finished part. Cheap to open, safe to pickle and to fork; images are read one by one, labels once, as a whole."""

    def __init__(self, folder: Path, description: Mapping[str, object], files: PartFiles, sizes: Mapping[str, int]) -> None:
        self.folder, self.description, self.files = folder, description, files
        self.name: str = description["part"]
        self.split: str = description["split"]
        self.landmark_ids: tuple[int, ...] = tuple(description["landmark_ids"])
        self.sizes = dict(sizes)
        self.rows_per_file: int = min(description["images_per_shard"], self.sizes["N"])
        self.remedy = remedy_of(self.name)
        self._images = {layout.name: ShardedRows(files, f"{IMAGES_FILE}/{layout.name}", shape=layout.shape(self.sizes), dtype=np.dtype(layout.dtype),
                                                 rows_per_file=self.rows_per_file)
                        for layout in RENDER_ARRAYS if layout.sharded}

    def __len__(self) -> int:
        return self.sizes["N"]

    @property
    def shards(self) -> int:
        return -(-len(self) // self.rows_per_file)

    def rgb(self, image: int, out: np.ndarray | None = None) -> UInt8[np.ndarray, "H W 3"]:
        return self._images["rgb"].row(image, out)

    def mask(self, image: int, out: np.ndarray | None = None) -> UInt8[np.ndarray, "H W"]:
        return self._images["mask"].row(image, out)

    def read_shard(self, shard: int, rgb: UInt8[np.ndarray, "n H W 3"], mask: UInt8[np.ndarray, "n H W"]) -> None:
        """All images of one shard, from one reading of each file: the quick way to a whole part."""
        self._images["rgb"].shard(shard, rgb)
        self._images["mask"].shard(shard, mask)

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """Every array of RENDER_ARRAYS except the images, in memory."""
        return {layout.name: self._read_label(layout) for layout in LABELS}

    @cached_property
    def index(self) -> dict[str, list]:
        """Columns of index.parquet as Python values: for parts up to some 100,000 images."""
        return self.index_table().to_pydict()

    def index_table(self) -> pa.Table:
        return read_table(self.folder / INDEX_FILE, RENDERS, file_format=RENDERS_FORMAT, remedy=self.remedy)[0]

    def summary(self) -> dict[str, int | float | str]:
        """A few numbers for a metrics file; the same for the same part."""
        stored, index = sum(file["bytes"] for file in self.description["files"].values()), self.index_table()
        people, expressions = (pc.count_distinct(index[column]).as_py() for column in ("subject_id", "expression_id"))
        renderer = "; ".join(f"{key} {value}" for key, value in self.description["renderer"].items())
        return {"images": len(self), "people": people, "expressions": expressions, "bytes_per_image": round(stored / len(self)), "renderer": renderer}

    def verify(self) -> None:
        """Reads every byte; FileNotFoundError or ValueError naming the first file that is not what was written."""
        self.files.verify()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("labels", "index")}  # the other process reads its own

    def _read_label(self, layout: ArrayLayout) -> np.ndarray:
        shape = (self.rows_per_file, *layout.shape(self.sizes)[1:])
        names = [shard_file_name(layout, shard) for shard in range(self.shards)]
        with ThreadPoolExecutor(READERS) as pool:
            chunks = [decode_chunk(data, shape=shape, dtype=np.dtype(layout.dtype), name=self.files.where(name), remedy=self.remedy)
                      for name, data in zip(names, pool.map(self.files.read, names), strict=True)]
        return np.concatenate(chunks)[:len(self)]


def open_part(folder: Path) -> RenderPart:
    """Opens a part and checks that all its files are there with the right sizes; FileNotFoundError or ValueError naming what is not.

    Files at a URL are fetched as they are read; the environment's SEREP_SHARD_CACHE names a folder to keep whole ones in.
    """
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
    files = PartFiles(BlobStore(description.get("url") or str(folder)), description["files"], cache=default_cache(), remedy=remedy)
    files.check_sizes()
    sizes = check_arrays(_stored_group(files), RENDER_ARRAYS, file=files.where(IMAGES_FILE), remedy=remedy)
    if sizes["N"] != description["images"]:
        raise ValueError(f"{files.where(IMAGES_FILE)} holds {sizes['N']} images, {file} says {description['images']}. {remedy}")
    return RenderPart(folder, description, files, sizes)


def _stored_group(files: PartFiles) -> zarr.Group:
    """The arrays as Zarr's metadata describes them."""
    buffer = default_buffer_prototype().buffer
    names = [name for name in files.listed if name.startswith(f"{IMAGES_FILE}/") and name.endswith("zarr.json")]
    content = {name.removeprefix(f"{IMAGES_FILE}/"): buffer.from_bytes(files.read(name)) for name in names}
    return zarr.open_group(MemoryStore(content, read_only=True), mode="r")


def remedy_of(part: str) -> str:
    return f"Draw the part again: dvc repro -f render@{part}"


def shard_file_name(layout: ArrayLayout, shard: int) -> str:
    """The file that holds one shard of an array, relative to the part."""
    return "/".join([IMAGES_FILE, layout.name, "c", str(shard), *["0"] * (len(layout.axes) - 1)])
