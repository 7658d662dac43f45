"""Fast reading of one sharded Zarr array: the shard's index, one `pread`, one checksum, one decode (benchmarks/bench_shards.py has its speed).

Layout read here (Zarr 3 `sharding_indexed`, one row per chunk, index at the end): chunks, each zstd + CRC-32C; then (offset, length) as two
little-endian uint64 for each chunk; then the CRC-32C of that index.
"""
from __future__ import annotations

import os
from pathlib import Path

import google_crc32c
import numpy as np
from numcodecs import zstd

ABSENT = 2**64 - 1  # the index's word for a chunk that was never written
CHECKSUM_BYTES = 4
OPEN_FILES = 128


class _OpenShard:
    """A file descriptor that closes with its last reference, so that no thread reads from a closed one, and the shard's index."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.index: list[list[int]] = []  # (offset, length) of each chunk

    def __del__(self) -> None:
        os.close(self.descriptor)


class ShardedRows:
    """Rows of one array. Opens files when they are first needed: safe to pickle, to fork and to share by threads."""

    def __init__(self, folder: Path, *, shape: tuple[int, ...], dtype: np.dtype, rows_per_file: int, remedy: str) -> None:
        self.folder, self.shape, self.dtype, self.rows_per_file, self.remedy = folder, shape, dtype, rows_per_file, remedy
        self._files: dict[int, _OpenShard] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def file(self, shard: int) -> Path:
        return self.folder.joinpath("c", str(shard), *["0"] * (len(self.shape) - 1))

    def row(self, number: int, out: np.ndarray | None = None) -> np.ndarray:
        """One row, into `out` (C-contiguous) if given; ValueError naming the shard file when its bytes are not those that were written."""
        if not 0 <= number < len(self):
            raise IndexError(f"{self.folder} has {len(self)} rows, got {number}")
        shard, position = divmod(number, self.rows_per_file)
        opened = self._open(shard)
        offset, length = opened.index[position]
        if offset == ABSENT:
            raise ValueError(f"{self.file(shard)} lacks row {number}. {self.remedy}")
        data = os.pread(opened.descriptor, length, offset)
        body = data[:-CHECKSUM_BYTES]
        if len(data) != length or google_crc32c.value(body) != int.from_bytes(data[-CHECKSUM_BYTES:], "little"):
            raise ValueError(f"{self.file(shard)} is damaged: row {number} does not match its checksum. {self.remedy}")
        row = np.empty(self.shape[1:], self.dtype) if out is None else out
        zstd.decompress(body, row)
        return row

    def _open(self, shard: int) -> _OpenShard:
        found = self._files.get(shard)
        if found is None:
            if len(self._files) >= OPEN_FILES:
                self._files = {}  # files in use elsewhere stay open until their last reader lets go
            found = self._files[shard] = self._read_index(shard)
        return found

    def _read_index(self, shard: int) -> _OpenShard:
        file = self.file(shard)
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{file} is missing. {self.remedy}") from error
        opened = _OpenShard(descriptor)
        size, length = os.fstat(descriptor).st_size, 16 * self.rows_per_file + CHECKSUM_BYTES
        tail = os.pread(descriptor, length, size - length) if size >= length else b""
        if len(tail) != length or google_crc32c.value(tail[:-CHECKSUM_BYTES]) != int.from_bytes(tail[-CHECKSUM_BYTES:], "little"):
            raise ValueError(f"{file} is damaged: its index does not match its checksum. {self.remedy}")
        opened.index = np.frombuffer(tail[:-CHECKSUM_BYTES], "<u8").reshape(self.rows_per_file, 2).tolist()
        return opened

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_files": {}}


def read_chunk_file(file: Path, *, shape: tuple[int, ...], dtype: np.dtype, remedy: str) -> np.ndarray:
    """The one chunk of a file that is not sharded (zstd + CRC-32C)."""
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file} is missing. {remedy}") from error
    body = data[:-CHECKSUM_BYTES]
    if len(data) <= CHECKSUM_BYTES or google_crc32c.value(body) != int.from_bytes(data[-CHECKSUM_BYTES:], "little"):
        raise ValueError(f"{file} is damaged: it does not match its checksum. {remedy}")
    chunk = np.empty(shape, dtype)
    zstd.decompress(body, chunk)
    return chunk
