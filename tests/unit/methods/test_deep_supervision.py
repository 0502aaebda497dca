"""Deep supervision: weights that halve, coarse labels, and nothing at all for networks without it."""

import pytest
import torch
from tests.contract.tools import PlainUpdater
from torch import nn

from metadcseg.losses import mean_cross_entropy
from metadcseg.methods import create_method
from metadcseg.methods.common import output_loss, supervised_loss
from metadcseg.methods.deep_supervision import every_pixel, weighted_at_every_depth
from metadcseg.methods.memory_storage import MemoryStorage
from metadcseg.networks import NetworkOptions, create_network
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize, WeightMaps
from metadcseg.warp import Warp


def batch(**more) -> Batch:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (2, 5, 6), generator=generator)
    labels[0, 0, 0] = IGNORE
    return Batch(
        torch.rand(2, 1, 5, 6, generator=generator), labels, torch.arange(2), Warp.identity(2), **more
    )


def output(deep: bool) -> Output:
    generator = torch.Generator().manual_seed(1)
    logits, coarse = (torch.randn(2, 3, *size, generator=generator) for size in ((5, 6), (3, 3)))
    return Output(logits, logits, {"boundary": logits, **({"deep_1": coarse} if deep else {})})


def test_the_loss_is_the_weighted_mean_over_the_depths():
    made, held = output(deep=True), batch(label_confidence=torch.full((2, 5, 6), 0.5))
    coarse = Batch(
        held.images[..., ::2, ::2],
        held.labels[:, ::2, ::2],
        held.indices,
        held.warp,
        label_confidence=torch.full((2, 3, 3), 0.5),
    )
    fine, rough = (
        supervised_loss(made.logits, held, 0.1)[0],
        supervised_loss(made.auxiliary["deep_1"], coarse, 0.1)[0],
    )
    torch.testing.assert_close(output_loss(made, held, 0.1)[0], (fine + rough / 2) / 1.5)


def test_without_deep_logits_the_loss_is_what_it_was_to_the_bit():
    made, held = output(deep=False), batch()
    assert torch.equal(output_loss(made, held, 0.1)[0], supervised_loss(made.logits, held, 0.1)[0])
    loss = torch.tensor(0.3)
    weights = WeightMaps(torch.ones(2, 5, 6), torch.zeros(2, 5, 6))
    assert weighted_at_every_depth(loss, made, held, held.labels, weights) is loss


def test_full_trust_weighs_as_plain_cross_entropy():
    made, held = output(deep=True), batch()
    trust = WeightMaps(torch.ones(2, 5, 6), torch.zeros(2, 5, 6))
    found = weighted_at_every_depth(
        mean_cross_entropy(made.logits, held), made, held, held.labels.clamp(max=2), trust
    )
    torch.testing.assert_close(found, output_loss(made, held, 0.0)[0])


def test_a_part_of_a_batch_divides_by_its_share_of_coarse_pixels():
    size = GlobalBatchSize(torch.tensor(60.0), 3.0, 2)
    thin = every_pixel(batch(shard_of=size), 2).shard_of
    assert (thin.pixels.item(), thin.images, thin.world_size) == (15.0, 3.0, 2)


@pytest.mark.parametrize("dice", [0.0, 0.1])
def test_every_head_of_nnunet_learns(dice):
    network = create_network(NetworkOptions(name="nnunet-plain", width=2), 1, 2).train()
    images, labels = torch.rand(1, 1, 40, 40), torch.randint(2, (1, 40, 40))
    held = Batch(images, labels, torch.arange(1), Warp.identity(1))
    output_loss(network(images), held, dice)[0].backward()
    heads = [part for part in network.module.heads if isinstance(part, nn.Conv2d)]
    assert all(bool(part.weight.grad.abs().sum() > 0) for part in heads)


@pytest.mark.parametrize(
    ("name", "options", "deep"),
    [
        ("supervised", {}, True),
        ("metadcseg", {"meta": False}, True),
        ("calibrated", {"warmup": 0}, True),
        ("robust", {"gold": "mixed"}, False),  # gold must not weigh less than the noisy batch for it
        ("adele", {"gold": "mixed"}, False),
        ("pairs", {}, False),
    ],
)
def test_a_step_moves_the_coarsest_head_where_the_method_supervises_deeply(name, options, deep):
    network = create_network(NetworkOptions(name="nnunet-plain", width=2), 1, 2).train()
    method = create_method(name, **options)
    state = method.start(
        network, PlainUpdater(network), torch.Generator().manual_seed(0), MemoryStorage((32, 32))
    )
    generator = torch.Generator().manual_seed(2)
    noisy, gold = (
        Batch(
            torch.rand(2, 1, 32, 32, generator=generator),
            torch.randint(2, (2, 32, 32), generator=generator),
            torch.arange(2),
            Warp.identity(2),
            given=given,
        )
        for given in (None, torch.randint(2, (2, 32, 32), generator=generator))
    )
    before = network.module.heads[3].weight.clone()
    method.step(state, noisy, gold if method.info.needs_gold else None)
    assert torch.equal(network.module.heads[3].weight, before) != deep
