import copy
from dataclasses import replace

import pytest
import torch
from tests.contract.tools import PlainUpdater, batch, gold_batch, storage, tiny_network
from tests.unit.methods.test_pair_table import disk, pair_batch, too_large

from metadcseg.errors import InputError
from metadcseg.methods import GLC, create_method
from metadcseg.methods.confusion import Confusion
from metadcseg.methods.glc import forward_corrected


def test_a_matrix_is_counted_true_class_before_given_class():
    verified, given = torch.zeros(1, 1, 4, dtype=torch.int64), torch.tensor([[[0, 0, 0, 1]]])
    confusion = Confusion(by_distance=False)
    confusion.update(pair_batch(given, verified), 2)
    matrix = confusion.of(given, 2)[0, :, :, 0, 0]
    assert matrix.tolist() == [[0.75, 0.25], [0.0, 1.0]]  # no pixel is truly 1: as if never mistaken


def test_by_distance_only_the_rim_is_mistaken():
    confusion = Confusion(by_distance=True)
    batch_of_pairs = too_large(by=3)
    confusion.update(batch_of_pairs, 2)
    matrix = confusion.of(batch_of_pairs.given, 2)
    wrong = matrix[:, 0, 1]  # truly background, given foreground
    rim = batch_of_pairs.given != batch_of_pairs.labels
    assert wrong[rim].mean() > 0.4
    assert wrong[(disk(30) == 0).expand_as(rim)].max() == 0


@pytest.mark.parametrize("by_distance", [False, True])
def test_without_a_mistake_it_is_plain_supervision(by_distance):
    networks = []
    for name, options in (("glc", {"by_distance": by_distance}), ("supervised", {"gold": "mixed"})):
        network = tiny_network()
        method = create_method(name, **options)
        state = method.start(network, PlainUpdater(network), torch.Generator(), storage())
        for number in range(3):
            gold = gold_batch(100 + number)
            method.step(state, batch(number), pair_batch_of(gold))
        networks.append(network)
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)  # a logarithm of a sum of one


def pair_batch_of(gold):
    """Pairs in which nothing was wrong."""
    return replace(gold, given=gold.labels)


def test_the_identity_corrects_nothing():
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    matrix = torch.eye(3).view(1, 3, 3, 1, 1).expand(2, 3, 3, 4, 4)
    assert torch.equal(forward_corrected(logits, matrix), logits.log_softmax(dim=1))


@pytest.mark.parametrize("by_distance", [False, True])
def test_a_label_that_no_class_explains_does_not_break_the_network(by_distance):
    network = tiny_network()
    method = create_method("glc", by_distance=by_distance)
    state = method.start(network, PlainUpdater(network), torch.Generator(), storage())
    gold = gold_batch(100)
    overlooked = replace(gold, given=torch.zeros_like(gold.labels))  # only background was ever given
    report = method.step(state, batch(0), overlooked)
    assert torch.isfinite(report.scalars["loss"])
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


def test_a_network_trained_on_noisy_labels_is_asked_for_the_matrix_and_then_begins_anew():
    network = tiny_network()
    first = copy.deepcopy(network.state_dict())
    method = GLC(matrix="network", warmup=2, dice=0.0)
    updater = PlainUpdater(network)
    state = method.start(network, updater, torch.Generator(), storage())
    gold = gold_batch(100)
    method.step(state, batch(0), gold)
    assert not len(state.parts["confusion"].counts)  # of an earlier epoch
    updater.epoch = 1
    said = method.predict(state, gold.images)
    method.step(state, batch(1), gold)
    matrix = state.parts["confusion"].of(gold.labels, said.shape[1])[0, :, :, 0, 0]
    for true in range(said.shape[1]):
        torch.testing.assert_close(matrix[true], said.movedim(1, -1)[gold.labels == true].mean(dim=0))
    updater.epoch, taken = 2, []
    updater.backward = lambda loss: taken.append(copy.deepcopy(network.state_dict()))
    for _ in range(2):
        method.step(state, batch(2), gold)
        network.load_state_dict({name: value + 1 for name, value in first.items()})
    assert all(torch.equal(value, first[name]) for name, value in taken[0].items())
    assert not all(torch.equal(value, first[name]) for name, value in taken[-1].items())  # once
    with pytest.raises(InputError, match=r"glc.by_distance needs the masks that gold replaced"):
        GLC(matrix="network", by_distance=True)


def test_counts_of_a_checkpoint_follow_the_labels_to_their_device():
    confusion = Confusion(by_distance=False)
    confusion.load_state_dict({"counts": torch.tensor([[[6.0, 2.0], [1.0, 3.0]]])})
    labels = torch.zeros(1, 4, 4, dtype=torch.int64, device="meta")
    assert confusion.of(labels, 2).shape == (1, 2, 2, 4, 4)
