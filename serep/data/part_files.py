"""The files of one finished part, wherever they lie: in the part's folder, or at a URL, with or without a cache on this machine."""
from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from serep.data.blobs import BlobStore

CACHE_VARIABLE = "SEREP_SHARD_CACHE"
Result = TypeVar("Result")


def digest(data: bytes) -> dict[str, object]:
    """Size and SHA-256 of a file, as part.json lists them."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@runtime_checkable
class Source(Protocol):
    """A file that can be read in pieces."""

    size: int

    def read(self, offset: int, length: int) -> bytes: ...


class _Descriptor:
    """An open file that closes with its last reference, so that no thread reads from a closed one."""

    def __init__(self, file: Path) -> None:
        self.descriptor = -1
        self.descriptor = os.open(file, os.O_RDONLY)
        self.size = os.fstat(self.descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self.descriptor, length, offset)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class _Memory:
    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


class _Remote:
    def __init__(self, files: PartFiles, name: str) -> None:
        self.files, self.name, self.size = files, name, int(files.listed[name]["bytes"])

    def read(self, offset: int, length: int) -> bytes:
        return self.files.missing_named(self.name, lambda: self.files.store.read(self.name, offset, offset + length))


class PartFiles:
    """Opens files when they are first read, and holds none: safe to pickle and to fork.

    `listed` is part.json's size and SHA-256 of each file. With a `cache` folder, a file at a URL is fetched as a whole when it is first read, checked,
    and kept under its SHA-256, which makes one folder serve any number of parts, processes and versions; it may be deleted at any time.
    """

    def __init__(self, store: BlobStore, listed: Mapping[str, Mapping[str, object]], *, cache: Path | None, remedy: str) -> None:
        self.store, self.listed, self.remedy = store, listed, remedy
        self.cache = None if store.folder is not None else cache

    def where(self, name: str) -> str:
        return self.store.where(name)

    def open(self, name: str) -> Source:
        """For reading in pieces; FileNotFoundError or ValueError naming the file."""
        if self.store.folder is not None:
            return self.missing_named(name, lambda: _Descriptor(self.store.folder / name))
        return _Remote(self, name) if self.cache is None else _Descriptor(self._cached(name))

    def load(self, name: str) -> Source:
        """The whole file in memory, from one reading."""
        return _Memory(self.read(name))

    def read(self, name: str) -> bytes:
        return self._cached(name).read_bytes() if self.cache is not None else self.missing_named(name, lambda: self.store.read(name))

    def check_sizes(self) -> None:
        """FileNotFoundError or ValueError naming the first file that is missing or has another size."""
        found = self.store.sizes()
        for name, expected in self.listed.items():
            if name not in found:
                raise self._is_missing(name)
            if found[name] != expected["bytes"]:
                raise ValueError(f"{self.where(name)} is damaged: {found[name]} bytes instead of {expected['bytes']}. {self.remedy}")

    def verify(self) -> None:
        """Reads every byte where it lies; ValueError naming the first file that is not what was written."""
        for name in self.listed:
            self._check(name, self.missing_named(name, lambda name=name: self.store.read(name)))

    def missing_named(self, name: str, read: Callable[[], Result]) -> Result:
        try:
            return read()
        except FileNotFoundError as error:
            raise self._is_missing(name) from error

    def _cached(self, name: str) -> Path:
        sha256 = str(self.listed[name]["sha256"])
        file = self.cache / sha256[:2] / sha256
        if not file.is_file():
            data = self._check(name, self.missing_named(name, lambda: self.store.read(name)))
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(f"{sha256}.{os.getpid()}-{threading.get_ident()}.partial")  # several readers may want the same file
            partial.write_bytes(data)
            partial.replace(file)
        return file

    def _check(self, name: str, data: bytes) -> bytes:
        if digest(data) != self.listed[name]:
            raise ValueError(f"{self.where(name)} is damaged: its SHA-256 is not the one that part.json lists. {self.remedy}")
        return data

    def _is_missing(self, name: str) -> FileNotFoundError:
        return FileNotFoundError(f"{self.where(name)} is missing. {self.remedy}")


def default_cache() -> Path | None:
    """The folder that the environment names (SEREP_SHARD_CACHE), if any."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else None
