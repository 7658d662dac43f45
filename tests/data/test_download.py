"""Downloads over bad lines: resumed, checked, and never taken for whole when they are not."""
import hashlib
import shutil
from collections import namedtuple

import numpy as np
import pytest
from unreliable_server import Manners, Server

from serep.data.download import Line, download, fetch_text, file_checksum

CONTENT = np.random.default_rng(0).integers(0, 256, 40_000, dtype=np.uint8).tobytes()
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
LINE = Line(tries=3, stall_s=0.4, wait_s=0.01)


def fetched(tmp_path, manners, *, checksum=MD5, line=LINE):
    """(the file's bytes, what was asked of the server, the progress that was told)."""
    told = []
    with Server({"a.tar": CONTENT}, {"a.tar": manners}) as server:
        download(server.url + "a.tar", tmp_path / "in" / "a.tar", checksum=checksum, line=line, on_bytes=lambda have, whole: told.append((have, whole)))
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.tar"]
    return (tmp_path / "in" / "a.tar").read_bytes(), manners.log, told


def test_a_good_line(tmp_path):
    content, log, told = fetched(tmp_path, Manners(), checksum=SHA256)
    assert content == CONTENT and log == [None] and told[-1] == (len(CONTENT), len(CONTENT))


def test_broken_connections_are_resumed_where_they_broke(tmp_path):
    """More breaks than tries: each brings something, so none of them counts."""
    content, log, _ = fetched(tmp_path, Manners(break_after=[10_000, 0, 5_000, 1, 7_000]))
    assert content == CONTENT
    assert log == [None, "bytes=10000-", "bytes=10000-", "bytes=15000-", "bytes=15001-", "bytes=22001-"]


def test_a_line_that_stalls_is_dropped_and_one_that_trickles_is_kept(tmp_path):
    content, log, _ = fetched(tmp_path, Manners(break_after=[39_000], stall_s=[5.0, 5.0]))
    assert content == CONTENT and log == [None, None, None, "bytes=39000-"]
    content, log, _ = fetched(tmp_path, Manners(trickle_s=0.01))  # slower in all than the time that a stall may last
    assert content == CONTENT and log == [None]


def test_a_busy_server_is_asked_again(tmp_path):
    content, log, _ = fetched(tmp_path, Manners(status=[503, 429]))
    assert content == CONTENT and log == [None] * 3


def test_a_server_without_ranges_or_lengths(tmp_path):
    content, log, _ = fetched(tmp_path, Manners(break_after=[10_000], ranges=False))
    assert content == CONTENT and log == [None, "bytes=10000-"]
    content, _, told = fetched(tmp_path, Manners(length=False))
    assert content == CONTENT and told[-1] == (len(CONTENT), None)


def test_an_earlier_run_is_gone_on_with(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar.partial").write_bytes(CONTENT[:30_000])
    assert fetched(tmp_path, Manners())[:2] == (CONTENT, ["bytes=30000-"])
    (tmp_path / "in" / "a.tar").rename(tmp_path / "in" / "a.tar.partial")  # all of it, but interrupted before it was named
    assert fetched(tmp_path, Manners())[:2] == (CONTENT, ["bytes=40000-"])
    (tmp_path / "in" / "a.tar").rename(tmp_path / "in" / "a.tar.partial")
    with (tmp_path / "in" / "a.tar.partial").open("ab") as stream:
        stream.write(b"of an older, longer file")
    assert fetched(tmp_path, Manners())[:2] == (CONTENT, ["bytes=40024-", None])


def test_wrong_bytes_are_fetched_anew_once(tmp_path, caplog):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar.partial").write_bytes(b"?" * 30_000)
    content, log, _ = fetched(tmp_path, Manners())
    assert content == CONTENT and log == ["bytes=30000-", None]
    assert "came with another checksum" in caplog.text
    manners = Manners(wrong=2)
    with Server({"a.tar": CONTENT}, {"a.tar": manners}) as server, pytest.raises(ValueError, match=rf"a\.tar has checksum md5:\w+, expected {MD5}, twice"):
        download(server.url + "a.tar", tmp_path / "b.tar", checksum=MD5, line=LINE)
    assert not list(tmp_path.glob("b.tar*")) and len(manners.log) == 2


def test_what_never_comes_is_said(tmp_path, caplog):
    target = tmp_path / "a.tar"
    with Server({"a.tar": CONTENT}, {"a.tar": Manners(status=[500] * 3), "secret": Manners(status=[401])}) as server:
        with pytest.raises(ConnectionError, match=r"a\.tar gave nothing in 3 tries: check the connection and run the same command again"):
            download(server.url + "a.tar", target, checksum=None, line=LINE)
        assert [record.message.rpartition("(")[2] for record in caplog.records] == ["2 of 3)", "3 of 3)"]  # nobody waits for minutes in silence
        with pytest.raises(FileNotFoundError, match=r"b\.tar: the server has no such file \(status 404\)"):
            download(server.url + "b.tar", target, checksum=None, line=LINE)
        with pytest.raises(ConnectionError, match="refuses with status 401"):
            download(server.url + "secret", target, checksum=None, line=LINE)
        address = server.url
    with pytest.raises(ConnectionError, match="gave nothing in 3 tries"):
        download(address + "a.tar", target, checksum=None, line=LINE)  # nobody listens any more
    assert not list(tmp_path.iterdir())


def test_a_break_leaves_what_came_for_the_next_run(tmp_path):
    manners = Manners(break_after=[10_000], status=[])
    with Server({"a.tar": CONTENT}, {"a.tar": manners}) as server:
        line = Line(tries=1, stall_s=0.4, wait_s=0.01)
        manners.stall_s = []
        manners.break_after = [10_000, 0]
        with pytest.raises(ConnectionError):
            download(server.url + "a.tar", tmp_path / "a.tar", checksum=MD5, line=line)
        assert (tmp_path / "a.tar.partial").stat().st_size == 10_000 and not (tmp_path / "a.tar").exists()
        download(server.url + "a.tar", tmp_path / "a.tar", checksum=MD5, line=line)
    assert (tmp_path / "a.tar").read_bytes() == CONTENT and manners.log[-1] == "bytes=10000-"


def test_a_full_disk_is_said_before_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "total used free")(1, 1, 1000))
    with Server({"a.tar": CONTENT}) as server, pytest.raises(OSError, match=r"has 0\.0 GB free, a\.tar\.partial needs 0\.0 GB more: make room"):
        download(server.url + "a.tar", tmp_path / "a.tar", checksum=None, line=LINE)


def test_small_pages(tmp_path):
    with Server({"index.html": b"<a href='x'>x</a>"}, {"index.html": Manners(status=[503], break_after=[3]), "stuck": Manners(stall_s=[5.0] * 3)}) as server:
        assert fetch_text(server.url + "index.html", line=LINE) == "<a href='x'>x</a>"
        assert len(server.of("index.html").log) == 3
        with pytest.raises(FileNotFoundError, match="status 404"):
            fetch_text(server.url + "CHECKSUM", line=LINE)
        with pytest.raises(ConnectionError, match="stuck gave nothing in 3 tries"):
            fetch_text(server.url + "stuck", line=LINE)


def test_checksums(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    assert file_checksum(tmp_path / "a", "md5") == MD5 and file_checksum(tmp_path / "a", "sha256") == SHA256
