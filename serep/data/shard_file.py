"""One file of the render store as bytes: what Zarr would write, byte for byte, and a reader that costs a seventh of Zarr's (benchmarks/bench_shards.py).

A sharded file (Zarr 3 `sharding_indexed`, one row per chunk, index at the end) holds chunks, each zstd + CRC-32C; then (offset, length) as two
little-endian uint64 for each chunk; then the CRC-32C of that index. Any other file is one chunk.
"""
from __future__ import annotations

import google_crc32c
import numpy as np
from numcodecs import zstd

from serep.data.part_files import PartFiles, Source

CODEC_LEVEL = 1  # of zstd; benchmarks/bench_shards.py compares
ABSENT = 2**64 - 1  # the index's word for a chunk that was never written
CHECKSUM_BYTES = 4
OPEN_FILES = 128


def encode_shard(rows: np.ndarray, *, rows_per_file: int) -> bytes:
    """A sharded file; chunks beyond the last row are absent."""
    chunks, index, offset = [], np.full((rows_per_file, 2), ABSENT, "<u8"), 0
    for position, row in enumerate(rows):
        chunks.append(_encoded(row))
        index[position] = offset, len(chunks[-1])
        offset += len(chunks[-1])
    return b"".join([*chunks, _with_checksum(index.tobytes())])


def encode_chunk(rows: np.ndarray, *, rows_per_file: int) -> bytes:
    """A file of one chunk, filled up with zeros."""
    return _encoded(np.concatenate([rows, np.zeros((rows_per_file - len(rows), *rows.shape[1:]), rows.dtype)]))


def _encoded(values: np.ndarray) -> bytes:
    return _with_checksum(zstd.compress(np.ascontiguousarray(values, values.dtype.newbyteorder("<")), CODEC_LEVEL))


def _with_checksum(data: bytes) -> bytes:
    return data + google_crc32c.value(data).to_bytes(CHECKSUM_BYTES, "little")


def _without_checksum(data: bytes, length: int | None = None) -> bytes | None:
    """The bytes before the checksum; None where they are not what was written."""
    body = data[:-CHECKSUM_BYTES]
    if len(data) <= CHECKSUM_BYTES or (length is not None and len(data) != length):
        return None
    return body if google_crc32c.value(body) == int.from_bytes(data[-CHECKSUM_BYTES:], "little") else None


class _Shard:
    """One shard that is ready to be read: where its bytes are, and its index."""

    def __init__(self, source: Source, *, rows: int, name: str, remedy: str) -> None:
        self._source, self._name, self._remedy = source, name, remedy
        length = 16 * rows + CHECKSUM_BYTES
        body = _without_checksum(source.read(source.size - length, length) if source.size >= length else b"", length)
        if body is None:
            raise ValueError(f"{name} is damaged: its index does not match its checksum. {remedy}")
        self._index: list[list[int]] = np.frombuffer(body, "<u8").reshape(rows, 2).tolist()

    def decode(self, position: int, number: int, out: np.ndarray) -> None:
        offset, length = self._index[position]
        if offset == ABSENT:
            raise ValueError(f"{self._name} lacks row {number}. {self._remedy}")
        body = _without_checksum(self._source.read(offset, length), length)
        if body is None:
            raise ValueError(f"{self._name} is damaged: row {number} does not match its checksum. {self._remedy}")
        zstd.decompress(body, out)


class ShardedRows:
    """Rows of one array. Opens files when they are first needed: safe to pickle, to fork and to share by threads."""

    def __init__(self, files: PartFiles, array: str, *, shape: tuple[int, ...], dtype: np.dtype, rows_per_file: int) -> None:
        self.files, self.array, self.shape, self.dtype, self.rows_per_file = files, array, shape, dtype, rows_per_file
        self._shards: dict[int, _Shard] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def name(self, shard: int) -> str:
        return "/".join([self.array, "c", str(shard), *["0"] * (len(self.shape) - 1)])

    def row(self, number: int, out: np.ndarray | None = None) -> np.ndarray:
        """One row, into `out` (C-contiguous) if given; ValueError naming the shard file when its bytes are not those that were written."""
        if not 0 <= number < len(self):
            raise IndexError(f"{self.files.where(self.array)} has {len(self)} rows, got {number}")
        row = np.empty(self.shape[1:], self.dtype) if out is None else out
        shard, position = divmod(number, self.rows_per_file)
        found = self._shards.get(shard)
        if found is None:
            if len(self._shards) >= OPEN_FILES:
                self._shards = {}  # files in use elsewhere stay open until their last reader lets go
            found = self._shards[shard] = self._read_index(shard, self.files.open(self.name(shard)))
        found.decode(position, number, row)
        return row

    def shard(self, shard: int, out: np.ndarray) -> None:
        """All rows of one shard into `out`, from one reading of the file."""
        opened = self._read_index(shard, self.files.load(self.name(shard)))
        for position, row in enumerate(out):
            opened.decode(position, shard * self.rows_per_file + position, row)

    def _read_index(self, shard: int, source: Source) -> _Shard:
        return _Shard(source, rows=self.rows_per_file, name=self.files.where(self.name(shard)), remedy=self.files.remedy)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_shards": {}}


def decode_chunk(data: bytes, *, shape: tuple[int, ...], dtype: np.dtype, name: str, remedy: str) -> np.ndarray:
    """The rows of a file of one chunk; ValueError naming the file when its bytes are not those that were written."""
    body = _without_checksum(data)
    if body is None:
        raise ValueError(f"{name} is damaged: it does not match its checksum. {remedy}")
    chunk = np.empty(shape, dtype)
    zstd.decompress(body, chunk)
    return chunk
