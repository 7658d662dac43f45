"""Files read as data only. Of pickles: arrays, numbers, text and containers come out; no name in the file is ever imported, so no code of the file runs.

Some assets of the field exist only as pickles (FLAME's `generic_model.pkl`, the published metadata). The reader knows how numpy writes arrays
and what chumpy arrays and scipy matrices hold; every other name ends the reading with an error.
"""
from __future__ import annotations

import collections
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.lib.npyio import NpzFile

UNREADABLE = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)  # what numpy raises for files that are cut short or no arrays


class Record:
    """What an object of a foreign class held, without the class: `origin` is its name, `state` its attributes."""

    origin = ""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {"state": state}


def read_pickle(path: Path) -> Any:
    """What the file holds; ValueError naming the file when it is no pickle or names something that only running code could make."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with path.open("rb") as stream:
            return _PlainUnpickler(stream, encoding="latin1").load()
    except _UnknownNameError as error:
        raise ValueError(f"{path} names {error}, which only running its code could make: save plain numpy arrays, best as .npz") from None
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a pickle of plain data ({error}): fetch or write it again, best as .npz") from None


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz; ValueError naming the file when it is cut short, no .npz, or holds Python objects."""
    with _npz(path) as archive:
        return {name: archive[name] for name in archive.files}


def npz_names(path: Path) -> list[str]:
    """The names of the arrays of an .npz; errors as of `read_npz`."""
    with _npz(path) as archive:
        return list(archive.files)


@contextmanager
def _npz(path: Path) -> Iterator[NpzFile]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, NpzFile):
            raise ValueError("it holds one array, not an archive of them")
        with archive:
            yield archive
    except (*UNREADABLE, AttributeError) as error:
        raise ValueError(f"{path} cannot be read as .npz ({error}): write it again with numpy.savez, numbers only") from None


def as_array(value: Any) -> np.ndarray:
    """The array that a value holds: numpy's own, chumpy's, or a sparse matrix written out. ValueError when it is none."""
    if isinstance(value, Record):
        if value.origin.startswith("chumpy.") and "x" in value.state:
            return as_array(value.state["x"])
        matrix = {"csc_matrix": scipy.sparse.csc_matrix, "csr_matrix": scipy.sparse.csr_matrix}.get(value.origin.rpartition(".")[2])
        if matrix is not None and {"data", "indices", "indptr"} <= set(value.state):
            parts = tuple(np.asarray(value.state[name]) for name in ("data", "indices", "indptr"))
            return matrix(parts, shape=value.state.get("_shape", value.state.get("shape"))).toarray()
        raise ValueError(f"a {value.origin} holds no plain array: convert it to numpy first")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"needs an array of numbers, got {type(value).__name__} of {array.dtype}")
    return array


class _UnknownNameError(Exception):
    pass


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _BUILDERS.get((module.replace("numpy._core", "numpy.core"), name))
        if known is not None:
            return known
        if module.partition(".")[0] == "chumpy" or (module.startswith("scipy.sparse") and name in ("csc_matrix", "csr_matrix")):
            return type(name, (Record,), {"origin": f"{module}.{name}"})
        raise _UnknownNameError(f"{module}.{name}")


def _dtype(*arguments: Any) -> np.dtype:
    dtype = np.dtype(*arguments)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    return dtype


def _empty_array(kind: Any, shape: Any, dtype: Any) -> np.ndarray:
    if kind is not np.ndarray:
        raise ValueError(f"an array of class {kind}")
    return np.ndarray((0,), np.int8)  # its state follows


def _array_from_bytes(content: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    return np.frombuffer(content, dtype=dtype).reshape(shape, order=order)


def _scalar(dtype: np.dtype, content: Any) -> Any:
    return np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, dtype=dtype, count=1)[0]


def _encoded(text: str, codec: str) -> bytes:
    if codec not in ("latin1", "latin-1"):
        raise ValueError(f"bytes written with codec {codec}")
    return text.encode("latin1")


def _instance(kind: Any, base: Any, state: Any) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, Record)):
        raise ValueError(f"an object of {kind}")
    return kind()


_BUILDERS: dict[tuple[str, str], Callable] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _array_from_bytes,
    ("_codecs", "encode"): _encoded,
    ("copy_reg", "_reconstructor"): _instance,
    ("copyreg", "_reconstructor"): _instance,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "bytes"): bytes,
    ("builtins", "bytes"): bytes,
    ("builtins", "bytearray"): bytearray,
    ("collections", "OrderedDict"): collections.OrderedDict,
}
