import io

import pytest
import torch
from tests.unit.methods.test_pair_table import SIDE, disk, pair_batch, table_of, too_large

from metadcseg.methods.calibrated.shares import FLOOR, LARGEST, MatchedShares, with_floor
from metadcseg.methods.pair_table import class_posterior, distance_bins
from metadcseg.tensors import IGNORE


def sure_of(truth, sharpness=0.9):
    q = torch.full((len(truth), 2, *truth.shape[1:]), 1 - sharpness)
    return q.scatter_(1, truth.unsqueeze(1), sharpness)


def matched(table, labels, q, steps=60, shares=None):
    shares = shares or MatchedShares()
    for _ in range(steps):
        shares.update(table, labels, distance_bins(labels, q.shape[1]), q)
    return shares


def doubt(table, labels, q, log_odds=None):
    found = class_posterior(table, labels, distance_bins(labels, 2), q, log_odds)
    return (1 - found.gather(1, labels.unsqueeze(1))).squeeze(1)


def test_a_network_that_repeats_the_habit_cannot_argue_the_doubt_away():
    """All masks are 1 to 4 px too small, and the network has learned to draw so."""
    truth = torch.stack([disk(13)] * 4)
    table = table_of(pair_batch(torch.stack([disk(radius) for radius in (9, 10, 11, 12)]), truth)).pooled()
    labels = torch.stack([disk(11), disk(12)])
    repeating = sure_of(labels, 0.95)
    rim = (torch.stack([disk(13), disk(14)]) == 1) & (labels == 0)
    assert doubt(table, labels, repeating)[rim].mean() < 0.6
    shares = matched(table, labels, repeating)
    wanted = doubt(table, labels, None)[labels == 0].mean()
    found = doubt(table, labels, repeating, shares.held())
    assert found[labels == 0].mean() == pytest.approx(wanted.item(), rel=0.01)
    assert found[rim].mean() > 0.7
    assert shares.held()[1, 0] == 0  # no pair had a wrong pixel there


def test_the_network_says_where():
    """Half of the masks are too large, half too small: the table alone cannot tell which is which."""
    truth = torch.stack([disk(14)] * 4)
    table = table_of(pair_batch(torch.stack([disk(18), disk(18), disk(10), disk(10)]), truth)).pooled()
    labels, true = torch.stack([disk(19), disk(11)]), torch.stack([disk(15), disk(15)])
    q = sure_of(true, 0.8)
    found = doubt(table, labels, q, matched(table, labels, q).held())
    wrong = labels != true
    assert found[wrong].mean() > 0.75
    assert found[~wrong].mean() < 0.05


def test_what_pairs_never_doubt_stays_exactly_right():
    labels = torch.stack([disk(10)])
    table = torch.zeros(2, 2, 10)
    q = sure_of(1 - labels, 0.99)
    shares = matched(table, labels, q, steps=3)
    assert torch.equal(shares.log_odds, torch.zeros(2, 2))
    assert not doubt(table, labels, q, shares.held()).any()


def test_a_doubt_reaches_beyond_the_distances_that_pairs_showed():
    pairs = table_of(too_large(by=2))
    table, shares = pairs.pooled(), pairs.shares()
    assert table[1, 0, -1] == 0
    raised = with_floor(table, shares)
    assert raised[1, 0, -1] == pytest.approx(FLOOR * shares[1, 0].item())
    assert torch.equal(raised[0, 1], table[0, 1])  # of background nothing was wrong
    assert torch.equal(raised[1, 0, :2], table[1, 0, :2])


def test_several_classes_are_matched_one_by_one():
    table = torch.zeros(3, 3, 10)
    table[1, 0], table[1, 2], table[2, 1] = 0.2, 0.3, 0.1
    labels = torch.randint(3, (4, 16, 16), generator=torch.Generator().manual_seed(0))
    q = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    shares = matched(table, labels, q)
    found = class_posterior(table, labels, distance_bins(labels, 3), q, shares.held()).movedim(1, -1)
    torch.testing.assert_close(
        found[labels == 1].mean(dim=0), torch.tensor([0.2, 0.5, 0.3]), atol=2e-3, rtol=0
    )
    torch.testing.assert_close(
        found[labels == 2].mean(dim=0), torch.tensor([0.0, 0.1, 0.9]), atol=2e-3, rtol=0
    )


def test_unknown_labels_count_for_nothing():
    table = torch.zeros(2, 2, 10)
    table[0, 1] = 0.2
    labels = torch.stack([disk(10)])
    q = sure_of(labels, 0.8)
    half = labels.clone()
    half[:, : SIDE // 2] = IGNORE
    odd = q.clone()
    odd[:, :, : SIDE // 2] = odd[:, :, : SIDE // 2].flip(1)
    one, other = MatchedShares(), MatchedShares()
    bins = distance_bins(half, 2)
    one.update(table, half, bins, q)
    other.update(table, half, bins, odd)
    assert torch.equal(one.log_odds, other.log_odds)
    nothing = MatchedShares()
    nothing.update(table, torch.full_like(labels, IGNORE), bins, q)
    assert torch.equal(nothing.log_odds, torch.zeros(2, 2))


def test_a_hopeless_network_is_not_corrected_without_end():
    table = torch.zeros(2, 2, 10)
    table[0, 1] = 0.99
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    shares = matched(table, labels, sure_of(labels, 1.0), steps=200)
    assert shares.log_odds[0, 1] <= LARGEST


def test_two_devices_take_the_step_of_one():
    table = torch.zeros(2, 2, 10)
    table[0, 1], table[1, 0] = 0.1, 0.3
    labels = torch.stack([disk(10), disk(14)])
    q = sure_of(torch.stack([disk(12), disk(12)]), 0.8)
    whole, alone = MatchedShares(), []
    whole.update(table, labels, distance_bins(labels, 2), q)
    for part in (slice(0, 1), slice(1, 2)):
        alone.append({})
        device = MatchedShares(lambda tensors, kept=alone[-1]: kept.update(tensors) or tensors)
        device.update(table, labels[part], distance_bins(labels[part], 2), q[part])
    mean = {name: (alone[0][name] + alone[1][name]) / 2 for name in alone[0]}
    joint = MatchedShares(lambda tensors: mean)
    joint.update(table, labels[:1], distance_bins(labels[:1], 2), q[:1])
    torch.testing.assert_close(joint.log_odds, whole.log_odds, atol=1e-4, rtol=0)


def test_saved_odds_are_read_back():
    labels = torch.stack([disk(10)])
    table = torch.zeros(2, 2, 10)
    table[0, 1] = 0.2
    shares, file = matched(table, labels, sure_of(labels)), io.BytesIO()
    torch.save(shares.state_dict(), file)
    file.seek(0)
    other = MatchedShares()
    assert other.held() is None
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.held(), shares.log_odds)
