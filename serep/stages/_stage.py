"""What every stage does around its one library call: params, logging, the MLflow run, metrics on disk."""
from __future__ import annotations

import ast
import hashlib
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from rich.logging import RichHandler

from serep.config import Params, ParamsError, load_params
from serep.training.tracking import Tracker, find_project_root, locked_hashes, stage_run

# All that decides an experiment's scores, by the stage that gives them; code that only stores and loads cannot change them.
SEMANTIC_STAGES = ("heads", "preprocess", "train_semantic")
SCORING_STAGES = {"score_semantic": (*SEMANTIC_STAGES, "score_semantic"),
                  "score_capture": (*SEMANTIC_STAGES, "render", "render_simulated", "intake", "train_capture", "score_capture")}
SCORING_PACKAGES = {"score_semantic": ("serep/geometry/", "serep/faces/", "serep/data/preprocess.py", "serep/models/", "serep/training/", "serep/benchmark/")}
SCORING_PACKAGES["score_capture"] = (*SCORING_PACKAGES["score_semantic"], "serep/render/", "serep/synthesis/", "serep/data/intake.py", "serep/data/alike.py")


@dataclass
class Stage:
    """One running stage: its params, and the record of what it reads and writes."""

    name: str
    root: Path
    params: Params
    tracker: Tracker
    inputs: dict[str, str] = field(default_factory=dict)

    def input(self, path: Path) -> Path:
        """`path`, noted with its hash among the stage's inputs."""
        self.inputs[str(path)] = _known_hash(self.root, path)
        return path

    def write_metrics(self, path: Path, metrics: Mapping) -> None:
        """Metrics as sorted JSON on disk (for DVC) and flat in MLflow; numbers that are not finite become null."""
        plain = _plain(metrics)
        write_text(path, json.dumps(plain, indent=2, sort_keys=True, allow_nan=False) + "\n")
        self.tracker.log_metrics({key: value for key, value in _flat(plain) if isinstance(value, int | float)})


@contextmanager
def stage(name: str) -> Iterator[Stage]:
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)], force=True)
    root = find_project_root(Path.cwd())
    os.chdir(root)
    try:
        params = load_params(root, _of_this_machine(name))
    except ParamsError as error:  # the user's to mend: the message says all, a traceback would hide it
        sys.exit(f"ERROR: {error}")
    with stage_run(name, root=root, params=params.model_dump(mode="json"), inputs={}) as tracker:
        run = Stage(name, root, params, tracker)
        yield run
        tracker.log_inputs(run.inputs)


def _of_this_machine(name: str) -> dict[str, str]:
    """Values that the environment decides and that change no byte: SEREP_DASK_ADDRESS names the cluster that draws."""
    return {"render.executor": "dask"} if name.startswith("render@") and os.environ.get("SEREP_DASK_ADDRESS") else {}


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """`write` fills a folder beside the final one, which it then replaces: a killed stage leaves no half of it."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    write(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def scoring_code_hash(root: Path, target: str) -> str:
    """Of the source files that dvc.yaml names as the code of the stages up to `target`, which is one of SCORING_STAGES."""
    graph = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    files = {path for name in SCORING_STAGES[target] for path in graph[name].get("do", graph[name])["deps"] if path.startswith(SCORING_PACKAGES[target])}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{_without_docstrings(root / path)}".encode())
    return digest.hexdigest()[:16]


def _without_docstrings(file: Path) -> str:
    """What the code does: comments, docstrings and layout change no result."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def wanted_device() -> str:
    """The torch device asked for by SEREP_DEVICE (auto, cpu, cuda, cuda:1, …)."""
    return os.environ.get("SEREP_DEVICE") or "auto"


def worker_count() -> int:
    """Processes for work that splits: SEREP_WORKERS, else the cores this process may use. It never changes a result."""
    return int(os.environ.get("SEREP_WORKERS") or len(os.sched_getaffinity(0)))


def _known_hash(root: Path, path: Path) -> str:
    """The md5 that DVC recorded for an output of an earlier stage, else the file's own."""
    known = locked_hashes(root).get(path.as_posix())
    if known:
        return known
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.is_file() else "folder outside the pipeline"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _flat(tree: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
