import numpy as np
import pytest
import torch
from small_heads import sheet

from serep.geometry.mesh import Mesh
from serep.models.networks import LinearMap
from serep.models.rig import Rig


@pytest.fixture
def rig(rng):
    vertices, faces, _ = sheet()
    decoder = LinearMap(3, 5)
    decoder.matrix.copy_(torch.randn(3, 5))
    return Rig(Mesh(vertices, faces), rng.standard_normal((5, len(vertices), 3)).astype(np.float32), decoder, 3)


def test_pose_is_neutral_plus_coefficients_times_basis(rig, rng):
    codes = rng.standard_normal((4, 3)).astype(np.float32)
    coefficients = rig.coefficients(torch.from_numpy(codes)).numpy()
    np.testing.assert_allclose(rig.pose(codes), rig.neutral.vertices + np.tensordot(coefficients, rig.basis, 1), atol=1e-4)
    assert rig.pose(codes).dtype == np.float32
    np.testing.assert_allclose(rig.pose(np.zeros((1, 3), np.float32))[0], rig.neutral.vertices, atol=1e-5)


def test_no_frames_give_no_meshes(rig):
    assert rig.pose(np.zeros((0, 3), np.float32)).shape == (0, len(rig.neutral.vertices), 3)


def test_coefficients_can_be_differentiated(rig):
    codes = torch.zeros(2, 3, requires_grad=True)
    rig.coefficients(codes).sum().backward()
    assert codes.grad.abs().min() > 0


def test_codes_of_another_size_or_with_nan_are_refused(rig):
    with pytest.raises(ValueError, match=r"must have shape \(B, 3\), got \(2, 4\)"):
        rig.coefficients(torch.zeros(2, 4))
    codes = np.zeros((3, 3), np.float32)
    codes[1, 2] = np.nan
    with pytest.raises(ValueError, match="1 of 3 expression codes are not finite .first at row 1"):
        rig.pose(codes)
