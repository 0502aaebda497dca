"""Gold images take turns: no image is asked while it is trained on, none is lost, devices agree."""

from dataclasses import replace

import pytest
import torch
from tests.contract.tools import PlainUpdater, batch, storage, tiny_network
from torch import Tensor

from metadcseg.losses import mean_over_pixels, pixel_cross_entropy
from metadcseg.methods import MetaDCSeg
from metadcseg.methods.cross_fit import take_turns
from metadcseg.tensors import IGNORE, Batch, Joint


def gold_of(indices: list[int]) -> Batch:
    held = batch(100)
    count = len(indices)
    return Batch(
        held.images[:1].expand(count, -1, -1, -1),
        held.labels[:1].expand(count, -1, -1),
        torch.tensor(indices),
        replace(held.warp, matrix=held.warp.matrix[:1].expand(count, -1, -1)),
    )


def test_every_image_is_in_one_half_and_then_in_the_other() -> None:
    gold = gold_of([0, 1, 2, 3, 3, 5])
    for epoch in range(4):
        trained, asked = take_turns(gold, epoch)
        assert sorted([*trained.indices.tolist(), *asked.indices.tolist()]) == [0, 1, 2, 3, 3, 5]
        assert not set(trained.indices.tolist()) & set(asked.indices.tolist())
        later = take_turns(gold, epoch + 1)
        assert torch.equal(later[0].indices, asked.indices)


def test_a_half_without_images_teaches_nothing() -> None:
    trained, asked = take_turns(gold_of([0, 2]), epoch=0)
    assert len(trained.images) == 2
    assert (asked.labels == IGNORE).all()
    network = tiny_network()
    loss = mean_over_pixels(pixel_cross_entropy(network(asked.images).logits, asked.labels), asked.labels)
    loss.backward()
    assert all(not parameter.grad.any() for parameter in network.parameters() if parameter.grad is not None)


def test_devices_divide_by_what_all_of_them_hold() -> None:
    whole = gold_of([0, 1, 2, 4])
    parts = []
    for place in ([0, 1], [2, 3]):
        part = gold_of(whole.indices[place].tolist())
        parts.append(replace(part, joint=Joint(torch.tensor(1.0), 2.0)))

    def counted(part: Batch) -> dict[str, float]:
        seen: dict[str, float] = {}

        def spy(held: dict[str, Tensor]) -> dict[str, Tensor]:
            seen.update({name: float(value) for name, value in held.items()})
            return held

        take_turns(part, 0, spy)  # the second half is counted last
        return seen

    first = [take_turns(part, 0)[0].whole for part in parts]
    alone = take_turns(whole, 0)[0].whole
    assert float(sum(size.pixels for size in first)) == float(alone.pixels)
    assert sum(size.images for size in first) == alone.images == 3
    assert counted(parts[1])["images"] == 0


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_network_is_trained_on_the_half_that_is_not_asked(epoch: int) -> None:
    """A false label in the half that is asked changes what the table learns, and not the supervised gold loss."""
    gold = batch(100)
    losses, sums = [], []
    for spoilt in (False, True):
        method = MetaDCSeg(dcd=False)
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
