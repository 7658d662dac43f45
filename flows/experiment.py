"""A run of the pipeline with other values than params.yaml has, in a copy: the checkout stays as it is, the results are a DVC experiment."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flows.pipeline import Log, StageRunner, ask_dvc
from serep.config import Params

Overrides = Mapping[str, bool | int | float | str | list | dict | None]
SAID = re.compile(r"(?:Running stage|Stage) '(?P<stage>[^']+)'(?P<end>.*)")


def run_experiment(root: Path, name: str, overrides: Overrides, *, params: Params, runner: StageRunner, log: Log) -> list[dict]:
    """Runs the whole pipeline as the experiment `name`; what DVC did with each stage. RuntimeError when a stage fails."""
    settings = [argument for key, value in overrides.items() for argument in ("-S", f"{key}={json.dumps(value)}")]
    copied = [argument for path in untracked_inputs(root, params) for argument in ("--copy-paths", str(path))]
    rows: list[dict] = []
    last = time.monotonic()

    def note(line: str) -> None:
        nonlocal last
        log(line)
        if said := SAID.match(line):
            now, end = time.monotonic(), said["end"]
            if rows:
                rows[-1]["seconds"] = round(now - last, 1)
            last = now
            state = "Ran" if line.startswith("Running") else "Restored" if "cached - skipping" in end else "Cached"
            rows.append({"stage": said["stage"], "state": state, "seconds": 0.0})

    runner.dvc(["--wait-for-lock", "exp", "run", "--temp", "--name", name, *settings, *copied], note, what=f"experiment {name}", again="the log of this run")
    if rows:
        rows[-1]["seconds"] = round(time.monotonic() - last, 1)
    return rows


def untracked_inputs(root: Path, params: Params) -> list[Path]:
    """Files and whole folders among the inputs that lie in the project and git does not hold: a copy of the project lacks them."""
    inside = [path for path in (params.paths.real_images, params.heads.path) if not path.is_absolute() and (root / path).exists()]
    listed = _git(root, "ls-files", "-z", "--others", "--directory", "--", *map(str, inside)) if inside else ""
    return [Path(name) for name in listed.split("\0") if name]


@contextmanager
def checked_out(root: Path, name: str, *, params: Params) -> Iterator[Path]:
    """A folder with the experiment's files, results included, out of the cache; gone afterwards."""
    (revision,) = _git(root, "for-each-ref", "--format=%(objectname)", f"refs/exps/**/{name}").split()[:1] or [None]
    if revision is None:
        raise RuntimeError(f"DVC kept no experiment {name!r}. Run the flow again")
    folder = root / ".dvc" / "tmp" / "serep-retrain"
    _remove(root, folder)  # of a run that was killed
    _git(root, "worktree", "add", "--detach", str(folder), revision)
    try:
        (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {ask_dvc(root, 'cache', 'dir').strip()}\n")
        for path in untracked_inputs(root, params):
            if not (folder / path).exists():  # DVC keeps in the experiment what git does not ignore
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).symlink_to(root / path)
        ask_dvc(folder, "checkout")
        yield folder
    finally:
        _remove(root, folder)


def _remove(root: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _git(root, "worktree", "prune")


def _git(root: Path, *arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"git {' '.join(arguments)} failed in {root}: {answer.stderr.strip()}. Runs with other values need a git repository")
    return answer.stdout
