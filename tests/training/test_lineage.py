"""The chain of a real dvc.lock, and that every byte that changes or goes is noticed."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serep.training.lineage import Record, Shelves, file_md5, folder_md5, lineage

STAGE = """
import sys
from pathlib import Path
out, *needs = sys.argv[1:]
Path(out).mkdir(parents=True)
text = "".join(file.read_text() for need in needs for file in sorted(Path(need).rglob("*")) if file.is_file())
for name in ("a.txt", "b/a.txt", "b-c.txt"):
    (Path(out) / name).parent.mkdir(exist_ok=True)
    (Path(out) / name).write_text(out + name + text)
Path(out.replace("/", "_") + ".json").write_text("1")
"""
PIPELINE = """
stages:
  heads:
    cmd: python stage.py data/heads scans
    deps: [scans, stage.py]
    outs: [data/heads]
    metrics: [{data_heads.json: {cache: false}}]
  part:
    foreach: [x, y]
    do:
      cmd: python stage.py data/parts/${item} data/heads
      deps: [data/heads]
      params: [seed]
      outs: ["data/parts/${item}"]
  train:
    cmd: python stage.py models/net data/parts
    deps: [data/parts]
    outs: [models/net]
  aside:
    cmd: python stage.py other scans
    deps: [scans]
    outs: [other]
"""


def run(root: Path, *command: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("lineage")
    files = {"stage.py": STAGE, "dvc.yaml": PIPELINE, "params.yaml": "seed: 1\n", ".gitignore": "/data/\n",
             "scans/anna.obj": "v 0 0 0", "scans/ben/ben.obj": "v 1 0 0"}
    for name, content in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(content)
    run(root, "git", "init", "-q")
    run(root, sys.executable, "-m", "dvc", "init", "-q")
    run(root, sys.executable, "-m", "dvc", "config", "cache.type", "copy")
    run(root, sys.executable, "-m", "dvc", "repro", "-q")
    run(root, "git", "add", "stage.py", "data_heads.json", "scans")
    run(root, "git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "ran")
    return root


@pytest.fixture
def project(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project"))


def steps_of(root: Path):
    return lineage(yaml.safe_load((root / "dvc.lock").read_text()), "models/net")


def unconfirmed(root: Path) -> dict[str, str]:
    shelves = Shelves(root / ".dvc" / "cache", root, run(root, "git", "rev-parse", "HEAD"))
    return {finding.record.path: finding.state for finding in shelves.verify(steps_of(root)) if finding.state != "ok"}


def stored(root: Path, path: str) -> Path:
    md5 = next(record.md5 for step in steps_of(root) for record in step.made if record.path == path)
    return root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


def test_chain_goes_from_the_model_to_the_files_no_stage_made(finished):
    steps = steps_of(finished)
    assert [step.stage for step in steps] == ["train", "part@x", "part@y", "heads"]
    train, part, _, heads = steps
    assert [record.path for record in train.read] == ["data/parts"] and not train.sources
    assert part.command == "python stage.py data/parts/x data/heads" and part.values_sha256 != train.values_sha256
    assert heads.sources == (Record("scans", folder_md5(finished / "scans")),)
    assert heads.code == (Record("stage.py", file_md5(finished / "stage.py")),)
    assert train.made == (Record("models/net", folder_md5(finished / "models/net")),)


def test_output_that_is_not_in_the_lock_is_named():
    with pytest.raises(ValueError, match=r"no output 'models/net' \(found: a\.txt\)"):
        lineage({"stages": {"one": {"outs": [{"path": "a.txt", "md5": "0"}]}}}, "models/net")


def test_untouched_project_is_confirmed_even_without_its_working_copies(project):
    assert unconfirmed(project) == {}
    for path in ("data", "models"):
        shutil.rmtree(project / path)
    (project / "stage.py").write_text("# edited since; the commit of the release has the old one")
    (project / "data_heads.json").unlink()
    assert unconfirmed(project) == {}


def test_flipped_bytes_are_found_wherever_they_are(project):
    (project / "scans" / "anna.obj").write_text("v 0 0 1")
    manifest = stored(project, "data/parts/x")
    content = project / ".dvc/cache/files/md5" / json.loads(manifest.read_text())[0]["md5"][:2] / json.loads(manifest.read_text())[0]["md5"][2:]
    content.chmod(0o644)
    content.write_text("other bytes")
    (manifest := stored(project, "models/net")).chmod(0o644)
    manifest.write_text("[]")
    assert unconfirmed(project) == {"scans": "changed", "data/parts/x": "changed", "models/net": "changed"}


def test_lost_bytes_are_found(project):
    stored(project, "data/parts/y").unlink()
    shutil.rmtree(project / "data" / "parts")
    shutil.rmtree(project / "scans")
    assert unconfirmed(project) == {"data/parts/y": "absent", "data/parts": "absent", "scans": "absent"}


def test_lock_whose_stages_do_not_join_is_found(project):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    lock["stages"]["part@x"]["deps"][0]["md5"] = "0" * 32 + ".dir"
    lock["stages"]["train"]["deps"][0]["md5"] = "1" * 32 + ".dir"
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert unconfirmed(project) == {"data/heads": "changed", "data/parts": "changed"}
