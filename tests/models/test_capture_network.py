import math

import pytest
import torch

from serep.models.capture_network import ENCODERS, CaptureNetwork, DomainClassifier, LandmarkHead, even_exposure, gradient_reversal, heatmap_loss, reversal_strength


def tiny(code_size=5, landmark_count=7, image_size=32):
    torch.manual_seed(0)
    return CaptureNetwork(
        encoder="residual_tiny", image_size=image_size, code_size=code_size, landmark_count=landmark_count, local_width=4, hidden_width=8
    )


@pytest.mark.parametrize("encoder", ENCODERS)
def test_output_shapes(encoder):
    network = CaptureNetwork(encoder=encoder, image_size=64, code_size=5, landmark_count=7, local_width=4, hidden_width=8).eval()
    output = network(torch.rand(2, 3, 64, 64))
    assert output.codes.shape == (2, 5)
    assert output.landmarks.shape == (2, 7, 2)
    assert output.presence.shape == (2,)
    assert output.features.shape == (2, ENCODERS[encoder].widths[-1])
    assert output.heatmaps.shape == (2, 7, 16, 16)


def test_odd_map_sizes_fit_together():
    # 112 px: maps of 28, 14, 7 and 4 cells
    network = CaptureNetwork(encoder="residual_small", image_size=112, code_size=5, landmark_count=7, local_width=4, hidden_width=8).eval()
    assert network(torch.rand(1, 3, 112, 112)).codes.shape == (1, 5)


def test_refusals_name_value_and_key():
    with pytest.raises(ValueError, match="unknown image encoder 'resnet50'; use one of residual_tiny.*capture.encoder"):
        CaptureNetwork(encoder="resnet50", image_size=64, code_size=5, landmark_count=7, local_width=4, hidden_width=8)
    with pytest.raises(ValueError, match="image_size must be a multiple of 4 and at least 16.*got 30"):
        CaptureNetwork(encoder="residual_tiny", image_size=30, code_size=5, landmark_count=7, local_width=4, hidden_width=8)


def test_evaluation_does_not_depend_on_the_batch():
    network, images = tiny().eval(), torch.rand(4, 3, 32, 32)
    whole, alone = network(images), network(images[2:3])
    torch.testing.assert_close(whole.codes[2:3], alone.codes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.landmarks[2:3], alone.landmarks, rtol=1e-4, atol=1e-5)


def test_exposure_and_white_balance_are_taken_out():
    pictures = torch.rand(2, 3, 32, 32) * 0.5 + 0.2
    changed = pictures * torch.tensor([0.6, 1.0, 1.3])[:, None, None] + 0.1
    torch.testing.assert_close(even_exposure(pictures), even_exposure(changed), atol=0.06, rtol=0)
    torch.testing.assert_close(even_exposure(pictures).std(dim=(2, 3), correction=0), torch.ones(2, 3), atol=0.02, rtol=0)
    assert not even_exposure(torch.full((1, 3, 8, 8), 0.7)).abs().max() > 1e-4  # nothing to see stays nothing


def test_codes_leave_in_the_semantic_models_units():
    network, images = tiny().eval(), torch.rand(2, 3, 32, 32)
    standard = network(images).codes
    network.code_mean.fill_(3.0)
    network.code_spread.fill_(2.0)
    codes = network(images).codes
    torch.testing.assert_close(codes, 2 * standard + 3)
    torch.testing.assert_close(network.standardise(codes), standard, rtol=1e-4, atol=1e-5)


def test_landmark_is_the_mean_position_of_its_heat_map():
    head = LandmarkHead(map_width=1, landmark_count=1).eval()
    head.heatmaps = torch.nn.Identity()
    fine = torch.full((1, 1, 8, 8), -1e4)
    fine[0, 0, 2, 5] = fine[0, 0, 2, 6] = 0.0  # two cells beside one another
    landmarks, attention, heatmaps = head(fine)
    expected = torch.tensor([0.5 + (6.0 / 8 - 0.5) * 1.25, 0.5 + (2.5 / 8 - 0.5) * 1.25])
    torch.testing.assert_close(landmarks[0, 0], expected)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(1, 1))
    assert torch.equal(heatmaps, fine)


def test_heat_map_loss_is_least_where_the_mean_position_is_the_true_one():
    torch.manual_seed(0)
    head, places = LandmarkHead(map_width=1, landmark_count=2), torch.rand(3, 2, 2) * 0.9 + 0.05
    head.heatmaps = torch.nn.Identity()
    maps = torch.zeros(3, 2, 8, 6, requires_grad=True)  # maps need not be square
    optimiser, first = torch.optim.Adam([maps], lr=0.3), float(heatmap_loss(maps, places).mean().detach())
    assert first == pytest.approx(math.log(48), rel=1e-5)
    for _ in range(300):
        optimiser.zero_grad()
        loss = heatmap_loss(maps, places)
        loss.mean().backward()
        optimiser.step()
    assert loss.shape == (3, 2) and float(loss.mean().detach()) < 1.4  # what is left is the entropy of four cells, at most log 4
    torch.testing.assert_close(head(maps.detach())[0], places, atol=2e-3, rtol=0)


def test_places_outside_of_the_heat_map_count_at_its_edge():
    maps = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    edge, beyond = torch.tensor([[[1.3, 0.4], [0.4, -0.4]]]), torch.tensor([[[7.0, 0.4], [0.4, -9.0]]])
    torch.testing.assert_close(heatmap_loss(maps, edge), heatmap_loss(maps, beyond))


def test_gradient_reversal_is_the_identity_forward_and_turns_the_gradient():
    values = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    turned = gradient_reversal(values, 0.7)
    assert torch.equal(turned, values)
    weight = torch.randn(3, 4, dtype=torch.float64)
    (turned * weight).sum().backward()
    torch.testing.assert_close(values.grad, -0.7 * weight)


def test_domain_loss_moves_classifier_and_features_in_opposite_directions():
    torch.manual_seed(0)
    classifier, features = DomainClassifier(4, 8), torch.randn(16, 4)
    is_real = (torch.arange(16) < 8).float()

    def loss(inputs, strength):
        return torch.nn.functional.binary_cross_entropy_with_logits(classifier(inputs, strength), is_real)

    moved = features.clone().requires_grad_()
    before = loss(moved, 1.0)
    before.backward()
    assert loss(features - 0.5 * moved.grad, 1.0) > before  # descending the reversed gradient confuses the classifier
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter -= 0.1 * parameter.grad
    assert loss(features, 1.0) < before  # while the classifier itself gets better


def test_reversal_strength_rises_from_zero_to_one():
    assert reversal_strength(0.0) == 0.0
    assert reversal_strength(0.1) == pytest.approx(2 / (1 + math.exp(-1)) - 1)
    assert reversal_strength(1.0) > 0.999


def test_gradients_of_the_whole_network():
    network = tiny(code_size=2, landmark_count=3, image_size=16).double().eval()
    images = torch.rand(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)

    def answer(pixels):
        output = network(pixels)
        return output.presence, output.features

    assert torch.autograd.gradcheck(answer, (images,), eps=1e-6, atol=1e-4, nondet_tol=1e-9)
