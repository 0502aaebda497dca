"""What is odd about pairs: a verified mask, and the mask that it replaced."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import Finding, plural

Labels = NDArray[np.uint8]


class Pair(NamedTuple):
    """Both masks of a case, class number or 255 where unknown: in full, or each combination that occurs once.

    Args:
        where: what a sentence calls the verified mask.
        replaced: what it calls the mask that was replaced.
        verified: any shape.
        given: the same shape.
    """

    where: str
    replaced: str
    verified: Labels
    given: Labels


def pair_findings(pairs: Iterable[Pair]) -> list[Finding]:
    """Warn of verified masks that are empty though the replaced ones are not, and of pairs without any difference.

    Args:
        pairs: taken one at a time.

    Returns:
        One warning for every verified mask of the first kind, and one for all of the second kind together.

    Example:
        >>> organ = np.eye(4, dtype=np.uint8)
        >>> found = pair_findings([Pair("gold/a.png", "masks/a.png", organ, organ)])
        >>> print(found[0].sentence)  # doctest: +ELLIPSIS
        1 of 1 verified mask equals the mask that it replaced in every pixel (gold/a.png): was anything verified? ...
    """
    findings: list[Finding] = []
    equal: list[str] = []
    count = 0
    for pair in pairs:
        count += 1
        if np.array_equal(pair.verified, pair.given):
            equal.append(pair.where)
        elif not _foreground(pair.verified) and _foreground(pair.given):
            findings.append(_emptied(pair))
    return findings + ([_unchanged(equal, count)] if equal else [])


def _foreground(labels: Labels) -> bool:
    return bool(np.any((labels != 0) & (labels != IGNORE)))


def _emptied(pair: Pair) -> Finding:
    sentence = (
        f"{pair.where} is verified and empty, but {pair.replaced}, which it replaced, shows foreground: right if "
        "nothing is there, else draw it"
    )
    return Finding("warning", "verified-empty", pair.where, sentence)


def _unchanged(equal: list[str], count: int) -> Finding:
    verb, them = ("equals", "the mask that it") if len(equal) == 1 else ("equal", "the masks that they")
    such = equal[0] if len(equal) == 1 else f"such as {equal[0]}"
    sentence = (
        f"{len(equal)} of {plural(count, 'verified mask')} {verb} {them} replaced in every pixel ({such}): was "
        "anything verified? Right if there was nothing to correct, else correct it"
    )
    return Finding("warning", "pairs-identical", equal[0], sentence)
