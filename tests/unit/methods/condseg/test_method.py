"""ConDSeg's two stages: their losses by hand, when they change, and what the first one is for."""

from dataclasses import replace

import pytest
import torch
from tests.contract.tools import HEADS, PlainUpdater, batch, gold_batch, storage, tiny_network
from torch import Generator

from metadcseg.errors import InputError
from metadcseg.losses import mean_cross_entropy
from metadcseg.methods import create_method
from metadcseg.methods.common import class_probabilities, evaluating, supervised_loss
from metadcseg.methods.condseg.method import area_weight, overlap
from metadcseg.methods.condseg.views import colour_view
from metadcseg.methods.updater import OptimizerUpdater
from metadcseg.networks import NetworkOptions, create_network
from metadcseg.own_loop import attach
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize
from metadcseg.warp import Warp


def started(network, epoch=0, **options):
    method = create_method("condseg", **options)
    updater = PlainUpdater(network)
    updater.epoch = epoch
    return method, method.start(network, updater, Generator().manual_seed(0), storage())


def with_heads(**shape):
    return tiny_network(heads=HEADS["condseg"], **shape)


def logits_of(probability, size=2):
    return torch.full((1, 1, size, size), probability).logit()


def labeled(value, size=2):
    labels = torch.full((1, size, size), value)
    return Batch(torch.zeros(1, 1, size, size), labels, torch.arange(1), Warp.identity(1))


def test_maps_overlap_as_far_as_none_is_certain():
    equal = torch.zeros(1, 3, 2, 2)
    assert overlap(equal, labeled(0)).item() == pytest.approx(1 / 3)
    certain = torch.tensor([50.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert overlap(certain, labeled(0)).item() == pytest.approx(0, abs=1e-6)
    half = torch.tensor([30.0, 30.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert overlap(half, labeled(0)).item() == pytest.approx(1 / 4)
    torch.testing.assert_close(overlap(half + 3, labeled(0)), overlap(half, labeled(0)))


@pytest.mark.parametrize(("area", "weight"), [(0.2, 1.0166), (0.02, 4.2464), (1e-4, 10.0)])
def test_small_areas_count_more_whatever_the_batch(area, weight):
    logits, noisy = logits_of(area), labeled(1)
    assert area_weight(logits, noisy, dict).item() == pytest.approx(weight, abs=1e-4)
    three = Batch(
        *(torch.cat([part] * 3) for part in (noisy.images, noisy.labels, noisy.indices)), Warp.identity(3)
    )
    assert area_weight(logits.repeat(3, 1, 1, 1), three, dict).item() == pytest.approx(weight, abs=1e-4)
    assert not area_weight(logits.requires_grad_(), noisy, dict).requires_grad


def test_the_second_stage_descends_what_is_written():
    method, state = started(with_heads(), warmup=0)
    noisy = batch(0)
    noisy.labels[:, :3] = IGNORE
    output = state.network(noisy.images)
    heads, valid = output.auxiliary, noisy.labels != IGNORE
    expected = supervised_loss(output.logits, noisy, 1.0)[0]
    for name, target in (("foreground", noisy.labels > 0), ("background", noisy.labels == 0)):
        map_, truth = heads[name][:, 0], target.float()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(map_[valid], truth[valid])
        p, y = map_.sigmoid() * valid, truth * valid
        dice = 1 - (2 * (p * y).sum((1, 2)) + 1) / (p.sum((1, 2)) + y.sum((1, 2)) + 1)
        weight = (1 / torch.tanh(12 * map_.sigmoid()[valid].mean())).clamp(max=10)
        expected = expected + weight * (entropy + dice.mean())
    expected = expected + overlap(torch.cat([heads[name] for name in HEADS["condseg"]], dim=1), noisy)
    assert method.step(state, noisy, None).scalars["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_first_stage_descends_what_is_written():
    method, state = started(with_heads(), warmup=1)
    noisy = batch(0)
    seed = int(torch.randint(2**32, (), generator=Generator().manual_seed(0)))
    every = torch.ones_like(noisy.labels, dtype=torch.bool)
    view = colour_view(noisy.images, every, [Generator().manual_seed(seed + image) for image in (0, 1)])
    own, twin = (state.network(images).logits for images in (noisy.images, view))
    expected = supervised_loss(own, noisy, 1.0)[0] + supervised_loss(twin, noisy, 1.0)[0]
    for learner, teacher in ((own, twin), (twin, own)):
        expected = expected + mean_cross_entropy(learner, replace(noisy, labels=teacher.argmax(dim=1)))
    report = method.step(state, noisy, None)
    assert report.scalars["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(report.scalars) == {"loss", "pixel", "dice", "consistency"}


def test_parts_of_a_batch_on_two_devices_make_the_same_gradient():
    whole = batch(0, count=4)
    whole.labels[0, :9] = IGNORE  # the devices have different numbers of pixels that count
    size = GlobalBatchSize((whole.labels != IGNORE).sum() / 2, 2.0, world_size=2)
    parts = [
        Batch(whole.images[part], whole.labels[part], whole.indices[part], Warp.identity(2), shard_of=size)
        for part in (slice(0, 2), slice(2, 4))
    ]
    areas = {}

    def gradient_of(one, mean):
        method, state = started(with_heads(), warmup=0)
        state.updater.mean = mean
        loss, _ = method._segment(state, one)
        return torch.autograd.grad(loss, [*state.network.module[-1].heads["background"].parameters()])

    def collect(tensors):
        areas.setdefault("seen", []).append(tensors["area"])
        return tensors

    alone = gradient_of(replace(whole, warp=Warp.identity(4)), dict)
    for part in parts:
        gradient_of(part, collect)
    foreground = (areas["seen"][0] + areas["seen"][2]) / 2
    background = (areas["seen"][1] + areas["seen"][3]) / 2
    together = []
    for part in parts:
        means = iter([foreground, background])
        together.append(gradient_of(part, lambda tensors, means=means: {"area": next(means)}))
    for one, first, second in zip(alone, *together, strict=True):
        torch.testing.assert_close((first + second) / 2, one)


def test_the_stage_follows_the_epoch_and_the_average_follows_the_stage():
    network = create_network(NetworkOptions(name="condseg", norm="group"), 2, 3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    updater = OptimizerUpdater(network, optimizer, clip=1, ema_decay=0.9, gold_images=0, gold_batch=1)
    method = create_method("condseg", warmup=1)
    state = method.start(network, updater, Generator().manual_seed(0), storage(size=32))
    noisy = batch(0, size=32)
    assert network.module.encoder_only
    before = network.module.output.head.weight.clone()
    for epoch, first in ((0, True), (1, False)):
        updater.epoch = epoch
        scalars = method.step(state, noisy, None).scalars
        assert ("consistency" in scalars) == first
        assert updater.ema_model.eval().module.encoder_only == network.module.encoder_only == first
        assert torch.equal(network.module.output.head.weight, before) == first
        predicted = method.predict(replace(state, network=updater.ema_model), noisy.images)
        with evaluating(updater.ema_model) as kept:
            maps = kept.module.encoder(noisy.images)
            expected = kept.module.encoder_head(maps).logits if first else kept.module(noisy.images).logits
        torch.testing.assert_close(predicted, expected.softmax(dim=1))


def test_the_first_stage_makes_an_image_and_its_twin_alike():
    """The paper's claim for it: against the same training without consistency, both views agree in more pixels."""
    generator = Generator().manual_seed(4)
    labels = (torch.rand(4, 4, 4, generator=generator) < 0.4).long()
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    tint = torch.tensor([1.0, 0.6, 0.2]).view(1, 3, 1, 1)
    images = torch.randn(4, 3, 32, 32, generator=generator) + (labels.unsqueeze(1) - 0.4) * tint
    seen = Batch(images, labels, torch.arange(4), Warp.identity(4))
    every = torch.ones_like(labels, dtype=torch.bool)
    draws = [[Generator().manual_seed(image + 8 * draw) for image in range(4)] for draw in range(4)]
    views = [colour_view(images, every, generators) for generators in draws]
    agreement = {}
    for name, options in (("condseg", {"warmup": 1}), ("supervised", {"dice": 1.0})):
        network = create_network(NetworkOptions(name="condseg"), 3, 2, Generator().manual_seed(1))
        network.module.train_encoder(True)
        method = create_method(name, **options)
        state = method.start(network, PlainUpdater(network), Generator().manual_seed(0), storage(size=32))
        for _ in range(20):
            method.step(state, seen, None)
        found = class_probabilities(network, images).argmax(dim=1)
        assert (found == labels).float().mean() > 0.9, name
        twins = [class_probabilities(network, view).argmax(dim=1) for view in views]
        agreement[name] = sum((found == twin).float().mean().item() for twin in twins) / len(twins)
    assert agreement["condseg"] > agreement["supervised"] + 0.03  # 0.95 and 0.88


def test_a_loop_of_ones_own_goes_through_both_stages():
    network = create_network(NetworkOptions(name="condseg", norm="group"), 2, 3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    loop = attach(create_method("condseg", warmup=1), network, optimizer, classes=3, images=2, gold_images=0)
    noisy = batch(0, size=32)
    stages = []
    for _ in range(2):  # all images in each step: an epoch
        loop.step(noisy.images, noisy.labels, noisy.indices)
        stages.append(network.module.encoder_only)
        assert loop.predict(noisy.images).shape == (2, 3, 32, 32)
    assert stages == [True, False]


@pytest.mark.parametrize("heads", [None, {"foreground": 1}])
def test_other_networks_are_told_what_to_type(heads):
    network = tiny_network(heads=heads)

    def train():
        method, state = started(network, warmup=0)
        method.step(state, batch(0), None)

    with pytest.raises(InputError, match=r"method 'condseg' needs .*: --network.name condseg has them"):
        train()


def test_gold_counts_as_much_as_the_noisy_batch():
    for epoch in (0, 1):
        method, state = started(with_heads(), epoch=epoch, gold="mixed", warmup=1)
        scalars = method.step(state, batch(0), gold_batch(100)).scalars
        alone, other = started(with_heads(), epoch=epoch, warmup=1)
        plain = alone.step(other, batch(0), None).scalars["loss"]
        assert scalars["loss"].item() == pytest.approx((plain + scalars["gold"]).item(), rel=1e-6)


def test_options_out_of_range_are_refused():
    for options in ({"warmup": -1}, {"dice": -0.1}, {"gold": "some"}):
        with pytest.raises(InputError, match="condseg"):
            create_method("condseg", **options)
