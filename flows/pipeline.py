"""DVC's pipeline as the flows see it: its graph, what is dirty, one stage run at a time, and the lock on the workspace that it writes."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from graphlib import TopologicalSorter
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from serep.redaction import redacted
from serep.training.lineage import dvc_cache
from serep.training.tracking import PIPELINE_RUN

Graph = dict[str, set[str]]  # stage to the stages it needs, in an order that runs
DVC = (sys.executable, "-m", "dvc")
TAIL_LINES = 30
STOP_SECONDS = 10
WAIT_SECONDS = 3600.0  # for another run in the same workspace
DASK_ADDRESS = "SEREP_DASK_ADDRESS"
BUSY = "is busy, it is being blocked by"
HOLLOW = "join() argument must be"  # DVC met an empty folder in its run cache: one killed between making the folder and filling it leaves that
Log = Callable[[str], None]


class StoppedError(RuntimeError):
    """The run was ended on purpose: trying again would be wrong."""


def parse_graph(dot: str) -> Graph:
    """The answer of `dvc dag --dot`, with `foreach` stages expanded."""
    graph: Graph = {}
    for line in dot.splitlines():
        names = re.findall(r'"([^"]+)"', line)
        for name in names:
            graph.setdefault(name, set())
        if len(names) == 2:
            graph[names[1]].add(names[0])
    return {stage: graph[stage] for stage in TopologicalSorter(graph).static_order()}


def select_stages(graph: Graph, wanted: Iterable[str] | None) -> Graph:
    """The wanted stages and all they need; the name of a `foreach` stage stands for each of its parts. None means everything."""
    if wanted is None:
        return graph
    kept: set[str] = set()
    for name in wanted:
        parts = {stage for stage in graph if name in (stage, stage.partition("@")[0])}
        if not parts:
            raise ValueError(f"dvc.yaml has no stage {name!r} (found: {', '.join(graph) or 'none'}). Correct the name or add the stage")
        kept |= parts
    for stage in reversed(graph):
        if stage in kept:
            kept |= graph[stage]
    return {stage: needs for stage, needs in graph.items() if stage in kept}


def with_descendants(graph: Graph, changed: Iterable[str]) -> set[str]:
    """The changed stages of the graph and every stage that needs one of them."""
    dirty = set(changed) & set(graph)
    for stage, needs in graph.items():
        if needs & dirty:
            dirty.add(stage)
    return dirty


def outcome(output: Iterable[str]) -> str:
    """What DVC did, from its own words: Ran, Restored (from its run cache) or Cached (nothing had changed)."""
    for line in output:
        if re.match(r"Running stage '.+':$", line):
            return "Ran"
        if re.match(r"Stage '.+' is cached - skipping run", line):
            return "Restored"
    return "Cached"


class StageRunner:
    """Runs stages, each in a DVC process of its own, and can end those that are running.

    With a `dask_address` the render stages draw on that cluster: by the environment, so that DVC sees no other command and no other value.
    """

    def __init__(self, root: Path, *, force: bool = False, pipeline_run: str, timeout_s: float | None = None, dask_address: str | None = None) -> None:
        self.root, self.force, self.timeout_s = root, force, timeout_s
        cluster = {DASK_ADDRESS: dask_address} if dask_address else {}
        self.environment = {**os.environ, PIPELINE_RUN: pipeline_run, "PYTHONUNBUFFERED": "1", **cluster}
        self.running: set[subprocess.Popen] = set()
        self.stopped = False

    def run(self, stage: str, log: Log) -> str:
        """Reproduces one stage, its output streamed to `log`; the outcome. RuntimeError with the last lines when it fails.

        While another DVC process works on the same files (a `dvc repro` by hand), it waits.
        """
        command = ["--wait-for-lock", "repro", "--single-item", *(["--force"] if self.force else []), stage]
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return outcome(self.dvc(command, log, what=f"stage '{stage}'", again=f"dvc repro --single-item {stage}"))
            except RuntimeError as error:
                if HOLLOW in str(error) and (removed := mend_run_cache(self.root)):
                    log(f"DVC's run cache has empty folders ({', '.join(removed)}), as a killed DVC leaves them: removed")
                    continue
                if BUSY not in str(error) or self.stopped or time.monotonic() > deadline:
                    raise
                log(f"another DVC process holds files of stage '{stage}'; waiting for it")
                time.sleep(2)

    def dvc(self, arguments: list[str], log: Log, *, what: str, again: str) -> list[str]:
        """DVC's own few lines out of all that it and its stages say."""
        said: list[str] = []

        def note(line: str) -> None:
            log(line)
            if line.startswith(("Running stage", "Stage ")):
                said.append(line)

        self.command([*DVC, *arguments], note, what=what, again=again)
        return said

    def command(self, words: list[str], log: Log, *, what: str, again: str, cwd: Path | None = None) -> None:
        """Runs a command, its output streamed to `log`. RuntimeError when it fails, which calls it `what` and says how to see it `again`."""
        if self.stopped:
            raise StoppedError(f"{what} was not started: the flow is being stopped")
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        late = threading.Event()
        with subprocess.Popen(
            words, cwd=cwd or self.root, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True,  # so that `stop` reaches the stage below DVC too
        ) as process:
            self.running.add(process)
            alarm = threading.Timer(self.timeout_s or threading.TIMEOUT_MAX, lambda: (late.set(), _end(process)))
            alarm.daemon = True
            alarm.start()
            for line in process.stdout:
                if text := redacted(line.rstrip()):
                    log(text)
                    tail.append(text)
            alarm.cancel()
        self.running.discard(process)
        if process.returncode == 0:
            return
        lines = "\n".join(f"    {line}" for line in tail)
        if late.is_set():
            raise RuntimeError(f"{what} took longer than {self.timeout_s:g} s and was ended. Raise stage_timeout_s, or see what holds it. Its last lines:\n{lines}")
        reason = "was stopped" if self.stopped else f"failed (exit status {process.returncode})"
        kind = StoppedError if self.stopped else RuntimeError
        raise kind(f"{what} {reason}. Its last lines:\n{lines}\nTo see all of it: {again}")

    def stop(self) -> None:
        """Ends every DVC process and the stage below it: first as Ctrl-C does, so that the stage closes its run and DVC its locks."""
        self.stopped = True
        for process in tuple(self.running):
            _end(process)


def _end(process: subprocess.Popen) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def ask_dvc(root: Path, *arguments: str) -> str:
    answer = subprocess.run([*DVC, *arguments], cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(redacted(f"dvc {' '.join(arguments)} failed in {root}:\n{answer.stderr.strip()}"))
    return answer.stdout


def mend_run_cache(root: Path) -> list[str]:
    """Removes the empty folders of DVC's run cache, at which it would stop each time; their names."""
    removed = []
    for folder in sorted(dvc_cache(root).glob("runs/*/*")):
        with suppress(OSError):  # not empty, or filled meanwhile
            folder.rmdir()
            removed.append(folder.name[:12])
    return removed


@contextmanager
def workspace_lock(root: Path, holder: str, log: Log, *, wait_s: float = WAIT_SECONDS) -> Iterator[None]:
    """No other flow, and no `dvc repro` begun before, works in this workspace while it is held; the system frees it when its holder dies.

    A `dvc repro` begun meanwhile is kept from the running stage's files by DVC itself.
    """
    folder = root / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(folder / "serep-flow.lock", thread_local=False, is_singleton=True), folder / "serep-flow.holder"
    deadline, told = time.monotonic() + wait_s, False
    inner = lock.is_locked  # a flow within a flow: the outer one has looked
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=0)
        others = note.read_text() if note.is_file() else "another flow"
        if lock.is_locked:
            others = "" if inner else _dvc_writers(folder)
        if not others:
            break
        if lock.is_locked:
            lock.release()
        if time.monotonic() >= deadline:
            raise RuntimeError(f"{root} is in use by {others}, still after {wait_s:g} s. Wait for its end or end it, then run this again")
        if not told:
            log(f"waiting: {root} is in use by {others}")
            told = True
        time.sleep(min(2.0, max(0.05, wait_s / 10)))
    try:
        if not inner:
            note.write_text(f"{holder} (process {os.getpid()})")
        yield
    finally:
        lock.release()


def _dvc_writers(folder: Path) -> str:
    """Living DVC processes that write files of this workspace, empty when there are none; mends the lock file that a killed one left in half."""
    file = folder / "rwlock"
    try:
        written = json.loads(file.read_text())["write"] if file.is_file() else {}
    except (json.JSONDecodeError, KeyError):
        from dvc.lock import LockError, make_lock

        try:
            with make_lock(str(folder / "rwlock.lock"), tmp_dir=str(folder)):  # as DVC does while it writes the file
                file.unlink(missing_ok=True)
        except LockError:
            return "DVC"
        return ""
    return ", ".join(sorted({f"{info['cmd']} (process {info['pid']})" for info in written.values() if psutil.pid_exists(info["pid"])}))
