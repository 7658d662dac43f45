"""Run every benchmark: one JSON each in benchmarks/results/, and a printed table. `python -m benchmarks [NAME …]` runs some."""
from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"


def machine() -> dict[str, str | int]:
    return {"platform": platform.platform(), "python": platform.python_version(), "processor": _processor(), "cores": len(os.sched_getaffinity(0))}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0] if names else platform.processor()


def main(names: list[str]) -> None:
    known = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    unknown = set(names) - set(known)
    if unknown:
        sys.exit(f"no benchmark named {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    RESULTS.mkdir(exist_ok=True)
    console = Console()
    for name in names or known:
        console.rule(name)
        figures = importlib.import_module(f"benchmarks.bench_{name}").run()
        partial = RESULTS / f"{name}.json.partial"
        partial.write_text(json.dumps({"machine": machine(), "figures": figures}, indent=2) + "\n")
        partial.replace(RESULTS / f"{name}.json")
        table = Table("figure", "value")
        for key, value in _flat(figures):
            table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value))
        console.print(table)


def _flat(tree: dict, prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in tree.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
