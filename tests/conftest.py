"""Fixtures of the whole suite, and the run-time check of the shapes that signatures state."""
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)  # tests run side by side: threads of one would only wait for those of the other

_hook = install_import_hook("serep", "typecheck.check")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Every test, its fixtures included, draws the same numbers, whichever tests ran before it in the same process."""
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real meshes, photos and videos beside the repository; they may not be published, so most machines lack them."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def head_model():
    """The built-in head model."""
    import serep.faces

    return serep.faces.open_head_model("makehuman", serep.faces.BUILT_IN_HEADS)


@pytest.fixture(scope="session")
def topology(head_model):
    return head_model.topology
