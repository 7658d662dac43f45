"""The render store: what is written comes back, killed runs resume to the same bytes, and damage is refused by name."""
import hashlib
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from squares import draw_squares, fingerprint, tiny_spec

from serep.data import shards as shards_module
from serep.data.schema import RENDER_ARRAYS, RENDERS, create_array
from serep.data.shard_file import CODEC_LEVEL
from serep.data.shards import DrawnImages, begin_part, find_aid, finish_part, open_part, part_store, partial_folder, write_aid, write_part, write_shard


@pytest.fixture
def part(tmp_path) -> Path:
    write_part(tmp_path / "train-0", tiny_spec(), draw_squares)
    return tmp_path / "train-0"


def test_everything_comes_back(part):
    opened, expected = open_part(part), draw_squares(range(10)).arrays
    for image in (9, 0, 3, 4, 7):
        np.testing.assert_array_equal(opened.rgb(image), expected["rgb"][image])
        np.testing.assert_array_equal(opened.mask(image), expected["mask"][image])
    for layout in shards_module.LABELS:
        np.testing.assert_array_equal(opened.labels[layout.name], expected[layout.name])
        assert opened.labels[layout.name].dtype == np.dtype(layout.dtype)
    assert len(opened) == 10 and opened.split == "train" and opened.landmark_ids == (13, 14, 61)
    assert opened.index["subject_id"][7] == "person-2" and opened.index["shard"] == [0] * 4 + [1] * 4 + [2] * 2
    shard = part / "images.zarr/rgb/c/1/0/0/0"
    assert opened.index["rgb_sha256"][5] == hashlib.sha256(shard.read_bytes()).hexdigest()
    opened.verify()
    summary = opened.summary()
    assert (summary["images"], summary["people"], summary["expressions"], summary["renderer"]) == (10, 4, 2, "name squares")
    with pytest.raises(IndexError, match="10 rows, got 10"):
        opened.rgb(10)


def test_zarr_itself_reads_the_same(part):
    group = zarr.open_group(part / "images.zarr", mode="r")
    expected = draw_squares(range(10)).arrays
    for layout in RENDER_ARRAYS:
        np.testing.assert_array_equal(group[layout.name][...], expected[layout.name])
        assert group[layout.name].attrs["unit"] == layout.unit and group[layout.name].attrs["description"]
    assert all(field.metadata[b"unit"] and field.metadata[b"description"] for field in pq.read_schema(part / "index.parquet"))


def test_same_plan_same_bytes(part, tmp_path):
    write_part(tmp_path / "again" / "train-0", tiny_spec(), draw_squares)
    assert fingerprint(part) == fingerprint(tmp_path / "again" / "train-0")
    assert not list(part.parent.glob("*.partial"))


def test_finished_shards_are_kept_and_torn_ones_are_not(part, tmp_path):
    folder = tmp_path / "resumed" / "train-0"
    spec = tiny_spec()
    assert begin_part(folder, spec) == [0, 1, 2]
    for shard in (0, 2):
        write_shard(folder, spec, shard, draw_squares(spec.images_of(shard)))
    partial = partial_folder(folder)
    torn = partial / "images.zarr/rgb/c/2/0/0/0"
    torn.write_bytes(torn.read_bytes()[:-9])
    kept = (partial / "images.zarr/rgb/c/0/0/0/0").stat().st_mtime_ns
    with pytest.raises(RuntimeError, match=r"shard 1 of 3 was not drawn"):
        finish_part(folder, spec)
    drawn = []
    write_part(folder, spec, lambda images: drawn.append(images) or draw_squares(images))
    assert drawn == [range(4, 8), range(8, 10)]
    assert (folder / "images.zarr/rgb/c/0/0/0/0").stat().st_mtime_ns == kept
    assert fingerprint(folder) == fingerprint(part)


def test_killed_in_the_last_moment_keeps_everything(part, tmp_path, monkeypatch):
    folder = tmp_path / "resumed" / "train-0"

    def killed(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        write_part(folder, tiny_spec(), draw_squares)
    monkeypatch.undo()
    assert begin_part(folder, tiny_spec()) == []
    finish_part(folder, tiny_spec())
    assert fingerprint(folder) == fingerprint(part)


SLOW_PART = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from squares import draw_squares, tiny_spec
from serep.data.shards import write_part

def slowly(images):
    time.sleep(0.2)
    return draw_squares(images)

write_part(Path({folder!r}), tiny_spec(), slowly)
"""


def test_a_killed_process_resumes_to_the_same_bytes(part, tmp_path):
    folder = tmp_path / "killed" / "train-0"
    script = SLOW_PART.format(path=[str(Path(__file__).parent), str(Path(__file__).parents[2])], folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", script])
    records = partial_folder(folder) / "records.partial"
    for _ in range(600):
        if len(list(records.glob("0*.json"))) >= 1 or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not folder.exists()
    finished = sorted(int(file.stem) for file in records.glob("0*.json"))
    assert finished
    drawn = []
    write_part(folder, tiny_spec(), lambda images: drawn.append(images) or draw_squares(images))
    assert drawn == [tiny_spec().images_of(shard) for shard in range(3) if shard not in finished]
    assert fingerprint(folder) == fingerprint(part)


def test_other_code_keeps_no_shard_and_changes_nothing_else(part, tmp_path):
    folder = tmp_path / "resumed" / "train-0"
    begin_part(folder, tiny_spec(code_hash="old"))
    write_shard(folder, tiny_spec(code_hash="old"), 0, draw_squares(range(4), seed=9))
    assert begin_part(folder, tiny_spec(code_hash="new")) == [0, 1, 2]
    write_part(folder, tiny_spec(code_hash="new"), draw_squares)
    assert fingerprint(folder) == fingerprint(part)


def test_another_plan_leaves_nothing_old(part, tmp_path):
    folder = tmp_path / "other" / "train-0"
    old, new = tiny_spec(images=20), tiny_spec(plan_hash="plan-b")
    begin_part(folder, old)
    for shard in range(4):
        write_shard(folder, old, shard, draw_squares(old.images_of(shard), seed=7))
    write_part(folder, new, draw_squares)
    clean = tmp_path / "clean" / "train-0"
    write_part(clean, new, draw_squares)
    assert fingerprint(folder) == fingerprint(clean)
    write_part(part, new, draw_squares)  # over a finished part too
    assert fingerprint(part) == fingerprint(clean)


@pytest.mark.parametrize("name", ["rgb/c/1/0/0/0", "mask/c/0/0/0", "codes/c/2/0", "seed/c/0"])
def test_a_flipped_byte_is_refused_by_name(part, name):
    file = part / "images.zarr" / name
    data = bytearray(file.read_bytes())
    data[8] ^= 1
    file.write_bytes(data)
    opened = open_part(part)  # the size is right, so only reading shows it
    message = rf"{name} is damaged: .*dvc repro -f render@train-0"
    with pytest.raises(ValueError, match=message):
        opened.verify()
    with pytest.raises(ValueError, match=message):
        if name.startswith(("rgb", "mask")):
            reader = opened.rgb if name.startswith("rgb") else opened.mask
            _ = [reader(image) for image in range(10)]
        else:
            _ = opened.labels


def test_every_byte_of_a_shard_matters(part):
    """No byte of a shard file can change and still give an image."""
    file = part / "images.zarr/mask/c/2/0/0"
    whole = file.read_bytes()
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 0x10
        file.write_bytes(data)
        opened = open_part(part)
        with pytest.raises(ValueError, match=r"mask/c/2/0/0"):
            _ = [opened.mask(image) for image in (8, 9)]


@pytest.mark.parametrize("name", ["images.zarr/rgb/c/1/0/0/0", "images.zarr/codes/c/0/0", "index.parquet", "part.json", "images.zarr/rgb/zarr.json"])
def test_a_missing_file_never_reads_as_zeros(part, name):
    opened = open_part(part)
    (part / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing.*dvc repro -f render@train-0"):
        open_part(part)
    if "/c/" in name:
        with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
            _ = opened.rgb(5) if "rgb" in name else opened.labels


def test_a_black_image_is_stored_and_an_unwritten_one_is_not(part, tmp_path):
    def black(images: range) -> DrawnImages:
        drawn = draw_squares(images)
        drawn.arrays["rgb"][...] = 0
        return drawn

    write_part(tmp_path / "black", tiny_spec(), black)
    assert not open_part(tmp_path / "black").rgb(3).any()
    group = zarr.open_group(part / "images.zarr", mode="r+")
    rgb = group["rgb"]
    # What a writer with other settings leaves: the index says "absent", and Zarr would give zeros.
    data = bytearray((part / "images.zarr/rgb/c/0/0/0/0").read_bytes())
    import google_crc32c

    index = np.frombuffer(bytes(data[-68:-4]), "<u8").copy()
    index[2:4] = 2**64 - 1
    data[-68:-4] = index.tobytes()
    data[-4:] = google_crc32c.value(index.tobytes()).to_bytes(4, "little")
    (part / "images.zarr/rgb/c/0/0/0/0").write_bytes(data)
    assert not rgb[1].any()
    with pytest.raises(ValueError, match=r"rgb/c/0/0/0/0 lacks row 1"):
        open_part(part).rgb(1)


def test_wrong_schema_is_named(part):
    file = part / "index.parquet"
    table = pq.read_table(file)
    changed = table.set_column(table.schema.get_field_index("shard"), "shard", table["shard"].cast("float")).drop_columns(["seed"])
    pq.write_table(changed, file)
    description = json.loads((part / "part.json").read_text())
    description["files"]["index.parquet"]["bytes"] = file.stat().st_size
    (part / "part.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"index\.parquet does not fit its schema: no field 'seed'; field 'shard' is float, not int32"):
        _ = open_part(part).index
    (part / "part.json").write_text(json.dumps(description | {"format": "serep-renders/0"}))
    with pytest.raises(ValueError, match="has format 'serep-renders/0', this version reads 'serep-renders/2'"):
        open_part(part)


def test_wrong_arrays_are_named(part):
    group_file = part / "images.zarr/codes/zarr.json"
    content = json.loads(group_file.read_text())
    content["data_type"] = "float64"
    group_file.write_text(json.dumps(content, indent=2))
    description = json.loads((part / "part.json").read_text())
    description["files"]["images.zarr/codes/zarr.json"]["bytes"] = group_file.stat().st_size
    (part / "part.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="array 'codes' is float64"):
        open_part(part)


@pytest.mark.parametrize(("name", "change", "message"), [
    ("codes", lambda values: values.astype(np.float64), "codes is float64"),
    ("codes", lambda values: np.where(np.arange(5) == 3, np.nan, values).astype(np.float32), "image 4 of train-0: codes is not finite"),
    ("rgb", lambda values: values + np.uint8(1), "colour outside the mask"),
    ("mask", lambda values: values[:-1], r"mask is uint8 \(3, 12, 16\), expected uint8 \(4, 12, 16\)"),
])
def test_a_wrong_drawing_is_refused(tmp_path, name, change, message):
    spec = tiny_spec()
    begin_part(tmp_path / "train-0", spec)
    drawn = draw_squares(spec.images_of(1))
    drawn.arrays[name] = change(drawn.arrays[name])
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path / "train-0", spec, 1, drawn)
    assert 1 in begin_part(tmp_path / "train-0", spec)


def _read_one(part, image: int, answer) -> None:
    answer.put(part.rgb(image).tobytes())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_parts_travel_to_other_processes(part, method):
    opened = open_part(part)
    expected = opened.rgb(6).tobytes()  # files are open before the fork
    context = multiprocessing.get_context(method)
    answer = context.Queue()
    process = context.Process(target=_read_one, args=(opened, 6, answer))
    process.start()
    assert answer.get(timeout=120) == expected
    process.join()
    assert pickle.loads(pickle.dumps(opened)).rgb(6).tobytes() == expected  # noqa: S301


def test_more_shards_than_open_files(part, monkeypatch):
    monkeypatch.setattr("serep.data.shard_file.OPEN_FILES", 1)
    opened, before = open_part(part), len(os.listdir("/proc/self/fd"))
    for image in (0, 9, 4, 1, 8):
        opened.rgb(image)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_spec_refuses_nonsense():
    with pytest.raises(ValueError, match="0 images in shards of 4"):
        tiny_spec(images=0)
    with pytest.raises(ValueError, match="split 'all'"):
        tiny_spec(split="all")


def test_layouts_are_unique_and_described():
    names = [layout.name for layout in RENDER_ARRAYS]
    assert len(names) == len(set(names)) and all(layout.unit and layout.description for layout in RENDER_ARRAYS)
    assert len(set(RENDERS.names)) == len(RENDERS.names)


def test_files_are_what_zarr_would_write(part, tmp_path):
    """Byte for byte, the last shard too, which is not full."""
    spec, drawn = tiny_spec(), draw_squares(range(10)).arrays
    group = zarr.open_group(tmp_path / "zarr", mode="w", zarr_format=3)
    for layout in RENDER_ARRAYS:
        array = create_array(group, layout, spec.sizes, rows_per_file=spec.rows_per_file, codec_level=CODEC_LEVEL)
        array[...] = drawn[layout.name]
    written = {name: sha256 for name, sha256 in fingerprint(tmp_path / "zarr").items() if "/c/" in name}
    assert len(written) == 3 * len(RENDER_ARRAYS)
    assert {name.removeprefix("images.zarr/"): sha256 for name, sha256 in fingerprint(part).items() if "/c/" in name} == written


def test_whole_shards_are_read_at_once(part):
    opened, expected = open_part(part), draw_squares(range(10)).arrays
    rgb, mask = np.empty((2, 12, 16, 3), np.uint8), np.empty((2, 12, 16), np.uint8)
    opened.read_shard(2, rgb, mask)
    np.testing.assert_array_equal(rgb, expected["rgb"][8:])
    np.testing.assert_array_equal(mask, expected["mask"][8:])
    file = part / "images.zarr/rgb/c/2/0/0/0"
    data = bytearray(file.read_bytes())
    data[8] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"rgb/c/2/0/0/0 is damaged: row 8"):
        opened.read_shard(2, rgb, mask)


def test_how_codes_came_about_is_in_the_index(part):
    index = open_part(part).index
    assert index["recipe"] == ["summed"] * 10
    assert index["recipe_rows"][7] == [7, 0] and index["recipe_shares"][7] == [1.0, 0.5]
    assert pq.ParquetFile(part / "index.parquet").num_row_groups == 3


def test_a_finished_part_is_taken_up_again_by_its_own_plan_alone(part):
    """As a stage does that was killed after its last shard, where DVC leaves outputs in place."""
    inode = (part / "images.zarr/rgb/c/0/0/0/0").stat().st_ino
    assert begin_part(part, tiny_spec()) == [] and not part.exists()
    finish_part(part, tiny_spec())
    assert (part / "images.zarr/rgb/c/0/0/0/0").stat().st_ino == inode
    for other in (tiny_spec(plan_hash="b"), tiny_spec(code_hash="new")):
        assert begin_part(part, other) == [0, 1, 2] and part.exists(), "the finished part must stay until another one is"


def test_a_worker_of_another_run_is_stopped(tmp_path):
    """Left behind by a killed run, it must not write into what the next one draws."""
    folder, old, new = tmp_path / "train-0", tiny_spec(), tiny_spec(plan_hash="b")
    begin_part(folder, new)
    with pytest.raises(RuntimeError, match="belongs to another run by now"):
        write_shard(folder, old, 0, draw_squares(range(4)))
    assert begin_part(folder, new) == [0, 1, 2]
    with pytest.raises(RuntimeError, match="this worker does not see .*nowhere"):
        write_shard(tmp_path / "nowhere", new, 0, draw_squares(range(4)))


def test_aids_are_found_in_the_part_and_beside_it(tmp_path):
    first, second = tmp_path / "train-0", tmp_path / "train-1"
    for folder in (first, second):
        begin_part(folder, tiny_spec(part=folder.name))
    assert find_aid(first, tiny_spec(), "codes") is None
    write_aid(first, tiny_spec(), "codes", {"codes": np.arange(3), "names": np.array(["a", "b"])})
    for folder in (first, second):
        found = find_aid(folder, tiny_spec(part=folder.name), "codes")
        assert found["codes"].tolist() == [0, 1, 2] and found["names"].tolist() == ["a", "b"]


@pytest.mark.parametrize("place", ["file://{}/store", "memory://store"])
def test_shards_below_a_url(part, tmp_path, place):
    """The same files as in the part's own folder; here only their list. A changed plan has another place."""
    url, folder = place.format(tmp_path), tmp_path / "out" / "train-0"
    spec = tiny_spec(store=url)
    write_part(folder, spec, draw_squares)
    assert sorted(file.name for file in folder.iterdir()) == ["index.parquet", "part.json"]
    opened, here = open_part(folder), open_part(part)
    assert opened.description["files"] == here.description["files"]
    opened.verify()
    np.testing.assert_array_equal(opened.rgb(9), here.rgb(9))
    store = part_store(folder, spec)
    (folder / "part.json").unlink()
    assert begin_part(folder, spec) == [], "finished shards are kept even when the list of them is lost"
    store.write("images.zarr/mask/c/1/0/0", store.read("images.zarr/mask/c/1/0/0")[:-1] + b"x")
    assert begin_part(folder, spec) == [1]
    write_part(folder, spec, draw_squares)
    write_part(folder, tiny_spec(store=url, plan_hash="other"), draw_squares)
    assert open_part(folder).description["url"] != opened.description["url"]
    opened.verify()
    store.clear()
    with pytest.raises(FileNotFoundError, match=r"is missing.*dvc repro -f render@train-0"):
        opened.verify()


def test_no_credentials_in_a_part(tmp_path):
    with pytest.raises(ValueError, match="holds credentials"):
        tiny_spec(store="ftp://user:secret@host/prefix")
