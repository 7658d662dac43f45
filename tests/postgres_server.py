"""A throw-away PostgreSQL on loopback, its password known from the environment alone; it can be killed and started again."""
from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

USER = "serep"
# Nothing here outlives the test, so nothing is forced to the disk. No socket but loopback's.
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "max_connections": "60", "shared_buffers": "32MB"}


@dataclass
class Postgres:
    folder: Path
    port: int
    password: str = field(repr=False)
    account: str | None = None  # PostgreSQL refuses to be root
    process: subprocess.Popen | None = None

    def url(self, database: str, *, scheme: str = "postgresql", with_password: bool = False) -> str:
        """An address for the user; without the password, which PGPASSWORD then tells."""
        who = f"{USER}:{self.password}" if with_password else USER
        return f"{scheme}://{who}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns when it answers."""
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen([program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_as(self.account))
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if subprocess.run([program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False).returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"PostgreSQL does not answer:\n{(self.folder / 'server.log').read_text()[-3000:]}")

    def kill(self) -> None:
        """At once and with everything it started: as when the machine's power goes, but for the disk."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for member in family:
            member.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=30)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def create(self, *databases: str) -> None:
        for database in databases:
            self.run("createdb", database)

    def run(self, tool: str, *arguments: str) -> str:
        command = [program(tool), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, *arguments]
        return subprocess.run(command, env=os.environ | {"PGPASSWORD": self.password}, capture_output=True, text=True, check=True).stdout


def program(name: str) -> str | None:
    """One of PostgreSQL's programs; Debian keeps those of the server off the PATH."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(beside[-1]) if beside else None)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    if not program("postgres") or not program("initdb"):
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    account = next((name for name in ("postgres", "nobody") if _exists(name)), None) if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="serep-postgres-"))  # not below pytest's folder, which other users may not enter
    server = Postgres(folder, _free_port(), secrets.token_hex(12), account)
    try:
        password = folder / "password"
        password.write_text(server.password)
        if account:
            for path in (folder, password):
                shutil.chown(path, account)
        subprocess.run([program("initdb"), "-D", str(folder / "data"), "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--no-sync"],
                       cwd=folder, check=True, capture_output=True, **_as(account))
        password.unlink()
        server.start()
        yield server
    finally:
        if server.process and server.process.poll() is None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _as(account: str | None) -> dict:
    return {} if account is None else {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}


def _exists(account: str) -> bool:
    try:
        return bool(pwd.getpwnam(account))
    except KeyError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
