"""A small HTTP server with bad manners: breaks off, stalls, trickles, forgets ranges, answers 503, sends wrong bytes."""
from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Manners:
    """What a path does to its first answers; then it serves well. `log` holds the Range header of every request."""

    break_after: list[int] = field(default_factory=list)
    """Bytes after which each of the first answers ends although it promised more."""
    status: list[int] = field(default_factory=list)
    stall_s: list[float] = field(default_factory=list)
    trickle_s: float = 0.0
    wrong: int = 0
    ranges: bool = True
    length: bool = True
    log: list[str | None] = field(default_factory=list)


class Server:
    """Use as a context manager; `files` maps paths to contents, `manners` to what goes wrong with them."""

    def __init__(self, files: dict[str, bytes], manners: dict[str, Manners] | None = None) -> None:
        self.files, self.manners = files, manners or {}
        self._gone = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def of(self, path: str) -> Manners:
        return self.manners.setdefault(path, Manners())

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, asked = request.path.lstrip("/"), request.headers.get("Range")
        manners = self.of(path)
        manners.log.append(asked)
        request.close_connection = True
        if manners.stall_s:
            self._gone.wait(manners.stall_s.pop(0))
            return
        status = manners.status.pop(0) if manners.status else 200 if path in self.files else 404
        if status != 200:
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        content, start = self.files[path], 0
        if manners.wrong:
            manners.wrong -= 1
            content = content[:-1] + bytes([content[-1] ^ 255])
        if asked and manners.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            request.send_response(416 if start >= len(content) else 206)
            request.send_header("Content-Range", f"bytes */{len(content)}" if start >= len(content) else f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        body = content[start:]
        if manners.length:
            request.send_header("Content-Length", str(len(body)))
        request.send_header("Connection", "close")
        request.end_headers()
        if manners.break_after:
            body = body[: manners.break_after.pop(0)]
        for at in range(0, len(body), 512 if manners.trickle_s else len(body) or 1):
            request.wfile.write(body[at : at + 512] if manners.trickle_s else body)
            time.sleep(manners.trickle_s)
