"""What the fault drill breaks with: a line that is cut and mended, a database that is killed and keeps what it was told, a disk that is full."""
import socket
import threading

import pytest
from cut_line import CutLine
from postgres_server import postgres_server
from small_project import ROOT, load_tool


@pytest.fixture
def echo():
    """Port of a server that says everything back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(caller,), daemon=True).start()

    def answer(caller: socket.socket) -> None:
        with caller:
            while data := caller.recv(100):
                caller.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_line_is_cut_for_those_on_it_and_those_who_come_until_it_is_mended(echo):
    line = CutLine(echo)
    with socket.create_connection(("127.0.0.1", line.port), timeout=10) as caller:
        caller.sendall(b"here")
        assert caller.recv(100) == b"here"
        line.cut()
        assert caller.recv(100) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", line.port), timeout=10)
    line.mend()
    with socket.create_connection(("127.0.0.1", line.port), timeout=10) as caller:
        caller.sendall(b"again")
        assert caller.recv(100) == b"again"
    line.cut()


@pytest.mark.slow
def test_a_killed_database_keeps_what_was_committed():
    with postgres_server() as server:
        server.create("kept")
        server.run("psql", "-d", "kept", "-c", "create table told (word text)", "-c", "insert into told values ('ü')")
        server.kill()
        server.start()
        assert server.run("psql", "-d", "kept", "-tAc", "select word from told").strip() == "ü"
        assert server.password not in repr(server) and server.password not in server.url("kept")


def test_the_drill_knows_stages_that_there_are():
    drill = load_tool("fault_drill")
    text = (ROOT / "dvc.yaml").read_text() + (ROOT / "params.yaml").read_text() + "\n  release:"
    for stage in drill.STAGES:
        name, _, part = stage.partition("@")
        assert f"\n  {name}:" in text and (not part or part in text), stage
