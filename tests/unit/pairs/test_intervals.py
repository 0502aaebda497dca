"""Intervals hold the mean as often as they say, also of few and skewed values."""

import numpy as np
import pytest

from metadcseg.pairs.intervals import interval, rarest

DRAWS = 1500

KINDS = {
    "normal": lambda rng, size: rng.normal(2.0, 1.0, size),
    "two kinds": lambda rng, size: np.where(rng.random(size) < 0.5, -2.0, 2.0) + rng.normal(0, 0.5, size),
    "one side": lambda rng, size: rng.exponential(2.0, size),
    "DSC near 1": lambda rng, size: rng.beta(20, 2, size),
    "DSC near 1, a tail": lambda rng, size: 1 - np.clip(rng.exponential(0.08, size), 0, 1),
    "DSC, very skewed": lambda rng, size: rng.beta(8, 1, size),
    "DSC, at 1 and far below": lambda rng, size: rng.beta(2, 0.5, size),
    "DSC, a third at 1": lambda rng, size: np.where(
        rng.random(size) < 0.3, 1.0, 1 - np.clip(rng.exponential(0.1, size), 0, 1)
    ),
}


def coverage(kind, count, groups=None):
    rng = np.random.default_rng([count, len(kind)])
    truth = KINDS[kind](rng, 2_000_000).mean()
    bounds = (0, 1) if "DSC" in kind else (-np.inf, np.inf)
    held = 0
    for values in KINDS[kind](rng, (DRAWS, count)):
        found = interval(values if groups is None else np.repeat(values, groups), None, bounds)
        held += found.low <= truth <= found.high
    return held / DRAWS


@pytest.mark.parametrize("count", [5, 8, 12, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_of_95_percent_holds_the_mean_in_at_least_90(kind, count):
    assert coverage(kind, count) >= 0.9


def test_the_interval_is_not_wide_for_nothing():
    """For normal values hardly wider than Student's, the shortest there is."""
    rng = np.random.default_rng(0)
    for count, most in ((5, 1.5), (12, 1.15), (20, 1.08)):
        ratios = []
        for values in rng.normal(0, 1, (300, count)):
            found = interval(values)
            student = {5: 2.776, 12: 2.201, 20: 2.093}[count] * values.std(ddof=1) / np.sqrt(count)
            ratios.append((found.high - found.low) / (2 * student))
        assert 1 <= np.median(ratios) <= most


def test_it_is_students_interval_for_values_without_skewness():
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == 3.0
    assert [found.low, found.high] == pytest.approx(
        [3 - 2.7764 * 1.5811 / 5**0.5, 3 + 2.7764 * 1.5811 / 5**0.5], 1e-4
    )


def test_a_tail_makes_the_side_where_it_lies_longer():
    found = interval([0.99, 0.98, 0.99, 0.97, 0.98, 0.7], bounds=(0, 1))
    assert found.mean - found.low > found.high - found.mean


def test_images_of_one_group_are_one_unit():
    rng = np.random.default_rng(4)
    values = rng.normal(0, 1, 6)
    once = interval(values)
    often = interval(np.repeat(values, 10), np.repeat(np.arange(6), 10))
    assert often.units == 6
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    ignorant = interval(np.repeat(values, 10))
    assert ignorant.high - ignorant.low < 0.5 * (once.high - once.low)


def test_a_group_of_many_images_has_one_vote():
    assert interval([0.0] * 9 + [1.0], ["a"] * 9 + ["b"]).mean == 0.5


def test_ends_stay_within_bounds():
    found = interval([1.0, 0.4, 1.0, 0.9], bounds=(0, 1))
    assert 0 <= found.low < found.high == 1.0


@pytest.mark.parametrize(
    ("values", "mean", "ends", "units"),
    [([], None, None, 0), ([0.7], 0.7, None, 1), ([0.7, 0.7], 0.7, 0.7, 2), ([1.0] * 12, 1.0, 1.0, 12)],
)
def test_without_spread_there_is_no_width(values, mean, ends, units):
    found = interval(values)
    assert (found.mean, found.low, found.high, found.units) == (mean, ends, ends, units)


def test_no_interval_excludes_nothing():
    assert not interval([5.0]).excludes(0.0)
    assert interval([5.0, 5.0]).excludes(0.0)
    assert not interval([-5.0, 5.0]).excludes(0.0)


@pytest.mark.parametrize(("count", "share"), [(1, 0.95), (12, 0.221), (59, 0.0495)])
def test_what_none_of_several_leaves_possible(count, share):
    assert rarest(count) == pytest.approx(share, abs=1e-3)
    assert (1 - rarest(count)) ** count == pytest.approx(0.05)
