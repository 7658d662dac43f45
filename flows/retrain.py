"""Flow `retrain`: whatever changed is made anew, and released if it is no worse. What a studio schedules.

    python -m flows.retrain [-S key=value ...]    # values other than params.yaml's, which stays as it is
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Optional

import yaml
from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Failed
from prefect.tasks import exponential_backoff

from flows import exit_on_sigterm
from flows.artifacts import show_table
from flows.experiment import checked_out, run_experiment
from flows.pipeline import StageRunner, StoppedError, workspace_lock
from flows.release import REFUSED, release
from flows.reproduce import BACKOFF_S, MADE, STOPPED, DaskAddress, Retries, Seconds, reproduce, worth_a_retry
from flows.sheets import show_sheets
from serep.config import Params, ParamsError, load_params
from serep.training.tracking import find_project_root


@task(name="experiment", cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=worth_a_retry)
def experiment(root: Path, name: str, overrides: dict[str, Any], params: Params, runner: StageRunner) -> list[dict] | State:
    try:
        return run_experiment(root, name, overrides, params=params, runner=runner, log=get_run_logger().info)
    except StoppedError as error:
        return Failed(name=STOPPED, message=str(error))
    except RuntimeError as error:
        return Failed(message=str(error))


@flow(name="retrain", persist_result=False)
def retrain(
    overrides: Optional[dict[str, Any]] = None, retries: Retries = 2, stage_timeout_s: Optional[Seconds] = None, again: bool = False,  # noqa: UP045 as Prefect's pages show it
    stored_scores: bool = False, dask_address: Optional[DaskAddress] = None,  # noqa: UP045
) -> list[dict] | State:
    """Brings the pipeline up to date, then releases it: `champion` if the gate lets it, else `challenger` and a failed run that says why.

    `overrides` are values for keys of params.yaml ({"heads.path": "/data/scans"}); with them everything happens in a copy, as a DVC experiment, and
    `stage_timeout_s` is for all of it together. See `reproduce` and `release` for the others.
    """
    root, log = find_project_root(Path.cwd()), get_run_logger()
    try:
        params = load_params(root, overrides)
    except ParamsError as error:
        return Failed(message=str(error))
    name = f"retrain-{str(flow_run.id)[:8]}"
    with workspace_lock(root, f"flow run {flow_run.name}", log.info):
        if not overrides:
            made = reproduce(retries=retries, stage_timeout_s=stage_timeout_s, dask_address=dask_address, return_state=True)
            return _passed_on(release(again=again, stored_scores=stored_scores, return_state=True) if made.is_completed() else made)
        runner = StageRunner(root, pipeline_run=name, timeout_s=stage_timeout_s, dask_address=dask_address)
        try:
            tried = experiment.with_options(retries=retries, retry_delay_seconds=exponential_backoff(BACKOFF_S) if retries else 0)
            ran = tried(root, name, overrides, params, runner, return_state=True)
        finally:
            runner.stop()
        if not ran.is_completed():
            return _passed_on(ran)
        show_table("reproduce", ran.result(), f"Stages of {root.name} with {overrides}: what DVC did, and for how long")
        with checked_out(root, name, params=params) as folder:
            show_sheets(folder, params, [row["stage"] for row in ran.result() if row["stage"].startswith("render@") and row["state"] in MADE])
            return _passed_on(release(again=again, stored_scores=stored_scores, folder=str(folder), return_state=True))


def _passed_on(end: State) -> list[dict] | State:
    return end.result() if end.is_completed() else Failed(name=end.name, message=end.message)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.retrain", description="Make anew what changed, and release it if it is no worse.")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="a value other than params.yaml's")
    parser.add_argument("--retries", type=int, default=2, help="how often a failed stage is tried again (0 to 5)")
    parser.add_argument("--again", action="store_true", help="promote these models although they were rolled back before")
    parser.add_argument("--stored-scores", action="store_true", help="compare with the champion's stored numbers although they are of another test")
    parser.add_argument("--dask", metavar="ADDRESS", help="draw on the Dask cluster whose scheduler is there (tcp://host:8786)")
    options = parser.parse_args(arguments)
    exit_on_sigterm()
    pairs = [text.partition("=") for text in options.set]
    if bad := [key for key, separator, _ in pairs if not separator]:
        parser.error(f"-S {bad[0]!r} is not KEY=VALUE")
    overrides = {key: yaml.safe_load(value) for key, _, value in pairs} or None
    end = retrain(overrides, options.retries, None, options.again, options.stored_scores, options.dask, return_state=True)
    if not end.is_completed():
        sys.stderr.write(f"{end.message}\n")
        return 3 if end.name == REFUSED else 1
    sys.stdout.writelines(f"{row['model']}  version {row['version']}  {'new' if row['new'] else 'as before'}\n" for row in end.result())
    return 0


if __name__ == "__main__":
    sys.exit(main())
