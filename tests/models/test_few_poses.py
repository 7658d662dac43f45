"""Few poses are what the rig shows, for every kind of model, and some of them alone are the same to rounding."""
import numpy as np
import pytest
import torch

from serep.models.few_poses import FewPoses
from serep.models.semantic import SEMANTIC_KINDS

CODE_SIZE, MODES = 5, 7
SIZES = {
    "displacement_pca": {}, "gradient_pca": {"gradient_modes": MODES}, "gradient_fit": {"gradient_modes": MODES},
    "neural": {"gradient_modes": MODES, "identity_modes": 3, "width": 16, "residual_blocks": 1},
}


def random_model(kind: str, topology):
    torch.manual_seed(0)
    model = SEMANTIC_KINDS[kind](topology, code_size=CODE_SIZE, **SIZES[kind])
    for name, values in [*model.named_buffers(), *model.named_parameters()]:
        if "mean_vertices" not in name and values.ndim > 1:
            torch.nn.init.normal_(values.data, std=0.1)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("kind", SEMANTIC_KINDS)
def test_poses_are_those_of_the_rig(kind, head_model):
    model, rng = random_model(kind, head_model.topology), np.random.default_rng(3)
    neutral = model.topology.mesh(np.asarray(head_model.draw_neutral(rng=rng), np.float64))
    codes = rng.normal(size=(23, CODE_SIZE)).astype(np.float32)
    poses = FewPoses(model)
    found, expected = poses.pose(neutral, codes), model.bind(neutral).pose(codes)
    moved = np.abs(expected - neutral.vertices).max()
    assert moved > 0.2 and found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5 * moved + 2e-5)
    np.testing.assert_allclose(poses.pose(neutral, codes[4:6]), found[4:6], atol=2e-5 * moved + 2e-5)
    np.testing.assert_allclose(poses.pose(neutral, np.zeros((1, CODE_SIZE), np.float32))[0], neutral.vertices, atol=1e-4)


def test_codes_that_are_not_finite_are_refused(head_model):
    poses = FewPoses(random_model("gradient_fit", head_model.topology))
    with pytest.raises(ValueError, match="expression codes are not finite"):
        poses.pose(head_model.topology.mesh(head_model.topology.template), np.full((2, CODE_SIZE), np.nan, np.float32))
