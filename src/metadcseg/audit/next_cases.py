"""Which cases to verify next: those that make known, with the fewest, how masks are wrong and which are worse.

A table of pairs is right where the pairs are like all other cases. Cases that look worst, or show most regions, are
not: a table made of them believes that all masks are as bad (studies/audit_next.py). So cases are spread evenly, as in
stratified systematic sampling, and more of them are drawn where more is open.

How many of each annotator: a mean over N cases of equal spread, of which v are verified, leaves N^2 / (1 + v) of the
variance of the whole (1 stands for what is believed before). The next case goes to the annotator with the largest

    N^2 / ((1 + v) (2 + v)),

by which one more lowers that sum (Neyman, Journal of the Royal Statistical Society 97, 1934). How sure the audit is of
an annotator plays no part: of one that it knows nothing of it would be too sure.

Which of them: all cases of the annotator stand in the order of their expected DSC. The next one is taken from the
middle of the widest gap between verified ones, so that bad, middling and good masks are all shown; near the middle,
from the group (patient) of which fewest are verified.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from metadcseg.audit.records import AuditedCase
from metadcseg.errors import InputError

_NEAR = 0.15  # of a gap, on either side of its middle


@dataclass(frozen=True)
class Choice:
    """A case to be verified.

    Args:
        case: which.
        gain: by how much it lowers the variance, as a share of all that is left before the first choice.
        rank: share of the cases of its annotator with a lower expected DSC, 0 to 1.
    """

    case: AuditedCase
    gain: float
    rank: float


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
        reviewed: ids of cases that were verified since: they are not chosen, and count as verified.
        pairs: annotator (None where unknown) -> verified pairs that the audit knew beside these cases.

    Returns:
        The choices, the most telling one first.

    Raises:
        InputError: where the count is below 1, or no case is left.

    Example:
        >>> def case(dsc, annotator):
        ...     name = f"{annotator}{dsc}"
        ...     return AuditedCase(name, name, "train", (1, 9, 9), None, dsc, (0, 1), (), annotator)
        >>> held = [case(dsc / 10, "anna") for dsc in range(1, 8)] + [case(0.8, "ben"), case(0.9, "ben")]
        >>> [choice.case.id for choice in next_cases(held, 5)]
        ['anna0.4', 'anna0.2', 'anna0.6', 'anna0.1', 'ben0.8']
    """
    if count < 1:
        raise InputError(f"at least 1 case can be chosen, got {count}")
    if all(case.id in reviewed for case in cases):
        raise InputError("all cases of the audit are reviewed: accept the decisions, train and audit again")
    orders: dict[str | None, list[AuditedCase]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: (case.dsc, case.id)):
        orders[case.annotator].append(case)
    verified = {
        name: {at for at, case in enumerate(order) if case.id in reviewed} for name, order in orders.items()
    }
    known = {name: len(done) + (pairs or {}).get(name, 0) for name, done in verified.items()}
    groups = Counter(_group(case) for case in cases if case.id in reviewed)
    whole = sum(len(order) ** 2 / (1 + known[name]) for name, order in orders.items())
    chosen: list[Choice] = []
    while len(chosen) < count and any(len(verified[name]) < len(orders[name]) for name in orders):
        gains = {
            name: len(order) ** 2 / ((1 + known[name]) * (2 + known[name]))
            for name, order in orders.items()
            if len(verified[name]) < len(order)
        }
        name = max(gains, key=lambda each: gains[each])
        at = _next(orders[name], verified[name], groups)
        case = orders[name][at]
        chosen.append(Choice(case, gains[name] / whole, at / max(1, len(orders[name]) - 1)))
        verified[name].add(at)
        known[name] += 1
        groups[_group(case)] += 1
    return chosen


def _next(order: Sequence[AuditedCase], verified: Collection[int], groups: Mapping[str, int]) -> int:
    """Return a place near the middle of the widest gap between verified ones.

    A gap at an end is as good as one of twice its width, and is entered at a third of it from the end: so that three
    verified cases stand for three equal parts.

    Example:
        >>> held = [AuditedCase(str(n), str(n), "train", (1, 1, 1), None, 0.5, (0, 1), ()) for n in range(9)]
        >>> _next(held, [], {}), _next(held, [4], {}), _next(held, [1, 4], {}), _next(held, [1, 4, 7], {})
        (4, 1, 7, 0)
    """
    marks, last = sorted(verified), len(order) - 0.5
    gaps: list[tuple[float, float, float, float]]
    gaps = [(right - left, (left + right) / 2, left, right) for left, right in pairwise(marks)]
    if marks:
        first = marks[0] + 0.5
        gaps += [(2 * first, first / 3 - 0.5, -0.5, marks[0]), _end(marks[-1], last)]
    else:
        gaps = [(last + 0.5, (last - 0.5) / 2, -0.5, last)]
    for width, middle, left, right in sorted(gaps, key=lambda gap: (-gap[0], gap[1])):
        inside = [at for at in range(len(order)) if left < at < right]
        near = [at for at in inside if abs(at - middle) <= max(0.5, _NEAR * width)] or inside
        if near:
            return min(near, key=lambda at: (groups.get(_group(order[at]), 0), abs(at - middle), at))
    raise AssertionError("one is left")


def _end(mark: int, last: float) -> tuple[float, float, float, float]:
    return 2 * (last - mark), last - (last - mark) / 3, mark, last


def _group(case: AuditedCase) -> str:
    return case.group or f"only {case.id}"
