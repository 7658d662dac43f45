import pytest
import torch

from serep.models.losses import code_distance, displacement_distance


def test_known_values():
    zero = torch.zeros(2, 4)
    moved = torch.tensor([[3.0, 4.0, 0, 0], [0, 0, 0, 1.0]])
    assert displacement_distance(moved, zero).item() == pytest.approx((5 + 1) / 2, abs=1e-3)
    assert code_distance(moved, zero).item() == pytest.approx((2.5 + 0.5) / 2, abs=1e-3)


@pytest.mark.parametrize("loss", [displacement_distance, code_distance])
def test_gradients_are_right_and_finite_where_nothing_differs(loss):
    reference = torch.randn(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda predicted: loss(predicted, reference), torch.randn(3, 4, dtype=torch.float64, requires_grad=True))
    same = reference.clone().requires_grad_()
    loss(same, reference).backward()
    assert torch.isfinite(same.grad).all()
