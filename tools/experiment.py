#!/usr/bin/env python3
"""Runs one experiment: the pipeline up to its scores, once a variant and seed, in copies of this project; params.yaml here stays as it is.

usage: tools/experiment.py NAME [--set KEY=VALUE ...]     # NAME of experiments/NAME.yaml
       tools/experiment.py --list

A plan has a title, variants of params, and as it likes: a note, params that all variants share (set), keys that must be given (needs), the stage that
gives the scores (target, score_semantic when not given), seeds (key, values), and which of its metrics the table shows (table).

Each variant is a copy under out/experiments/NAME/ that shares this project's DVC cache, so what has run before is not run again, and an
experiment that was stopped goes on where it was. Curves go to this project's MLflow. The table is written to metrics/experiments/NAME.json,
which the report shows: run `dvc repro report` afterwards.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML

from serep.benchmark.report_experiments import DEFAULT_TARGET
from serep.stages._stage import SCORING_STAGES, scoring_code_hash

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS, RESULTS, WORK = ROOT / "experiments", ROOT / "metrics" / "experiments", ROOT / "out" / "experiments"
UNTRACKED_BY_VARIANTS = ("metrics/", "plots/", "docs/", "tests/")
PATH_KEYS = ("heads.path", "paths.real_images")
yaml = YAML()
yaml.width = 200
yaml.preserve_quotes = True


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("name", nargs="?")
    cli.add_argument("--list", action="store_true")
    cli.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changed in every variant, such as heads.path=ICT-FaceKit")
    args = cli.parse_args()
    if args.list or not args.name:
        for file in sorted(EXPERIMENTS.glob("*.yaml")):
            print(f"{file.stem:<14} {yaml.load(file.read_text())['title']}")
        return
    file = EXPERIMENTS / f"{args.name}.yaml"
    if not file.is_file():
        sys.exit(f"no experiment {args.name!r}; there are: {', '.join(sorted(path.stem for path in EXPERIMENTS.glob('*.yaml')))}")
    plan = yaml.load(file.read_text())
    common = dict(plan.get("set", {})) | dict(_setting(text) for text in args.set)
    missing = [key for key in plan.get("needs", ()) if key not in common]
    if missing:
        sys.exit(f"{file.name} needs {' and '.join(f'--set {key}=…' for key in missing)}")
    target = plan.get("target", DEFAULT_TARGET)
    if target not in SCORING_STAGES:
        sys.exit(f"{file.name}: target {target!r} is none of {', '.join(SCORING_STAGES)}")
    rows, runs = [], [(variant, seed) for variant in plan["variants"] for seed in plan.get("seeds", {}).get("values", [None])]
    for number, (variant, seed) in enumerate(runs, start=1):
        print(f"{args.name}: {number} of {len(runs)}: {variant['label']}{'' if seed is None else f', seed {seed}'}", flush=True)
        settings = common | dict(variant.get("set", {})) | ({} if seed is None else {plan["seeds"]["key"]: seed})
        rows.append({"label": variant["label"]} | ({} if seed is None else {"seed": seed}) | _run(args.name, number, target, settings))
    result = {"title": plan["title"], "note": plan.get("note", ""), "target": target, "variants": rows, **_provenance(target)}
    if "table" in plan:
        result["table"] = [dict(column) for column in plan["table"]]
    RESULTS.mkdir(parents=True, exist_ok=True)
    partial = RESULTS / f"{args.name}.json.partial"
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(RESULTS / f"{args.name}.json")
    print(f"{RESULTS / args.name}.json: {len(rows)} variants. Run `dvc repro report` to see the table")


def _setting(text: str) -> tuple[str, object]:
    key, separator, value = text.partition("=")
    if not separator:
        sys.exit(f"--set {text!r} is not KEY=VALUE")
    value = yaml.load(value)
    # A variant runs in a folder of its own: a path on the command line means the caller's.
    return key, str(Path(value).resolve()) if key in PATH_KEYS else value


def _run(name: str, number: int, target: str, settings: dict[str, object]) -> dict[str, object]:
    folder = WORK / name / f"{number:02d}"
    _copy_project(folder)
    _apply(folder / "params.yaml", settings)
    environment = os.environ | {"PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.setdefault("OMP_NUM_THREADS", "1")  # as fast for networks this small, and far faster where others use the cores too
    environment.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{ROOT}/mlflow.db")
    start = time.monotonic()
    log = folder / "experiment.log"
    with log.open("w") as stream:
        done = subprocess.run([sys.executable, "-m", "dvc", "repro", target], cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"variant {number} failed, see {log}:\n" + "".join(log.read_text().splitlines(keepends=True)[-15:]))
    scores = json.loads((folder / "metrics" / f"{target}.json").read_text())
    # Where the data lie on this machine is nobody's business: the table is committed.
    shown = {key: Path(value).name if key in PATH_KEYS else value for key, value in settings.items()}
    return {"set": shown, "scores": scores, "seconds": round(time.monotonic() - start)}


def _copy_project(folder: Path) -> None:
    """The tracked and new files of this checkout; outputs of an earlier try stay, DVC knows whether they are still right."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    pictures = _real_images()
    for path in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / path, folder / path
        if pictures is not None and pictures in Path(path).parents:
            continue  # linked below: a copy onto an earlier link would be onto the picture itself
        if source.is_file() and not path.startswith(UNTRACKED_BY_VARIANTS) and not (path == "dvc.lock" and target.exists()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    if pictures is not None:
        _link_real_images(pictures, folder)
    (folder / ".dvc" / "config.local").write_text(f"[core]\n    no_scm = true\n[cache]\n    dir = {ROOT / '.dvc' / 'cache'}\n")


def _real_images() -> Path | None:
    """The folder of the user's own pictures, relative to the project; None where there is none, or it lies elsewhere and needs no copy."""
    pictures = Path(yaml.load((ROOT / "params.yaml").read_text())["paths"]["real_images"])
    return None if pictures.is_absolute() or not (ROOT / pictures).is_dir() else pictures


def _link_real_images(pictures: Path, folder: Path) -> None:
    """The user's own pictures, which git ignores: linked, or copied where links cannot be made."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.rmtree(folder / pictures, ignore_errors=True)
    shutil.copytree(ROOT / pictures, folder / pictures, copy_function=link)


def _apply(file: Path, settings: dict[str, object]) -> None:
    params = yaml.load(file.read_text())
    for key, value in settings.items():
        *parents, last = key.split(".")
        place = params
        for parent in parents:
            place = place[parent] if parent in place else sys.exit(f"{key} is not a key of params.yaml")
        if last not in place:
            sys.exit(f"{key} is not a key of params.yaml")
        place[last] = value
    with file.open("w") as stream:
        yaml.dump(params, stream)


def _provenance(target: str) -> dict[str, str]:
    """The commit, and a hash of the code that decides the scores: the report says when it is no longer this code."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return {"commit": commit, "code": scoring_code_hash(ROOT, target)}


if __name__ == "__main__":
    main()
