"""Flow `release`: the models of an up-to-date pipeline into the registry as `challenger`, and to `champion` if the gate lets them.

    python -m flows.release [--again] [--stored-scores]    # --again also promotes versions that were rolled back
    python -m flows.release --rollback   # the champions before the present ones, at once

Ends with status 3 when the models are registered but the gate refused them.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Failed

from flows import exit_on_sigterm
from flows.artifacts import show_file, show_table
from flows.pipeline import StageRunner, ask_dvc, parse_graph, select_stages, workspace_lock
from flows.rescore import rescore
from flows.sheets import show_sheets
from serep.config import Params, load_params
from serep.data.heads import read_heads
from serep.redaction import redacted
from serep.training.champions import CAPTURE, CHALLENGER, CHAMPION, SEMANTIC, roll_back
from serep.training.release import Candidate, Release, read_scores, release_models
from serep.training.tracking import find_project_root

SCORE_STAGES = ("score_semantic", "score_capture", "benchmark")
REPORT_STAGE = "report"
REFUSED = "Refused"
DOCUMENTS = ("params.yaml", "dvc.yaml", "dvc.lock", "NOTICE", "LICENSE")


@task(cache_policy=NO_CACHE, persist_result=False)
def check_up_to_date(root: str) -> None:
    """Refuses models and scores that were not made from the code, values and data that lie here: their tags would not be true."""
    needed = select_stages(parse_graph(ask_dvc(Path(root), "dag", "--dot")), (*SCORE_STAGES, REPORT_STAGE))
    changed = json.loads(ask_dvc(Path(root), "status", "--json"))
    if stale := [stage for stage in needed if stage in changed]:
        raise RuntimeError(f"not released: the pipeline has changes that have not been run ({', '.join(stale)}). Run: make repro")


@task(cache_policy=NO_CACHE, persist_result=False)
def register(root: str, again: bool, stored_scores: bool) -> Release:
    folder, params, log = Path(root), load_params(root), get_run_logger().info
    runner = StageRunner(folder, pipeline_run=f"champion-{str(flow_run.id)[:8]}")

    def measured(name: str, files: Path) -> dict[str, float]:
        log("the champion of %s was measured by another test; it is measured by this one", name)
        return rescore(folder, params, name, files, runner=runner, log=log)

    try:
        return release_models(folder, candidate(folder, params), gate=params.release.bars(), again=again, rescore=None if stored_scores else measured)
    finally:
        runner.stop()


def candidate(root: Path, params: Params) -> Candidate:
    """The models, scores and documents that lie where params say."""
    paths = params.paths
    documents = {name: (root / name).read_text() for name in DOCUMENTS if (root / name).is_file()}
    documents["report.html"] = (root / paths.report / "index.html").read_text()
    footage = {"source": "your pictures and videos", "licence": "not known: the rights to your footage"}
    sources = {params.heads.path.as_posix(): read_heads(root / paths.surfaces).provenance, paths.real_images.as_posix(): footage}
    return Candidate(
        folders={SEMANTIC: root / paths.semantic_model(params.semantic.kind), CAPTURE: root / paths.capture},
        scores=read_scores({stage: root / paths.metric(stage) for stage in SCORE_STAGES}, released=params.semantic.kind),
        models=(*(path.as_posix() for path in (paths.semantic, paths.capture)), "semantic.kind", "semantic.kinds"),
        documents=documents | {"sources.json": json.dumps(sources, indent=2)},
    )


@flow(name="release", persist_result=False)
def release(again: bool = False, stored_scores: bool = False, folder: str | None = None) -> list[dict] | State:
    """Registers both models as challenger and, when the gate lets them, as champion; unchanged models keep their version.

    `again` also promotes versions that were rolled back. A champion that was measured by another test (other people, data or scoring) is measured by
    the present one first; with `stored_scores` its old numbers stand. `folder` is the project, by default the one around the working folder.
    """
    log = get_run_logger()
    root = find_project_root(Path(folder) if folder else Path.cwd())
    try:
        with workspace_lock(root, "a release", log.info):
            check_up_to_date(str(root))
            made = register(str(root), again, stored_scores)
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        return Failed(message=redacted(str(error)))
    against = "the champion's, measured anew by the present test" if made.rescored else "the champion's"
    show_table("release-gate", gate_rows(made), f"Metrics of the new models of {root.name} against {against}")
    show_sheets(root, load_params(root), ["score_capture"])
    show_file("report", root / load_params(root).paths.report / "index.html", "The report of the released models")
    for name, changed in made.other_tests.items():
        told = "so it was measured by this one" if made.rescored else "and its numbers are of that test: compare with care"
        log.warning("the champion of %s had been measured by another test (what differs: %s), %s", name, ", ".join(changed), told)
    alias = CHALLENGER if made.refused else CHAMPION
    rows = [{"model": f"models:/{version.name}@{alias}", "version": version.version, "new": version.created} for version in made.versions]
    show_table("release", rows, f"Models that {root.name} released")
    for row in rows:
        log.info("%s is version %s (%s)", row["model"], row["version"], "new" if row["new"] else "as before")
    if made.refused:
        return Failed(name=REFUSED, message=f"not promoted, the champion stays: {made.refused}. Registered as {' and '.join(row['model'] for row in rows)}")
    return rows


def gate_rows(made: Release) -> list[dict]:
    return [
        {"metric": verdict.bar.metric, "better": verdict.bar.better, "new": verdict.value, "champion": verdict.champion, "margin": verdict.bar.margin,
         "bound": verdict.bound, "verdict": verdict.miss or "passes"} for verdict in made.verdicts
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.release", description="Release the models of an up-to-date pipeline, or take a release back.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--rollback", action="store_true", help="bring the champions before the present ones back")
    choice.add_argument("--again", action="store_true", help="promote these models although they were rolled back before")
    parser.add_argument("--stored-scores", action="store_true", help="compare with the champion's stored numbers although they are of another test")
    options = parser.parse_args(arguments)
    exit_on_sigterm()
    if options.rollback:
        return rollback()
    end = release(options.again, options.stored_scores, return_state=True)
    if not end.is_completed():
        sys.stderr.write(f"{end.message}\n")
        return 3 if end.name == REFUSED else 1
    sys.stdout.writelines(f"{row['model']}  version {row['version']}  {'new' if row['new'] else 'as before'}\n" for row in end.result())
    return 0


def rollback() -> int:
    """Without Prefect, so that it works when no server does."""
    try:
        now, before = roll_back(find_project_root(Path.cwd()))
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"models:/{name}@{CHAMPION}  version {version}  (was {now.get(name, 'none')})\n" for name, version in before.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
