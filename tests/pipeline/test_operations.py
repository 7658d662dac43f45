"""On the small pipeline: a champion measured by the present test, and stages that draw on a Dask cluster."""
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from small_project import Project

from flows.pipeline import StageRunner
from flows.rescore import rescore
from serep.config import load_params
from serep.data.shards import open_part
from serep.models.semantic import SemanticModel
from serep.stages.score_champion import codes_of
from serep.training.champions import CAPTURE, SEMANTIC
from serep.training.release import read_scores

pytestmark = pytest.mark.slow


def quiet(line: str) -> None:
    pass


@pytest.fixture(autouse=True)
def own_store(monkeypatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "SEREP_DASK_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_a_model_measured_as_champion_gets_the_scores_it_got_as_new(fork):
    """Of each stage and to the last digit, so that what differs for a champion is the champion."""
    params, before = load_params(fork.root), {file: file.read_bytes() for file in (fork.root / "metrics").glob("*.json")}
    kind, paths = params.semantic.kind, params.paths
    for name, folder, stages in ((SEMANTIC, paths.semantic_model(kind), ["score_semantic"]), (CAPTURE, paths.capture, ["score_capture", "benchmark"])):
        found = rescore(fork.root, params, name, fork.root / folder, runner=StageRunner(fork.root, pipeline_run="rescore"), log=quiet)
        known = read_scores({stage: fork.root / paths.metric(stage) for stage in stages}, released=kind)
        others = {metric for metric in known if any(metric.startswith(f"score_semantic.{other}.") for other in set(params.semantic.kinds) - {kind})}
        assert found == {metric: value for metric, value in known.items() if metric not in others}
    assert {file: file.read_bytes() for file in before} == before
    assert json.loads(fork.dvc("status", "--json").stdout) == {}
    assert not (fork.root / ".dvc/tmp/serep-champion").exists()


def test_a_champion_that_does_not_fit_the_test_says_why(fork):
    (fork.root / "odd").mkdir()
    with pytest.raises(RuntimeError, match=r"(?s)score_semantic of the champion failed .*config\.json"):
        rescore(fork.root, load_params(fork.root), SEMANTIC, fork.root / "odd", runner=StageRunner(fork.root, pipeline_run="rescore"), log=quiet)


def test_codes_of_another_semantic_model_mean_the_same_expressions(finished):
    params = load_params(finished.root)
    here, other = (SemanticModel.load(finished.root / params.paths.semantic_model(kind)) for kind in (params.semantic.kind, "displacement_pca"))
    codes = open_part(finished.root / params.paths.part("test")).labels["codes"]
    assert codes_of(here, codes, here) is codes
    theirs = codes_of(other, codes, here)
    mean = here.mean_neutral
    meant, understood = here.bind(mean).pose(codes), other.bind(mean).pose(theirs)
    motion = np.linalg.norm(meant - mean.vertices, axis=-1).mean()
    assert np.linalg.norm(understood - meant, axis=-1).mean() < 0.5 * motion  # twelve linear modes do not hold all of it
    assert not np.allclose(theirs, codes, atol=0.1)


@pytest.fixture
def cluster(fork, tmp_path) -> Iterator[str]:
    """A scheduler and one worker, started by hand."""
    dask, environment = [sys.executable, "-m", "dask"], fork.environment()
    scheduler = subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], cwd=tmp_path, env=environment,
                                 stderr=subprocess.PIPE, text=True)
    address = next(found[0] for line in scheduler.stderr if (found := re.findall(r"tcp://[\d.]+:\d+", line)))
    worker = subprocess.Popen([*dask, "worker", address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path)],
                              cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    yield address
    family = [child for process in (worker, scheduler) for child in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True))]
    for process in family:
        process.kill()
    for process in (worker, scheduler):
        process.wait()
    scheduler.stderr.close()


def drawn_by(address: str) -> set[str]:
    """Functions of which the scheduler has handed out tasks."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        log = client.run_on_scheduler(lambda dask_scheduler: [str(entry[0]) for entry in dask_scheduler.transition_log])
    return {name for name in ("_draw_shard", "_describe") if any(key.startswith(name) for key in log)}


def test_stages_that_draw_on_a_cluster_give_the_same_bytes_and_dvc_sees_no_change(fork: Project, cluster: str, monkeypatch):
    before = fork.lock()
    for name, value in fork.environment().items():
        monkeypatch.setenv(name, value)
    runner, said = StageRunner(fork.root, force=True, pipeline_run="dask", dask_address=cluster), []
    part = next(name for name in before if name.startswith("render@"))
    assert runner.run(part, said.append) == "Ran", said
    assert drawn_by(cluster) == {"_draw_shard", "_describe"}
    assert fork.lock() == before
    assert json.loads(fork.dvc("status", "--json").stdout) == {}
    assert StageRunner(fork.root, pipeline_run="processes").run(part, quiet) == "Cached"
