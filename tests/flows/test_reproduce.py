"""The flow's decisions as plain functions, and its stages run by DVC without a server; the whole flow in a `slow` test."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.states import Failed

from flows.pipeline import StageRunner, ask_dvc, outcome, parse_graph, select_stages, with_descendants
from flows.reproduce import STOPPED, worth_a_retry

DOT = """strict digraph {
"report";
"heads";
"render@a";
"render@b";
"notes";
"heads" -> "render@a";
"heads" -> "render@b";
"render@a" -> "report";
"render@b" -> "report";
}
"""


def read_tree(root) -> dict[str, str]:
    return {file.name: file.read_text() for file in root.glob("*.txt")}


def test_graph_holds_foreach_parts_and_lone_stages_in_an_order_that_runs():
    graph = parse_graph(DOT)
    assert graph == {"heads": set(), "notes": set(), "render@a": {"heads"}, "render@b": {"heads"}, "report": {"render@a", "render@b"}}
    seen: set[str] = set()
    for stage, needs in graph.items():
        assert needs <= seen
        seen.add(stage)


def test_graph_of_no_stages_is_empty():
    assert parse_graph("strict digraph {\n}\n") == {}


def test_wanted_stages_bring_what_they_need_and_foreach_names_stand_for_their_parts():
    graph = parse_graph(DOT)
    assert select_stages(graph, None) == graph
    assert set(select_stages(graph, ["render@a"])) == {"heads", "render@a"}
    assert set(select_stages(graph, ["render"])) == {"heads", "render@a", "render@b"}
    assert set(select_stages(graph, ["report", "notes"])) == set(graph)


def test_unknown_stage_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"no stage 'rendr' \(found: .*heads.*\)"):
        select_stages(parse_graph(DOT), ["rendr"])


@given(edges=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda edge: edge[0] < edge[1])), changed=st.sets(st.integers(0, 12)))
def test_dirt_is_the_changed_stages_and_all_below(edges, changed):
    dot = "\n".join([f'"s{number}";' for number in range(10)] + [f'"s{need}" -> "s{stage}";' for need, stage in edges])
    dirty = with_descendants(parse_graph(dot), [f"s{number}" for number in changed])
    reached = {number for number in changed if number < 10}
    while grown := {stage for need, stage in edges if need in reached} - reached:
        reached |= grown
    assert dirty == {f"s{number}" for number in reached}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["Running stage 'heads':"], "Ran"),
        (["Stage 'heads' is cached - skipping run, checking out outputs"], "Restored"),
        (["Stage 'heads' didn't change, skipping"], "Cached"),
        ([], "Cached"),
    ],
)
def test_outcome_is_read_from_what_dvc_says(said, expected):
    assert outcome(said) == expected


def test_stage_runs_then_is_cached_then_restored(project):
    lines: list[str] = []
    runner = StageRunner(project, force=False, pipeline_run="flow-1")
    assert json.loads(ask_dvc(project, "status", "--json")).keys() == {"first", "part@a", "part@b", "aside"}
    assert runner.run("first", lines.append) == "Ran"
    assert "making first.txt" in lines
    assert (project / "pipeline_run.log").read_text() == "flow-1\n"
    assert runner.run("first", lines.append) == "Cached"
    (project / "first.txt").unlink()
    assert runner.run("first", lines.append) == "Restored"
    assert StageRunner(project, force=True, pipeline_run="flow-2").run("first", lines.append) == "Ran"
    assert (project / "pipeline_run.log").read_text() == "flow-1\nflow-2\n"
    assert read_tree(project) == {"first.txt": "seed: 1\nother: 1\n"}


def test_failing_stage_says_its_last_lines_and_how_to_see_the_rest(project):
    (project / "break").write_text("aside.txt")
    with pytest.raises(RuntimeError, match=r"(?s)stage 'aside' failed .*ValueError: aside\.txt cannot be made.*dvc repro --single-item aside"):
        StageRunner(project, force=False, pipeline_run="flow").run("aside", lambda line: None)


def _ended(pid: int, within_s: float = 20.0) -> bool:
    """Whether the process is gone, or dead and not yet collected by whoever inherited it."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def test_stopping_ends_the_stage_below_dvc(project):
    (project / "stage.py").write_text("import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(300)\n")
    runner = StageRunner(project, force=False, pipeline_run="flow")
    started, pids, errors = threading.Event(), [], []

    def log(line: str) -> None:
        if line.startswith("pid "):
            pids.append(int(line.split()[1]))
            started.set()

    def work() -> None:
        try:
            runner.run("aside", log)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(120)
    runner.stop()
    thread.join(60)
    assert "stage 'aside' was stopped" in errors[0]
    assert _ended(pids[0])
    with pytest.raises(RuntimeError, match="'first' was not started"):
        runner.run("first", log)


def test_dvc_that_cannot_read_the_pipeline_is_quoted(project):
    (project / "dvc.yaml").write_text("stages: [")
    with pytest.raises(RuntimeError, match=r"(?s)dvc dag --dot failed in .*dvc\.yaml"):
        ask_dvc(project, "dag", "--dot")


def run_flow(project, environment, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "flows.reproduce", *arguments]
    environment = {**environment, "PREFECT_HOME": str(project.parent / "prefect"), "SEREP_FLOW_STAGES": "2"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300, check=False)


def table(answer: subprocess.CompletedProcess) -> dict[str, str]:
    return {line.split()[0]: line.split()[1] for line in answer.stdout.splitlines() if line.endswith(" s")}


@pytest.mark.slow
def test_flow_runs_what_is_dirty_and_stops_below_a_failure(project, environment):
    answer = run_flow(project, environment)
    assert table(answer) == dict.fromkeys(("first", "part@a", "part@b", "aside"), "Ran"), answer.stderr
    assert len(set((project / "pipeline_run.log").read_text().split())) == 1
    made = read_tree(project)

    (project / "part-a.txt").unlink()
    (project / "params.yaml").write_text("seed: 1\nother: 2\n")
    answer = run_flow(project, environment)
    assert table(answer) == {"first": "Cached", "part@a": "Restored", "part@b": "Cached", "aside": "Ran"}, answer.stderr
    assert read_tree(project)["part-a.txt"] == made["part-a.txt"]

    (project / "break").write_text("first.txt")
    (project / "params.yaml").write_text("seed: 3\nother: 3\n")
    answer = run_flow(project, environment, "--retries", "1")
    assert answer.returncode == 1
    assert answer.stderr.count("Task run 'first' - making first.txt") == 2
    assert "failed: first; not run because of that: part@a, part@b." in answer.stderr
    assert "ValueError: first.txt cannot be made" in answer.stderr
    assert (project / "aside.txt").read_text() == "seed: 3\nother: 3\n"


@pytest.mark.slow
def test_interrupted_flow_leaves_no_stage_running(project, environment, start):
    (project / "stage.py").write_text("import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(300)\n")
    environment = {**environment, "PREFECT_HOME": str(project.parent / "prefect"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "flows.reproduce", "aside"]
    process = start(command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    pid = next(int(line.split()[-1]) for line in process.stdout if " - pid " in line)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail(f"the stage (process {pid}) outlived the flow")


def test_a_stage_that_was_stopped_is_not_tried_again():
    stopped, failed = Failed(name=STOPPED), Failed(message="no network")
    assert not worth_a_retry(None, None, stopped) and worth_a_retry(None, None, failed)
