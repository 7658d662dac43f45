"""prefect.yaml names real flows; and, slow, its deployments run on a server, a work pool and a worker of this machine."""
import importlib
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect_server import Prefect, prefect

SOURCE_ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = yaml.safe_load((SOURCE_ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["entrypoint"])
def test_deployment_names_a_flow_and_its_parameters(deployment):
    file, name = deployment["entrypoint"].split(":")
    flow = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(flow, Flow)
    assert flow.name == name
    assert set(deployment["parameters"]) == set(flow.parameters.properties)
    assert deployment["work_pool"]["name"] == "serep"


@pytest.fixture
def prefect_server(environment, tmp_path) -> Iterator[Prefect]:
    """Of its own, on a free port."""
    server = Prefect.on_a_free_port(tmp_path, environment)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(prefect_server) -> dict[str, str]:
    """The environment that reaches it."""
    return prefect_server.environment


def planned_runs(server: dict[str, str]) -> int:
    """How many runs wait for their time; a server plans them within a minute of a deployment."""
    wanted = json.dumps({"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}).encode()
    request = urllib.request.Request(f"{server['PREFECT_API_URL']}/flow_runs/count", wanted, {"Content-Type": "application/json"})
    deadline = time.monotonic() + 240
    while not (count := json.load(urllib.request.urlopen(request, timeout=10))) and time.monotonic() < deadline:
        time.sleep(1)
    return count


@pytest.mark.slow
def test_deployed_flows_run_on_a_worker(project, server, start, tmp_path):
    shutil.copytree(SOURCE_ROOT / "flows", project / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SOURCE_ROOT / "prefect.yaml", project)

    def run(*arguments: str, fails: bool = False) -> str:
        answer = subprocess.run(prefect(*arguments), cwd=project, env=server, capture_output=True, text=True, timeout=300, check=False)
        assert (answer.returncode != 0) == fails, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    run("work-pool", "create", "serep", "--type", "process")
    run("--no-prompt", "deploy", "--all")
    log = (tmp_path / "worker.log").open("w")
    start(prefect("worker", "start", "--pool", "serep"), cwd=tmp_path, env=server, stdout=log, stderr=log)

    # A wrong type never reaches a worker.
    for flow, parameters in [("reproduce", {"stages": 5}), ("reproduce", {"retries": "often"}), ("retrain", {"overrides": "x"})]:
        said = run("deployment", "run", f"{flow}/serep", "--watch", "--params", json.dumps(parameters), fails=True)
        assert f"'{next(iter(parameters))}'" in said and "Validation failed for field" in said
    assert "0 2 * * *" in run("deployment", "schedule", "ls", "retrain/serep")
    assert planned_runs(server) > 0  # the server has worked the schedule out, not only stored it

    run("deployment", "run", "reproduce/serep", "--watch", "--params", json.dumps({"stages": ["part"]}))
    assert {file.name for file in project.glob("*.txt")} == {"first.txt", "part-a.txt", "part-b.txt"}
    assert "reproduce" in run("artifact", "ls")

    # No models here: the release must refuse, and say why.
    run("deployment", "run", "release/serep", "--watch", fails=True)
    assert "dvc.yaml has no stage 'score_semantic'" in (tmp_path / "worker.log").read_text()


@pytest.mark.slow
def test_run_outlives_its_server_and_the_next_one_finds_its_work(project, prefect_server, server, start):
    (project / "stage.py").write_text("""
import sys, time
from pathlib import Path
print("making", sys.argv[1], flush=True)
while not Path("go").exists():
    time.sleep(0.1)
Path(sys.argv[1]).write_text("made")
""")
    environment = server | {"PREFECT_CLIENT_MAX_RETRIES": "0", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "flows.reproduce", "first", "aside"]
    run = start(command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert any("making first.txt" in line for line in run.stdout)
    prefect_server.process.kill()
    (project / "go").touch()
    run.communicate(timeout=200)
    assert {name: (project / name).read_text() for name in ("first.txt", "aside.txt")} == {"first.txt": "made", "aside.txt": "made"}

    del environment["PREFECT_API_URL"]
    again = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert [line.split()[:2] for line in again.stdout.splitlines() if line.endswith(" s")] == [["first", "Cached"], ["aside", "Cached"]], again.stderr
