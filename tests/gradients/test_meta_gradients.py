"""The forward-mode meta-gradients against double backward, finite differences and a closed form."""

import numpy as np
import pytest
import torch
from tests.gradients import double_backward as slow
from tests.gradients.networks import Answer, Attention, Linear, Small, Solid, Tied, seeded
from tests.reference import meta_weights as loops
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from metadcseg.algorithm.lookahead import gold_gradient, meta_gradients, pixel_gradients
from metadcseg.algorithm.meta_weights import pseudo_labels
from metadcseg.forward_mode.call import trainable
from metadcseg.forward_mode.jvp import jvp
from metadcseg.tensors import IGNORE, Batch, WeightMaps
from metadcseg.warp import Warp

LR = 0.3


def batch(count, size, seed, channels=2, classes=3, ignore=True, dtype=torch.float64, axes=2):
    generator = torch.Generator().manual_seed(seed)
    sides = (size,) * axes
    images = torch.randn(count, channels, *sides, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(0, classes, (count, *sides), generator=generator)
    labels[0, 0].view(-1)[:2] = torch.tensor([0, 1])
    if ignore:
        labels[0, 1, :3] = IGNORE
    return Batch(images, labels, torch.arange(count), Warp.identity(count, axes))


def task(network, size=6, classes=3, channels=2, dtype=torch.float64, axes=2):
    noisy = batch(3, size, 0, channels, classes, dtype=dtype, axes=axes)
    gold = batch(2, size, 1, channels, classes, dtype=dtype, axes=axes)
    generator = torch.Generator().manual_seed(2)
    alpha, beta = torch.rand(2, 3, *(size,) * axes, generator=generator, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        pseudo = pseudo_labels(slow.logits(network, dict(network.named_parameters()), noisy.images))
    return noisy, gold, pseudo, WeightMaps(alpha, beta)


def relative(got, expected):
    return ((got - expected).norm() / expected.norm()).item()


def exact(network, noisy, gold, pseudo, weights, lr):
    return meta_gradients(network, noisy, gold, pseudo, weights, lr=lr)


def linearized(network, noisy, gold, pseudo, _weights, lr):
    """What the methods do that ask the gold loss where the network stands: the limit of a small virtual step."""
    _, v = gold_gradient(network, trainable(network), gold)
    return pixel_gradients(jvp(network, noisy.images, v)[1], noisy.labels, pseudo, lr)


def compare(network, tolerance, **how):
    noisy, gold, pseudo, weights = task(network, **how)
    for ours, reference in ((exact, slow.exact), (linearized, slow.linearized)):
        got = ours(network, noisy, gold, pseudo, weights, LR)
        alpha, beta = reference(network, noisy, gold, pseudo, weights, LR)
        assert relative(got.alpha, alpha) <= tolerance
        assert relative(got.beta, beta) <= tolerance
        assert (got.alpha[noisy.labels == IGNORE] == 0).all()
        assert (got.beta[noisy.labels == IGNORE] == 0).all()


def frozen():
    network = Small()
    network.first.requires_grad_(False)
    return network


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(Small, id="group-leaky"),
        pytest.param(lambda: Small(activation=F.relu), id="group-relu"),
        pytest.param(lambda: Small("batch"), id="batch"),
        pytest.param(lambda: Small("batch").eval(), id="batch-evaluating"),
        pytest.param(lambda: Small("instance"), id="instance"),
        pytest.param(lambda: Small(dropout=0.5).eval(), id="dropout-off"),
        pytest.param(frozen, id="frozen"),
        pytest.param(Tied, id="tied"),
    ],
)
def test_equal_to_double_backward(make):
    compare(seeded(make), 1e-9)


def test_equal_to_double_backward_in_volumes():
    compare(seeded(Solid), 1e-9, axes=3)


def test_equal_to_double_backward_with_attention():
    with sdpa_kernel(SDPBackend.MATH):  # for the reference; ours asks for it itself
        compare(seeded(Attention), 1e-9)
    noisy, gold, pseudo, weights = task(seeded(Linear))
    meta_gradients(seeded(Attention), noisy, gold, pseudo, weights, lr=LR)


def test_equal_to_double_backward_in_float32():
    compare(seeded(Small, dtype=torch.float32), 1e-4, dtype=torch.float32)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_equal_to_double_backward_on_a_unet_plus_plus(dtype, tolerance):
    from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = BasicUNetPlusPlus(
                2, 1, 2, features=(4, 4, 4, 4, 4, 4), norm=("group", {"num_groups": 2})
            )

        def forward(self, images):
            return Answer(self.net(images)[0], images)

    compare(seeded(Wrapped, dtype=dtype), tolerance, size=32, channels=1, classes=2, dtype=dtype)


def test_channels_last_networks_and_images_work():
    network = seeded(Small)
    noisy, gold, pseudo, weights = task(network)
    plain = meta_gradients(network, noisy, gold, pseudo, weights, lr=LR)
    network = network.to(memory_format=torch.channels_last)
    images = noisy.images.to(memory_format=torch.channels_last)
    turned = Batch(images, noisy.labels, noisy.indices, noisy.warp)
    assert not images.is_contiguous()
    got = meta_gradients(network, turned, gold, pseudo, weights, lr=LR)
    assert relative(got.alpha, plain.alpha) <= 1e-12


def test_flipped_views_work():
    network = seeded(Small)
    noisy, gold, pseudo, weights = task(network)
    view = noisy.images.transpose(2, 3)
    got, expected = (
        linearized(
            network, Batch(images, noisy.labels, noisy.indices, noisy.warp), gold, pseudo, weights, LR
        ).alpha
        for images in (view, view.contiguous())
    )
    assert torch.equal(got, expected)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_equal_to_finite_differences(norm):
    network = seeded(lambda: Small(norm, activation=F.silu))
    noisy, gold, pseudo, weights = task(network, size=4)
    got = meta_gradients(network, noisy, gold, pseudo, weights, lr=LR)

    def loss_at(pixel, alpha_shift, beta_shift):
        alpha, beta = weights.alpha.clone(), weights.beta.clone()
        alpha[pixel] += alpha_shift
        beta[pixel] += beta_shift
        return slow.gold_loss_after(network, noisy, gold, pseudo, alpha, beta, LR)

    step, size = 1e-2, got.alpha.abs().max().item()
    for pixel in [(0, 0, 0), (0, 3, 3), (1, 2, 1), (2, 1, 3)]:
        slope = (loss_at(pixel, step, 0.0) - loss_at(pixel, -step, 0.0)) / (2 * step)
        assert got.alpha[pixel].item() == pytest.approx(slope, abs=1e-6 * size)
        slope = (loss_at(pixel, 0.0, step) - loss_at(pixel, 0.0, -step)) / (2 * step)
        assert got.beta[pixel].item() == pytest.approx(slope, abs=1e-6 * size)
    ignored = (0, 1, 0)
    assert loss_at(ignored, 1.0, 1.0) == loss_at(ignored, 0.0, 0.0)


@pytest.mark.parametrize("ours", [exact, linearized])
def test_equal_to_the_closed_form_of_a_linear_model(ours):
    network = seeded(Linear)
    noisy, gold, pseudo, weights = task(network, size=4)
    matrix = network.matrix.detach().numpy()

    def gradients_of_pixels(matrix, images, labels, counted):
        images, labels, counted = images.numpy(), labels.numpy(), counted.numpy()
        return {
            (i, h, w): loops.linear_gradient(matrix, images[i, :, h, w], labels[i, h, w])
            for i, h, w in np.argwhere(counted).tolist()
        }

    valid, gold_valid = noisy.labels != IGNORE, gold.labels != IGNORE
    f = gradients_of_pixels(matrix, noisy.images, noisy.labels, valid)
    g = gradients_of_pixels(matrix, noisy.images, pseudo, valid)
    ahead = trainable(network)
    if ours is exact:
        alpha, beta = ([maps[pixel].item() for pixel in f] for maps in (weights.alpha, weights.beta))
        matrix = loops.virtual_step(matrix, list(f.values()), list(g.values()), alpha, beta, LR)
        ahead = {"matrix": torch.from_numpy(matrix)}
    of_gold = gradients_of_pixels(matrix, gold.images, gold.labels, gold_valid)
    v = sum(of_gold.values()) / len(of_gold)

    np.testing.assert_allclose(gold_gradient(network, ahead, gold)[1]["matrix"].numpy(), v, rtol=1e-12)
    got = ours(network, noisy, gold, pseudo, weights, LR)
    for pixel in f:
        assert got.alpha[pixel].item() == pytest.approx(loops.alignment(v, f[pixel], LR, len(f)), rel=1e-10)
        assert got.beta[pixel].item() == pytest.approx(loops.alignment(v, g[pixel], LR, len(f)), rel=1e-10)


def test_a_step_along_the_meta_gradient_lowers_the_gold_loss():
    network = seeded(Small)
    noisy, gold, pseudo, weights = task(network)
    step = meta_gradients(network, noisy, gold, pseudo, weights, lr=LR)
    before = slow.gold_loss_after(network, noisy, gold, pseudo, weights.alpha, weights.beta, LR)
    moved = (weights.alpha - 100 * step.alpha, weights.beta - 100 * step.beta)
    assert slow.gold_loss_after(network, noisy, gold, pseudo, *moved, LR) < before


def test_trainable_names_a_shared_parameter_once():
    assert sorted(trainable(seeded(Tied))) == [
        "head.bias",
        "head.weight",
        "once.bias",
        "once.weight",
        "other.bias",
        "stem.bias",
        "stem.weight",
    ]
