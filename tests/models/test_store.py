import io
import json
import time

import numpy as np
import pytest
import torch

from serep.models.store import CONFIG_FILE, WEIGHTS_FILE, load_arrays, load_config, load_weights, npz_bytes, save_weights

STATE = {"b.weight": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2, dtype=torch.float16)}


@pytest.fixture
def folder(tmp_path):
    save_weights(tmp_path / "model", STATE, {"kind": "test", "sizes": {"n": 3}}, arrays={"extra.npz": {"name/x": np.array(["é"]), "n": np.arange(3)}})
    return tmp_path / "model"


def test_state_config_and_arrays_come_back(folder):
    state, config = load_weights(folder)
    assert config["kind"] == "test" and config["sizes"] == {"n": 3}
    assert state.keys() == STATE.keys() and all(torch.equal(state[name], STATE[name]) and state[name].dtype == STATE[name].dtype for name in STATE)
    arrays = load_arrays(folder, "extra.npz", config)
    assert arrays["name/x"][0] == "é" and arrays["n"].tolist() == [0, 1, 2]
    assert not list(folder.glob("*.partial"))


def test_the_same_state_gives_the_same_bytes(folder, tmp_path):
    save_weights(tmp_path / "again", STATE, {"sizes": {"n": 3}, "kind": "test"}, arrays={"extra.npz": {"name/x": np.array(["é"]), "n": np.arange(3)}})
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


@pytest.mark.parametrize("name", [WEIGHTS_FILE, "extra.npz"])
def test_a_changed_file_is_refused_by_name(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} is not the file that was saved"):
        load_arrays(folder, name, load_config(folder)) if name.endswith("npz") else load_weights(folder)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_weights(folder)


def test_configs_of_another_version_or_kind_of_file_are_refused(folder):
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"format_version": 99}))
    with pytest.raises(ValueError, match="format version 99"):
        load_weights(folder)
    (folder / CONFIG_FILE).write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_weights(folder)


def test_arrays_have_the_same_bytes_at_any_time_of_day(monkeypatch):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", "yz"])}
    first = npz_bytes(arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2_000_000_000))
    assert npz_bytes(dict(reversed(arrays.items()))) == first
    with np.load(io.BytesIO(first), allow_pickle=False) as archive:
        assert all(np.array_equal(archive[name], array) for name, array in arrays.items())
