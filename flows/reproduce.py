"""Flow `reproduce`: DVC's pipeline with one Prefect task per stage, in DVC's own order. Only DVC decides whether a stage runs.

    python -m flows.reproduce [--force] [STAGE ...]

SEREP_FLOW_STAGES is how many stages may run at once (1 when unset).
"""
from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from graphlib import TopologicalSorter
from pathlib import Path

from prefect import State, flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows import exit_on_sigterm  # the package also sets the environment of the processes started below
from serep.training.tracking import PIPELINE_RUN, find_project_root

Graph = dict[str, set[str]]  # stage to the stages it needs, in an order that runs
DVC = (sys.executable, "-m", "dvc")
TAIL_LINES = 30
STOP_SECONDS = 10
NOT_RUN = "Not run"


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
    """Runs stages, each in a DVC process of its own, and can end those that are running."""

    def __init__(self, root: Path, *, force: bool, pipeline_run: str) -> None:
        self.root, self.force = root, force
        self.environment = {**os.environ, PIPELINE_RUN: pipeline_run, "PYTHONUNBUFFERED": "1"}
        self.running: set[subprocess.Popen] = set()
        self.stopped = False

    def run(self, stage: str, log: Callable[[str], None]) -> str:
        """Reproduces one stage, its output streamed to `log`; the outcome. RuntimeError with the last lines when it fails."""
        if self.stopped:
            raise RuntimeError(f"stage '{stage}' was not started: the flow is being stopped")
        command = [*DVC, "--wait-for-lock", "repro", "--single-item", *(["--force"] if self.force else []), stage]
        said: list[str] = []  # DVC's own few lines: the stage's output may be long
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        with subprocess.Popen(
            command, cwd=self.root, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True,  # so that `stop` reaches the stage below DVC too
        ) as process:
            self.running.add(process)
            for line in process.stdout:
                if text := line.rstrip():
                    log(text)
                    tail.append(text)
                    if text.startswith(("Running stage", "Stage ")):
                        said.append(text)
        self.running.discard(process)
        if process.returncode != 0:
            reason = "was stopped" if self.stopped else f"failed (exit status {process.returncode})"
            lines = "\n".join(f"    {line}" for line in tail)
            raise RuntimeError(f"stage '{stage}' {reason}. Its last lines:\n{lines}\nTo see all of it: dvc repro --single-item {stage}")
        return outcome(said)

    def stop(self) -> None:
        """Ends every DVC process and the stage below it: first as Ctrl-C does, so that the stage closes its run and DVC its locks."""
        self.stopped = True
        for process in tuple(self.running):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(STOP_SECONDS)
                except ProcessLookupError:
                    break
                except subprocess.TimeoutExpired:
                    continue
                break


@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
def reproduce_stage(stage: str, dirty: bool, runner: StageRunner) -> State:
    """The stage's end as a state of its own name; a failure is a state as well, because Prefect would print an exception three times."""
    started = time.monotonic()
    try:
        state = runner.run(stage, get_run_logger().info) if dirty else "Cached"
    except RuntimeError as error:
        return Failed(message=str(error))
    seconds = round(time.monotonic() - started, 1)
    return Completed(name=state, message=f"{state} in {seconds} s", data={"state": state, "seconds": seconds})


@flow(name="reproduce", persist_result=False, task_runner=ThreadPoolTaskRunner(max_workers=int(os.environ.get("SEREP_FLOW_STAGES", "1"))))
def reproduce(stages: list[str] | None = None, force: bool = False) -> list[dict] | State:
    """Brings the named stages (all when None) and what they need up to date; the outcome of each. What needs a failed stage does not run."""
    root = find_project_root(Path.cwd())
    graph = select_stages(parse_graph(ask_dvc(root, "dag", "--dot")), stages)
    dirty = set(graph) if force else with_descendants(graph, json.loads(ask_dvc(root, "status", "--json")))
    to_run = [stage for stage in graph if stage in dirty]
    get_run_logger().info("%d stages, %d to run or check: %s", len(graph), len(to_run), ", ".join(to_run) or "none")
    runner = StageRunner(root, force=force, pipeline_run=f"{flow_run.name}-{str(flow_run.id)[:8]}")
    futures: dict[str, PrefectFuture] = {}
    try:
        for stage, needs in graph.items():
            futures[stage] = reproduce_stage.submit(stage, stage in dirty, runner, wait_for=[futures[need] for need in sorted(needs)])
        for future in futures.values():
            future.wait()
    finally:
        runner.stop()  # without effect unless the wait was interrupted
    rows = [{"stage": stage, **_row(future.state)} for stage, future in futures.items()]
    create_table_artifact(key="reproduce", table=rows, description=f"Stages of {root.name}: what DVC did, and for how long")
    if failed := [stage for stage, future in futures.items() if future.state.is_failed() or future.state.is_crashed()]:
        left = [row["stage"] for row in rows if row["state"] == NOT_RUN]
        reasons = "\n".join(str(futures[stage].state.message) for stage in failed)
        return Failed(message=f"failed: {', '.join(failed)}; not run because of that: {', '.join(left) or 'none'}.\n{reasons}")
    return rows


def _row(state: State) -> dict:
    if state.is_completed():
        return state.result()
    return {"state": NOT_RUN if state.is_pending() else state.name, "seconds": 0.0}


def ask_dvc(root: Path, *arguments: str) -> str:
    answer = subprocess.run([*DVC, *arguments], cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"dvc {' '.join(arguments)} failed in {root}:\n{answer.stderr.strip()}")
    return answer.stdout


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.reproduce", description="Reproduce the pipeline as a Prefect flow.")
    parser.add_argument("stages", nargs="*", help="stages to bring up to date, with all they need (default: every stage)")
    parser.add_argument("--force", action="store_true", help="run them even if nothing changed")
    options = parser.parse_args(arguments)
    exit_on_sigterm()
    try:
        end = reproduce(options.stages or None, options.force, return_state=True)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if not end.is_completed():
        return 1  # Prefect's log has said why
    rows = end.result()
    width = max(len(row["stage"]) for row in rows)
    sys.stdout.writelines(f"{row['stage']:<{width}}  {row['state']:<8} {row['seconds']:8.1f} s\n" for row in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
