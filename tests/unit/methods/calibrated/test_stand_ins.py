"""How much of what a network gets wrong of given masks is its own error."""

import pytest
import torch
from tests.unit.methods.test_pair_table import disk, pair_batch

from metadcseg.methods.calibrated.stand_ins import confused, own_part, without_own_errors
from metadcseg.methods.pair_table import ABSENT, PairTable


def table_of(given, verified, images):
    table = PairTable(images)
    table.update(pair_batch(given, verified), classes=2)
    return table


def seen_as(drawn_radii, true_radii):
    return torch.stack([disk(radius) for radius in drawn_radii]), torch.stack(
        [disk(radius) for radius in true_radii]
    )


def one_image(given, verified):
    """All pairs as one image, as training images are counted."""
    table = PairTable(1)
    table.update(pair_batch(given, verified, [0] * len(given)), classes=2)
    return table


def test_confused_is_a_share_of_the_image():
    given, verified = torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 0, 0, 1]]])
    table = table_of(given, verified, images=1)
    table.update(pair_batch(given, verified), classes=2)  # seen twice
    assert confused(*table.seen()).tolist() == [[[0.5, 0.0], [0.25, 0.25]]]


@pytest.mark.parametrize(("by", "wrong"), [(3, (1, 0)), (-3, (0, 1))])
def test_what_no_network_foresees_of_masks_wrong_in_one_direction_stays_a_doubt(by, wrong):
    """Masks are too large by 0 or 6 pixels, the network draws all too large by 3."""
    gold = table_of(*seen_as((12 + by, 13 + by, 14 + by), (12, 13, 14)), images=3)
    training = one_image(*seen_as((16 + by, 16 + by), (16, 16 + 2 * by)))
    part = own_part(confused(*gold.seen()), confused(*training.seen())[0])
    assert part[wrong] < 0.3
    table, shares = without_own_errors(gold.pooled(), gold.shares(), gold, training)
    assert shares[wrong] > 0.7 * gold.shares()[wrong]
    assert (table <= gold.pooled()).all()


def test_errors_in_both_directions_are_taken_off_whole():
    gold = table_of(*seen_as((15, 10, 16, 11), (13, 12, 14, 13)), images=4)
    training = one_image(*seen_as((15, 10, 16, 11), (13, 12, 14, 13)))
    assert torch.equal(own_part(confused(*gold.seen()), confused(*training.seen())[0]), torch.ones(2, 2))
    table, shares = without_own_errors(gold.pooled(), gold.shares(), gold, training)
    assert table.abs().max() < 1e-6
    assert shares.abs().max() < 1e-6


def test_objects_that_the_network_misses_everywhere_are_its_own_error():
    radii = [8 + number % 4 for number in range(10)]
    drawn, true = seen_as(radii, radii)
    drawn[:3] = 0
    gold = table_of(drawn, true, images=10)
    table, shares = without_own_errors(gold.pooled(), gold.shares(), gold, one_image(drawn, true))
    assert gold.pooled()[0, 1, ABSENT] > 0.03
    assert table.max() < 1e-6
    assert shares.max() < 1e-6


@pytest.mark.parametrize("by", [-2, 2])
def test_a_bias_that_training_masks_show_too_is_the_networks_own(by):
    gold = table_of(*seen_as((12 + by, 13 + by, 14 + by), (12, 13, 14)), images=3)
    training = one_image(*seen_as((12 + by, 13 + by, 14 + by), (12, 13, 14)))
    table, shares = without_own_errors(gold.pooled(), gold.shares(), gold, training)
    assert table.abs().max() < 1e-6
    assert shares.abs().max() < 1e-6


def test_each_pair_of_classes_has_a_direction_of_its_own():
    gold, training = torch.zeros(4, 3, 3), torch.zeros(3, 3)
    gold[:, 1, 0] = torch.tensor([0.2, 0.3, 0.2, 0.3])  # 1 is drawn over 0 in all images, 2 and 0 in turn
    gold[:, 2, 0], gold[:, 0, 2] = torch.tensor([0.2, 0.0, 0.2, 0.0]), torch.tensor([0.0, 0.2, 0.0, 0.2])
    training[1, 0] = training[0, 1] = training[2, 0] = training[0, 2] = 0.1
    part = own_part(gold, training)
    assert part[1, 0] == 0
    assert (part[2, 0], part[0, 2]) == (1, 1)


def test_a_class_that_training_never_confuses_has_nothing_to_take_off():
    gold = torch.zeros(3, 2, 2)
    gold[:, 1, 0] = torch.tensor([0.2, 0.3, 0.25])
    assert torch.isfinite(own_part(gold, torch.zeros(2, 2))).all()
