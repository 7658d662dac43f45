"""A tiny DVC project whose stages cost nothing, and the environment its processes run in."""
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

SOURCE_ROOT = Path(__file__).resolve().parents[2]
# Before `tests/`, whose folder `flows` (this one) would otherwise be taken for the package.
sys.path.insert(0, str(SOURCE_ROOT))
STAGE = """
import os, sys
from pathlib import Path

out, *needs = sys.argv[1:]
print("making", out)
if Path("break").exists() and Path("break").read_text() == out:
    raise ValueError(f"{out} cannot be made")
Path(out).write_text(Path("params.yaml").read_text() + "".join(Path(need).read_text() for need in needs))
Path("pipeline_run.log").open("a").write(f"{os.environ['SEREP_PIPELINE_RUN']}\\n")
"""
PIPELINE = """
stages:
  first:
    cmd: python stage.py first.txt
    params: [seed]
    outs: [first.txt]
  part:
    foreach: [a, b]
    do:
      cmd: python stage.py part-${item}.txt first.txt
      deps: [first.txt]
      outs: ["part-${item}.txt"]
  aside:
    cmd: python stage.py aside.txt
    params: [other]
    outs: [aside.txt]
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """`subprocess.Popen` whose processes end with the test, each with all it started, by their own ids and whatever session they are in."""
    started: list[subprocess.Popen] = []

    def run(command: list[str], **options) -> subprocess.Popen:
        started.append(subprocess.Popen(command, **options))
        return started[-1]

    run.started = started
    yield run
    family: set[psutil.Process] = set()
    for process in started:
        try:
            parent = psutil.Process(process.pid)
            family |= {parent, *parent.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    for act in ("terminate", "kill"):
        for member in family:
            with suppress(psutil.NoSuchProcess):
                getattr(member, act)()
        _, family = psutil.wait_procs(family, timeout=15)


@pytest.fixture
def environment(monkeypatch) -> dict[str, str]:
    """For this process and those it starts: the stages' `python` is this one, no telemetry, this tree's packages."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(SOURCE_ROOT))
    for name, value in {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}.items():
        monkeypatch.setenv(name, value)
    for name in ("DVC_ROOT", "SEREP_PIPELINE_RUN", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return dict(os.environ)


@pytest.fixture
def project(tmp_path, environment) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "stage.py").write_text(STAGE)
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("seed: 1\nother: 1\n")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=root, check=True, capture_output=True)
    return root
