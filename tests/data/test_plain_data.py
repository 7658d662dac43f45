"""Pickles and archives give their data, and never run what they hold."""
import os
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.sparse

from serep.data.plain_data import as_array, npz_names, read_npz, read_pickle

CONTENT = {
    "matrix": np.arange(6.0).reshape(2, 3), "columns": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)), "one": np.float32(3.5),
    "none": np.zeros((0, 3)), "names": np.array(["ab", "c"]), "text": "höhe", "nested": [1, 2.5, None, ("x", {"y": True})],
}  # fmt: skip


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return np.array_equal(one, other) and getattr(one, "dtype", None) == getattr(other, "dtype", None) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol(tmp_path, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(CONTENT, protocol))
    assert same(read_pickle(tmp_path / "a.pkl"), CONTENT)


@pytest.mark.parametrize(("module", "name"), [("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")])
def test_both_names_of_numpy(tmp_path, module, name):
    content = pickle.dumps(np.arange(3), 0).replace(b"numpy._core.multiarray", module.encode())
    assert f"{module}\n{name}".encode() in content
    (tmp_path / "a.pkl").write_bytes(content)
    np.testing.assert_array_equal(read_pickle(tmp_path / "a.pkl"), [0, 1, 2])


class Trap:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_no_code_of_the_file_runs(tmp_path, protocol):
    trap = tmp_path / "sprung"
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"v_template": np.zeros(3), "x": Trap(trap)}, protocol))
    with pytest.raises(ValueError, match=r"a\.pkl names (posix|nt)\.mkdir, which only running its code could make: save plain numpy arrays"):
        read_pickle(tmp_path / "a.pkl")
    assert not trap.exists()


def test_chumpy_arrays_and_sparse_matrices_without_their_classes(tmp_path, monkeypatch):
    """Written with the classes at hand, read where chumpy does not exist."""
    module = types.ModuleType("chumpy.ch")

    class Ch:
        pass

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    for protocol in (0, 2, 4):
        value, lazy = Ch(), Ch()
        value.x, value.other = np.arange(4.0), "kept out"
        lazy.a = 1
        matrix = scipy.sparse.random(5, 7, density=0.3, format="csc", random_state=1)
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"value": value, "lazy": lazy, "matrix": matrix, "rows": matrix.tocsr()}, protocol))
        with monkeypatch.context() as without:
            without.delitem(sys.modules, "chumpy.ch")
            read = read_pickle(tmp_path / "a.pkl")
        np.testing.assert_array_equal(as_array(read["value"]), np.arange(4.0))
        np.testing.assert_array_equal(as_array(read["matrix"]), matrix.toarray())
        np.testing.assert_array_equal(as_array(read["rows"]), matrix.toarray())
        with pytest.raises(ValueError, match=r"a chumpy\.ch\.Ch holds no plain array: convert it to numpy first"):
            as_array(read["lazy"])
    with pytest.raises(ValueError, match="needs an array of numbers, got str"):
        as_array("text")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04]q", pickle.dumps(np.array([{}, 1], dtype=object))])
def test_what_is_no_plain_pickle_is_named(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pkl cannot be read as a pickle of plain data"):
        read_pickle(tmp_path / "a.pkl")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*b\.pkl"):
        read_pickle(tmp_path / "b.pkl")


def test_npz(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(1000))
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz")["x"], np.arange(1000))
    assert npz_names(tmp_path / "a.npz") == ["x"]
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    (tmp_path / "short.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    np.save(tmp_path / "array.npz.npy", np.zeros(3))
    (tmp_path / "array.npz.npy").rename(tmp_path / "array.npz")
    for name in ("objects", "short", "array"):
        with pytest.raises(ValueError, match=rf"{name}\.npz cannot be read as \.npz .*numbers only"):
            read_npz(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.npz"):
        read_npz(tmp_path / "none.npz")
