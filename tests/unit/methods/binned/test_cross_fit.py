"""Gold images take turns: no image is asked while it is trained on, none is lost, devices agree."""

from dataclasses import replace

import pytest
import torch
from tests.contract.tools import PlainUpdater, batch, storage, tiny_network
from torch import Tensor

from metadcseg.losses import mean_over_pixels, pixel_cross_entropy
from metadcseg.methods import Binned
from metadcseg.methods.binned.cross_fit import take_turns
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize


def gold_of(indices: list[int]) -> Batch:
    held = batch(100)
    count = len(indices)
    return Batch(
        held.images[:1].expand(count, -1, -1, -1),
        held.labels[:1].expand(count, -1, -1),
        torch.tensor(indices),
        replace(held.warp, matrix=held.warp.matrix[:1].expand(count, -1, -1)),
    )


@pytest.mark.parametrize("turns", [2, 3, 4])
def test_every_image_is_asked_once_in_so_many_epochs_and_trained_on_in_all_others(turns: int) -> None:
    gold = gold_of([0, 1, 2, 3, 3, 5])
    for start in range(4):
        answered: list[int] = []
        for epoch in range(start, start + turns):
            trained, asked = take_turns(gold, epoch, turns)
            assert sorted([*trained.indices.tolist(), *asked.indices.tolist()]) == [0, 1, 2, 3, 3, 5]
            assert not set(trained.indices.tolist()) & set(asked.indices.tolist())
            answered += asked.indices.tolist()
        assert sorted(answered) == [0, 1, 2, 3, 3, 5]


def test_so_many_gold_images_are_asked_at_a_time_as_it_takes() -> None:
    """The method is told how many there are: of 16 it asks a quarter, of 4 it asks half."""
    asked = []
    for images in (4, 16):
        method = Binned(dcd=False)
        gold = gold_of([0, 1, 2, 3])
        differs = []
        for number in range(4):
            labels = gold.labels.clone()
            labels[number] = (labels[number] + 1) % 3
            sums = []
            for held in (gold, replace(gold, labels=labels)):
                network = tiny_network()
                state = method.start(network, PlainUpdater(network), torch.Generator(), storage())
                state.updater.gold_images = images
                method.step(state, batch(0), held)
                sums.append(state.parts["weights"].sums)
            differs.append(not torch.equal(*sums))
        asked.append(differs)
    assert asked == [[False, True, False, True], [False, False, False, True]]


@pytest.mark.parametrize(("images", "at_a_time"), [(1, 8), (500, 1)])
def test_what_cannot_be_divided_is_trained_on_and_asked_at_once(images: int, at_a_time: int) -> None:
    for epoch in (0, 1):
        method = Binned(dcd=False)
        network = tiny_network()
        state = method.start(network, PlainUpdater(network), torch.Generator(), storage())
        state.updater.epoch, state.updater.gold_images, state.updater.gold_batch = epoch, images, at_a_time
        report = method.step(state, batch(0), gold_of([0]))
        assert report.scalars["gold"] > 0
        assert state.parts["weights"].sums.any()


def test_a_part_without_images_teaches_nothing() -> None:
    trained, asked = take_turns(gold_of([0, 2]), epoch=0, turns=2)
    assert len(trained.images) == 2
    assert (asked.labels == IGNORE).all()
    network = tiny_network()
    loss = mean_over_pixels(pixel_cross_entropy(network(asked.images).logits, asked.labels), asked.labels)
    loss.backward()
    assert all(not parameter.grad.any() for parameter in network.parameters() if parameter.grad is not None)


def test_pairs_go_with_their_images() -> None:
    whole = gold_of([0, 1, 2])
    whole = replace(
        whole, given=torch.stack([torch.full_like(whole.labels[0], value) for value in (0, 1, 2)])
    )
    trained, asked = take_turns(whole, epoch=0, turns=2)
    assert trained.given is not None
    assert asked.given is not None
    assert [int(maps.unique()) for maps in (*trained.given, *asked.given)] == [0, 2, 1]
    _, nobody = take_turns(replace(whole, indices=torch.tensor([0, 2, 4])), epoch=0, turns=2)
    assert nobody.given is not None
    assert (nobody.given == IGNORE).all()


@pytest.mark.parametrize(("turns", "trained"), [(2, 3), (4, 4)])
def test_devices_divide_by_what_all_of_them_hold(turns: int, trained: int) -> None:
    whole = gold_of([0, 1, 2, 4])
    parts = []
    for place in ([0, 1], [2, 3]):
        part = gold_of(whole.indices[place].tolist())
        parts.append(replace(part, shard_of=GlobalBatchSize(torch.tensor(1.0), 2.0)))

    def counted(part: Batch) -> dict[str, float]:
        seen: dict[str, float] = {}

        def spy(held: dict[str, Tensor]) -> dict[str, Tensor]:
            seen.update({name: float(value) for name, value in held.items()})
            return held

        take_turns(part, 0, turns, spy)  # the part that is asked is counted last
        return seen

    first = [take_turns(part, 0, turns)[0].global_batch_size for part in parts]
    alone = take_turns(whole, 0, turns)[0].global_batch_size
    assert float(sum(size.pixels for size in first)) == float(alone.pixels)
    assert sum(size.images for size in first) == alone.images == trained
    assert counted(parts[1])["images"] == 0


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_network_is_trained_on_the_half_that_is_not_asked(epoch: int) -> None:
    """A false label in the half that is asked changes what the table learns, and not the supervised gold loss."""
    gold = batch(100)
    losses, sums = [], []
    for spoilt in (False, True):
        method = Binned(dcd=False)
        network = tiny_network()
        state = method.start(network, PlainUpdater(network), torch.Generator(), storage())
        state.updater.epoch = epoch
        labels = gold.labels.clone()
        if spoilt:
            labels[(gold.indices + epoch) % 2 == 1] = 2
        report = method.step(state, batch(0), replace(gold, labels=labels))
        losses.append(report.scalars["gold"])
        sums.append(state.parts["weights"].sums)
    assert set((gold.indices % 2).tolist()) == {0, 1}
    assert torch.equal(*losses)
    assert not torch.equal(*sums)
