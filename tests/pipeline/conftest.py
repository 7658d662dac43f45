"""A copy of the project at the size of the tests, run once through the whole graph."""
import os
import shutil
from pathlib import Path

import pytest
from small_project import Project, commit, copy_project


@pytest.fixture(scope="session")
def params_read(tmp_path_factory) -> Path:
    """A folder of notes: which values of params.yaml each stage of the `finished` project read (see traced/sitecustomize.py)."""
    return tmp_path_factory.mktemp("params_read")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, params_read) -> Project:
    """The whole graph run once. Tests that change it work on `fork`."""
    project = copy_project(tmp_path_factory.mktemp("finished"))
    watch = {"PYTHONPATH": f"{Path(__file__).parent / 'traced'}{os.pathsep}{project.root}", "PARAMS_READ": str(params_read)}
    Project(project.root, watch).dvc("repro")
    commit(project, "ran")
    return project


@pytest.fixture
def fork(finished, tmp_path) -> Project:
    """A copy of the finished project that a test may change."""
    root = tmp_path / "fork"
    shutil.copytree(finished.root, root, symlinks=True)
    return Project(root)
