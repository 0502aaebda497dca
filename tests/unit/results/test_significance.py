"""The signed-rank test against a count of all patterns and against scipy; Holm against worked examples."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metadcseg.results.significance import LEAST, holm, paired_test


def against_zero(differences):
    names = [f"case {place}" for place in range(len(differences))]
    return paired_test(dict(zip(names, differences, strict=True)), dict.fromkeys(names, 0.0))


def counted(differences):
    """The two-sided p by trying every pattern of signs."""
    ranks = stats.rankdata(np.abs(differences))
    center = ranks.sum() / 2
    seen = abs(ranks[np.array(differences) > 0].sum() - center)
    sums = [ranks[list(signs)].sum() for signs in product((False, True), repeat=len(ranks))]
    return float(np.mean(np.abs(np.array(sums) - center) >= seen - 1e-9))


@pytest.mark.parametrize("seed", range(6))
def test_small_samples_are_exact_also_with_ties(seed):
    drawn = np.random.default_rng(seed).integers(-3, 5, 10)
    differences = [float(value) for value in drawn if value]
    test = against_zero(differences)
    assert test.p == pytest.approx(counted(differences), abs=1e-12)


def test_without_ties_it_is_what_scipy_says():
    differences = list(np.random.default_rng(1).normal(0.2, 1, 30))
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert against_zero(differences).p == pytest.approx(expected, rel=1e-9)


def test_large_samples_take_the_normal_approximation():
    differences = list(np.random.default_rng(2).normal(0.1, 1, 80))
    assert against_zero(differences).p == pytest.approx(stats.wilcoxon(differences, method="approx").pvalue)


def test_cases_without_a_difference_do_not_count_as_evidence():
    differing = [0.1, 0.2, 0.3, -0.15, 0.4, 0.5]
    assert against_zero([*differing, 0.0, 0.0, 0.0]).p == against_zero(differing).p
    nothing = against_zero([0.0] * 8)
    assert (nothing.p, nothing.better, nothing.worse) == (1.0, 0, 0)


def test_the_last_digits_of_sums_are_no_difference():
    names = [f"case {place}" for place in range(8)]
    one, other = dict.fromkeys(names, 0.1 + 0.2), dict.fromkeys(names, 0.3)
    assert paired_test(one, other).p == 1.0


def test_too_few_cases_give_no_p():
    test = against_zero([1.0] * (LEAST - 1))
    assert (test.p, test.count, test.mean) == (None, LEAST - 1, 1.0)
    assert against_zero([float(n + 1) for n in range(LEAST)]).p == 2 / 2**LEAST


def test_only_common_cases_are_compared():
    assert paired_test({"a": 1.0, "b": 0.5}, {"b": 0.25, "c": 1.0}).count == 1
    assert paired_test({"a": 1.0}, {"b": 1.0}) is None


def test_holm_by_the_textbook_example():
    # four hypotheses at 0.05: 0.005 < 0.05/4 and 0.01 < 0.05/3 fall, 0.03 > 0.05/2 stands, and 0.04 with it
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [p < 0.05 for p in adjusted] == [True, False, False, True]


def test_holm_by_hand():
    # sorted: 0.001 x 5, 0.01 x 4, 0.02 x 3, 0.02 x 2 (not below the one before), 0.5 x 1
    assert holm([0.02, 0.5, 0.001, 0.02, 0.01]) == pytest.approx([0.06, 0.5, 0.005, 0.06, 0.04])
    assert holm([]) == []
    assert holm([0.7]) == [0.7]
    assert holm([0.6, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_its_step_down_procedure_rejects(values, level):
    rejected = set()
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if not (len(values) - rank) * values[place] < level:
            break
        rejected.add(place)
    assert {place for place, p in enumerate(holm(values)) if p < level} == rejected
