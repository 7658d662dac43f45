import torch

from serep.models.networks import CORRECTION_REACH, BoundDecoder, ExpressionEncoder, IdentityEncoder, MeshDecoder, ResidualNetwork

SIZES = {"width": 16, "residual_blocks": 2}


def trained(module: torch.nn.Module) -> torch.nn.Module:
    """The module with all weights at random, as if it had learned something."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for name, buffer in module.named_buffers():
        torch.nn.init.uniform_(buffer, 0.5 if "scale" in name else -1, 1)
    return module


def test_a_new_residual_network_is_the_zero_map():
    assert torch.equal(ResidualNetwork(4, 3, **SIZES)(torch.randn(5, 4)), torch.zeros(5, 3))


def test_zero_stays_zero_for_every_identity_whatever_the_weights():
    identity = torch.randn(6, 3)
    encoder, decoder = trained(ExpressionEncoder(7, 3, 4, **SIZES)), trained(MeshDecoder(4, 3, 7, **SIZES))
    assert encoder(torch.zeros(6, 7), identity).abs().max() < 1e-5
    assert decoder(torch.zeros(6, 4), identity).abs().max() < 1e-5
    assert encoder(torch.ones(6, 7), identity).abs().amax(1).min() > 0.1


def test_the_bound_decoder_is_the_decoder():
    decoder, identity, codes = trained(MeshDecoder(4, 3, 7, **SIZES)), torch.randn(1, 3), torch.randn(9, 4)
    torch.testing.assert_close(BoundDecoder(decoder, identity)(codes), decoder(codes, identity.expand(9, -1)), rtol=1e-4, atol=1e-5)


def test_decoder_gradients_in_float64():
    bound = BoundDecoder(trained(MeshDecoder(3, 2, 5, **SIZES)).double(), torch.randn(1, 2, dtype=torch.float64))
    assert torch.autograd.gradcheck(bound, torch.randn(2, 3, dtype=torch.float64, requires_grad=True))


def test_identity_features_stay_bounded_for_a_shape_far_from_all_training_people():
    encoder = trained(IdentityEncoder(3))
    assert encoder(torch.full((1, 3), 1e6)).abs().max() <= 1
    torch.testing.assert_close(encoder(torch.full((1, 3), 50.0)), encoder(torch.full((1, 3), 500.0)))


def test_far_from_all_training_data_the_linear_path_decides():
    identity, far = torch.randn(5, 3), 1e4 * torch.randn(5, 7)
    encoder = trained(ExpressionEncoder(7, 3, 4, **SIZES))
    assert (encoder(far, identity) - encoder.linear(far)).abs().max() <= 2 * CORRECTION_REACH * 1.01 + 1e-4 * encoder.linear(far).abs().max()
    decoder = trained(MeshDecoder(4, 3, 7, **SIZES))
    bound, codes = BoundDecoder(decoder, identity[:1]), 1e4 * torch.randn(5, 4)
    learned = (bound(codes) - decoder.linear(codes)) / decoder.scale
    assert 0.1 < learned.abs().max() <= 2 * CORRECTION_REACH * 1.01 + 1e-6 * decoder.linear(codes).abs().max() / decoder.scale.min()
