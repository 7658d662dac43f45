"""Flow `release`: the models of an up-to-date pipeline into the registry, promoted to `champion`.

    python -m flows.release
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

from prefect import State, flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from flows import exit_on_sigterm
from flows.reproduce import ask_dvc, parse_graph, select_stages
from serep.config import load_params
from serep.training.release import ALIAS, register_models
from serep.training.tracking import find_project_root

SCORE_STAGES = ("score_semantic", "score_capture", "benchmark")


@task(cache_policy=NO_CACHE, persist_result=False)
def check_up_to_date(root: str) -> None:
    """Refuses models and scores that were not made from the code, values and data that lie here: their tags would not be true."""
    needed = select_stages(parse_graph(ask_dvc(Path(root), "dag", "--dot")), SCORE_STAGES)
    changed = json.loads(ask_dvc(Path(root), "status", "--json"))
    if stale := [stage for stage in needed if stage in changed]:
        raise RuntimeError(f"not released: the pipeline has changes that have not been run ({', '.join(stale)}). Run: make repro")


@task(cache_policy=NO_CACHE, persist_result=False)
def register(root: str) -> list[dict]:
    params = load_params(root)
    folder, paths = Path(root), params.paths
    versions = register_models(
        folder,
        semantic_folder=folder / paths.semantic_model(params.semantic.kind),
        capture_folder=folder / paths.capture,
        metrics={stage: folder / paths.metric(stage) for stage in SCORE_STAGES},
    )
    return [{"model": f"models:/{version.name}@{ALIAS}", "version": version.version, "new": version.created} for version in versions]


@flow(name="release", persist_result=False)
def release() -> list[dict] | State:
    """Registers both models and makes them `champion`; unchanged models keep their version."""
    root = str(find_project_root(Path.cwd()))
    try:
        check_up_to_date(root)
        rows = register(root)
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        return Failed(message=str(error))
    create_table_artifact(key="release", table=rows, description=f"Models that {Path(root).name} released")
    for row in rows:
        get_run_logger().info("%s is version %s (%s)", row["model"], row["version"], "new" if row["new"] else "as before")
    return rows


def main() -> int:
    exit_on_sigterm()
    end = release(return_state=True)
    if not end.is_completed():
        sys.stderr.write(f"{end.message}\n")
        return 1
    sys.stdout.writelines(f"{row['model']}  version {row['version']}  {'new' if row['new'] else 'as before'}\n" for row in end.result())
    return 0


if __name__ == "__main__":
    sys.exit(main())
