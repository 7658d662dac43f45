"""Parts whose shards lie in a real S3 server on loopback: read in place or through a cache, by any kind of worker, and damage named."""
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from s3_server import s3_server
from squares import draw_squares, tiny_spec

from serep.data.part_files import CACHE_VARIABLE
from serep.data.render_dataset import RenderDataset, open_loader
from serep.data.shards import begin_part, open_part, part_store, partial_folder, write_part, write_shard

pytestmark = pytest.mark.slow
RGB = "images.zarr/rgb/c/1/0/0/0"


@pytest.fixture(scope="module")
def s3():
    with s3_server() as server:
        yield server


@pytest.fixture
def spec(s3, request):
    return tiny_spec(store=s3.url(request.node.name.replace("[", "-").replace("]", "")))


@pytest.fixture
def stored(spec, tmp_path) -> Path:
    """A part whose shards lie in the bucket."""
    write_part(tmp_path / "train-0", spec, draw_squares)
    return tmp_path / "train-0"


def test_the_bucket_has_the_bytes_and_the_folder_their_list(stored, spec, tmp_path):
    write_part(tmp_path / "here" / "train-0", tiny_spec(), draw_squares)
    opened, here = open_part(stored), open_part(tmp_path / "here" / "train-0")
    assert sorted(file.name for file in stored.iterdir()) == ["index.parquet", "part.json"]
    assert opened.description["files"] == here.description["files"]
    assert opened.summary() == here.summary()
    opened.verify()
    for image in (0, 9, 5):
        np.testing.assert_array_equal(opened.rgb(image), here.rgb(image))
        np.testing.assert_array_equal(opened.mask(image), here.mask(image))
    for name, values in here.labels.items():
        np.testing.assert_array_equal(opened.labels[name], values)
    everything = RenderDataset([stored]).load_all()
    np.testing.assert_array_equal(everything["rgb"], draw_squares(range(10)).arrays["rgb"])
    text = (stored / "part.json").read_text() + b"".join(part_store(stored, spec).read(name) for name in part_store(stored, spec).sizes()).decode("latin1")
    assert "secret-of-the-test" not in text and os.environ["AWS_ENDPOINT_URL"] not in text
    assert json.loads((stored / "part.json").read_text())["url"] == f"{spec.store}/train-0/plan-a"


def test_finished_shards_are_kept_and_another_plan_takes_nothing_away(stored, spec):
    drawn = []
    write_part(stored, spec, lambda images: drawn.append(images) or draw_squares(images))
    assert drawn == []
    store, other = part_store(stored, spec), tiny_spec(store=spec.store, plan_hash="plan-b", images=5)
    store.delete("records.partial/000001.json")  # a kill before the record leaves the shard's files without it
    assert begin_part(stored, spec) == [1]
    write_part(stored, spec, draw_squares)
    earlier = (stored / "part.json").read_bytes()
    write_part(stored, other, draw_squares)
    assert len(open_part(stored)) == 5
    open_part(stored).verify()
    (stored / "part.json").write_bytes(earlier)  # as DVC checks an earlier version out
    assert len(open_part(stored)) == 10
    assert store.sizes().keys() > {name for name in open_part(stored).description["files"] if name != "index.parquet"}


SLOW_PART = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from squares import draw_squares, tiny_spec
from serep.data.shards import write_part

def slowly(images):
    time.sleep(0.3)
    return draw_squares(images)

write_part(Path({folder!r}), tiny_spec(store={store!r}), slowly)
"""


def test_a_killed_writer_leaves_whole_shards_or_none(stored, spec, tmp_path):
    whole, folder, store = open_part(stored), tmp_path / "killed" / "train-0", spec.store + "-killed"
    killed = tiny_spec(store=store)
    script = SLOW_PART.format(path=[str(Path(__file__).parent), str(Path(__file__).parents[2])], folder=str(folder), store=store)
    process = subprocess.Popen([sys.executable, "-c", script])
    place = part_store(folder, killed)
    deadline = time.monotonic() + 60
    while not any(name.startswith("records.partial/0") for name in place.sizes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not folder.exists() and not partial_folder(folder).exists()
    missing = begin_part(folder, killed)
    assert 0 < len(missing) < 3
    for name, size in place.sizes().items():
        assert not name.startswith("images.zarr") or size == whole.description["files"][name]["bytes"]
    write_part(folder, killed, draw_squares)
    assert open_part(folder).description["files"] == whole.description["files"]


@pytest.mark.parametrize("cached", [False, True])
def test_damage_and_loss_are_named(stored, spec, tmp_path, monkeypatch, cached):
    if cached:
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    opened, store = open_part(stored), part_store(stored, spec)
    data = bytearray(store.read(RGB))
    data[8] ^= 1
    store.write(RGB, bytes(data))
    message = rf"s3://.*{RGB} is damaged: .*dvc repro -f render@train-0"
    for read in (opened.verify, lambda: opened.rgb(4)):
        with pytest.raises(ValueError, match=message):
            read()
    store.delete(RGB)
    with pytest.raises(FileNotFoundError, match=rf"s3://.*{RGB} is missing.*dvc repro -f"):
        open_part(stored)
    with pytest.raises(FileNotFoundError, match=rf"{RGB} is missing"):
        opened.rgb(5)


def test_the_cache_serves_without_the_bucket(stored, spec, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    opened = open_part(stored)
    before = [opened.rgb(image).copy() for image in range(10)]
    part_store(stored, spec).clear()
    opened._images["rgb"]._shards.clear()  # forget what is open
    for image in range(10):
        np.testing.assert_array_equal(opened.rgb(image), before[image])
    assert len(list((tmp_path / "cache").rglob("*.partial"))) == 0


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_loader_workers_read_the_bucket(stored, method):
    renders = RenderDataset([stored])
    assert renders[4]["rgb"].shape == (12, 16, 3)  # the connection is open before a fork
    loader = open_loader(renders, batch_size=3, workers=2, seed=0, start_method=method)
    expected = draw_squares(range(10)).arrays["rgb"]
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == 3
        for batch in batches:
            np.testing.assert_array_equal(batch["rgb"], expected[batch["seed"].numpy()])


def test_refusals_say_what_to_do(s3, spec, stored, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"s3://no-such-bucket/.* cannot be .*bucket does not exist"):
        begin_part(tmp_path / "a" / "train-0", tiny_spec(store="s3://no-such-bucket/x"))
    s3.refuse_everybody()
    try:
        with pytest.raises(PermissionError, match=r"permission denied.*Give this account the right.*credentials of an object store come from the environment"):
            write_part(tmp_path / "a" / "train-0", spec, draw_squares)
        with pytest.raises(PermissionError, match="permission denied") as caught:
            write_shard(stored, spec, 0, draw_squares(range(4)))
        assert "secret-of-the-test" not in str(caught.value)
    finally:
        s3.admit_everybody()


def test_nobody_at_the_endpoint(tmp_path):
    """In a process of its own: the connection of this one goes to the server."""
    program = ("import sys; sys.path[:0] = {!r}\nfrom pathlib import Path\nfrom squares import tiny_spec\nfrom serep.data.shards import begin_part\n"
               "try:\n    begin_part(Path('train-0'), tiny_spec(store='s3://bucket/x'))\nexcept OSError as error:\n    print(error)\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_MAX_ATTEMPTS": "1"}
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

    def told(**changes: str) -> str:
        return subprocess.run([sys.executable, "-c", program.format(paths)], cwd=tmp_path, env=environment | changes, capture_output=True, text=True,
                              check=True).stdout

    assert "Unable to locate credentials. Check the store's address (AWS_ENDPOINT_URL) and credentials in the environment" in told()
    answer = told(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="hidden-key", AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert "Could not connect to the endpoint" in answer and "Check the store's address" in answer and "hidden-key" not in answer


def _fetch(part, barrier, answer) -> None:
    barrier.wait()
    answer.put([part.rgb(image).tobytes() for image in range(10)])


def test_many_readers_fill_one_cache(stored, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    context = multiprocessing.get_context("forkserver")
    barrier, answer = context.Barrier(3), context.Queue()
    readers = [context.Process(target=_fetch, args=(open_part(stored), barrier, answer)) for _ in range(3)]
    for reader in readers:
        reader.start()
    expected = [image.tobytes() for image in draw_squares(range(10)).arrays["rgb"]]
    assert all(answer.get(timeout=120) == expected for _ in readers)
    for reader in readers:
        reader.join()
