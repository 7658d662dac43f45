"""A copy of the project at the size of the tests, run once through the whole graph."""
import shutil

import pytest
from small_project import Project, commit, copy_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """The whole graph run once. Tests that change it work on `fork`."""
    project = copy_project(tmp_path_factory.mktemp("finished"))
    project.dvc("repro")
    commit(project, "ran")
    return project


@pytest.fixture
def fork(finished, tmp_path) -> Project:
    """A copy of the finished project that a test may change."""
    root = tmp_path / "fork"
    shutil.copytree(finished.root, root, symlinks=True)
    return Project(root)
