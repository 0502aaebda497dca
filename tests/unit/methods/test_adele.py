"""ADELE: when early learning ends, which labels are corrected, and where they are kept."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.contract.tools import CLASSES, SIZE, PlainUpdater, batch, storage, tiny_network
from tests.unit.methods.tools import flipped_third, run, same, start
from torch import nn

from metadcseg.methods import ADELE, Supervised
from metadcseg.methods.adele import EarlyLearning, early_learning_ended
from metadcseg.methods.scale_consistency import logits_at, scale_consistency
from metadcseg.networks import Committee, NetworkOptions, TappedNetwork, create_network
from metadcseg.tensors import IGNORE, Batch
from metadcseg.warp import Warp

CURVE = 0.8 * (1 - np.exp(-np.arange(1, 13) / 2.5))


def test_the_epoch_in_which_early_learning_ends_by_hand():
    """1 - f'(t) / f'(1) = 1 - exp(-(t - 1) / 2.5) is above 0.9 from t = 1 + 2.5 ln 10 = 6.76 on."""
    ended = [early_learning_ended(CURVE[:t], slope=0.9) for t in range(1, 13)]
    assert ended == [False] * 6 + [True] * 6
    assert [early_learning_ended(CURVE[:t], slope=0.5) for t in (2, 3)] == [False, True]  # t = 2.73


def test_epochs_before_a_class_is_learned_do_not_count():
    late = np.concatenate([[0.0, 0.02, 0.05], CURVE])
    assert [early_learning_ended(late[:t], slope=0.9) for t in (9, 10)] == [False, True]
    assert not early_learning_ended(np.full(20, 0.05), slope=0.9)
    assert not early_learning_ended(np.linspace(0.1, 0.9, 12), slope=0.9)  # it goes on learning


def logits_of(labels: torch.Tensor, certainty: float = 9.0) -> torch.Tensor:
    return certainty * nn.functional.one_hot(labels, CLASSES).movedim(-1, 1).float()


def test_iou_of_an_epoch_is_pooled_over_its_batches_and_weighed_by_trust():
    learning = EarlyLearning(0.9, 10)
    labels = torch.tensor([[[0, 0, 1, 1]], [[2, 2, 2, IGNORE]]])
    found = torch.tensor([[[0, 1, 1, 0]], [[2, 0, 1, 1]]])
    trust = torch.ones(2, 1, 4)
    trust[0, 0, 1] = 0.5
    for place in range(2):
        one = Batch(torch.zeros(1, 1, 1, 4), labels[place : place + 1], torch.arange(1), Warp.identity(1))
        one = replace(one, label_confidence=trust[place : place + 1])
        learning.see(logits_of(found[place : place + 1]), one, epoch=0)
    learning.see(logits_of(found[:1]), replace(one, labels=labels[:1]), epoch=1)
    # class 0: 1 / (1 + 0.5 + 1 + 1); class 1: 1 / (1 + 0.5 + 1 + 1); class 2: 1 / 3
    assert learning.curves.flatten().tolist() == pytest.approx([1 / 3.5, 1 / 3.5, 1 / 3])


def test_a_class_is_corrected_from_its_own_epoch_on_and_every_so_often():
    learning, one = EarlyLearning(0.9, 3), batch(0)
    learning.see(logits_of(one.labels), one, epoch=0)
    for epoch in range(1, 12):
        learning.overlap = torch.tensor([[1.0, CURVE[epoch - 1], 0.01], [1.0, 1.0, 1.0]])
        learning.see(logits_of(one.labels), one, epoch)
    assert learning.curves[:, 1].tolist() == pytest.approx(CURVE[:11].tolist())
    assert learning.since.tolist()[1:] == [7, -1]  # seven epochs were over when that numbered 7 began
    found = []
    for epoch in range(6, 15):
        learning.epoch = torch.tensor([float(epoch)])
        now = learning.corrected_now(CLASSES)
        found.append(None if now is None else now.tolist())
    assert [number for number, now in zip(range(6, 15), found, strict=True) if now] == [7, 10, 13]
    assert found[1] == [True, True, False]


def correcting(state, *classes):
    """Let some classes be corrected in this epoch."""
    learning = state.parts["learning"]
    learning.overlap, learning.curves = torch.zeros(2, CLASSES), torch.zeros(0, CLASSES)
    learning.epoch, learning.since = torch.zeros(1), torch.full((CLASSES,), -1.0)
    learning.since[list(classes)] = 0.0


class Says(nn.Module):
    """A network that says what it is told, with one weight to learn."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer, self.scale = answer, nn.Conv2d(CLASSES, CLASSES, 1, bias=False)
        with torch.no_grad():
            self.scale.weight.copy_(torch.eye(CLASSES).view(CLASSES, CLASSES, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale(self.answer)


def corrected(labels, found, classes, certainty=9.0, **changes):
    """Return the labels of a batch, in its own grid, after one step of a network that says what was found."""
    network = TappedNetwork(Says(logits_of(found, certainty)), "scale")
    state = start(ADELE(), network)
    correcting(state, *classes)
    one = replace(batch(0, count=len(labels)), labels=labels, **changes)
    report = ADELE().step(state, one, None)
    weights = ADELE().weights(state, one)
    assert torch.equal(weights.beta, report.maps.beta)
    return state.parts["labels"].read(one).labels


def test_which_labels_give_way():
    labels = torch.zeros(1, SIZE, SIZE, dtype=torch.int64)
    labels[0, 0, :4] = torch.tensor([1, 1, 2, IGNORE])
    labels[0, 1, :2] = 2
    found = labels.clone().masked_fill(labels == IGNORE, 1)
    found[0, 0, :3] = torch.tensor([0, 2, 1])  # off, to the other class, from the other class
    found[0, 2, :2] = torch.tensor([1, 2])  # on
    of_one = corrected(labels, found, [1])
    assert of_one[0, 0, :4].tolist() == [0, 1, 2, IGNORE]
    assert of_one[0, 2, :2].tolist() == [1, 0]
    of_both = corrected(labels, found, [1, 2])
    assert of_both[0, 0, :4].tolist() == [0, 2, 1, IGNORE]
    assert of_both[0, 2, :2].tolist() == [1, 2]
    assert torch.equal(corrected(labels, found, []), labels)
    unsure = corrected(labels, found, [1, 2], certainty=1.5)  # 0.69
    assert torch.equal(unsure, labels)


def test_a_class_that_an_image_does_not_have_is_not_invented():
    labels = torch.zeros(2, SIZE, SIZE, dtype=torch.int64)
    labels[1, 5, 5] = 1
    found = torch.ones_like(labels)
    assert [int(one.sum()) for one in corrected(labels, found, [1])] == [0, SIZE * SIZE]
    trust = torch.ones(labels.shape)
    trust[1, 5, 5] = 0  # nobody believes that it has
    assert int(corrected(labels, found, [1], label_confidence=trust).sum()) == 1


def test_corrections_travel_with_the_image_and_are_saved():
    labels = torch.zeros(1, SIZE, SIZE, dtype=torch.int64)
    labels[0, 3, 2:6] = 1
    found = labels.clone()
    found[0, 3, 2] = 0
    network, kept = TappedNetwork(Says(logits_of(found)), "scale"), storage()
    method = ADELE()
    state = method.start(network, PlainUpdater(network), torch.Generator(), kept)
    correcting(state, 1)
    mirrored = Warp(torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]]))
    one = Batch(torch.zeros(1, 2, SIZE, SIZE), labels, torch.arange(1), mirrored)
    report = method.step(state, one, None)
    assert report.scalars["corrected"].item() == pytest.approx(1 / SIZE**2)
    still = replace(one, labels=labels.flip(2), warp=Warp.identity(1))
    again = state.parts["labels"].read(still).labels
    assert torch.equal(again, found.flip(2))

    file = io.BytesIO()
    torch.save(state.state_dict(), file)
    file.seek(0)
    other = method.start(network, PlainUpdater(network), torch.Generator(), kept)
    other.load_state_dict(torch.load(file, weights_only=True), 3)
    assert torch.equal(other.parts["learning"].since, state.parts["learning"].since)


def test_until_then_it_is_plain_supervision_bit_for_bit():
    for gold in ("none", "mixed"):
        assert same(run(ADELE(gold=gold))[0].network, run(Supervised(gold=gold))[0].network)


def test_wrong_labels_are_corrected_once_they_are():
    noisy, _, truth, wrong = flipped_third()
    torch.manual_seed(0)
    network = TappedNetwork(nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), "2")
    method = ADELE(confidence=0.6)  # a third of the labels is wrong: the network says two thirds
    state = start(method, network)
    for number in range(60):
        state.updater.epoch = number // 6
        method.step(state, noisy, None)
    assert state.parts["learning"].since[1] > 2
    trust = method.weights(state, noisy)
    assert trust.beta[wrong].mean() > 0.95
    assert trust.beta[~wrong].mean() < 0.05
    assert (state.parts["labels"].read(noisy).labels == truth).float().mean() > 0.97


class Counted(nn.Module):
    """A network that notes the sizes it is asked at."""

    def __init__(self) -> None:
        super().__init__()
        self.draw, self.sizes = nn.Conv2d(2, CLASSES, 1), []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.append(images.shape[2])
        return self.draw(images)


def test_three_scales_are_seen_and_cost_what_is_said():
    counted = Counted()
    method = ADELE(multiscale=True)
    state = start(method, TappedNetwork(counted, "draw"))
    before = counted.draw.weight.clone()
    report = method.step(state, batch(0), None)
    assert counted.sizes == [16, 16, 32]  # 16 pixels may be halved four times: 11 and 24 may not
    assert report.scalars["consistency"] >= 0
    assert not torch.equal(counted.draw.weight, before)
    assert method.info.passes == pytest.approx(3 * (0.49 + 1 + 2.25))
    assert ADELE(multiscale=True, gold="mixed").info.passes == pytest.approx(14.22)


def test_disagreement_between_scales_by_hand():
    """p = 0.95 and 0.75 have the mean q = 0.85: the mean of p ln(p / q) + (1 - p) ln((1 - p) / (1 - q))."""
    one = Batch(
        torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 2, dtype=torch.int64), torch.arange(1), Warp.identity(1)
    )
    sure, less = (torch.tensor([p, 1 - p]).log().view(1, 2, 1, 1).expand(1, 2, 1, 2) for p in (0.95, 0.75))
    by_hand = [p * np.log(p / 0.85) + (1 - p) * np.log((1 - p) / 0.15) for p in (0.95, 0.75)]
    assert scale_consistency([sure, less], one).item() == pytest.approx(sum(by_hand) / 2, rel=1e-5)
    hidden = replace(one, labels=torch.tensor([[[0, IGNORE]]]))
    odd = less.clone()
    odd[..., 1] = torch.tensor([0.0, 9.0]).view(1, 2, 1)  # only where nothing is known
    assert scale_consistency([sure, odd], hidden).item() == pytest.approx(sum(by_hand) / 2, rel=1e-5)
    assert scale_consistency([less, less.flip(1)], one).item() == 0  # 0.5: nobody is sure
    with pytest.raises(ValueError, match="one shape"):
        scale_consistency([sure, less[..., :1]], one)


@pytest.mark.parametrize(
    ("name", "side", "sizes"),
    [
        ("unetplusplus", 96, [64, 96, 144]),
        ("unetplusplus", 32, [32, 32, 48]),  # 22 is below its smallest
        ("unet", 96, [67, 96, 144]),  # it takes any size
        (None, 96, [64, 96, 160]),  # multiples of 32
        (None, 36, [24, 36, 56]),  # of 4
        (None, 33, [23, 33, 50]),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_scaled_sides_are_such_as_the_network_takes(name, side, sizes, count):
    if name is None:
        networks = [TappedNetwork(Counted(), "draw") for _ in range(count)]
    else:
        networks = [create_network(NetworkOptions(name, width=2), 2, CLASSES) for _ in range(count)]
    seen = []
    networks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    network = networks[0] if count == 1 else Committee(networks)
    found = logits_at(network, torch.zeros(1, 2, side, side))
    assert seen == sizes
    assert all(one.shape == (1, CLASSES, side, side) for one in found)


def test_scales_bring_logits_to_the_size_of_the_image():
    network = TappedNetwork(nn.Sequential(nn.Conv2d(1, 2, 1)), "0")
    images = torch.randn(1, 1, 7, 10)
    found = logits_at(network, images, (0.7, 1.0, 1.5))
    assert [tuple(one.shape) for one in found] == [(1, 2, 7, 10)] * 3
    assert torch.equal(found[1], network(images).logits)


def test_a_grid_that_is_not_that_of_the_labels_kept_is_refused():
    state = start(ADELE(), tiny_network())
    with pytest.raises(ValueError, match="continue with the grid size"):
        ADELE().step(state, batch(0, size=8), None)
