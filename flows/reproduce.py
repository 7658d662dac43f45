"""Flow `reproduce`: DVC's pipeline with one Prefect task per stage, in DVC's own order. Only DVC decides whether a stage runs.

    python -m flows.reproduce [--force] [--retries N] [--dask ADDRESS] [STAGE ...]

SEREP_FLOW_STAGES is how many stages may run at once (1 when unset).
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Optional

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff
from pydantic import Field

from flows import exit_on_sigterm  # the package also sets the environment of the processes started below
from flows.artifacts import show_table
from flows.pipeline import StageRunner, StoppedError, ask_dvc, parse_graph, select_stages, with_descendants, workspace_lock
from flows.sheets import show_sheets
from serep.config import load_params
from serep.training.tracking import find_project_root

NOT_RUN, STOPPED = "Not run", "Stopped"
MADE, DRAWING = ("Ran", "Restored"), ("render@", "score_capture")
BACKOFF_S = 10.0  # before the first retry; twice as long before each further one
Retries = Annotated[int, Field(ge=0, le=5)]
Seconds = Annotated[float, Field(gt=0)]
DaskAddress = Annotated[str, Field(pattern=r"^[a-z]+://[^\s/]+:\d+$")]


def worth_a_retry(task: Any, run: Any, state: State) -> bool:
    return state.name != STOPPED


@task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=worth_a_retry)
def reproduce_stage(stage: str, dirty: bool, runner: StageRunner) -> State:
    """The stage's end as a state of its own name; a failure is a state as well, because Prefect would print an exception three times."""
    started = time.monotonic()
    try:
        state = runner.run(stage, get_run_logger().info) if dirty else "Cached"
    except StoppedError as error:
        return Failed(name=STOPPED, message=str(error))
    except RuntimeError as error:
        return Failed(message=str(error))
    seconds = round(time.monotonic() - started, 1)
    return Completed(name=state, message=f"{state} in {seconds} s", data={"state": state, "seconds": seconds})


@flow(name="reproduce", persist_result=False, task_runner=ThreadPoolTaskRunner(max_workers=int(os.environ.get("SEREP_FLOW_STAGES", "1"))))
def reproduce(
    stages: Optional[list[str]] = None, force: bool = False, retries: Retries = 0, stage_timeout_s: Optional[Seconds] = None,  # noqa: UP045 as Prefect's pages show it
    dask_address: Optional[DaskAddress] = None,  # noqa: UP045
) -> list[dict] | State:
    """Brings the named stages (all when None) and what they need up to date; the outcome of each. What needs a failed stage does not run.

    A failed stage is tried `retries` times more, after 10 s, 20 s and so on; one that takes longer than `stage_timeout_s` is ended and has failed.
    With `dask_address` (tcp://host:8786) the render stages draw on that Dask cluster; what they draw is the same.
    """
    root = find_project_root(Path.cwd())
    name = f"{flow_run.name}-{str(flow_run.id)[:8]}"
    with workspace_lock(root, f"flow run {name}", get_run_logger().info):
        graph = select_stages(parse_graph(ask_dvc(root, "dag", "--dot")), stages)
        dirty = set(graph) if force else with_descendants(graph, json.loads(ask_dvc(root, "status", "--json")))
        to_run = [stage for stage in graph if stage in dirty]
        get_run_logger().info("%d stages, %d to run or check: %s", len(graph), len(to_run), ", ".join(to_run) or "none")
        runner = StageRunner(root, force=force, pipeline_run=name, timeout_s=stage_timeout_s, dask_address=dask_address)
        tried = reproduce_stage.with_options(retries=retries, retry_delay_seconds=exponential_backoff(BACKOFF_S) if retries else 0)
        futures: dict[str, PrefectFuture] = {}
        try:
            for stage, needs in graph.items():
                futures[stage] = tried.submit(stage, stage in dirty, runner, wait_for=[futures[need] for need in sorted(needs)])
            for future in futures.values():
                future.wait()
        finally:
            runner.stop()  # without effect unless the wait was interrupted
    rows = [{"stage": stage, **_row(future.state)} for stage, future in futures.items()]
    show_table("reproduce", rows, f"Stages of {root.name}: what DVC did, and for how long")
    if drawn := [row["stage"] for row in rows if row["state"] in MADE and row["stage"].startswith(DRAWING)]:
        show_sheets(root, load_params(root), drawn)
    if failed := [stage for stage, future in futures.items() if future.state.is_failed() or future.state.is_crashed()]:
        left = [row["stage"] for row in rows if row["state"] == NOT_RUN]
        reasons = "\n".join(str(futures[stage].state.message) for stage in failed)
        return Failed(message=f"failed: {', '.join(failed)}; not run because of that: {', '.join(left) or 'none'}.\n{reasons}")
    return rows


def _row(state: State) -> dict:
    if state.is_completed():
        return state.result()
    return {"state": NOT_RUN if state.is_pending() else state.name, "seconds": 0.0}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.reproduce", description="Reproduce the pipeline as a Prefect flow.")
    parser.add_argument("stages", nargs="*", help="stages to bring up to date, with all they need (default: every stage)")
    parser.add_argument("--force", action="store_true", help="run them even if nothing changed")
    parser.add_argument("--retries", type=int, default=0, help="how often a failed stage is tried again (0 to 5)")
    parser.add_argument("--dask", metavar="ADDRESS", help="draw on the Dask cluster whose scheduler is there (tcp://host:8786)")
    options = parser.parse_args(arguments)
    exit_on_sigterm()
    try:
        end = reproduce(options.stages or None, options.force, options.retries, None, options.dask, return_state=True)
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
