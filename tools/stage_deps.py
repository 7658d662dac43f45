#!/usr/bin/env python3
"""Keeps the code part of every stage's `deps` in dvc.yaml equal to the import closure of the stage's module.

usage: tools/stage_deps.py [--write]

Without --write it lists the differences and exits 1 if there are any. The closure follows every import statement, inside functions too, except those
under `if TYPE_CHECKING`. Left out are the modules of PLUMBING: they carry values in and records out and decide no byte of any artifact, so that an edit
of a log line does not retrain a model.
"""
from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
PLUMBING = {"serep/config.py", "serep/project.py", "serep/stages/__init__.py", "serep/stages/_stage.py", "serep/training/tracking.py"}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _imports(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if _is_type_checking(node):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        found += _imports(node)
    return found


def _module_file(name: str, root: Path) -> Path | None:
    base = root.joinpath(*name.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imported_names(file: Path, root: Path) -> set[str]:
    package = list(file.relative_to(root).with_suffix("").parts)[:-1]
    names: set[str] = set()
    for node in _imports(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
            continue
        parent = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")] if node.level else (node.module or "").split(".")
        base = ".".join(part for part in parent if part)
        names.add(base)
        names |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "serep"}


def import_closure(module: str, root: Path = ROOT) -> set[str]:
    """Files of the project, relative to `root`, that running `python -m module` may execute, PLUMBING left out."""
    waiting, closure = [module], set()
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        for end in range(1, len(parts) + 1):  # importing a.b.c runs a/__init__ and a/b/__init__ too
            file = _module_file(".".join(parts[:end]), root)
            if file is None:
                continue
            path = file.relative_to(root).as_posix()
            if path not in closure:
                closure.add(path)
                if path not in PLUMBING:
                    waiting += sorted(_imported_names(file, root))
    return closure - PLUMBING


def stage_module(command: str) -> str:
    """The module that a stage's command runs: `python -m MODULE …`."""
    words = command.split()
    return words[words.index("-m") + 1]


def code_deps(stage: dict) -> set[str]:
    body = stage.get("do", stage)
    return {dep for dep in body.get("deps", []) if isinstance(dep, str) and dep.endswith(".py")}


def main() -> int:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--write", action="store_true", help="rewrite dvc.yaml")
    args = cli.parse_args()
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    file = ROOT / "dvc.yaml"
    graph = yaml.load(file.read_text())
    wrong = False
    for name, stage in graph["stages"].items():
        body = stage.get("do", stage)
        closure = import_closure(stage_module(body["cmd"]))
        now = code_deps(stage)
        for path in sorted(closure - now):
            print(f"{name}: {path} is imported but not in deps")
        for path in sorted(now - closure):
            print(f"{name}: {path} is in deps but not imported")
        wrong |= closure != now
        others = [dep for dep in body.get("deps", []) if not (isinstance(dep, str) and dep.endswith(".py"))]
        body["deps"] = others + sorted(closure)
    if args.write and wrong:
        with file.open("w") as stream:
            yaml.dump(graph, stream)
        print("dvc.yaml rewritten")
        return 0
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
