"""Co-teaching and TriNet: who chooses what for whom, and what a step descends."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
import torch
from tests.contract.tools import PlainUpdater, batch, network_of, storage
from tests.unit.methods.tools import flipped_third
from torch import nn

from metadcseg.errors import InputError
from metadcseg.losses import pixel_cross_entropy
from metadcseg.methods import CoTeaching, TriNet
from metadcseg.methods.small_loss import chosen_by_others, easiest
from metadcseg.networks import Committee, TappedNetwork
from metadcseg.tensors import IGNORE


def every(losses: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(losses, dtype=torch.bool)


@pytest.mark.parametrize("ratio", [0.03, 0.5, 0.8, 1.0])
def test_the_easiest_are_those_that_sorting_finds(ratio):
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(3, 7, 11, generator=generator) ** 9 * 5  # over many powers of ten
    ranked = torch.rand(3, 7, 11, generator=generator) < 0.7
    found = easiest(losses, ranked, ratio)
    assert not found[~ranked].any()
    ordered = losses[ranked].sort().values
    count = int(torch.tensor(ratio * len(ordered)).ceil())
    assert found.sum() == count
    assert losses[found].max() == ordered[count - 1]


def test_losses_that_tie_or_are_absent():
    losses = torch.tensor([[[0.0, -0.0, 0.0, 2.0]]])
    assert easiest(losses, every(losses), 0.25).tolist() == [[[True, True, True, False]]]
    assert not easiest(losses, ~every(losses), 0.5).any()


def test_two_devices_choose_what_one_chooses():
    losses = torch.rand(2, 4, 8, generator=torch.Generator().manual_seed(0))
    together, told = Barrier(2), {}

    def choose(device: int) -> torch.Tensor:
        def mean(own):
            told[device] = own["counts"]
            together.wait(10)
            joint = (told[0] + told[1]) / 2
            together.wait(10)
            return {"counts": joint}

        return easiest(losses[device : device + 1], every(losses[:1]), 0.6, mean)

    with ThreadPoolExecutor(2) as devices:
        parts = list(devices.map(choose, range(2)))
    assert torch.equal(torch.cat(parts), easiest(losses, every(losses), 0.6))
    assert not torch.equal(parts[0], easiest(losses[:1], every(losses[:1]), 0.6))


def test_two_choose_for_each_other_and_three_by_both_others():
    one, two, three = (torch.tensor(values) for values in ([1.0, 2, 3, 4], [4.0, 3, 2, 1], [1.0, 4, 2, 3]))
    losses = [loss.view(1, 1, 4) for loss in (one, two, three)]
    easy = [[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]]
    chosen = chosen_by_others(losses[:2], [every(losses[0])], [0.5])
    assert [found.int().flatten().tolist() for found in chosen] == [easy[1], easy[0]]
    chosen = chosen_by_others(losses, [every(losses[0])], [0.5])
    assert [found.int().flatten().tolist() for found in chosen] == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_a_class_of_few_pixels_keeps_its_share_where_classes_are_ranked_apart():
    labels = torch.zeros(1, 10, 10, dtype=torch.int64)
    labels[0, 0] = 1  # a tenth, and hard
    losses = [
        torch.rand(1, 10, 10, generator=torch.Generator().manual_seed(0)) + 5 * labels for _ in range(2)
    ]
    together = chosen_by_others(losses, [every(losses[0])], [0.8])[0]
    apart = chosen_by_others(losses, [labels == 0, labels == 1], [0.8, 0.8])[0]
    assert (int(together.sum()), int(together[labels == 1].sum())) == (80, 0)
    assert (int(apart.sum()), int(apart[labels == 1].sum())) == (80, 8)


def test_the_share_falls_over_the_ramp():
    teaching, three = CoTeaching(select_ratio=0.8, ramp=4), TriNet(select_ratio=0.8, ramp=4)
    assert [round(teaching.ratio(epoch), 4) for epoch in (0, 2, 4, 9)] == [0.9987, 0.9427, 0.8, 0.8]
    assert [round(three.ratio(epoch), 4) for epoch in (0, 2, 4, 9)] == [1.0, 0.9, 0.8, 0.8]
    assert CoTeaching(ramp=0).ratio(0) == 0.8


def test_a_step_descends_the_mean_loss_of_the_chosen_pixels():
    method = CoTeaching(select_ratio=0.5, ramp=0, ranks="batch", dice=0.0)
    trained, fresh = (network_of("coteaching", {}) for _ in range(2))
    state = method.start(trained, PlainUpdater(trained), torch.Generator(), storage())
    method.step(state, batch(0), None)
    losses = [pixel_cross_entropy(one.logits, batch(0).labels) for one in fresh.answers(batch(0).images)]
    for own, other in ((0, 1), (1, 0)):
        limit = losses[other].flatten().sort().values[losses[other].numel() // 2 - 1]
        losses[own][losses[other] <= limit].mean().backward()
    for one, other in zip(trained.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(one, other - 0.1 * other.grad)


def test_pixels_that_nobody_knows_or_trusts_take_nobodys_place():
    method, results = TriNet(select_ratio=0.5, ramp=0, dice=0.0), []
    for way in ("ignored", "distrusted"):
        network = network_of("trinet", {})
        noisy = batch(0)
        if way == "ignored":
            noisy.labels[:, :8] = IGNORE
        else:
            trust = torch.ones(noisy.labels.shape)
            trust[:, :8] = 0
            noisy = replace(noisy, label_confidence=trust)
        state = method.start(network, PlainUpdater(network), torch.Generator(), storage())
        results.append(method.step(state, noisy, None).scalars)
    assert results[0]["pixel"] == results[1]["pixel"]
    assert results[0]["kept"] == results[1]["kept"]


@pytest.mark.parametrize("method", [CoTeaching, TriNet])
def test_wrong_labels_are_left_out(method):
    noisy, _, truth, wrong = flipped_third()
    torch.manual_seed(0)
    members = [
        TappedNetwork(nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), "2")
        for _ in range(method.networks)
    ]
    network = Committee(members)
    chosen = method(select_ratio=0.6, ramp=5)
    state = chosen.start(network, PlainUpdater(network), torch.Generator(), storage())
    for number in range(60):
        state.updater.epoch = number // 6
        chosen.step(state, noisy, None)
    losses = [pixel_cross_entropy(one.logits, noisy.labels) for one in network.answers(noisy.images)]
    for kept in chosen_by_others(losses, [noisy.labels == 0, noisy.labels == 1], [0.6, 0.6]):
        assert (kept & wrong).sum() < 0.02 * kept.sum()
    found = chosen.predict(state, noisy.images)
    assert (found.argmax(dim=1) == truth).float().mean() > 0.99
    assert found.gather(1, truth.unsqueeze(1)).mean() > 0.8  # plain supervision rests at two thirds


def test_with_pairs_as_much_of_each_class_is_kept_as_the_pairs_have_right():
    network = network_of("coteaching", {})
    method = CoTeaching(pairs=True, gold="mixed", ramp=0)
    state = method.start(network, PlainUpdater(network), torch.Generator(), storage())
    gold = batch(100)
    verified = (torch.arange(gold.labels.shape[2]) < 4).long().expand_as(gold.labels)  # class 1: four columns
    given = (torch.arange(gold.labels.shape[2]) < 8).long().expand_as(gold.labels)  # twice as wide
    gold = replace(gold, labels=verified, given=given)
    assert method._ratios(state, gold, 2, 2) == [1.0, 0.5]  # what is given as background is right
    assert method._ratios(state, gold, 2, 1) == [pytest.approx(1 - 4 / gold.labels.shape[2])]
    with pytest.raises(InputError, match=r"trinet.pairs true counts on gold: add --trinet.gold mixed"):
        TriNet(pairs=True)
