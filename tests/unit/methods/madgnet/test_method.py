"""MADGNet's losses: hand numbers, pixels that do not count, several devices; and every depth learns its tasks."""

import copy
from dataclasses import replace

import pytest
import torch
from tests.contract.tools import HEADS, PlainUpdater, batch, gold_batch, storage, tiny_network
from torch import Generator

from metadcseg.errors import InputError
from metadcseg.methods import create_method
from metadcseg.methods.madgnet.method import boundary_loss, cascaded_loss, distance_loss, region_loss
from metadcseg.methods.madgnet.targets import targets_of
from metadcseg.networks import NetworkOptions, Output, create_network
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize
from metadcseg.warp import Warp


def square(*logits):
    """An 8 x 8 image with a square of 4 x 4, and two-class logits whose difference is given."""
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[:, 2:6, 2:6] = 1
    noisy = Batch(torch.zeros(1, 1, 8, 8), labels, torch.arange(1), Warp.identity(1))
    return (
        noisy,
        targets_of(labels, 2),
        *(torch.stack([torch.zeros_like(each), each], dim=1) for each in logits),
    )


def output_of(noisy, classes=3, depths=2, seed=0):
    generator = Generator().manual_seed(seed)
    names = [
        f"{task}_{depth}" for depth in range(1, depths + 1) for task in ("region", "distance", "boundary")
    ]
    shape = (len(noisy.labels), classes, *noisy.labels.shape[1:])
    maps = {name: torch.randn(shape, generator=generator, requires_grad=True) for name in names}
    logits = maps.pop(f"region_{depths}")
    return Output(logits, logits, maps)


def test_the_region_loss_by_hand():
    labels = square()[0].labels.float()
    noisy, targets, undecided, decided = square(
        0 * labels, 4 * labels - 2 + torch.linspace(-1, 1, 64).view(1, 8, 8)
    )
    assert region_loss(undecided, targets, noisy).item() == pytest.approx(1.29588, abs=1e-5)
    assert region_loss(decided, targets, noisy).item() == pytest.approx(0.31964, abs=1e-5)


def test_the_losses_of_distance_and_boundary_by_hand():
    noisy, targets = square()
    zeros = torch.zeros(1, 2, 8, 8)
    errors = (0.5 - targets.distance).square().mean().item()
    assert distance_loss(zeros, targets, noisy).item() == pytest.approx(errors)
    assert boundary_loss(zeros, targets, noisy).item() == pytest.approx(0.693147, abs=1e-6)
    certain = torch.cat([zeros[:, :1], 100 * targets.boundary - 50], dim=1)
    assert boundary_loss(certain, targets, noisy).item() == pytest.approx(0, abs=1e-6)


def test_the_cascade_is_the_sum_over_depths_and_tasks():
    noisy = batch(0)
    output, targets = output_of(noisy), targets_of(noisy.labels, 3)
    named = output.auxiliary
    expected = region_loss(named["region_1"], targets, noisy) + region_loss(output.logits, targets, noisy)
    for depth in (1, 2):
        expected = expected + distance_loss(named[f"distance_{depth}"], targets, noisy)
        expected = expected + boundary_loss(named[f"boundary_{depth}"], targets, noisy)
    loss, parts = cascaded_loss(output, noisy)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(parts["region"], region_loss(output.logits, targets, noisy).detach())


@pytest.mark.parametrize("how", ["ignored", "distrusted"])
def test_pixels_that_do_not_count_have_no_gradient(how):
    noisy = batch(0)
    hidden = torch.zeros_like(noisy.labels, dtype=torch.bool)
    hidden[:, 4:9, 5:10] = True
    if how == "ignored":
        noisy.labels[hidden] = IGNORE
    else:
        noisy = replace(noisy, label_confidence=(~hidden).float())
    output = output_of(noisy)
    cascaded_loss(output, noisy)[0].backward()
    for maps in (output.logits, *output.auxiliary.values()):
        assert maps.grad.movedim(1, -1)[hidden].eq(0).all()
        assert maps.grad.abs().sum() > 0


def test_parts_of_a_batch_on_two_devices_make_the_same_loss():
    whole = replace(batch(0, count=4), warp=Warp.identity(4), edges=None)
    whole.labels[0, :9] = IGNORE
    output = output_of(whole)
    size = GlobalBatchSize((whole.labels != IGNORE).sum() / 2, 2.0, world_size=2)
    losses = []
    for part in (slice(0, 2), slice(2, 4)):
        named = {name: maps[part] for name, maps in output.auxiliary.items()}
        own = (whole.images[part], whole.labels[part], whole.indices[part], Warp.identity(2))
        said = Output(output.logits[part], output.features[part], named)
        losses.append(cascaded_loss(said, Batch(*own, shard_of=size))[0])
    torch.testing.assert_close(sum(losses) / 2, cascaded_loss(output, whole)[0])


def test_every_depth_learns_its_three_tasks():
    """The published network's claim: regions, distances and boundaries help each other at every depth."""
    generator = Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    centers = 20 + 24 * torch.rand(2, 2, generator=generator)
    labels = torch.stack([((y - a) ** 2 + (x - b) ** 2 < 150).long() for a, b in centers.tolist()])
    images = labels.unsqueeze(1) - 0.5 + 0.5 * torch.randn(2, 1, 64, 64, generator=generator)
    seen = Batch(images, labels, torch.arange(2), Warp.identity(2))
    network = create_network(NetworkOptions(name="madgnet", norm="group"), 1, 2, generator)
    untrained = copy.deepcopy(network)
    method = create_method("madgnet")
    state = method.start(network, PlainUpdater(network), generator, storage(size=64))
    for _ in range(20):
        report = method.step(state, seen, None)
    assert report.scalars["region"] < 0.5
    targets = targets_of(labels, 2)
    with torch.no_grad():
        before, after = untrained(images).auxiliary, network(images).auxiliary
    for depth in range(1, 5):
        for task, loss in (("distance", distance_loss), ("boundary", boundary_loss)):
            name = f"{task}_{depth}"
            assert loss(after[name], targets, seen) < 0.8 * loss(before[name], targets, seen), name
    finest, coarsest = (boundary_loss(after[f"boundary_{depth}"], targets, seen) for depth in (4, 1))
    assert finest < coarsest
    assert (method.predict(state, images).argmax(dim=1) == labels).float().mean() > 0.95


def test_gold_counts_as_much_as_the_noisy_batch():
    pair = [tiny_network(heads=HEADS["madgnet"]) for _ in range(2)]
    reports = []
    for network, options, gold in zip(pair, ({"gold": "mixed"}, {}), (gold_batch(100), None), strict=True):
        method = create_method("madgnet", **options)
        state = method.start(network, PlainUpdater(network), Generator(), storage())
        reports.append(method.step(state, batch(0), gold).scalars)
    assert reports[0]["loss"].item() == pytest.approx((reports[1]["loss"] + reports[0]["gold"]).item())


@pytest.mark.parametrize("missing", ["everything", "region_1", "a size"])
def test_other_networks_are_told_what_to_type(missing):
    noisy = batch(0)
    output = output_of(noisy)
    named = dict(output.auxiliary)
    if missing == "everything":
        named = {}
    elif missing == "a size":
        named["distance_2"] = named["distance_2"][:, :, ::2]
    else:
        del named[missing]
    with pytest.raises(InputError, match=r"method 'madgnet' needs .*: --network.name madgnet has them"):
        cascaded_loss(output._replace(auxiliary=named), noisy)
