"""Pairs are judged by tables that have seen neither them nor what is like them."""

import numpy as np
import pytest

from metadcseg.audit.calibration import calibrate, sentence
from metadcseg.audit.probability import PairCounts, Witnesses


def pair(spoilt):
    verified = np.zeros((16, 16), np.uint8)
    verified[6:10, 6:10] = 1
    given = verified.copy()
    given[4:12, 4:12] = 1
    return (given if spoilt else verified), verified


def calibrated(spoilt, groups, *, blind=False):
    pairs = [pair(each) for each in spoilt]
    counts = PairCounts.count(pairs, 2)
    seen_by_it = pairs[0][1] * (not blind)
    said = np.stack([1 - seen_by_it, seen_by_it]).astype(np.float32)
    seen = [(*each, said) for each in pairs]
    return calibrate(seen, counts, groups, Witnesses(counts.table()), 0.7)


@pytest.mark.parametrize(("groups", "really"), [("abcd", 2), ("aabb", 0), ("aaaa", 2)])
def test_slices_of_one_volume_do_not_judge_each_other(groups, really):
    found = calibrated([True, True, False, False], groups)
    assert (found.images, found.groups) == (4, len(set(groups)))
    assert found.really == really  # only a table that has seen the spoilt ones doubts their like
    told = sentence(found, 0.7, seen_in_training=False)
    assert ("(volumes or patients:" in told) == (groups != "abcd")


def test_two_pairs_cannot_judge_each_other():
    found = calibrated([True, True], "ab")
    assert (found.images, found.regions) == (0, 0)
    assert sentence(found, 0.7, seen_in_training=True).startswith("How far this is right is not known")


@pytest.mark.parametrize("blind", [False, True])
def test_a_network_that_draws_nothing_is_named(blind):
    found = calibrated([True, True, True], "abc", blind=blind)
    assert found.given == pytest.approx([2 * 16 / (16 + 64)] * 3)
    assert found.network == [0.0 if blind else 1.0] * 3
    told = sentence(found, 0.7, seen_in_training=False)
    assert ("DSC of 0.00, given ones 0.40: train it longer" in told) == blind
