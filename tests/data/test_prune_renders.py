"""Renders in a bucket follow DVC's cache: what a version there or the workspace names stays, the rest can go."""
import shutil
import subprocess
import sys

import pytest
from small_project import ROOT, Project, load_tool
from squares import draw_squares, tiny_spec

from serep.data.shards import open_part, write_part


@pytest.fixture
def prune(tmp_path, monkeypatch):
    """The tool in a project whose renders have a store; the project, and the store's folder."""
    project, store = Project(tmp_path / "project"), tmp_path / "store"
    project.root.mkdir()
    shutil.copy2(ROOT / "params.yaml", project.root)
    project.edit_params(render__store=f"file://{store}")
    (project.root / "dvc.yaml").write_text("stages:\n  draw:\n    cmd: 'true'\n    outs: [data/renders/train-0]\n")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=project.root, env=project.environment(), check=True)
    monkeypatch.chdir(project.root)
    return load_tool("prune_renders").main, project, store


def test_only_what_no_version_needs_is_deleted(prune, capsys):
    main, project, store = prune
    part = project.root / "data" / "renders" / "train-0"
    for plan in ("never-cached", "earlier", "present"):
        write_part(part, tiny_spec(store=f"file://{store}", plan_hash=plan), draw_squares)
        if plan == "earlier":
            project.dvc("commit", "--force", "draw")
            earlier = (part / "part.json").read_bytes()
    assert main([]) == 0
    assert "not needed: " in (told := capsys.readouterr().out) and told.count("never-cached") == 1 and "2 places needed" in told
    assert len(list((store / "train-0").iterdir())) == 3
    assert main(["--delete"]) == 0
    assert sorted(place.name for place in (store / "train-0").iterdir() if any(place.iterdir())) == ["earlier", "present"]
    open_part(part).verify()
    (part / "part.json").write_bytes(earlier)
    assert len(open_part(part)) == 10
    assert main([]) == 0 and "present" in capsys.readouterr().out, "the present version is neither here nor in the cache any more"


def test_without_a_store_there_is_nothing_to_prune(prune):
    main, project, _ = prune
    project.edit_params(render__store=None)
    with pytest.raises(SystemExit) as stopped:
        main(["--delete"])
    assert stopped.value.code == 2
