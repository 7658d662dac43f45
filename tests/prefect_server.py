"""A Prefect server on loopback, a worker that serves its pool, and prefect's own commands; all that a studio starts."""
from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import psutil


@dataclass
class Prefect:
    """`environment` reaches the server, and `database` holds what only the server may know of its own. `folder` gets the logs."""

    folder: Path
    port: int
    environment: dict[str, str]
    database: dict[str, str]
    process: subprocess.Popen | None = None

    @staticmethod
    def on_a_free_port(folder: Path, environment: Mapping[str, str], database: Mapping[str, str] | None = None) -> Prefect:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder.mkdir(parents=True, exist_ok=True)
        reaches = {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        return Prefect(folder, port, {**environment, **reaches}, dict(database or {}))

    def start(self, patience_s: float = 300) -> None:
        """Returns when it answers; beside other work that takes minutes."""
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(prefect("server", "start", "--host", "127.0.0.1", "--port", str(self.port)), cwd=self.folder,
                                            env=self.environment | self.database, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.environment['PREFECT_API_URL']}/health", timeout=2).close()
            except (URLError, OSError):
                time.sleep(0.3)
            else:
                return
        raise RuntimeError(f"the Prefect server does not answer:\n{(self.folder / 'server.log').read_text()[-3000:]}")

    def run(self, *arguments: str, cwd: Path, timeout_s: float = 300) -> subprocess.CompletedProcess:
        return subprocess.run(prefect(*arguments), cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False)

    def start_worker(self, cwd: Path, **more: str) -> subprocess.Popen:
        with (self.folder / "worker.log").open("a") as log:
            return subprocess.Popen(prefect("worker", "start", "--pool", "serep"), cwd=cwd, env=self.environment | more, stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log)

    def kill(self) -> None:
        kill_family(self.process)


def prefect(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *arguments]


def kill_family(process: subprocess.Popen) -> None:
    """The process and all that it started, whatever session they are in, at once."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(family, timeout=30)
