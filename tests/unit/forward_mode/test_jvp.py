"""The three ways to the derivative of the logits agree, and the automatic one finds its way out."""

import warnings
from copy import deepcopy

import pytest
import torch
from tests.gradients.networks import Answer, Attention, Small, Solid, seeded
from torch import nn
from torch.nn import functional as F

from metadcseg.errors import InputError
from metadcseg.forward_mode.call import trainable
from metadcseg.forward_mode.jvp import ForwardModeWarning, jvp


class Sampled(nn.Module):
    """Has an operation without forward-mode rule (grid_sample), behind statistics that move and random numbers."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
        self.norm, self.dropout = nn.BatchNorm2d(4), nn.Dropout(0.5)

    def forward(self, images):
        features = self.dropout(self.norm(self.first(images)))
        turn = torch.tensor([[[0.9, 0.1, 0.0], [-0.1, 0.9, 0.0]]], dtype=images.dtype).expand(
            len(images), 2, 3
        )
        grid = F.affine_grid(turn, features.shape, align_corners=False)
        features = F.grid_sample(features, grid, align_corners=False)
        return Answer(self.head(features), features)


def images(axes=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 2, *(6,) * axes, generator=generator, dtype=torch.float64).to(dtype)


def direction(network):
    generator = torch.Generator().manual_seed(2)
    return {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
        for name, value in trainable(network).items()
    }


def close(got, expected, tolerance):
    assert ((got - expected).norm() / expected.norm()).item() < tolerance


@pytest.mark.parametrize("training_pass", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        Small,
        lambda: Small("batch"),
        lambda: Small("instance", activation=torch.sin),
        Attention,
        lambda: Small(activation=torch.sin),
    ],
    ids=["group", "batch", "instance", "attention", "sine"],
)
def test_three_ways_agree(make, training_pass):
    networks = {mode: seeded(make) for mode in ("engine", "torch", "differences")}
    found = {
        mode: jvp(network, images(), direction(network), mode=mode, training_pass=training_pass)[1]
        for mode, network in networks.items()
    }
    close(found["torch"].change, found["engine"].change, 1e-12)
    close(found["differences"].change, found["engine"].change, 1e-3)
    for mode in ("torch", "differences"):
        close(found[mode].logits, found["engine"].logits, 1e-4)
        for one, other in zip(networks["engine"].buffers(), networks[mode].buffers(), strict=True):
            torch.testing.assert_close(one, other)


def test_three_ways_agree_in_volumes():
    network = seeded(Solid)
    ways = [
        jvp(network, images(3), direction(network), mode=mode)[1]
        for mode in ("engine", "torch", "differences")
    ]
    close(ways[1].change, ways[0].change, 1e-12)
    close(ways[2].change, ways[0].change, 1e-3)


def test_differences_in_single_precision():
    """What was measured on real networks: a cosine of 0.9995 at a relative step of 0.001."""
    network = seeded(Small, dtype=torch.float32)
    exact, near = (
        jvp(network, images(dtype=torch.float32), direction(network), mode=mode)[1].change
        for mode in ("engine", "differences")
    )
    assert F.cosine_similarity(exact.flatten(), near.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("mode", ["engine", "torch", "differences"])
def test_a_training_pass_draws_one_mask(mode):
    """The derivative is that of the pass that training goes on from, with the same dropout."""
    one, other = seeded(lambda: Small(dropout=0.5)), seeded(lambda: Small(dropout=0.5))
    torch.manual_seed(3)
    expected = one(images()).logits
    after = torch.get_rng_state()
    torch.manual_seed(3)
    output, found = jvp(other, images(), direction(other), mode=mode, training_pass=True)
    assert torch.equal(output.logits, expected)
    assert output.logits.requires_grad
    assert torch.equal(torch.get_rng_state(), after)
    close(found.logits, expected.detach(), 1e-4)


@pytest.mark.parametrize("mode", ["auto", "engine", "torch", "differences"])
def test_apart_nothing_moves(mode):
    network = seeded(lambda: Small("batch", dropout=0.5))
    before, state = deepcopy(network.state_dict()), torch.get_rng_state()
    jvp(network, images(), direction(network), mode=mode)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("training_pass", [False, True])
def test_the_way_out_of_an_operation_without_rule(training_pass):
    one, other = seeded(Sampled), seeded(Sampled)
    torch.manual_seed(4)
    expected = one(images()).logits
    torch.manual_seed(4)
    with pytest.warns(
        ForwardModeWarning, match=r"Sampled has no forward-mode rule for .*grid.*: finite differences"
    ):
        output, found = jvp(other, images(), direction(other), training_pass=training_pass)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        jvp(deepcopy(one), images(), direction(one), mode="differences")
        jvp(other, images(), direction(other))
    assert found.change.abs().sum() > 0
    if training_pass:  # as if nothing had been tried before: the same masks, statistics that move once
        assert torch.equal(output.logits, expected)
        for mine, usual in zip(other.buffers(), one.buffers(), strict=True):
            assert torch.equal(mine, usual)


@pytest.mark.parametrize("mode", ["engine", "torch"])
def test_who_asks_for_a_way_that_cannot_be_gone_is_told(mode):
    network = seeded(Sampled)
    with pytest.raises(
        InputError, match=r"Sampled has no forward-mode rule for .*grid.*: take finite differences"
    ):
        jvp(network, images(), direction(network), mode=mode)


@pytest.mark.parametrize("mode", ["engine", "torch", "differences"])
def test_no_direction_changes_nothing(mode):
    network = seeded(Small)
    assert not jvp(network, images(), {}, mode=mode)[1].change.any()
    zero = {name: torch.zeros_like(value) for name, value in trainable(network).items()}
    assert not jvp(network, images(), zero, mode=mode)[1].change.any()


def test_a_long_network_and_no_direction_stay_finite():
    """In single precision a step over the smallest number would be infinite, and infinity times zero is NaN."""
    network = seeded(Small, dtype=torch.float32)
    with torch.no_grad():
        network.head.weight.fill_(1e4)
    zero = {name: torch.zeros_like(value) for name, value in trainable(network).items()}
    found = jvp(network, images(dtype=torch.float32), zero, mode="differences")[1]
    assert found.logits.isfinite().all()
    assert not found.change.any()


def test_an_unknown_way_is_refused():
    with pytest.raises(InputError, match="unknown forward_mode 'diferences': did you mean 'differences'"):
        jvp(seeded(Small), images(), {}, mode="diferences")
