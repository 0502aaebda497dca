import pytest
import torch
from tests.unit.methods.test_pair_table import SIDE, disk, pair_batch, table_of, too_large

from metadcseg.methods.calibrated.likeness import COMPONENTS, cautious_mean, components_of, likeness
from metadcseg.methods.pair_table import BINS, distance_bins
from metadcseg.tensors import IGNORE


def sure_of(truth, sharpness=0.9):
    q = torch.full((len(truth), 2, *truth.shape[1:]), 1 - sharpness)
    return q.scatter_(1, truth.unsqueeze(1), sharpness)


def both_ways():
    """Two pairs drawn 4 px too large, two drawn 4 px too small."""
    verified = torch.stack([disk(14)] * 4)
    return pair_batch(torch.stack([disk(18), disk(18), disk(10), disk(10)]), verified)


def test_a_mask_is_like_the_pairs_that_were_drawn_as_it_was():
    components = components_of(*table_of(both_ways()).seen())
    truth = torch.stack([disk(15), disk(15), disk(15)])
    labels = torch.stack([disk(19), disk(11), disk(15)])
    found = likeness(components, labels, distance_bins(labels, 2), sure_of(truth))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))
    assert found[0, :2].sum() > 0.9
    assert found[1, 2:].sum() > 0.9


def test_a_network_without_an_opinion_leaves_pairs_alike():
    components = components_of(*table_of(both_ways()).seen())
    labels = torch.stack([disk(19)])
    found = likeness(components, labels, distance_bins(labels, 2), torch.full((1, 2, SIDE, SIDE), 0.5))
    torch.testing.assert_close(found, torch.full((1, 4), 0.25))


def test_unknown_labels_are_no_witnesses():
    components = components_of(*table_of(both_ways()).seen())
    labels = torch.full((1, SIDE, SIDE), IGNORE)
    found = likeness(components, labels, distance_bins(labels, 2), sure_of(disk(10)[None]))
    torch.testing.assert_close(found, torch.full((1, 4), 0.25))


def test_one_pair_says_nothing():
    assert len(components_of(*table_of(too_large(1)).seen())) == 0


def test_many_pairs_are_taken_together_by_how_wrong_they_are():
    batches = [too_large(4, by=by) for by in (1, 2, 3, 4, 5)]
    count = 4 * len(batches)
    verified = torch.cat([batch.labels for batch in batches])
    given = torch.cat([batch.given for batch in batches])
    components = components_of(*table_of(pair_batch(given, verified), images=count).seen())
    assert components.shape == (COMPONENTS, 2, 2, BINS)
    assert components[0, 1, 0, 2] < 0.1 < 0.9 < components[-1, 1, 0, 2]


def test_pairs_that_contradict_each_other_leave_the_label_as_it_is():
    """As pairs whose masks were exchanged between images do."""
    verified = torch.stack([disk(8, (16, 16)), disk(8, (16, 48)), disk(8, (48, 16)), disk(8, (48, 48))])
    exchanged = pair_batch(verified.roll(1, dims=0), verified)
    components = components_of(*table_of(exchanged).seen())
    uniform = torch.full((1, 4), 0.25)
    right = components_of(*table_of(too_large()).seen())
    assert cautious_mean(right, uniform, 1.0).max() > 0.7
    mixed = torch.stack([right[0], torch.zeros_like(right[0])])  # one of two has all wrong, one nothing
    assert cautious_mean(mixed, torch.full((1, 2), 0.5), 1.0).max() == 0
    assert cautious_mean(components, uniform, 1.0)[0, 0, 1].max() < 0.1


@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_no_error_in_any_pair_is_exactly_none(bound):
    same = pair_batch(too_large().labels, too_large().labels)
    components = components_of(*table_of(same).seen())
    assert cautious_mean(components, torch.full((1, 4), 0.25), bound).max() == 0


def test_more_pairs_are_believed_more():
    few, many = (components_of(*table_of(too_large(count), images=8).seen()) for count in (2, 8))
    least = [
        cautious_mean(each, torch.full((1, len(each)), 1 / len(each)), 1.0)[0, 1, 0, 0]
        for each in (few, many)
    ]
    assert least[0] < 0.7 < 0.85 < least[1]


def test_pairs_that_were_taken_together_still_count_one_by_one():
    count = 40
    batch = too_large(4)
    verified, given = batch.labels.repeat(10, 1, 1), batch.given.repeat(10, 1, 1)
    components = components_of(*table_of(pair_batch(given, verified), images=count).seen())
    uniform = torch.full((1, COMPONENTS), 1 / COMPONENTS)
    found = cautious_mean(components, uniform, 1.0, count / COMPONENTS)[0, 1, 0, 0]
    assert found > 0.97 * 40 / 41 - 0.03 > 0.9 > cautious_mean(components, uniform, 1.0)[0, 1, 0, 0]
