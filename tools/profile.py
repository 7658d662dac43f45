#!/usr/bin/env python3
"""A profile as DVC overrides: prints `-S key=value …` for `dvc exp run`, or writes it into params.yaml.

usage: tools/profile.py NAME            # dvc exp run $(tools/profile.py full)
       tools/profile.py NAME --apply    # edits params.yaml in the current folder, comments kept
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

PROFILES = Path(__file__).resolve().parent.parent / "profiles"


def flat(tree: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def apply(overrides: dict, params: dict, file: Path) -> None:
    for key, value in flat(overrides):
        *parents, last = key.split(".")
        place = params
        for parent in parents:
            place = place[parent]
        if last not in place:
            sys.exit(f"{file}: {key} is not a key of params.yaml")
        place[last] = value


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("name")
    cli.add_argument("--apply", action="store_true")
    args = cli.parse_args()
    file = PROFILES / f"{args.name}.yaml"
    if not file.is_file():
        sys.exit(f"no profile {args.name!r}; there are: default, " + ", ".join(sorted(path.stem for path in PROFILES.glob('*.yaml'))))
    yaml = YAML()
    yaml.width = 200
    yaml.preserve_quotes = True
    overrides = yaml.load(file.read_text())
    if not args.apply:
        print(" ".join(f"-S {key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in flat(overrides)))
        return
    params_file = Path("params.yaml")
    params = yaml.load(params_file.read_text())
    apply(overrides, params, file)
    with params_file.open("w") as stream:
        yaml.dump(params, stream)


if __name__ == "__main__":
    main()
