"""Who may work in a workspace, and what happens to stages that take too long."""
import signal
import subprocess
import sys
import threading

import pytest

from flows.pipeline import StageRunner, workspace_lock

WAITING = """
import sys, time
from pathlib import Path
out = sys.argv[1]
print("pid", flush=True)
while not Path("go").exists():
    time.sleep(0.05)
Path(out).write_text("made")
with Path("made.log").open("a") as log:
    log.write(out + "\\n")
"""
HOLDER = """
import sys, time
from pathlib import Path
from flows.pipeline import workspace_lock
with workspace_lock(Path.cwd(), "flow run held", print):
    print("held", flush=True)
    time.sleep(300)
"""


def quiet(line: str) -> None:
    pass


def test_stage_that_takes_too_long_is_ended_and_said_so(project):
    (project / "stage.py").write_text("import time\nprint('asleep', flush=True)\ntime.sleep(300)\n")
    runner = StageRunner(project, pipeline_run="flow", timeout_s=8.0)
    with pytest.raises(RuntimeError, match=r"(?s)stage 'aside' took longer than 8 s and was ended\. Raise stage_timeout_s"):
        runner.run("aside", quiet)
    assert not runner.stopped and not runner.running


def test_lock_names_its_holder_and_is_free_when_that_is_killed(project, environment, start):
    holder = start([sys.executable, "-c", HOLDER], cwd=project, env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    told: list[str] = []
    with pytest.raises(RuntimeError, match=rf"is in use by flow run held \(process {holder.pid}\), still after 0\.2 s\. Wait for its end"):
        with workspace_lock(project, "second", told.append, wait_s=0.2):
            pytest.fail("two runs in one workspace")
    assert len(told) == 1 and "waiting: " in told[0]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with workspace_lock(project, "second", told.append, wait_s=5), workspace_lock(project, "second's own part", told.append, wait_s=0):
        pass
    assert len(told) <= 2


def test_flows_and_dvc_by_hand_never_run_a_stage_at_the_same_time(project, environment, start):
    (project / "stage.py").write_text(WAITING)
    (project / "dvc.yaml").write_text("stages:\n  aside:\n    cmd: python stage.py aside.txt\n    outs: [aside.txt]\n")
    by_hand = start([sys.executable, "-m", "dvc", "repro", "aside"], cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert any("pid" in line for line in by_hand.stdout)
    with pytest.raises(RuntimeError, match=rf"is in use by .* repro aside \(process {by_hand.pid}\), still after"):
        with workspace_lock(project, "flow", quiet, wait_s=0.2):
            pytest.fail("a flow beside a dvc repro")

    waits, said, outcomes = threading.Event(), [], []

    def log(line: str) -> None:
        said.append(line)
        if "another DVC process holds files of stage 'aside'" in line:
            waits.set()

    thread = threading.Thread(target=lambda: outcomes.append(StageRunner(project, pipeline_run="flow").run("aside", log)))
    thread.start()  # as a stage of a flow that began before the dvc repro did
    assert waits.wait(60), said
    (project / "go").touch()
    by_hand.communicate(timeout=60)
    thread.join(60)
    assert by_hand.returncode == 0 and outcomes == ["Cached"]
    assert (project / "made.log").read_text() == "aside.txt\n"
    with workspace_lock(project, "flow", quiet, wait_s=5):
        pass


def test_dvc_by_hand_is_kept_from_a_stage_that_a_flow_runs(project, environment):
    (project / "stage.py").write_text(WAITING)
    (project / "dvc.yaml").write_text("stages:\n  aside:\n    cmd: python stage.py aside.txt\n    outs: [aside.txt]\n")
    runs, outcomes = threading.Event(), []
    runner = StageRunner(project, pipeline_run="flow")
    thread = threading.Thread(target=lambda: outcomes.append(runner.run("aside", lambda line: runs.set() if line == "pid" else None)))
    thread.start()
    assert runs.wait(60)
    refused = subprocess.run([sys.executable, "-m", "dvc", "repro", "aside"], cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode != 0 and "is busy, it is being blocked by" in refused.stderr
    (project / "go").touch()
    thread.join(60)
    assert outcomes == ["Ran"] and (project / "made.log").read_text() == "aside.txt\n"


@pytest.mark.parametrize("left", ["", '{"write": {"a.txt": {"pi'])
def test_lock_file_that_a_killed_dvc_left_in_half_is_mended(project, left):
    file = project / ".dvc" / "tmp" / "rwlock"
    file.parent.mkdir(exist_ok=True)
    file.write_text(left)
    with workspace_lock(project, "flow", quiet, wait_s=0):
        assert not file.exists()
    assert StageRunner(project, pipeline_run="flow").run("aside", quiet) == "Ran"


def test_dead_writers_do_not_hold_the_workspace(project):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (project / ".dvc" / "tmp").mkdir(exist_ok=True)
    (project / ".dvc" / "tmp" / "rwlock").write_text(f'{{"write": {{"a.txt": {{"pid": {gone.pid}, "cmd": "dvc repro"}}}}}}')
    with workspace_lock(project, "flow", quiet, wait_s=0):
        pass


def test_what_a_stage_says_is_logged_without_passwords(project, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "long-secret-value")
    (project / "stage.py").write_text("print('to postgresql://anna:s3cret@host/db'); raise ValueError('long-secret-value refused')")
    said: list[str] = []
    with pytest.raises(RuntimeError, match="refused") as error:
        StageRunner(project, pipeline_run="flow").run("aside", said.append)
    assert "to postgresql://anna:***@host/db" in said
    assert not [text for text in (*said, str(error.value)) if "s3cret" in text or "long-secret-value" in text]


def test_a_cluster_s_address_is_told_to_the_stages_by_their_environment(project):
    (project / "stage.py").write_text("import os; print('cluster', os.environ.get('SEREP_DASK_ADDRESS'))\nopen('aside.txt', 'w').write('same')")
    said: list[str] = []
    assert StageRunner(project, pipeline_run="flow", dask_address="tcp://host:8786").run("aside", said.append) == "Ran"
    assert "cluster tcp://host:8786" in said
    assert StageRunner(project, pipeline_run="flow").run("aside", said.append) == "Cached"


def test_run_cache_that_a_killed_dvc_left_hollow_is_mended(project):
    runner, said = StageRunner(project, pipeline_run="flow"), []
    assert runner.run("first", quiet) == "Ran" and runner.run("aside", quiet) == "Ran"
    for record in (project / ".dvc" / "cache" / "runs").glob("*/*/*"):
        record.unlink()  # its folder stays, as where DVC is killed before it has filled it
    (project / "dvc.lock").unlink()
    assert runner.run("aside", said.append) == "Ran"
    assert any(line.startswith("DVC's run cache has empty folders (") and line.count(",") >= 2 for line in said)
    (project / "dvc.lock").unlink()
    assert runner.run("aside", quiet) == "Restored"
