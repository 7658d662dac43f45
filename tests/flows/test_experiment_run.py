"""A run with other values: what it makes is in its own folder, the checkout stays as it was."""
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.experiment import checked_out, run_experiment
from flows.pipeline import StageRunner, ask_dvc

PARAMS = SimpleNamespace(paths=SimpleNamespace(real_images=Path("footage")), heads=SimpleNamespace(path=Path("scans.txt")))
PIPELINE = """
stages:
  heads:
    cmd: cat scans.txt footage/README.md footage/clip.txt params.yaml > heads.txt
    deps: [scans.txt, footage]
    params: [seed]
    outs: [heads.txt]
    metrics: [{m.json: {cache: false}}]
"""


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path, environment, monkeypatch) -> Path:
    root = tmp_path / "repository"
    (root / "footage").mkdir(parents=True)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "a")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "a@example.org")
    files = {"dvc.yaml": PIPELINE.replace("> heads.txt", "> heads.txt && echo 1 > m.json"), "params.yaml": "seed: 1\n", "footage/README.md": "page\n",
             "footage/clip.txt": "clip\n", "footage/.gitignore": "*\n!README.md\n!.gitignore\n", "scans.txt": "scan\n"}
    for name, content in files.items():
        (root / name).write_text(content)
    git(root, "init", "-q")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True, capture_output=True)
    git(root, "add", ".dvc", "dvc.yaml", "params.yaml", "footage")  # neither the clip nor the scan
    git(root, "commit", "-qm", "start")
    return root


def test_results_are_in_a_folder_of_their_own_and_the_checkout_stays_as_it_was(repository):
    before = {file.name: file.read_bytes() for file in repository.iterdir() if file.is_file()}, git(repository, "status", "--porcelain")
    said: list[str] = []
    rows = run_experiment(repository, "retrain-1", {"seed": 2}, params=PARAMS, runner=StageRunner(repository, pipeline_run="flow"), log=said.append)
    assert [(row["stage"], row["state"]) for row in rows] == [("heads", "Ran")] and any("Running stage" in line for line in said)
    with checked_out(repository, "retrain-1", params=PARAMS) as folder:
        assert (folder / "heads.txt").read_text() == "scan\npage\nclip\nseed: 2\n"
        assert ask_dvc(folder, "status", "--json").strip() == "{}"  # up to date: it may be released
        assert (folder / "m.json").read_text() == "1\n"
    assert not folder.exists() and "serep-retrain" not in git(repository, "worktree", "list")
    assert ({file.name: file.read_bytes() for file in repository.iterdir() if file.is_file()}, git(repository, "status", "--porcelain")) == before

    again = run_experiment(repository, "retrain-2", {"seed": 2}, params=PARAMS, runner=StageRunner(repository, pipeline_run="flow"), log=said.append)
    assert [row["state"] for row in again] == ["Restored"]
    with checked_out(repository, "retrain-2", params=PARAMS) as folder:
        assert (folder / "heads.txt").read_text() == "scan\npage\nclip\nseed: 2\n"


def test_failing_experiment_and_missing_one_are_said(repository):
    (repository / "scans.txt").unlink()
    with pytest.raises(RuntimeError, match=r"(?s)experiment retrain-1 failed .*scans\.txt"):
        run_experiment(repository, "retrain-1", {"seed": 3}, params=PARAMS, runner=StageRunner(repository, pipeline_run="flow"), log=lambda line: None)
    with pytest.raises(RuntimeError, match="DVC kept no experiment 'retrain-1'"), checked_out(repository, "retrain-1", params=PARAMS):
        pytest.fail("there is none")
