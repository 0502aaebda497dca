"""L2B: its weights and both of its steps against double backward, its limits, its options, several devices."""

import copy
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.contract.tools import SIZE, PlainUpdater, batch, storage, tiny_network
from tests.gradients import double_backward as slow
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.algorithm.center_distance import DynamicCenterDistance
from metadcseg.errors import InputError
from metadcseg.losses import soft_dice_loss
from metadcseg.methods import L2B, MethodState, StepReport, create_method
from metadcseg.methods.l2b import method as l2b
from metadcseg.methods.l2b.views import averaged_pseudo_labels, view_batch
from metadcseg.networks import NetworkOptions, TappedNetwork, create_network
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize, WeightMaps
from metadcseg.warp import Warp


def start(method: L2B, network: nn.Module, updater: Any = None) -> MethodState:
    return method.start(
        network, updater or PlainUpdater(network), torch.Generator().manual_seed(5), storage()
    )


def double(one: Batch) -> Batch:
    """With a patch of ignored labels, in double precision."""
    one.labels[:, 2:4, 1:5] = IGNORE
    return Batch(one.images.double(), one.labels, one.indices, one.warp)


# What a step does


@pytest.mark.parametrize("method", [L2B(), L2B(views=False), L2B(clean_supervision=False)], ids=str)
def test_a_step_is_the_one_of_the_definition(method: L2B, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights from a graph of second order, a sum with weights that add up to 1, then the step on gold."""
    drawn: list[Any] = []
    monkeypatch.setattr(l2b, "draw_views", spy(l2b.draw_views, drawn))
    monkeypatch.setattr(l2b, "own_view", spy(l2b.own_view, drawn))
    network = tiny_network().double()
    fresh = copy.deepcopy(network)
    noisy, gold = double(batch(0)), double(batch(100))
    report = method.step(start(method, network), noisy, gold)

    views, gold_views = drawn if method.views else [(view,) for view in drawn]
    seen, trusted = view_batch(views, noisy), view_batch(gold_views, gold)
    logits = fresh(seen.images).logits
    pseudo = averaged_pseudo_labels(views, logits.softmax(dim=1), seen.labels)
    zero = WeightMaps(*torch.zeros(2, *seen.labels.shape, dtype=torch.float64))
    rectified = [(-map_).clamp(min=0) for map_ in slow.exact(fresh, seen, trusted, pseudo, zero, lr=0.1)]
    total = sum(map_.sum() for map_ in rectified)
    alpha, beta = (map_ / total for map_ in rectified)
    assert (alpha > 0).any()
    assert (beta > 0).any()

    counted = (seen.labels != IGNORE).sum()
    torch.testing.assert_close(report.maps.alpha, alpha[:: len(views)] * counted)
    torch.testing.assert_close(report.maps.beta, beta[:: len(views)] * counted)
    torch.testing.assert_close(report.scalars["alpha"], alpha.sum())
    torch.testing.assert_close(report.scalars["beta"], beta.sum())

    given = F.cross_entropy(logits, seen.labels, ignore_index=IGNORE, reduction="none")
    guessed = F.cross_entropy(logits, pseudo, reduction="none")
    loss = (alpha * given + beta * guessed).sum()
    torch.testing.assert_close(report.scalars["pixel"], loss.detach())
    optimizer = torch.optim.SGD(fresh.parameters(), lr=0.1, momentum=0.9)
    loss.backward()
    optimizer.step()
    if method.clean_supervision:
        optimizer.zero_grad()
        gold_loss = slow.mean_loss(fresh(trusted.images).logits, trusted.labels)
        gold_loss.backward()
        optimizer.step()
        torch.testing.assert_close(report.scalars["gold"], gold_loss.detach())
    assert ("gold" in report.scalars) == method.clean_supervision
    for trained, expected in zip(network.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(trained, expected)


def test_with_lambdas_a_step_descends_equation_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weighted loss, the boundary's loss with the same weights, and Dice, all of them on the views."""
    drawn: list[Any] = []
    monkeypatch.setattr(l2b, "draw_views", spy(l2b.draw_views, drawn))
    lambdas = {"lambda_boundary": 0.5, "lambda_dice": 0.25, "clean_supervision": False}
    method = L2B(**lambdas, boundary_ratio=0.2, edge_threshold=0.6, temperature=3.0)
    network = tiny_network()
    fresh = copy.deepcopy(network)
    noisy, gold = batch(0), batch(100)
    noisy.labels[:, 2:4, 1:5] = IGNORE
    noisy = replace(noisy, edges=torch.rand(noisy.labels.shape, generator=torch.Generator().manual_seed(2)))
    report = method.step(start(method, network), noisy, gold)

    seen = view_batch(drawn[0], noisy)
    bare = copy.deepcopy(fresh)
    plain = L2B(clean_supervision=False)
    weights_of: list[WeightMaps] = []
    monkeypatch.setattr(l2b, "_weights", spy(l2b._weights, weights_of))
    plain.step(start(plain, bare), noisy, gold)
    weights = weights_of[0]  # those of plain L2B: no term of eq. 13 has a say in them
    output = fresh(seen.images)
    pseudo = averaged_pseudo_labels(drawn[0], output.logits.softmax(dim=1), seen.labels)
    centers = DynamicCenterDistance(ratio=0.2, temperature=3.0)
    valid = seen.labels != IGNORE
    edges = (seen.edges >= 0.6) & valid
    assert edges.any()
    boundary = centers(output.logits, output.features, weights.gamma, valid, edges)
    pixels = weights.alpha * F.cross_entropy(
        output.logits, seen.labels, ignore_index=IGNORE, reduction="none"
    )
    pixels = pixels + weights.beta * F.cross_entropy(output.logits, pseudo, reduction="none")
    dice = soft_dice_loss(output.logits.softmax(dim=1), seen.labels)
    pixel, edge = (pixels * valid).sum() / valid.sum(), (boundary * pixels * valid).sum() / len(seen.labels)
    total = pixel + 0.5 * edge + 0.25 * dice.mean()
    found = {name: report.scalars[name] for name in ("loss", "pixel", "boundary", "dice")}
    for name, value in zip(found, (total, pixel, edge, dice.mean()), strict=True):
        torch.testing.assert_close(found[name], value.detach(), msg=name)
    assert edge > 0
    optimizer = torch.optim.SGD(fresh.parameters(), lr=0.1, momentum=0.9)
    total.backward()
    optimizer.step()
    for trained, expected in zip(network.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(trained, expected)


def test_the_script_s_network_takes_steps() -> None:
    """Batch norm sees the views of a step; in prediction it stands on what it has seen."""
    options = NetworkOptions(width=2, norm="batch", upsampling="bilinear", activation="relu")
    network = create_network(options, 1, 2)
    method = L2B(lambda_boundary=0.35, lambda_dice=0.1)
    state = start(method, network)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 1, 32, 32, generator=generator)
    labels = (images[:, 0] > 0.5).long()
    one = Batch(images, labels, torch.arange(2), Warp.identity(2))
    losses = [method.step(state, one, one).scalars["gold"].item() for _ in range(8)]
    assert losses[-1] < losses[0]
    assert state.parts["boundary"].centers.shape == (1, 3, 2)
    assert torch.equal(method.predict(state, images), method.predict(state, images))


def spy(function: Any, results: list[Any]) -> Any:
    def watched(*arguments: Any) -> Any:
        results.append(function(*arguments))
        return results[-1]

    return watched


def test_views_differ_between_images_steps_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(l2b, "draw_views", spy(l2b.draw_views, drawn))
    method, network = L2B(zoom_most=0.45), tiny_network()
    state = start(method, network)
    for _ in range(2):
        method.step(state, batch(0), batch(100))
    zooms = [
        tuple(view.warp.matrix[image, 0, 0].item() for view in views[1:4])
        for views in drawn
        for image in (0, 1)
    ]
    assert len(zooms) == 2 * 2 * 2
    assert len(set(zooms)) == len(zooms)


def test_where_nothing_helps_the_weights_stay_zero() -> None:
    """Without a gold gradient the noisy step has no loss; only momentum and decay may move the network."""
    network = tiny_network()
    before = copy.deepcopy(network)
    gold = batch(100)
    gold.labels.fill_(IGNORE)
    method = L2B(views=False)  # beyond the image's edge, views are labeled
    report = method.step(start(method, network), batch(0), gold)
    assert (report.maps.gamma == 0).all()
    for name in ("loss", "pixel", "alpha", "beta", "gold"):
        assert report.scalars[name] == 0
    for one, other in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, other)


def test_ignored_pixels_have_no_weight_and_the_others_average_one() -> None:
    noisy = batch(0)
    noisy.labels[:, :3] = IGNORE
    method = L2B(views=False)
    report = method.step(start(method, tiny_network()), noisy, batch(100))
    assert (report.maps.gamma[:, :3] == 0).all()
    torch.testing.assert_close(report.maps.gamma[:, 3:].mean(), torch.tensor(1.0))
    torch.testing.assert_close(report.scalars["alpha"] + report.scalars["beta"], torch.tensor(1.0))


def test_a_step_under_autocast_weighs_as_one_without() -> None:
    maps = []
    for half in (False, True):
        method, network = L2B(), tiny_network()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            maps.append(method.step(start(method, network), batch(0), batch(100)).maps)
    # the meta pass is computed in single precision; a few pseudo-labels near a tie may tip over
    close = (maps[0].alpha - maps[1].alpha).abs() < 1e-3 * maps[0].alpha.amax()
    assert close.float().mean() > 0.95
    assert maps[0].alpha.std() > 0.1


@pytest.mark.parametrize("method", [L2B(), L2B(views=False)], ids=str)
def test_it_learns_to_distrust_wrong_labels(method: L2B) -> None:
    """Pixels are separable by their value; a fixed third of the training labels is flipped, gold is right."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.zeros(4, SIZE, SIZE, dtype=torch.int64)
    truth[:, :, SIZE // 2 :] = 1
    images = (2.0 * truth - 1).unsqueeze(1) + 0.1 * torch.randn(4, 1, SIZE, SIZE, generator=generator)
    wrong = torch.rand(4, SIZE, SIZE, generator=generator) < 0.33
    noisy = Batch(images, torch.where(wrong, 1 - truth, truth), torch.arange(4), Warp.identity(4))
    gold = Batch(images.flip(2), truth, torch.arange(4), Warp.identity(4))
    assert set(noisy.labels.unique().tolist()) == {0, 1}

    torch.manual_seed(0)
    network = TappedNetwork(nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), "2")
    state = start(method, network)
    for _ in range(12):  # before gold is learned by heart and has nothing left to say
        report = method.step(state, noisy, gold)
    alpha, beta = report.maps.alpha, report.maps.beta
    assert alpha[wrong].mean() < 0.2 * alpha[~wrong].mean()
    assert beta[wrong].mean() > 0.1
    found = method.predict(state, images).argmax(dim=1)
    assert (found == truth).float().mean() > 0.99


# Several devices


class Shared(PlainUpdater):
    """One device's updater: means are taken over all devices, which meet at each of them."""

    def __init__(
        self, network: nn.Module, place: int, table: dict[int, Any], barrier: threading.Barrier
    ) -> None:
        super().__init__(network)
        self.place, self.table, self.barrier = place, table, barrier

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.table[self.place] = {name: value.detach().clone() for name, value in tensors.items()}
        self.barrier.wait(timeout=60)
        found = {
            name: torch.stack([self.table[place][name] for place in sorted(self.table)]).mean(dim=0)
            for name in tensors
        }
        self.barrier.wait(timeout=60)
        return found

    def step(self) -> None:
        gradients = {name: value.grad for name, value in self.network.named_parameters()}
        for name, gradient in self.mean(gradients).items():
            self.network.get_parameter(name).grad.copy_(gradient)
        super().step()


def part(one: Batch, rows: slice) -> Batch:
    shard_of = GlobalBatchSize((one.labels != IGNORE).sum() / 2, len(one.images) / 2)
    return Batch(
        one.images[rows], one.labels[rows], one.indices[rows], Warp(one.warp.matrix[rows]), shard_of=shard_of
    )


def test_two_devices_that_share_the_batches_do_what_one_does() -> None:
    noisy, gold = double(batch(0, count=3)), double(batch(100, count=3))
    noisy.labels[2, :9] = IGNORE  # the devices have different numbers of pixels
    gold.labels[0, 5:] = IGNORE
    whole_network = tiny_network().double()
    method = L2B()
    whole = method.step(start(method, whole_network), noisy, gold)

    networks = [tiny_network().double() for _ in range(2)]
    table: dict[int, Any] = {}
    barrier = threading.Barrier(2)
    reports: dict[int, StepReport] = {}

    def device(place: int, rows: slice) -> None:
        try:
            state = start(method, networks[place], Shared(networks[place], place, table, barrier))
            reports[place] = method.step(state, part(noisy, rows), part(gold, rows))
        except BaseException:
            barrier.abort()
            raise

    threads = [threading.Thread(target=device, args=(k, slice(2 * k, 2 * k + 2))) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert reports.keys() == {0, 1}
    for one in networks:
        for shared, alone in zip(one.parameters(), whole_network.parameters(), strict=True):
            torch.testing.assert_close(shared, alone)
    for name, value in whole.scalars.items():
        torch.testing.assert_close((reports[0].scalars[name] + reports[1].scalars[name]) / 2, value)
    alphas = torch.cat([reports[0].maps.alpha, reports[1].maps.alpha])
    torch.testing.assert_close(alphas, whole.maps.alpha)


# Options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"views": 5}, "l2b.views must be true or false, got 5"),
        ({"zoom_least": -0.1}, "l2b.zoom_least must be at least 0, got -0.1"),
        ({"zoom_most": 0.5}, "l2b.zoom_most must be at least 0 and below 0.5, got 0.5"),
        ({"zoom_least": 0.3}, r"l2b.zoom_most must be at least l2b.zoom_least \(0.3\), got 0.21"),
        ({"lambda_boundary": -1.0}, "l2b.lambda_boundary must be at least 0, got -1"),
        ({"lambda_dice": -0.1}, "l2b.lambda_dice must be at least 0, got -0.1"),
        ({"boundary_ratio": 1.0}, "l2b.boundary_ratio must be above 0 and below 1, got 1"),
        ({"edge_threshold": 0.0}, "l2b.edge_threshold must be above 0 and at most 1, got 0"),
        ({"temperature": 0.0}, "l2b.temperature must be above 0, got 0"),
        ({"clean_supervision": "no"}, "l2b.clean_supervision must be true or false, got 'no'"),
    ],
)
def test_bad_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        create_method("l2b", **options)


def test_the_declaration_follows_the_options() -> None:
    assert L2B().info.supervises_gold
    assert not L2B(clean_supervision=False).info.supervises_gold
    assert L2B(clean_supervision=False).info.needs_gold
    assert [L2B(lambda_boundary=weight).info.uses_edges for weight in (0.0, 0.3)] == [False, True]
    assert L2B().info.passes == 5 * L2B(views=False).info.passes
