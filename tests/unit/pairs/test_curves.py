"""P(verified has the class | signed distance to the given outline)."""

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.pairs.masks import noisy_pairs

from metadcseg.constants import IGNORE
from metadcseg.pairs.curves import REACH, distance_curves
from metadcseg.pairs.statistics import Pair

NAMES = ("background", "foreground")


def by_center(curve):
    return dict(zip(curve.centers, curve.shares, strict=True))


def boxes(by, number=1, spacing=None):
    true, given = np.zeros((2, 40, 40), np.uint8)
    true[12:28, 12:28] = number
    given[12 - by : 28 + by, 12 - by : 28 + by] = number
    return Pair("a", "a", given, true, spacing)


def test_without_noise_it_is_a_step_at_the_outline():
    (curve,) = distance_curves(noisy_pairs("none", 4), NAMES)
    assert all(share == (center < 0) for center, share in by_center(curve).items())
    assert set(curve.spreads) == {0.0}


@pytest.mark.parametrize(("by", "edge"), [(3, -3), (-3, 3)])
def test_masks_too_large_or_too_small_move_the_step(by, edge):
    shares = by_center(distance_curves([boxes(by)], NAMES)[0])
    near = {center: share for center, share in shares.items() if abs(center) < 5 and share is not None}
    if by > 0:
        assert all(share == (center < edge) for center, share in near.items())
    else:
        assert all((share > 0.5) == (center < edge) for center, share in near.items())


def test_every_pair_has_one_vote():
    large, right = boxes(2), boxes(0)
    tiled = replace(
        right, id="b", given=np.tile(right.given, (3, 3)), verified=np.tile(right.verified, (3, 3))
    )
    (curve,) = distance_curves([large, tiled], NAMES)
    assert by_center(curve)[-0.5] == 0.5
    assert curve.spreads[REACH - 1] == pytest.approx(0.5**0.5)


def test_in_mm_where_all_pairs_know_it():
    (curve,) = distance_curves([boxes(2, spacing=(0.5, 0.5))], NAMES)
    assert (curve.unit, curve.centers[REACH]) == ("mm", 0.25)
    assert by_center(curve)[-0.75] == 0.0
    assert by_center(curve)[-1.25] == 1.0
    (curve,) = distance_curves([boxes(2, spacing=(0.5, 0.5)), boxes(2)], NAMES)
    assert curve.unit == "px"


def test_one_curve_for_each_class_that_is_given():
    pairs = [boxes(2, 1), boxes(-2, 3)]
    curves = distance_curves(pairs, ("background", "a", "b", "c"))
    assert [curve.name for curve in curves] == ["a", "c"]
    assert by_center(curves[0])[-0.5] == 0.0
    assert by_center(curves[1])[0.5] > 0.9


def test_ignored_pixels_do_not_count():
    pair = boxes(2)
    verified = pair.verified.copy()
    verified[:20] = IGNORE
    half = by_center(distance_curves([replace(pair, verified=verified)], NAMES)[0])
    assert half[-0.5] == 0.0
    assert half[-2.5] == 1.0


def test_no_pairs_no_curve():
    assert distance_curves([], NAMES) == []


def test_no_mm_where_axes_miss_right_angles():
    tilted = boxes(2, spacing=((1.0, 0.0), (0.4, 1.0)))
    assert distance_curves([tilted], NAMES) == distance_curves([boxes(2)], NAMES)
    assert distance_curves([tilted, boxes(2, spacing=(0.5, 0.5))], NAMES)[0].unit == "px"
