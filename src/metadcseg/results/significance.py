"""Whether two rows differ by more than luck would give: paired by case, corrected for how many are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy import stats

LEVEL = 0.05
LEAST = 6
"""Fewer cases can never reach p < 0.05 in a two-sided signed-rank test: with five the smallest p is 2 / 2^5."""


_EXACT = 50


@dataclass(frozen=True)
class PairedTest:
    """A row against the baseline, case by case.

    Args:
        count: cases that both were scored on.
        mean: of the differences, row minus baseline.
        p: of the two-sided Wilcoxon signed-rank test; None where there are too few cases.
        better: in so many cases the row is better.
        worse: and in so many worse.
        ranks: the sum of the ranks of the differences above 0 less that of those below: the direction that the test is
            about, which one outlying case cannot turn as it can the mean.
    """

    count: int
    mean: float
    p: float | None
    better: int
    worse: int
    ranks: float


def paired_test(row: Mapping[str, float], baseline: Mapping[str, float]) -> PairedTest | None:
    """Compare two rows on the cases that both have; None where there is none.

    Cases without a difference say nothing about the direction and are left out of the ranks (Wilcoxon's own rule);
    where no case differs, p is 1.

    Args:
        row: case -> score, higher is better.
        baseline: likewise.

    Example:
        >>> names = "abcdef"
        >>> test = paired_test(dict(zip(names, (2, 3, 4, 5, 6, 8))), dict.fromkeys(names, 1))
        >>> test.count, test.better, test.p
        (6, 6, 0.03125)
    """
    common = [case for case in row if case in baseline]
    if not common:
        return None
    differences = [
        round(row[case] - baseline[case], 12) for case in common
    ]  # sums of floats differ in the last digits
    better, worse = sum(value > 0 for value in differences), sum(value < 0 for value in differences)
    p = None
    changes = [value for value in differences if value]
    if len(common) >= LEAST:
        p = _wilcoxon(changes) if changes else 1.0
    sizes = stats.rankdata([abs(value) for value in changes])
    ranks = sum(rank if value > 0 else -rank for rank, value in zip(sizes, changes, strict=True))
    return PairedTest(len(common), fmean(differences), p, better, worse, float(ranks))


def _wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p of the signed-rank test, none of the differences 0.

    Up to 50 cases it is exact, ties included: every pattern of signs is counted (scipy tries them one by one where
    there are ties, which takes a second for 13 cases); beyond, scipy's normal approximation.
    """
    if len(differences) > _EXACT:
        return float(stats.wilcoxon(differences, alternative="two-sided", method="approx").pvalue)
    ranks = [
        round(2 * rank) for rank in stats.rankdata([abs(value) for value in differences])
    ]  # halves where tied
    total = sum(ranks)
    patterns = [1] + [0] * total  # how many patterns of signs give each sum of positive ranks
    for rank in ranks:
        for place in range(total, rank - 1, -1):
            patterns[place] += patterns[place - rank]
    positive = sum(rank for rank, value in zip(ranks, differences, strict=True) if value > 0)
    extreme = sum(patterns[: min(positive, total - positive) + 1])
    return float(min(1.0, 2 * extreme / 2 ** len(differences)))


def holm(values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: below a level in as many as its step-down procedure rejects.

    Example:
        >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03, 0.005])]
        [0.03, 0.06, 0.06, 0.02]
    """
    adjusted = [0.0] * len(values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = largest
    return adjusted
