from dataclasses import replace

import pytest
import torch
from tests.gradients.networks import Answer, Small, Tied, seeded
from torch import nn
from torch.nn import functional as F

from metadcseg.algorithm.lookahead import (
    gold_gradient,
    meta_gradients,
    pixel_gradients,
    virtual_step,
)
from metadcseg.algorithm.meta_weights import initial_weights
from metadcseg.errors import InputError
from metadcseg.forward_mode.call import gradient_of, trainable
from metadcseg.forward_mode.jvp import jvp
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize
from metadcseg.warp import Warp


def example(seed=0, count=2):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 2, 6, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (count, 6, 6), generator=generator)
    labels[0, 0, :3] = torch.tensor([0, 1, IGNORE])
    return Batch(images, labels, torch.arange(count), Warp.identity(count))


def direction(network, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in trainable(network).items()
    }


def pixel_step(network, noisy, v=None):
    v = direction(network) if v is None else v
    return pixel_gradients(jvp(network, noisy.images, v)[1], noisy.labels, noisy.labels, 0.1)


def snapshot(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_untouched(network, before):
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(value.grad is None for value in network.parameters())


def test_gradient_of_equals_backward_and_leaves_grad_alone():
    network, noisy = seeded(Small), example()
    loss = pixel_cross_entropy(network(noisy.images).logits, noisy.labels).sum()
    got = gradient_of(loss, trainable(network), retain_graph=True)
    assert all(value.grad is None for value in network.parameters())
    loss.backward()
    for name, value in network.named_parameters():
        assert torch.equal(got[name], value.grad)
        assert not got[name].requires_grad


def test_gradient_of_an_unused_parameter_is_zero():
    network = seeded(Small)
    network.spare = nn.Parameter(torch.ones(2, dtype=torch.float64))
    loss = network(example().images).logits.sum()
    assert gradient_of(loss, trainable(network))["spare"].tolist() == [0.0, 0.0]
    pixel_step(network, example())  # and it is no obstacle to the tangent pass


def test_a_network_with_everything_frozen_is_refused():
    network = seeded(Small).requires_grad_(False)
    with pytest.raises(InputError, match="Small has no trainable parameter"):
        trainable(network)


def test_gold_gradient_is_taken_at_the_given_values():
    network, gold = seeded(lambda: Small("batch")), example()
    ahead = virtual_step(network, direction(network), 0.01)
    loss, v = gold_gradient(network, ahead, gold)
    assert not loss.requires_grad
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(ahead[name])
    expected = mean_over_pixels(pixel_cross_entropy(network(gold.images).logits, gold.labels), gold.labels)
    assert torch.equal(loss, expected.detach())
    for name, value in gradient_of(expected, trainable(network)).items():
        assert torch.equal(v[name], value)


def test_gold_without_a_label_gives_zero_gradients():
    network, gold = seeded(Small), example()
    loss, v = gold_gradient(
        network, trainable(network), replace(gold, labels=torch.full_like(gold.labels, IGNORE))
    )
    assert loss.item() == 0.0
    assert all((value == 0).all() for value in v.values())


def test_an_all_ignored_batch_gives_zero_and_finite_gradients():
    network, noisy = seeded(Small), example()
    nothing = torch.full_like(noisy.labels, IGNORE)
    found = jvp(network, noisy.images, direction(network))[1]
    got = pixel_gradients(found, nothing, noisy.labels, 0.1)
    assert (got.alpha == 0).all()
    assert (got.beta == 0).all()


def test_virtual_step_leaves_the_network_where_it_is():
    network = seeded(Small)
    before, v = snapshot(network), direction(network)
    ahead = virtual_step(network, v, 0.5)
    assert_untouched(network, before)
    for name, value in network.named_parameters():
        assert torch.equal(ahead[name], value.detach() - 0.5 * v[name])
        assert not ahead[name].requires_grad


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_nothing_of_the_network_moves(norm, training):
    network = seeded(lambda: Small(norm, dropout=0.5)).train(training)
    before, state = snapshot(network), torch.get_rng_state()
    noisy, gold = example(0), example(1)
    meta_gradients(network, noisy, gold, noisy.labels, initial_weights((2, 6, 6)), lr=0.1)
    assert_untouched(network, before)
    assert network.training == training
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


class HalfWay(Small):
    """Writes to its buffers, draws random numbers, and then fails."""

    def forward(self, images):
        super().forward(images)
        self.norm.running_mean.add_(1.0)
        raise ValueError("half-way")


def test_nothing_moves_when_the_network_raises_half_way():
    network, noisy = seeded(lambda: HalfWay("batch", dropout=0.5)), example()
    before, state = snapshot(network), torch.get_rng_state()
    with pytest.raises(ValueError, match="half-way"):
        pixel_step(network, noisy)
    with pytest.raises(ValueError, match="half-way"):
        gold_gradient(network, trainable(network), noisy)
    assert_untouched(network, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert network.training


def test_grad_mode_of_the_caller_changes_nothing_and_stays():
    network, noisy, gold = seeded(Small), example(0), example(1)

    def step():
        return meta_gradients(network, noisy, gold, noisy.labels, initial_weights((2, 6, 6)), lr=0.1)

    expected = step()
    with torch.no_grad():
        got = step()
        assert not torch.is_grad_enabled()
    assert torch.equal(got.alpha, expected.alpha)
    assert not expected.alpha.requires_grad


def test_autocast_does_not_reach_the_meta_pass():
    network, noisy = seeded(Small, dtype=torch.float32), example()
    noisy = replace(noisy, images=noisy.images.float())
    v = {name: value.float() for name, value in direction(network).items()}
    plain = pixel_step(network, noisy, v)
    _, plain_v = gold_gradient(network, trainable(network), noisy)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(noisy.images).logits.dtype == torch.bfloat16
        mixed = pixel_step(network, noisy, v)
        _, mixed_v = gold_gradient(network, trainable(network), noisy)
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(plain.alpha, mixed.alpha)
    assert all(torch.equal(plain_v[name], mixed_v[name]) for name in plain_v)


def test_a_training_pass_that_follows_draws_the_same_dropout_masks():
    network, noisy = seeded(lambda: Small(dropout=0.5)), example()
    v = direction(network)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        got = pixel_step(network, noisy, v).alpha
        scores = network(noisy.images).logits  # the masks that must have been used
    losses = pixel_cross_entropy(scores, noisy.labels)
    count = (noisy.labels != IGNORE).sum()
    for pixel in [(0, 0, 0), (1, 3, 4), (1, 5, 5)]:
        gradient = gradient_of(losses[pixel], trainable(network), retain_graph=True)
        expected = -0.1 * sum((v[name] * gradient[name]).sum() for name in v) / count
        torch.testing.assert_close(got[pixel], expected, rtol=1e-10, atol=1e-14)


def test_frozen_parameters_have_no_tangent():
    network, noisy = seeded(Small), example()
    everything = direction(network)
    network.first.requires_grad_(False)
    part = {name: everything[name] for name in trainable(network)}
    assert not any(name.startswith("first") for name in part)
    still = dict(everything)
    still["first.weight"] = torch.zeros_like(still["first.weight"])
    still["first.bias"] = torch.zeros_like(still["first.bias"])
    got = pixel_step(network, noisy, part).alpha
    network.first.requires_grad_(True)
    torch.testing.assert_close(got, pixel_step(network, noisy, still).alpha, rtol=1e-12, atol=0)


def test_a_shared_parameter_takes_its_tangent_everywhere():
    network, noisy = seeded(Tied), example()
    before, names = snapshot(network), list(trainable(network))
    pixel_step(network, noisy)
    assert_untouched(network, before)
    assert list(trainable(network)) == names
    assert network.other.weight is network.once.weight
    losses = pixel_cross_entropy(network(noisy.images).logits, noisy.labels)
    v, count = direction(network), (noisy.labels != IGNORE).sum()
    gradient = gradient_of(losses[1, 2, 3], trainable(network))
    expected = -0.1 * sum((v[name] * gradient[name]).sum() for name in v) / count
    torch.testing.assert_close(pixel_step(network, noisy, v).alpha[1, 2, 3], expected, rtol=1e-10, atol=0)


class Sampled(Small):
    def forward(self, images):
        grid = torch.zeros(len(images), 6, 6, 2, dtype=images.dtype)
        answer = super().forward(images)
        return Answer(F.grid_sample(answer.logits, grid, align_corners=False), answer.features)


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(context, inputs):
        return 2 * inputs

    @staticmethod
    def backward(context, gradient):
        return 2 * gradient


class Custom(Small):
    def forward(self, images):
        answer = super().forward(images)
        return Answer(Twice.apply(answer.logits), answer.features)


@pytest.mark.parametrize(
    ("make", "names"), [(Sampled, "grid_sampler_2d"), (Custom, "autograd.Function Twice")]
)
def test_an_operation_without_forward_rule_is_named_with_a_way_out(make, names):
    network, noisy = seeded(make), example()
    before, state = snapshot(network), torch.get_rng_state()
    with pytest.raises(InputError, match=names) as caught:
        jvp(network, noisy.images, direction(network), mode="engine")
    message = str(caught.value)
    assert message.startswith(f"network {make.__name__}")
    assert "take finite differences (forward_mode auto or differences)" in message
    assert "\n" not in message
    assert_untouched(network, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_other_errors_of_the_network_stay_what_they_are():
    network, noisy = seeded(Small), example()
    with pytest.raises(RuntimeError, match="channels") as caught:
        jvp(network, noisy.images[:, :1], direction(network))[1]
    assert not isinstance(caught.value, InputError)


def test_a_training_pass_that_was_made_is_used_and_its_graph_kept():
    network, noisy, gold = seeded(Small), example(0), example(1)
    weights = initial_weights((2, 6, 6))
    logits = network(noisy.images).logits
    calls = []
    network.register_forward_pre_hook(lambda *_: calls.append(1))
    known, own = (
        meta_gradients(network, noisy, gold, noisy.labels, weights, lr=0.5, logits=given)
        for given in (logits, None)
    )
    torch.testing.assert_close(known.alpha, own.alpha, rtol=1e-12, atol=0)
    assert len(calls) == 2 + 3  # gold and tangents; without the pass also the noisy images
    logits.sum().backward()
    assert network.first.weight.grad is not None


def test_a_step_looks_where_the_virtual_step_leads():
    network, noisy, gold = seeded(Small), example(0), example(1)
    weights = initial_weights((2, 6, 6))
    _, v = gold_gradient(network, trainable(network), gold)

    def found(lr):
        """In units of lr, ahead of the virtual step and, for the same lr, where the network stands."""
        ahead = meta_gradients(network, noisy, gold, noisy.labels, weights, lr=lr)
        here = pixel_gradients(jvp(network, noisy.images, v)[1], noisy.labels, noisy.labels, lr)
        return ahead.alpha, here.alpha

    assert not torch.equal(*found(0.5))
    torch.testing.assert_close(*found(1e-6), rtol=1e-4, atol=0)


def test_devices_share_both_gradients_and_the_pixels_of_the_mean():
    network, noisy, gold = seeded(Small), example(0), example(1)
    weights = initial_weights((2, 6, 6))
    whole = noisy.global_batch_size
    share = replace(noisy, shard_of=GlobalBatchSize(whole.pixels / 2.0, whole.images / 2, 2))
    asked = []

    def all_reduce_mean(tensors):
        asked.append(sorted(tensors))
        return {name: 0.5 * value for name, value in tensors.items()}

    alone = meta_gradients(network, noisy, gold, noisy.labels, weights, lr=0.1)
    shared = meta_gradients(
        network, share, gold, noisy.labels, weights, lr=0.1, all_reduce_mean=all_reduce_mean
    )
    # half the pixels double the training gradient, which the mean halves; the gold gradient is halved alone
    torch.testing.assert_close(shared.alpha, 0.5 * alone.alpha, rtol=1e-10, atol=0)
    assert asked == [sorted(trainable(network))] * 2
