"""What is wrong in a region, on masks that can be drawn on paper."""

import numpy as np
import pytest

from metadcseg.audit.regions import find_regions
from metadcseg.errors import InputError

SHAPE = (1, 20, 24)
SURE = np.ones(SHAPE, np.float32)


def square(top, left, height, width, label=1, onto=None):
    mask = np.zeros(SHAPE, np.uint8) if onto is None else onto.copy()
    mask[0, top : top + height, left : left + width] = label
    return mask


def kinds(given, proposed):
    _, regions = find_regions(given, proposed, SURE)
    return [(region.kind, region.given, region.proposed, region.pixels) for region in regions]


def test_rims():
    small, large = square(6, 6, 6, 6), square(4, 4, 10, 10)
    assert kinds(large, small) == [("too large", 1, 0, 64)]
    assert kinds(small, large) == [("too small", 0, 1, 64)]


def test_objects():
    one = square(2, 2, 6, 6)
    both = square(12, 14, 5, 5, onto=one)
    assert kinds(one, both) == [("missing", 0, 1, 25)]
    assert kinds(both, one) == [("invented", 1, 0, 25)]


def test_an_object_that_was_moved_is_two_regions_of_one_kind():
    assert kinds(square(6, 4, 8, 8), square(6, 8, 8, 8)) == [("shifted", 0, 1, 32), ("shifted", 1, 0, 32)]


def test_a_class_that_the_given_mask_lacks_is_missing():
    assert kinds(np.zeros_like(square(4, 4, 6, 6)), square(4, 4, 6, 6)) == [("missing", 0, 1, 36)]


def test_of_many_objects_each_is_looked_at_in_its_own_box(monkeypatch):
    given = np.zeros((1, 128, 128), np.uint8)
    given.reshape(1, 16, 8, 16, 8)[:, :, 2:7, :, 2:7] = 1
    looked, argwhere = [], np.argwhere
    monkeypatch.setattr(np, "argwhere", lambda array: looked.append(array.size) or argwhere(array))
    _, regions = find_regions(given, np.roll(given, 1, axis=2), np.ones(given.shape, np.float32))
    assert [region.kind for region in regions] == ["shifted"] * 512
    assert sum(looked) < 2 * given.size


def test_one_class_for_another_and_least_size_and_ignored_pixels():
    given = square(4, 4, 6, 6)
    assert kinds(given, square(4, 4, 6, 6, label=2)) == [("other", 1, 2, 36)]
    assert kinds(given, square(4, 4, 6, 6, onto=square(15, 15, 1, 2))) == []  # two pixels are none
    given[0, :, :3] = 255
    proposed = square(0, 0, 20, 3)
    assert kinds(given, proposed) == [("invented", 1, 0, 36)]


def test_regions_go_through_the_slices_of_a_volume():
    given, proposed = np.zeros((2, 3, 10, 10), np.uint8)
    given[:, 2:8, 2:8] = 1
    proposed[:, 3:7, 3:7] = 1
    numbers, (region,) = find_regions(given, proposed, np.ones(given.shape, np.float32), (5.0, 1.0, 2.0))
    assert (region.kind, region.pixels, region.size) == ("too large", 60, 600.0)
    assert (numbers > 0).sum() == 60


def test_shapes_are_checked():
    with pytest.raises(InputError, match=r"must all be \(Z, H, W\)"):
        find_regions(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.float32))
