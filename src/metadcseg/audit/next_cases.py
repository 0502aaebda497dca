r"""Which cases to verify next: those that tell most about how masks are wrong, and so about the order of all others.

What an audit believes rests on rates: of the regions of one kind, between the same two classes, drawn by the same
annotator (a *stratum* s), so many are really wrong. After m verified regions the entropy of such a rate has fallen by
about ½ ln m, whatever the rate is. A set S of cases is therefore worth

.. math:: F(S) = \sum_s W_s \ln\left(1 + \frac{\sum_{i \in S} n_{is} / (1 + r_i)}{1 + v_s}\right)

with n_is the regions of stratum s in case i, v_s those that were verified before, and r_i the cases of the same group
(patient) chosen before i, as regions of one patient are alike. W_s says how much hangs on the rate: the uncertainty of
each case's DSC, half its interval, dealt in equal parts among its regions and what lies outside them. The latter is a
stratum as well, one for each annotator, so that a case without any region is worth something.

Logarithms of sums are submodular: taking the best case again and again comes within 1 - 1/e of the best set
(Nemhauser, Wolsey and Fisher, Mathematical Programming 14, 1978).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import log

from metadcseg.audit.records import AuditedCase
from metadcseg.errors import InputError

Stratum = tuple[str | None, str, int, int]
"""Annotator, kind, given class, proposed class."""

OUTSIDE = "outside"
"""The kind of what lies outside of all regions."""


@dataclass(frozen=True)
class Choice:
    """A case to be verified.

    Args:
        case: which.
        gain: what it adds to F, beside those chosen before it.
        most: the kind of error that it tells most about.
    """

    case: AuditedCase
    gain: float
    most: str


def next_cases(
    cases: Sequence[AuditedCase],
    count: int,
    *,
    reviewed: Collection[str] = (),
    pairs: Mapping[str | None, int] | None = None,
) -> list[Choice]:
    """Choose cases to verify.

    Args:
        cases: of an audit.
        count: how many, at least 1; fewer come where fewer are left.
        reviewed: ids of cases that were verified since: their regions count, and they are not chosen.
        pairs: annotator (None where unknown) -> verified pairs that the audit knew: each counts as a mean case of that
            annotator.

    Returns:
        The choices, the most telling one first; of equal ones that of the lower expected DSC, then by id.

    Raises:
        InputError: where the count is below 1, or no case is left.

    Example:
        >>> from metadcseg.audit.records import Region
        >>> def case(id, *kinds):
        ...     box = ((0, 1), (0, 2), (0, 2))
        ...     found = [Region(n, kind, 0, 1, 4, None, 0.8, 3.2, box) for n, kind in enumerate(kinds, start=1)]
        ...     return AuditedCase(id, id, "train", (1, 9, 9), None, 0.7, (0.6, 0.8), tuple(found))
        >>> held = [case("a", "missing", "missing"), case("b", "missing"), case("c", "invented"), case("d")]
        >>> [choice.case.id for choice in next_cases(held, 3)]
        ['a', 'c', 'b']
    """
    if count < 1:
        raise InputError(f"at least 1 case can be chosen, got {count}")
    told = {case.id: _told(case) for case in cases}
    weights: dict[Stratum, float] = defaultdict(float)
    for case in cases:
        uncertain = (case.dsc_interval[1] - case.dsc_interval[0]) / 2
        total = sum(told[case.id].values())
        for stratum, number in told[case.id].items():
            weights[stratum] += uncertain * number / total
    known = _known(cases, told, reviewed, pairs or {})
    left = sorted((case for case in cases if case.id not in reviewed), key=lambda case: (case.dsc, case.id))
    if not left:
        raise InputError("all cases of the audit are reviewed: accept the decisions, train and audit again")
    groups: Counter[str] = Counter(case.group or case.id for case in cases if case.id in reviewed)
    chosen: list[Choice] = []
    while left and len(chosen) < count:
        gains = [_gains(told[case.id], 1 + groups[case.group or case.id], known, weights) for case in left]
        best = max(range(len(left)), key=lambda at: sum(gains[at].values()))
        case, gain = left.pop(best), gains[best]
        chosen.append(Choice(case, sum(gain.values()), max(gain, key=lambda stratum: gain[stratum])[1]))
        for stratum, number in told[case.id].items():
            known[stratum] += number / (1 + groups[case.group or case.id])
        groups[case.group or case.id] += 1
    return chosen


def _told(case: AuditedCase) -> Counter[Stratum]:
    """Return how many observations of each stratum a case holds."""
    held = Counter((case.annotator, str(region.kind), region.given, region.proposed) for region in case.regions)
    held[case.annotator, OUTSIDE, 0, 0] += 1
    return held


def _known(
    cases: Sequence[AuditedCase],
    told: Mapping[str, Counter[Stratum]],
    reviewed: Collection[str],
    pairs: Mapping[str | None, int],
) -> dict[Stratum, float]:
    """Return how many observations of each stratum were verified already."""
    known: dict[Stratum, float] = defaultdict(float)
    drawn = Counter(case.annotator for case in cases)
    for case in cases:
        share = pairs.get(case.annotator, 0) / drawn[case.annotator] + (case.id in reviewed)
        for stratum, number in told[case.id].items():
            known[stratum] += share * number
    return known


def _gains(
    held: Mapping[Stratum, int], alike: int, known: Mapping[Stratum, float], weights: Mapping[Stratum, float]
) -> dict[Stratum, float]:
    return {
        stratum: weights[stratum] * log(1 + number / alike / (1 + known[stratum]))
        for stratum, number in held.items()
    }
