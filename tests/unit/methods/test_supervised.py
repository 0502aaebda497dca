"""Supervised: what a step descends, with which weights."""

import copy

import pytest
import torch
from tests.contract.tools import PlainUpdater, batch, storage, tiny_network
from torch import nn

from metadcseg.errors import InputError
from metadcseg.losses import mean_cross_entropy, soft_dice_loss
from metadcseg.methods import MethodState, Supervised
from metadcseg.methods.common import evaluating
from metadcseg.tensors import Batch
from metadcseg.warp import Warp


def _start(method: Supervised) -> MethodState:
    network = tiny_network()
    return method.start(network, PlainUpdater(network), torch.Generator(), storage())


def _doubled(one: Batch) -> Batch:
    return Batch(
        torch.cat([one.images] * 2),
        torch.cat([one.labels] * 2),
        torch.cat([one.indices] * 2),
        Warp(torch.cat([one.warp.matrix] * 2)),
    )


def test_mixed_descends_the_sum_of_both_batch_losses() -> None:
    method = Supervised(gold="mixed", dice=0.3)
    state = _start(method)
    method.step(state, batch(0), batch(100))

    network = tiny_network()
    for one in (batch(0), batch(100)):
        logits = network(one.images).logits
        dice = soft_dice_loss(logits.softmax(dim=1), one.labels).mean()
        (mean_cross_entropy(logits, one) + 0.3 * dice).backward()
    for trained, fresh in zip(state.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(trained, fresh - 0.1 * fresh.grad)


def test_the_size_of_the_gold_batch_does_not_change_its_weight() -> None:
    method = Supervised(gold="mixed")
    states = [_start(method) for _ in range(2)]
    method.step(states[0], batch(0), batch(100))
    method.step(states[1], batch(0), _doubled(batch(100)))
    for one, other in zip(states[0].network.parameters(), states[1].network.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_clean_labels_are_declared_as_an_upper_bound() -> None:
    assert Supervised(labels="clean").info.labels == "truth"
    assert Supervised().info.labels == "given"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dice": -1.0}, "supervised.dice must be at least 0, got -1.0"),
        ({"gold": "mixd"}, "unknown value of supervised.gold 'mixd': did you mean 'mixed'"),
        ({"labels": True}, "unknown value of supervised.labels 'True'"),
    ],
)
def test_bad_options(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Supervised(**changes)


def test_evaluating_restores_every_part_also_after_an_error() -> None:
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(1))
    network[1].eval()
    network[1].weight.requires_grad_(True)
    expected = copy.deepcopy([part.training for part in network.modules()])

    def fail_inside() -> None:
        with evaluating(network):
            assert not any(part.training for part in network.modules())
            assert not torch.is_grad_enabled()
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert [part.training for part in network.modules()] == expected
    assert torch.is_grad_enabled()
