#!/usr/bin/env python3
"""Breaks what a running `retrain` stands on, at random moments, and checks that the next run mends everything.

usage: tools/fault_drill.py [--trials N] [--seed 0] [--faults worker,server,...] [--stages heads,release,...] [--out drill.jsonl]

A project at the size of the tests runs as in a studio: a Prefect server and MLflow on PostgreSQL, artifacts and renders in a bucket, a worker. First it
runs undisturbed with two values of `heads.seed`, which every stage depends on. Each trial then goes from one value to the other: what the undisturbed run
made is at hand for all stages but one, of which nothing is left; the deployment `retrain/serep` is started, and when that stage has begun, after a random time,
it

    worker     kills the worker, the flow run and its stage
    server     kills the Prefect server
    database   kills PostgreSQL
    bucket     cuts every connection to the S3 server and refuses new ones
    disk       fills the disk that the project lies on (needs root, to mount a small one)

Some seconds later (a full disk: up to 40) all is brought back and the deployment runs again. Then: the run ended as it must; dvc.lock is that of the
undisturbed run; every output has its hash; nothing half-finished lies about; the champions are the right pair of versions, and `serep trace --verify`
confirms them. In every third trial the gate can be passed by no model, so that the champions must not have moved. Trials go through all pairs of a fault
and a stage in random order, by default each once. One JSON line a trial, at the end the counts. Status 1 when a check failed.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import fsspec  # noqa: E402
import psutil  # noqa: E402
from cut_line import CutLine  # noqa: E402
from postgres_server import Postgres, postgres_server  # noqa: E402
from prefect_server import Prefect, kill_family  # noqa: E402
from s3_server import s3_server  # noqa: E402
from small_project import Project, commit, copy_project  # noqa: E402

from serep.training.lineage import cached_object, file_md5, folder_listing, folder_md5  # noqa: E402

FAULTS = ("worker", "server", "database", "bucket", "disk")
# Where a fault may strike: the stages that have work to do without pictures of real faces, and the release that follows them.
STAGES = ("heads", "preprocess", "train_semantic@neural", "score_semantic", "score_topology", "render@train-0", "render_simulated@simulated-train",
          "train_capture", "score_capture", "benchmark", "report", "release")
VALUES = (11, 12)
RUN_S, DISK_MB = 1200, 400
# How long it stays broken; a full disk until somebody must have met it.
OUTAGE_S = {"worker": (1, 8), "server": (1, 8), "database": (1, 15), "bucket": (1, 20), "disk": (10, 40)}
FILLER = "filler.bin"
FULL_GATE, OPEN_GATE = 2.0, None  # bound of a share that no model reaches, and none


@dataclass
class Trial:
    number: int
    fault: str
    stage: str
    gate: str
    struck_after_s: float = 0.0
    disturbed: str = ""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Studio:
    """The project and all that it stands on."""

    def __init__(self, project: Project, prefect: Prefect, postgres: Postgres, line: CutLine, disk: Path | None) -> None:
        self.project, self.prefect, self.postgres, self.line, self.disk = project, prefect, postgres, line, disk
        self.worker: subprocess.Popen | None = None
        self.last_log = 0
        self.references: dict[int, dict] = {}  # value of heads.seed → dvc.lock
        self.shards: dict[int, set[str]] = {}  # … → folders of renders in the bucket
        self.lasted: dict[str, float] = {}  # seconds of each stage in undisturbed runs

    def start_worker(self) -> None:
        self.worker = self.prefect.start_worker(self.project.root)

    def start_run(self, *, measure_champion: bool = True) -> subprocess.Popen:
        parameters = () if measure_champion else ("--param", "stored_scores=true")
        self.last_log = (self.prefect.folder / "worker.log").stat().st_size
        return subprocess.Popen([sys.executable, "-m", "prefect", "deployment", "run", "retrain/serep", "--watch", *parameters], cwd=self.project.root,
                                env=self.prefect.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def said(self) -> str:
        """What the worker's log got since the run was started."""
        with (self.prefect.folder / "worker.log").open(errors="replace") as log:
            log.seek(self.last_log)
            return log.read()

    def wait_for(self, stage: str, run: subprocess.Popen) -> bool:
        line = "for flow 'release'" if stage == "release" else f"Running stage '{stage}'"
        deadline = time.monotonic() + RUN_S
        while time.monotonic() < deadline and run.poll() is None:
            if line in self.said():
                return True
            time.sleep(0.1)
        return False

    def flow_runs(self) -> list[psutil.Process]:
        """Processes of this studio's flow runs."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = process.info["cmdline"] or []
            if words[1:3] == ["-m", "prefect.engine"] and process.info["cwd"] == str(self.project.root):
                found.append(process)
        return found

    @property
    def value(self) -> int:
        return self.project.params()["heads"]["seed"]

    def render_folders(self) -> set[str]:
        """In the bucket: one for each part and plan."""
        files, store = fsspec.filesystem("s3", skip_instance_cache=True), self.project.params()["render"]["store"]
        return {folder for part in files.ls(store) for folder in files.ls(part)} if files.exists(store) else set()

    def champions(self) -> dict[str, dict[str, object]]:
        """Of each model: version and digest of its files."""
        code = ("import json; from pathlib import Path; from serep.training import champions as c, tracking as t; client, _ = t.open_store(Path.cwd()); "
                "print(json.dumps({n: [v, client.get_model_version(n, str(v)).tags['files_sha256']] for n, v in c.champions(client).items()}))")
        return {name: tuple(found) for name, found in json.loads(self.project.run(sys.executable, "-c", code).stdout.splitlines()[-1]).items()}

    def models(self) -> dict[str, str]:
        code = ("import json; from pathlib import Path; from flows.release import candidate; from serep.config import load_params; "
                "from serep.training.release import folder_digest; r = Path.cwd(); "
                "print(json.dumps({n: folder_digest(f) for n, f in candidate(r, load_params(r)).folders.items()}))")
        return json.loads(self.project.run(sys.executable, "-c", code).stdout.splitlines()[-1])

    def set_gate(self, bound: float | None) -> None:
        self.project.edit_params(release__gate__found__bound=bound)

    def forget(self, stage: str) -> None:
        """All that is left of what the stage once made with the present value, so that it runs and its outputs are stored anew."""
        entry = self.references[self.value]["stages"][stage]
        cache = self.project.root / ".dvc" / "cache"
        for record in (cache / "runs").glob("*/*/*"):
            if yaml.safe_load(record.read_text())["cmd"] == entry["cmd"]:
                record.unlink()
                with suppress(OSError):  # DVC stops at an empty folder
                    record.parent.rmdir()
        kept = {digest for name, other in self.references[self.value]["stages"].items() if name != stage for digest in self._objects(other)}
        for digest in self._objects(entry) - kept:
            cached_object(cache, digest).unlink(missing_ok=True)
        if stage.startswith("render"):
            files = fsspec.filesystem("s3", skip_instance_cache=True)
            for folder in self.shards[self.value]:
                if folder.split("/")[-2] == stage.partition("@")[2]:
                    files.rm(folder, recursive=True)

    def _objects(self, entry: dict) -> set[str]:
        """Names in DVC's cache of all that an entry of dvc.lock puts out."""
        found = {out["md5"] for out in entry.get("outs", [])}
        for digest in [digest for digest in found if digest.endswith(".dir")]:
            listing = cached_object(self.project.root / ".dvc" / "cache", digest)
            found |= set(folder_listing(listing).values()) if listing.exists() else set()
        return found


def strike(studio: Studio, fault: str) -> None:
    if fault == "worker":
        kill_family(studio.worker)
    elif fault == "server":
        studio.prefect.kill()
    elif fault == "database":
        studio.postgres.kill()
    elif fault == "bucket":
        studio.line.cut()
    else:
        fill(studio.project.root)


def mend(studio: Studio, fault: str) -> None:
    """Everything is there again; what the fault took with it is started anew, as a machine's services would be."""
    if fault == "database":
        studio.postgres.start()
    if fault == "bucket":
        studio.line.mend()
    if fault == "disk":
        (studio.project.root / FILLER).unlink(missing_ok=True)
    if fault == "server" or studio.prefect.process.poll() is not None:
        if studio.prefect.process.poll() is None:
            studio.prefect.kill()
        studio.prefect.start()
    if studio.worker.poll() is not None:
        studio.start_worker()


def fill(folder: Path) -> None:
    with (folder / FILLER).open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def settle(studio: Studio, run: subprocess.Popen) -> str:
    """Waits until the disturbed run has ended by itself; how it did. One that hangs is ended."""
    deadline = time.monotonic() + RUN_S
    while studio.flow_runs() and time.monotonic() < deadline:
        time.sleep(0.5)
    left = studio.flow_runs()
    for process in left:
        process.kill()
    try:
        run.communicate(timeout=20)
    except subprocess.TimeoutExpired:  # its run was killed: the server believes that it still runs
        run.kill()
        run.communicate()
        return "hung" if left else "lost"
    return "hung" if left else "completed" if run.returncode == 0 else "failed"


def check(studio: Studio, trial: Trial, before: dict, run_code: int, output: str) -> list[str]:
    """What is wrong after the run that follows a fault; empty when nothing is."""
    root, problems = studio.project.root, []
    expected = studio.references[studio.value]
    refused = trial.gate == "shut"
    if (run_code != 0) != refused or (refused and "Refused" not in output + studio.said()):
        problems.append(f"the next run ended with {run_code}: {studio.said()[-1500:]}")
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    if lock != expected:
        problems.append(f"dvc.lock differs from an undisturbed run's: {_unlike(lock, expected)}")
    if (status := json.loads(studio.project.dvc("status", "--json").stdout)) != {}:
        problems.append(f"dvc status: {status}")
    for stage, entry in lock["stages"].items():
        for out in entry.get("outs", []):
            place = root / out["path"]
            if not place.exists() or (folder_md5(place) if place.is_dir() else file_md5(place)) != out["md5"]:
                problems.append(f"{stage}: {out['path']} has not its hash")
    halves = [str(path.relative_to(root)) for path in root.rglob("*.partial") if path.name != "records.partial" and ".dvc" not in path.parts]
    if halves:
        problems.append(f"half-finished: {halves}")
    champions, models = studio.champions(), studio.models()
    if refused and champions != before:
        problems.append(f"promoted although the gate was shut: {before} -> {champions}")
    if not refused and {name: digest for name, (_, digest) in champions.items()} != models:
        problems.append(f"the champions {champions} are not the models here {models}")
    for name in champions:
        told = studio.project.run("serep", "trace", f"models:/{name}@{'challenger' if refused else 'champion'}", "--verify", check=False)
        if told.returncode != 0:
            problems.append(f"trace of {name}: {(told.stdout + told.stderr)[-800:]}")
    return problems


def _unlike(one: dict, other: dict) -> list[str]:
    return [name for name in sorted({*one["stages"], *other["stages"]}) if one["stages"].get(name) != other["stages"].get(name)]


def reference(studio: Studio) -> None:
    """An undisturbed run with the present values: its dvc.lock, and how long each stage takes."""
    began, seen = time.monotonic(), {}
    run = studio.start_run()
    while run.poll() is None:
        for line in studio.said().splitlines():
            if "Running stage '" in line or "for flow 'release'" in line:
                seen.setdefault("release" if "for flow 'release'" in line else line.split("'")[-2], time.monotonic())
        time.sleep(0.2)
    output = run.communicate()[0]
    if run.returncode != 0:
        raise RuntimeError(f"the undisturbed run failed:\n{output[-2000:]}\n{studio.said()[-4000:]}")
    order = [*sorted(seen.values()), time.monotonic()]
    studio.lasted |= {stage: order[order.index(moment) + 1] - moment for stage, moment in seen.items()}
    studio.references[studio.value] = yaml.safe_load((studio.project.root / "dvc.lock").read_text())
    studio.shards[studio.value] = studio.render_folders().difference(*studio.shards.values())
    times = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in studio.lasted.items())
    print(f"undisturbed run with heads.seed {studio.value}: {time.monotonic() - began:.0f} s ({times})", flush=True)


def attempt(studio: Studio, trial: Trial, rng: random.Random) -> None:
    began = time.monotonic()
    studio.set_gate(FULL_GATE if trial.gate == "shut" else OPEN_GATE)
    before = studio.champions()
    measure_champion = trial.stage == "release"  # by the present test: the rest of a release is the same without
    run = studio.start_run(measure_champion=measure_champion)
    if not studio.wait_for(trial.stage, run):
        run.kill()
        trial.problems = [f"{trial.stage} never began: {run.communicate()[0][-500:]} {studio.said()[-1500:]}"]
        return
    trial.struck_after_s = round(rng.uniform(0, 1.1 * studio.lasted.get(trial.stage, 8.0)), 2)
    time.sleep(trial.struck_after_s)
    strike(studio, trial.fault)
    time.sleep(rng.uniform(*OUTAGE_S[trial.fault]))
    mend(studio, trial.fault)
    trial.disturbed = settle(studio, run)
    middle = studio.champions()
    mend(studio, "")  # what the run's end may have taken along
    again = studio.start_run(measure_champion=measure_champion)
    try:
        output, _ = again.communicate(timeout=RUN_S)
    except subprocess.TimeoutExpired:
        again.kill()
        trial.problems = [f"the next run did not end: {studio.said()[-3000:]}"]
        return
    trial.problems = check(studio, trial, before, again.returncode, output)
    if trial.gate == "shut" and middle != before:
        trial.problems.append(f"promoted by the disturbed run although the gate was shut: {before} -> {middle}")
    trial.seconds = round(time.monotonic() - began, 1)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own in `folder`, where the system lets us."""
    folder.mkdir(parents=True)
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=False,
                                                   capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


@contextmanager
def studio_in(folder: Path) -> Iterator[Studio]:
    with ExitStack() as stack:
        mounted = stack.enter_context(small_disk(folder / "project"))
        s3 = stack.enter_context(s3_server())
        line = CutLine(int(s3.endpoint.rpartition(":")[2]))
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{line.port}"
        postgres = stack.enter_context(postgres_server())
        postgres.create("mlflow", "prefect")
        project = copy_project(folder / "project")
        parts = {name: part for name, part in project.params()["render"]["parts"].items() if name not in ("train-1", "train-2", "train-3")}
        project.edit_params(render__store=s3.url("renders"), render__parts=parts, semantic__kinds=["neural"])
        project.edit_params(**{f"release__gate__{bar}__margin": 1000.0 for bar in ("reconstruction", "retargeting", "capture", "views", "found")})
        project.settings |= {"MLFLOW_TRACKING_URI": postgres.url("mlflow", scheme="postgresql+psycopg2"), "PGPASSWORD": postgres.password,
                             "MLFLOW_DEFAULT_ARTIFACT_ROOT": s3.url("mlflow"), "OMP_NUM_THREADS": "1"}
        (project.root / ".gitignore").open("a").write(f"{FILLER}\n")
        commit(project, "drill")
        database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url("prefect", scheme="postgresql+asyncpg")}
        prefect = Prefect.on_a_free_port(folder / "prefect", project.environment(), database)
        prefect.start()
        studio = Studio(project, prefect, postgres, line, folder / "project" if mounted else None)
        stack.callback(lambda: [kill_family(process) for process in (studio.worker, prefect.process) if process])
        for words in (("work-pool", "create", "serep", "--type", "process"), ("--no-prompt", "deploy", "--all")):
            done = prefect.run(*words, cwd=project.root)
            if done.returncode != 0:
                raise RuntimeError(done.stdout + done.stderr)
        studio.start_worker()
        yield studio


def drill(studio: Studio, pairs: list[tuple[str, str]], rng: random.Random, out: Path) -> list[Trial]:
    done: list[Trial] = []
    for value in VALUES:
        studio.project.edit_params(heads__seed=value)
        reference(studio)
    for number, (fault, stage) in enumerate(pairs):
        studio.project.edit_params(heads__seed=next(value for value in VALUES if value != studio.value))
        if stage != "release":
            studio.forget(stage)
        trial = Trial(number, fault, stage, "shut" if number % 3 == 2 else "open")
        attempt(studio, trial, rng)
        done.append(trial)
        with out.open("a") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
        print(f"{number + 1}/{len(pairs)} {trial.fault} in {trial.stage} after {trial.struck_after_s} s, gate {trial.gate}: run {trial.disturbed}; "
              f"{'; '.join(trial.problems) or 'mended'} ({trial.seconds:.0f} s)", flush=True)
        if trial.problems:
            shutil.copytree(studio.prefect.folder, out.with_suffix(f".{number}.logs"), dirs_exist_ok=True, ignore=shutil.ignore_patterns("prefect"))
    return done


def main() -> int:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--trials", type=int, default=None, help="how many; default: each pair of a fault and a stage once")
    cli.add_argument("--seed", type=int, default=None, help="of the order and of the moments")
    cli.add_argument("--faults", default=",".join(FAULTS))
    cli.add_argument("--stages", default=",".join(STAGES))
    cli.add_argument("--out", type=Path, default=Path("drill.jsonl"))
    options = cli.parse_args()
    faults, stages = options.faults.split(","), options.stages.split(",")
    if unknown := [name for name, known in [*((fault, FAULTS) for fault in faults), *((stage, STAGES) for stage in stages)] if name not in known]:
        cli.error(f"unknown: {', '.join(unknown)} (faults: {', '.join(FAULTS)}; stages: {', '.join(STAGES)})")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # everything that was started ends with this
    folder = Path(tempfile.mkdtemp(prefix="serep-drill-"))
    options.out.unlink(missing_ok=True)
    try:
        with studio_in(folder) as studio:
            if studio.disk is None and "disk" in faults:
                print("no small disk can be mounted here (needs root): the fault `disk` is left out", flush=True)
                faults.remove("disk")
            rng = random.Random(options.seed)
            pairs = [(fault, stage) for fault in faults for stage in stages]
            rounds = -(-(options.trials or len(pairs)) // len(pairs))
            order = [pair for _ in range(rounds) for pair in rng.sample(pairs, len(pairs))][: options.trials]
            done = drill(studio, order, rng, options.out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    struck = Counter(trial.fault for trial in done)
    bad = [trial for trial in done if trial.problems]
    print(f"{len(done)} trials ({', '.join(f'{fault} {count}' for fault, count in sorted(struck.items()))}): {len(done) - len(bad)} mended, {len(bad)} not")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
