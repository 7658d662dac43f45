"""A champion measured by the present test: the scoring stages run in a copy of the project that has the released model in the place of the new one."""
from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from flows.pipeline import Log, StageRunner
from serep.config import Params
from serep.training.champions import CAPTURE, SEMANTIC
from serep.training.release import LOCK, read_scores
from serep.training.tracking import store_root

# By model: the score that the gate knows, and the module that gives it. A capture model's renders need their codes in its own words.
MODULES = {SEMANTIC: {"score_semantic": "serep.stages.score_semantic"},
           CAPTURE: {"score_capture": "serep.stages.score_champion", "benchmark": "serep.stages.benchmark"}}
NOT_COPIED = {".dvc", ".git", ".venv", "mlartifacts", "mlruns"}


def rescore(root: Path, params: Params, name: str, folder: Path, *, runner: StageRunner, log: Log) -> dict[str, float]:
    """What the present test gives the released model `name` in `folder`; RuntimeError with the last lines of a scoring that fails."""
    kind, paths = params.semantic.kind, params.paths
    place = paths.semantic_model(kind) if name == SEMANTIC else paths.capture
    made = [paths.metrics, paths.plots, paths.report, paths.semantic_scores, paths.capture_scores, paths.benchmark]
    with _copy(root, replaced={place: folder}, made=made) as copy:
        values = yaml.safe_load((root / "params.yaml").read_text())
        values["semantic"]["kinds"] = [kind]  # the other kinds were not released
        (copy / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        for stage, module in MODULES[name].items():
            runner.command([sys.executable, "-m", module], log, what=f"{stage} of the champion", again="the log of this run", cwd=copy)
        return read_scores({stage: copy / paths.metric(stage) for stage in MODULES[name]}, released=kind)


@contextmanager
def _copy(root: Path, *, replaced: Mapping[Path, Path], made: list[Path]) -> Iterator[Path]:
    """A folder of links to the project's files, gone afterwards: other ones for `replaced`, none for what is `made` in it."""
    folder = store_root(root) / ".dvc" / "tmp" / "serep-champion"
    shutil.rmtree(folder, ignore_errors=True)  # of a release that was killed
    folder.mkdir(parents=True)
    try:
        _link(root, folder, Path(), {*replaced, *made, Path("params.yaml"), Path(LOCK)})
        for path, target in replaced.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(target.resolve())
        (folder / LOCK).write_text(yaml.safe_dump(_without(yaml.safe_load((root / LOCK).read_text()) or {}, replaced)))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _link(root: Path, folder: Path, inside: Path, own: set[Path]) -> None:
    for entry in (root / inside).iterdir():
        path = inside / entry.name
        if path in own or (inside == Path() and (entry.name in NOT_COPIED or entry.name.startswith("mlflow.db"))):
            continue
        if any(one.is_relative_to(path) for one in own):
            (folder / path).mkdir()
            _link(root, folder, path, own)
        else:
            (folder / path).symlink_to(entry.resolve())


def _without(lock: dict, replaced: Mapping[Path, Path]) -> dict:
    """dvc.lock as far as it is true in the copy: without the hashes of what is replaced."""
    names = {path.as_posix() for path in replaced}
    for stage in lock.get("stages", {}).values():
        stage["outs"] = [out for out in stage.get("outs", []) if out["path"] not in names]
    return lock
