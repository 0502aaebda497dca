import numpy as np
import pytest
import torch
from tests.reference import meta_weights as slow

from metadcseg.algorithm.meta_weights import (
    initial_weights,
    normalize_weights,
    pseudo_labels,
    update_weights,
    weighted_pixel_loss,
)
from metadcseg.errors import InputError
from metadcseg.tensors import IGNORE, PixelGradients, WeightMaps


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(seed=0, shape=(2, 4, 5)):
    return WeightMaps(random(*shape, seed=seed).abs(), random(*shape, seed=seed + 1).abs())


def gradients(seed=5, shape=(2, 4, 5)):
    return PixelGradients(random(*shape, seed=seed), random(*shape, seed=seed + 1))


def some_valid(shape=(2, 4, 5)):
    valid = torch.ones(shape, dtype=torch.bool)
    valid[0, 0, :3] = False
    valid[1, 3, 2] = False
    return valid


EVERY = torch.ones(2, 4, 5, dtype=torch.bool)


def test_start_is_full_trust_in_the_label():
    alpha, beta = slow.start(2, 3, 4)
    got = initial_weights((2, 3, 4))
    assert np.array_equal(got.alpha.numpy(), alpha)
    assert np.array_equal(got.beta.numpy(), beta)


def test_pseudo_labels_are_the_most_probable_class_without_graph():
    logits = random(2, 4, 3, 5).requires_grad_()
    got = pseudo_labels(logits)
    assert got.dtype == torch.int64
    assert not got.requires_grad
    for i, h, w in np.ndindex(2, 3, 5):
        assert got[i, h, w] == slow.pseudo_label(logits[i, :, h, w].tolist())


def test_pixel_loss_equals_the_loop():
    logits, maps = random(2, 3, 4, 5), weights()
    labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
    labels[0, 1, 1], labels[1, 0, 0], labels[1, 0, 1] = IGNORE, 0, 1
    expected = slow.pixel_loss(logits.numpy(), labels.numpy(), maps.alpha.numpy(), maps.beta.numpy())
    got = weighted_pixel_loss(logits, labels, pseudo_labels(logits), maps)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-14)
    assert got[0, 1, 1].item() == 0.0


def test_gamma_equals_the_loop():
    maps = weights()
    np.testing.assert_array_equal(maps.gamma.numpy(), slow.gamma(maps.alpha.numpy(), maps.beta.numpy()))


def test_literal_update_equals_the_loop_and_rectifies():
    maps, step = weights(), gradients()
    got = update_weights(maps, step, eta=0.7, valid=EVERY)
    for name in ("alpha", "beta"):
        expected = slow.weight_step(getattr(maps, name).numpy(), getattr(step, name).numpy(), 0.7)
        np.testing.assert_allclose(getattr(got, name).numpy(), expected, rtol=1e-14)
        assert (getattr(got, name) == 0).any()
        assert (getattr(got, name) > 0).any()


def test_an_all_zero_gradient_moves_nothing():
    maps = weights()
    zero = PixelGradients(torch.zeros_like(maps.alpha), torch.zeros_like(maps.alpha))
    got = update_weights(maps, zero, eta=0.5, valid=EVERY)
    assert torch.equal(got.alpha, maps.alpha)
    assert torch.equal(got.beta, maps.beta)


def test_pixels_that_are_not_valid_stay_and_do_not_matter():
    maps, step, valid = weights(), gradients(), some_valid()
    wild = PixelGradients(torch.where(valid, step.alpha, 1e6), torch.where(valid, step.beta, -1e6))
    got = update_weights(maps, step, eta=0.1, valid=valid)
    same = update_weights(maps, wild, eta=0.1, valid=valid)
    assert torch.equal(got.alpha[~valid], maps.alpha[~valid])
    assert torch.equal(got.beta[~valid], maps.beta[~valid])
    assert torch.equal(got.alpha, same.alpha)
    assert torch.equal(got.beta, same.beta)
    assert not torch.equal(got.alpha, maps.alpha)


def test_a_weight_at_zero_can_return_at_once():
    maps = WeightMaps(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    up = PixelGradients(torch.full((1, 1, 1), 5.0), torch.full((1, 1, 1), -5.0))
    every = torch.ones(1, 1, 1, dtype=torch.bool)
    for _ in range(10):
        maps = update_weights(maps, up, eta=1.0, valid=every)
    back = PixelGradients(-up.alpha, up.beta)
    assert update_weights(maps, back, eta=1.0, valid=every).alpha.item() == 5.0


def test_image_normalization_is_eq_24_times_the_number_of_pixels():
    maps = weights()
    got = normalize_weights(maps, "image", EVERY)
    for i in range(2):
        alpha, beta = slow.normalized(maps.alpha[i].numpy(), maps.beta[i].numpy())
        np.testing.assert_allclose(got.alpha[i].numpy(), alpha * 20, rtol=1e-12)
        np.testing.assert_allclose(got.beta[i].numpy(), beta * 20, rtol=1e-12)


def test_image_normalization_averages_one_over_valid_pixels():
    valid = some_valid()
    gamma = normalize_weights(weights(), "image", valid).gamma
    assert (gamma[~valid] == 0).all()
    for i in range(2):
        assert gamma[i][valid[i]].mean().item() == pytest.approx(1.0, rel=1e-12)


def test_batch_normalization_averages_one_over_the_batch_and_keeps_the_order_of_images():
    maps, valid = weights(), some_valid()
    maps = WeightMaps(maps.alpha * torch.tensor([1.0, 3.0]).view(2, 1, 1), maps.beta)
    gamma = normalize_weights(maps, "batch", valid).gamma
    assert gamma[valid].mean().item() == pytest.approx(1.0, rel=1e-12)
    assert gamma[1][valid[1]].mean() > gamma[0][valid[0]].mean()
    assert (gamma[~valid] == 0).all()


def test_complementary_normalization_sums_to_one_in_every_valid_pixel():
    maps, valid = weights(), some_valid()
    maps.alpha[1, 1, 1] = maps.beta[1, 1, 1] = 0.0
    got = normalize_weights(maps, "complementary", valid)
    torch.testing.assert_close(got.gamma, valid.double(), rtol=1e-12, atol=0)
    assert got.alpha[1, 1, 1].item() == 1.0  # both zero: eq. 2


@pytest.mark.parametrize("mode", ["image", "batch", "complementary"])
def test_weights_that_are_all_zero_go_back_to_the_start(mode):
    valid = some_valid()
    zero = WeightMaps(torch.zeros(2, 4, 5), torch.zeros(2, 4, 5))
    got = normalize_weights(zero, mode, valid)
    assert torch.equal(got.alpha, valid.float())
    assert torch.equal(got.beta, torch.zeros(2, 4, 5))


def test_one_image_of_zeros_goes_back_alone():
    maps = weights()
    maps.alpha[0], maps.beta[0] = 0.0, 0.0
    got = normalize_weights(maps, "image", EVERY)
    assert (got.alpha[0] == 1).all()
    assert (got.beta[0] == 0).all()
    torch.testing.assert_close(got.alpha[1], normalize_weights(weights(), "image", EVERY).alpha[1])
    assert (normalize_weights(maps, "batch", EVERY).gamma[0] == 0).all()  # L2B: others take it all


@pytest.mark.parametrize("mode", ["image", "batch", "complementary"])
def test_an_image_without_valid_pixel_is_zero_and_finite(mode):
    valid = EVERY.clone()
    valid[0] = False
    gamma = normalize_weights(weights(), mode, valid).gamma
    assert (gamma[0] == 0).all()
    assert gamma[1].mean().item() == pytest.approx(1.0, rel=1e-12)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(InputError, match="'image'"):
        normalize_weights(weights(), "images", EVERY)
