"""Robust losses: numbers worked out by hand, limits, gradients, and what a step descends."""

import pytest
import torch
from tests.contract.tools import batch, tiny_network
from tests.unit.methods.tools import run, same, start

from metadcseg.errors import InputError
from metadcseg.losses import mean_over_pixels, mean_soft_dice, pixel_cross_entropy
from metadcseg.methods.robust import (
    Robust,
    generalized_cross_entropy,
    noise_robust_dice,
    symmetric_cross_entropy,
)
from metadcseg.methods.supervised import Supervised
from metadcseg.tensors import IGNORE


def pixel(p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of one pixel whose given label has the probability p."""
    logits = torch.tensor([1 - p, p]).log().view(1, 2, 1, 1).requires_grad_()
    return logits, torch.ones(1, 1, 1, dtype=torch.int64)


def test_numbers_worked_out_by_hand():
    half = pixel(0.5)
    assert generalized_cross_entropy(*half, q=0.7).item() == pytest.approx((1 - 0.5**0.7) / 0.7, abs=1e-6)
    assert generalized_cross_entropy(*half, q=0.7).item() == pytest.approx(0.54918, abs=1e-5)
    assert symmetric_cross_entropy(*half, a=0.1, b=1.0).item() == pytest.approx(2.06931, abs=1e-5)


def test_gce_lies_between_cross_entropy_and_absolute_error():
    near = pixel(0.2)
    assert generalized_cross_entropy(*near, q=1e-4).item() == pytest.approx(1.6094, abs=1e-3)
    assert generalized_cross_entropy(*near, q=1.0).item() == pytest.approx(0.8)  # sum |p - y| / 2


def test_the_gradient_of_gce_is_that_of_cross_entropy_times_p_to_the_q():
    for p in (0.01, 0.5, 0.99):
        logits, label = pixel(p)
        (plain,) = torch.autograd.grad(pixel_cross_entropy(logits, label).sum(), logits)
        (robust,) = torch.autograd.grad(generalized_cross_entropy(logits, label, q=0.7).sum(), logits)
        torch.testing.assert_close(robust, plain * p**0.7)


def test_a_label_that_is_surely_wrong_stops_pulling():
    logits = torch.tensor([60.0, -60.0]).view(1, 2, 1, 1).requires_grad_()
    wrong = torch.ones(1, 1, 1, dtype=torch.int64)
    for loss in (
        generalized_cross_entropy(logits, wrong, 0.7),
        symmetric_cross_entropy(logits, wrong, 0.0, 1.0),
    ):
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert gradient.abs().max() < 1e-12
        assert loss.isfinite()


def test_noise_robust_dice_by_hand():
    p = torch.tensor([0.8, 0.4]).view(1, 1, 1, 2)
    found = noise_robust_dice(torch.cat([1 - p, p], dim=1), torch.tensor([[[1, 0]]]), exponent=1.5)
    error = 0.2**1.5 + 0.4**1.5
    assert found[0].tolist() == pytest.approx([error / 1.80001, error / 2.20001])
    assert found[0, 1].item() == pytest.approx(0.15565, abs=1e-5)


def test_what_nobody_knows_or_trusts_does_not_count_in_noise_robust_dice():
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(1, 3, 4, 4, generator=generator).softmax(dim=1)
    labels = torch.randint(3, (1, 4, 4), generator=generator)
    trust = torch.ones(1, 4, 4)
    trust[:, 2:] = 0
    ignored = labels.clone()
    ignored[:, 2:] = IGNORE
    top = noise_robust_dice(p[:, :, :2], labels[:, :2], 1.5)
    assert torch.equal(noise_robust_dice(p, ignored, 1.5), top)
    assert torch.equal(noise_robust_dice(p, labels, 1.5, trust), top)
    assert noise_robust_dice(p, torch.full_like(labels, IGNORE), 1.5).tolist() == [[0, 0, 0]]


def test_during_warm_up_it_is_plain_supervision_bit_for_bit():
    for gold in ("none", "mixed"):
        robust, _ = run(Robust(loss="nr-dice", gold=gold, warmup=1))
        assert same(robust.network, run(Supervised(gold=gold))[0].network)
    assert not same(run(Robust(warmup=0))[0].network, run(Supervised())[0].network)


def test_a_step_descends_robust_loss_and_dice():
    state, network = start(Robust(loss="gce", q=0.5, warmup=0, dice=0.3)), tiny_network()
    Robust(loss="gce", q=0.5, warmup=0, dice=0.3).step(state, batch(0), None)
    logits = network(batch(0).images).logits
    pixels = generalized_cross_entropy(logits, batch(0).labels, 0.5)
    (mean_over_pixels(pixels, batch(0).labels) + 0.3 * mean_soft_dice(logits, batch(0))).backward()
    for trained, fresh in zip(state.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(trained, fresh - 0.1 * fresh.grad)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"q": 0.0}, "robust.q must be above 0 and at most 1, got 0.0"),
        ({"exponent": 3.0}, "robust.exponent must be at least 1 and at most 2, got 3.0"),
        ({"loss": "gec"}, "unknown value of robust.loss 'gec': did you mean 'gce'"),
    ],
)
def test_bad_options(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        Robust(**changes)
