"""Pairs are judged by tables that have seen neither them nor what is like them."""

import numpy as np
import pytest

from metadcseg.audit.calibration import EDGES, Calibration, calibrate, margins_of_others, sentence
from metadcseg.audit.margin import fit_margin
from metadcseg.audit.probability import PairCounts
from metadcseg.audit.weight import fit_weight, weights_for


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
    fit = fit_weight(seen, counts, groups, dict.fromkeys(weights_for(seen=True)))
    return calibrate(seen, counts, fit, 0.7)


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


def by_image(*shares, pixels=100):
    """Images of which a share of the pixels of one bin is wrong."""
    rest = [0.0] * (len(EDGES) - 2)
    return [[[pixels, *rest], [0.01 * pixels, *rest], [share * pixels, *rest]] for share in shares]


def test_images_are_drawn_again_not_pixels():
    (few,), (many,) = (
        Calibration(clusters=by_image(0.0, 0.2, 0.4, 0.6, pixels=pixels)).points() for pixels in (100, 10**6)
    )
    assert (few["low"], few["high"]) == pytest.approx(
        (many["low"], many["high"])
    )  # more pixels tell nothing more
    assert few["low"] < 0.15 < few["observed"] < 0.45 < few["high"]
    (alike,) = Calibration(clusters=by_image(0.3, 0.3, 0.3)).points()
    assert (alike["low"], alike["high"]) == pytest.approx((0.3, 0.3))
    (alone,) = Calibration(clusters=by_image(0.3)).points()
    assert (alone["low"], alone["high"]) == (0.0, 1.0)
    assert Calibration().points() == []


def test_slices_of_one_volume_are_drawn_together():
    assert len(calibrated([True, True, False, False], "aabb").clusters) == 2
    assert len(calibrated([True, True, False, False], "aaaa").clusters) == 4


def test_what_is_not_heard_and_what_stays_is_said():
    told = sentence(Calibration(images=3, weight=0.0, margin=0.041), 0.7, seen_in_training=False)
    assert "so it is not heard" in told
    assert "to raise the DSC by no more than 0.04 stays as given" in told
    assert "heard" not in sentence(Calibration(images=3, weight=0.4), 0.7, seen_in_training=False)


def test_what_the_network_reaches_there_is_said_beside_the_verified_images():
    found = Calibration(images=3, weight=0.0, margin=0.041, network=[0.2] * 3, given=[0.8] * 3)
    told = sentence(found, 0.7, seen_in_training=True)
    assert "trained on these images. There its own masks have a DSC of 0.20, given ones 0.80" in told


def test_right_masks_that_look_wrong_set_a_margin():
    found = calibrated([True, True, True, True, False, False], "abcdef", blind=True)
    left = [each for each, true in zip(found.expected_gains, found.true_gains, strict=True) if true < 0]
    assert found.margin >= max([0.0, *left])


def test_pairs_without_a_known_pixel_are_no_evidence():
    unknown = np.full((16, 16), 255, np.uint8)
    pairs = [pair(True), pair(True), pair(False), (unknown, pair(False)[1]), (pair(True)[0], unknown)]
    counts = PairCounts.count(pairs, 2)
    assert counts.shows() == [True, True, True, False, False]
    assert PairCounts.count([pairs[0], pairs[3]], 2).table() is None
    assert counts.table().equal(PairCounts.count(pairs[:3], 2).table())
    seen_by_it = pairs[0][1]
    said = np.stack([1 - seen_by_it, seen_by_it]).astype(np.float32)
    found = [
        calibrate(
            seen := [(*each, said) for each in some],
            held := PairCounts.count(some, 2),
            fit_weight(seen, held, "abcde"[: len(some)], dict.fromkeys(weights_for(seen=True))),
            0.7,
        )
        for some in (pairs, pairs[:3])
    ]
    assert found[0] == found[1]
    assert found[0].images == 3


def test_margins_leave_out_the_group_or_else_the_pair():
    found = Calibration(expected_gains=[0.1, 0.2, 0.3, 0.4], true_gains=[-0.1, 0.2, -0.3, 0.4])

    def margin(*kept):
        return fit_margin([found.expected_gains[k] for k in kept], [found.true_gains[k] for k in kept])

    groups = [margin(2, 3), margin(2, 3), margin(0, 1), margin(0, 1)]
    assert list(margins_of_others(found, "aabb")) == groups
    single = [margin(1, 2, 3), margin(0, 2, 3), margin(0, 1, 3), margin(0, 1, 2)]
    assert list(margins_of_others(found, "aaaa")) == single == list(margins_of_others(found, "abcd"))
