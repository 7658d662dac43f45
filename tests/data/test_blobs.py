"""Named files in folders and at URLs: the same behaviour everywhere, whole files or none, and errors that say what to do."""
import errno
import os
import pickle
import stat
import subprocess
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from serep.data.blobs import BlobStore, check_store_url


class Shelf(MemoryFileSystem):
    """A file system that is no object store: what is written is seen while it grows."""

    protocol = "shelf"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    written: list = []  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("shelf://", "memory://"))

    def pipe_file(self, path, value, mode="overwrite", **options):
        self.written.append(path)
        super().pipe_file(path, value, mode, **options)


@pytest.fixture(params=["folder", "file", "memory", "shelf"])
def store(request, tmp_path):
    if request.param == "folder":
        yield BlobStore(str(tmp_path / "blobs"))
    elif request.param == "file":
        yield BlobStore(f"file://{tmp_path}/blobs")
    else:
        fsspec.register_implementation("shelf", Shelf, clobber=True)
        files = fsspec.filesystem(request.param)
        files.store.clear()
        files.pseudo_dirs[:] = [""]
        yield BlobStore(f"{request.param}://top/blobs")
        files.store.clear()


def test_what_is_written_comes_back(store):
    assert store.sizes() == {} and store.children() == []
    store.write("a/one", b"12345")
    store.write("a/b/two", b"xy")
    store.write("three", b"")
    assert store.sizes() == {"a/one": 5, "a/b/two": 2, "three": 0}
    assert store.read("a/one") == b"12345" and store.read("a/one", 1, 3) == b"23"
    store.write("a/one", b"new")
    assert store.read("a/one") == b"new"
    assert store.children() == ["a"] and store.child("a").children() == ["b"] and store.child("a").read("b/two") == b"xy"
    store.delete("three")
    assert "three" not in store.sizes()
    store.child("a").clear()
    assert store.sizes() == {}
    store.clear()
    for missing in ("a/one", "none"):
        with pytest.raises(FileNotFoundError, match=missing):
            store.read(missing)


def test_it_travels(store):
    store.write("a", b"1")
    assert pickle.loads(pickle.dumps(store)).read("a") == b"1"  # noqa: S301


def test_a_file_system_that_shows_growing_files_gets_them_under_another_name():
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    Shelf.written.clear()
    BlobStore("shelf://blobs").write("a/one", b"1")
    assert Shelf.written == ["/blobs/a/one.partial"]
    assert BlobStore("shelf://blobs").sizes() == {"a/one": 1}


@pytest.mark.parametrize(("url", "message"), [
    ("s3://key:secret@bucket/prefix", r"holds credentials or a query; .*AWS_ACCESS_KEY_ID"),
    ("https://host/prefix?token=secret", "holds credentials or a query"),
    ("nowhere://x", "fsspec knows no 'nowhere'"),
    ("gs://bucket", "needs a package that is not installed: Please install gcsfs"),
    ("bucket/prefix", "is not a URL"),
])
def test_urls_that_cannot_be_used(url, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_store_url(url)
    assert "secret" not in str(caught.value)
    if "://" in url:
        with pytest.raises(ValueError, match=message):
            BlobStore(url)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_full_disk_leaves_no_half_file(small_disk, form):
    store = BlobStore(form.format(small_disk))
    store.write("a", bytes(700_000))
    with pytest.raises(OSError, match=r"/b cannot be written: no space left.*what is finished is kept, so run again") as caught:
        store.write("b", bytes(700_000))
    assert caught.value.errno == errno.ENOSPC
    assert store.sizes() == {"a": 700_000}


def _as_nobody(folder: Path) -> str:
    """What a process without rights is told that writes there."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.setuid(65534)
        try:
            BlobStore(str(folder)).write("a", b"1")
            told = "written"
        except PermissionError as error:
            told = str(error)
        os.write(writer, told.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        return answer.read()


def test_a_folder_without_permission(tmp_path):
    if os.geteuid() == 0:
        told = _as_nobody(tmp_path)
    else:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(PermissionError) as caught:
            BlobStore(str(tmp_path)).write("a", b"1")
        told = str(caught.value)
    assert "cannot be written: permission denied" in told and "Give this account the right, or use another store" in told
