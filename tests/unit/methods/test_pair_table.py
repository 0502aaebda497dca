import io
import math

import pytest
import torch

from metadcseg.errors import InputError
from metadcseg.methods.pair_table import (
    ABSENT,
    BINS,
    FAR,
    LEAST,
    PairTable,
    class_posterior,
    distance_bins,
    known_labels,
    trust_of,
)
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize
from metadcseg.warp import Warp

SIDE = 64


def disk(radius, center=(32, 32)):
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return ((y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2).long()


def pair_batch(given, verified, indices=None, **more):
    count, *size = verified.shape
    indices = torch.arange(count) if indices is None else torch.tensor(indices)
    return Batch(torch.zeros(count, 1, *size), verified, indices, Warp.identity(count), given=given, **more)


def too_large(count=4, by=3):
    verified = torch.stack([disk(10 + number) for number in range(count)])
    given = torch.stack([disk(10 + number + by) for number in range(count)])
    return pair_batch(given, verified)


def table_of(*batches, images=4, classes=2):
    table = PairTable(images)
    for batch in batches:
        table.update(batch, classes)
    return table


def test_a_rim_that_is_always_wrong_is_found_by_its_distance():
    table = table_of(too_large(by=3)).pooled()
    assert table[1, 0, :2].min() > 0.95  # up to 2.5 px inside: outside the verified mask
    assert table[1, 0, 4:].max() == 0
    assert table[0, 1].max() == 0
    assert table[0, 0].max() == table[1, 1].max() == 0


def test_missing_and_invented_objects_are_not_set_off_against_each_other():
    one, other = disk(5, (16, 16)), disk(5, (48, 48))
    verified, given = torch.stack([one, one]), torch.stack([other, other])
    table = table_of(pair_batch(given, verified)).pooled()
    assert table[1, 0].max() == 1  # all that was drawn is wrong
    assert table[0, 1, FAR] > 0.01  # and something far away is missing


def overlooked(lost, count=6, given=None):
    """Of so many images, each with one disk, the first ones were left empty."""
    verified = torch.stack([disk(8 + number) for number in range(count)])
    drawn = verified.clone() if given is None else given
    drawn[:lost] = 0
    return pair_batch(drawn, verified)


def test_an_object_that_was_overlooked_says_nothing_of_images_in_which_one_was_drawn():
    batch = overlooked(lost=3)
    table = table_of(batch, images=6).pooled()
    area = batch.labels[:3].float().mean()
    one, absent = (
        (batch.given[3:] == 0).float().mean() * 0.5 + 0.5,
        table[0, 1, ABSENT],
    )  # a mean pair's background
    assert absent == pytest.approx((3 * area / (3 + one)).item(), rel=1e-5)
    assert table[0, 1, :ABSENT].max() == 0  # where an object was drawn there is none besides


def test_of_empty_masks_without_a_pair_all_that_is_far_away_is_told():
    one, other = disk(5, (16, 16)), disk(5, (48, 48))
    batch = pair_batch(torch.stack([one, one]), torch.stack([one + other, one + other]))
    table = table_of(batch).pooled()
    assert table[0, 1, ABSENT] == table[0, 1, FAR] > 0.01
    empty = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    assert (distance_bins(empty, 2)[0, 1] == ABSENT).all()
    assert trust(table, empty, distance_bins(empty, 2)).weights.beta.max() > 0.01


def test_the_bin_of_absent_classes_is_each_image_s_own():
    labels = torch.stack([disk(8), torch.zeros(SIDE, SIDE, dtype=torch.long)])
    bins = distance_bins(labels, 2)
    assert bins[0].max() == FAR
    assert (bins[1, 1] == ABSENT).all()
    assert (bins[1, 0] == 0).all()
    ignored = labels.clone()
    ignored[0][ignored[0] == 1] = IGNORE  # nobody knows whether there is one
    assert (distance_bins(ignored, 2)[0, 1] == ABSENT).all()


def test_shares_are_those_of_images_in_which_the_class_was_drawn():
    seen = table_of(overlooked(lost=3), images=6)
    assert seen.shares().max() == 0
    larger = torch.stack([disk(10 + number) for number in range(6)])
    both = table_of(overlooked(lost=3, given=larger), images=6)
    assert both.shares()[1, 0] > 0.2
    assert both.shares()[0, 1] == 0


def test_the_pairs_of_several_classes_have_tables_of_their_own():
    verified = disk(8) + disk(20)  # 2 within 1
    given = disk(12) + disk(20)  # the inner class too large, the outer outline right
    table = table_of(
        pair_batch(given[None].repeat(2, 1, 1), verified[None].repeat(2, 1, 1)), classes=3
    ).pooled()
    assert table[2, 1, 0] > 0.9
    assert table[2, 0].max() == table[1, 0].max() == table[0, 1].max() == table[1, 2].max() == 0


def test_pixels_that_either_mask_ignores_do_not_count():
    batch = too_large()
    known = table_of(batch).pixels
    for name in ("given", "labels"):
        maps = {"given": batch.given.clone(), "verified": batch.labels.clone()}
        maps["given" if name == "given" else "verified"][:, :32] = IGNORE
        table = table_of(pair_batch(**maps))
        assert table.pixels[:, 0, 1].sum() < 0.6 * known[:, 0, 1].sum()


def test_there_is_no_table_before_two_pairs_were_seen():
    batch = too_large(count=1)
    assert table_of(batch, batch).pooled() is None
    assert table_of(pair_batch(None, batch.labels)).pooled() is None
    without = torch.full_like(too_large(2).given, IGNORE)
    assert table_of(pair_batch(without, too_large(2).labels)).pooled() is None
    assert table_of(too_large(2)).pooled() is not None


def test_an_image_seen_twice_is_still_one_image():
    once, twice = table_of(too_large()), table_of(too_large(), too_large())
    assert len(twice.seen()[0]) == 4
    torch.testing.assert_close(once.pooled(), twice.pooled())


def test_a_number_too_high_is_refused():
    with pytest.raises(InputError, match="gold image 4"):
        table_of(pair_batch(too_large(1).given, too_large(1).labels, indices=[4]))


def test_two_devices_count_what_one_would():
    whole, parts = table_of(too_large()), []
    batch = too_large()
    shares = [slice(0, 2), slice(2, 4)]
    size = GlobalBatchSize(torch.tensor(1.0), 2.0, 2)
    alone = []
    for share in shares:
        alone.append({})
        part = pair_batch(
            batch.given[share], batch.labels[share], batch.indices[share].tolist(), shard_of=size
        )
        table = PairTable(4, lambda tensors, kept=alone[-1]: kept.update(tensors) or tensors)
        table.update(part, 2)
        parts.append(part)
    mean = {name: (alone[0][name] + alone[1][name]) / 2 for name in alone[0]}
    table = PairTable(4, lambda tensors: mean)
    table.update(parts[0], 2)
    torch.testing.assert_close(table.pixels, whole.pixels)
    torch.testing.assert_close(table.truly, whole.truly)


def test_saved_counts_are_read_back():
    table, file = table_of(too_large()), io.BytesIO()
    torch.save(table.state_dict(), file)
    file.seek(0)
    other = PairTable(4)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.pooled(), table.pooled())
    empty = PairTable(4)
    empty.load_state_dict(PairTable(4).state_dict())
    assert empty.pooled() is None


def trust(table, labels, bins, *witness):
    return trust_of(class_posterior(table, labels, bins, *witness), labels)


def test_trust_is_bayes_rule_over_all_classes():
    table = torch.zeros(3, 3, BINS)
    table[1, 0], table[1, 2] = 0.2, 0.3
    labels = torch.ones(1, 1, 1, dtype=torch.int64)
    bins = torch.zeros(1, 3, 1, 1, dtype=torch.int64)
    q = torch.tensor([0.5, 0.4, 0.1]).view(1, 3, 1, 1)
    found = trust(table, labels, bins, q)  # 0.2 * 0.5, 0.5 * 0.4, 0.3 * 0.1
    assert found.weights.alpha.item() == pytest.approx(0.2 / 0.33)
    assert found.candidates.item() == 0
    assert trust(table, labels, bins).candidates.item() == 2
    odds = torch.zeros(3, 3)
    odds[1, 2] = math.log(10.0)  # 0.3 * 0.1 counts ten times
    corrected = trust(table, labels, bins, q, odds)
    assert corrected.weights.alpha.item() == pytest.approx(0.2 / 0.6)
    assert corrected.candidates.item() == 2


@pytest.mark.parametrize(("first", "second", "own"), [(0.6, 0.6, 0.016), (0.7, 0.3, 0.021), (0.2, 0.3, 0.5)])
def test_classes_that_all_doubt_leave_the_network_a_say(first, second, own):
    """Each is counted at its own distance, so together they may exceed 1: then a tenth of the product is left."""
    table = torch.zeros(3, 3, BINS)
    table[1, 0], table[1, 2] = first, second
    labels, bins = torch.ones(1, 1, 1, dtype=torch.int64), torch.zeros(1, 3, 1, 1, dtype=torch.int64)
    alone = trust(table, labels, bins)
    assert alone.weights.alpha.item() == pytest.approx(own / (own + first + second))
    sure = torch.tensor([0.001, 0.998, 0.001]).view(1, 3, 1, 1)
    assert trust(table, labels, bins, sure).weights.alpha.item() > 0.9


def test_where_no_pair_has_a_doubt_no_network_can_raise_one():
    labels = too_large().given
    bins = distance_bins(labels, 2)
    against = torch.nn.functional.one_hot(1 - labels, 2).movedim(-1, 1).float()
    found = trust(torch.zeros(2, 2, BINS), labels, bins, against, torch.full((2, 2), 6.0))
    assert torch.equal(found.weights.alpha, torch.ones(4, SIDE, SIDE))
    assert torch.equal(found.weights.beta, torch.zeros(4, SIDE, SIDE))


def test_a_network_that_is_sure_counts_no_more_than_its_least_probability():
    table = torch.zeros(2, 2, BINS)
    table[1, 0] = 0.5
    labels = torch.ones(1, 1, 1, dtype=torch.int64)
    q = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    found = trust(table, labels, torch.zeros(1, 2, 1, 1, dtype=torch.int64), q)
    assert found.weights.alpha.item() == pytest.approx(LEAST / (1 + LEAST))


def test_unknown_labels_are_not_doubted_and_make_no_outline():
    labels = disk(10)[None].clone()
    confidence = torch.ones(1, SIDE, SIDE)
    confidence[:, 30:34] = 0
    batch = pair_batch(None, labels, label_confidence=confidence)
    known = known_labels(batch)
    assert (known[:, 30:34] == IGNORE).all()
    found = trust(torch.full((2, 2, BINS), 0.4), known, distance_bins(known, 2))
    assert (found.weights.alpha[:, 30:34] == 1).all()
    assert (found.weights.alpha[:, :20] < 1).all()


def test_bins_grow_with_the_grid():
    small = torch.tensor([[[0] * 32 + [1] * 32]]).expand(1, 64, 64)
    large = small.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    assert (
        distance_bins(large, 2)[0, 1, 0, 127 - 4 * 5] - distance_bins(small, 2)[0, 1, 0, 31 - 5]
    ).abs() <= 1
    assert distance_bins(small, 2).max() == FAR
