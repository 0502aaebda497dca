"""Pairs by annotator in training: each has a table of their own, and trust follows whose label it is."""

import torch

from metadcseg.methods.annotator_pairs import AnnotatorPairTable
from metadcseg.methods.pair_table import PairTable, class_posterior, distance_bins
from metadcseg.tensors import Batch
from metadcseg.warp import Warp

SIZE = 16
BESIDE = 3  # the bin of a pixel's distance from the next, on a grid of 16
ANNA, BEN, NOBODY = [True, False], [False, True], [False, False]


def square(start):
    mask = torch.zeros(SIZE, SIZE, dtype=torch.int64)
    mask[start : SIZE - start, start : SIZE - start] = 1
    return mask


def gold(images, starts, who):
    """Verified squares from pixel 5 on, and those that they replaced."""
    count = len(images)
    labels = torch.stack([square(5)] * count)
    given = torch.stack([square(start) for start in starts])
    annotators = None if who is None else torch.tensor(who)
    nothing = torch.zeros(count, 1, SIZE, SIZE)
    return Batch(
        nothing, labels, torch.tensor(images), Warp.identity(count), given=given, annotators=annotators
    )


def test_each_has_a_habit_of_their_own():
    table = AnnotatorPairTable(3)
    table.update(gold([0, 1, 2, 0, 1, 2], [3, 3, 3, 6, 6, 6], [ANNA] * 3 + [BEN] * 3), 2)
    own, shares = table.of(torch.tensor([ANNA, BEN, NOBODY]))
    assert own[0, 1, 0, BESIDE] > 2 * own[1, 1, 0, BESIDE]  # anna draws too large
    assert own[1, 0, 1, BESIDE] > 2 * own[0, 0, 1, BESIDE]  # ben too small
    torch.testing.assert_close(own[2], table.pooled())
    torch.testing.assert_close(shares[2], table.shares())


def test_images_stay_the_unit_of_evidence():
    table = AnnotatorPairTable(3)
    table.update(gold([0, 0], [3, 6], [ANNA, BEN]), 2)
    assert table.of(torch.tensor([ANNA])) is None  # two outlines of one image
    table.update(gold([1], [3], [NOBODY]), 2)
    assert table.of(torch.tensor([ANNA])) is not None


def test_where_nobody_is_named_it_is_the_table_of_all_pairs():
    own, plain = AnnotatorPairTable(3), PairTable(3)
    for table in (own, plain):
        table.update(gold([0, 1, 2], [3, 4, 6], None), 2)
    assert torch.equal(own.pooled(), plain.pooled())
    assert torch.equal(own.shares(), plain.shares())
    loaded = AnnotatorPairTable(3)
    loaded.load_state_dict(own.state_dict())
    assert torch.equal(loaded.pooled(), plain.pooled())


def test_the_posterior_takes_a_table_for_each_image():
    generator = torch.Generator().manual_seed(0)
    tables = torch.rand(2, 3, 3, 10, generator=generator) * (1 - torch.eye(3)).view(1, 3, 3, 1)
    labels = torch.randint(0, 3, (2, 8, 8), generator=generator)
    bins = distance_bins(labels, 3)
    both = class_posterior(tables, labels, bins)
    for number in range(2):
        alone = class_posterior(tables[number], labels[number : number + 1], bins[number : number + 1])
        assert torch.equal(both[number : number + 1], alone)
