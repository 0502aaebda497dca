"""Outlines of one image by several hands: copies of each other, or no outlines of one thing at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.sources.case import Outlines, RawCase

APART = 0.5
"""Two people who draw one thing agree on more than this share of the smaller outline in most images."""

_INSIDE = (
    0.98  # of the smaller outline in the larger one, and in every image: a part of it, such as cup and disc
)
_MUCH_SMALLER = 0.5
_LEAST_INSIDE = 3  # so many images show that it is no chance
_CHANCE = 16  # smaller outlines may be equal by chance
_LEAST_EQUAL = 2
_MOST_NAMED = 3


@dataclass(frozen=True)
class Overlap:
    """What two outlines of one image have in common.

    Args:
        first: whose the one is.
        second: whose the other is.
        sizes: pixels of foreground of each.
        both: pixels that are foreground in both.
        equal: whether they hold the same classes everywhere.
    """

    first: str
    second: str
    sizes: tuple[int, int]
    both: int
    equal: bool


def overlaps(masks: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.bool_]]]) -> tuple[Overlap, ...]:
    """Compare all outlines of one image with each other.

    Args:
        masks: annotator -> number of its value for each pixel, and which pixels are foreground; all of one shape.

    Returns:
        One for every two annotators whose outlines both show foreground.

    Example:
        >>> one, other = np.array([0, 1, 1], np.uint8), np.array([0, 0, 1], np.uint8)
        >>> overlaps({"anna": (one, one > 0), "ben": (other, other > 0)})
        (Overlap(first='anna', second='ben', sizes=(2, 1), both=1, equal=False),)
    """
    sizes = {name: int(np.count_nonzero(shown)) for name, (_, shown) in masks.items()}
    found = []
    for first, second in combinations(sorted(masks), 2):
        (one, shown), (other, shown_too) = masks[first], masks[second]
        if sizes[first] and sizes[second]:
            both = int(np.count_nonzero(shown & shown_too))
            equal = both == sizes[first] == sizes[second] and np.array_equal(one, other)
            found.append(Overlap(first, second, (sizes[first], sizes[second]), both, equal))
    return tuple(found)


def overlap_findings(cases: Sequence[tuple[RawCase, Sequence[Overlap]]]) -> list[Finding]:
    """Find annotators who are copies of each other, and folders that are more likely those of classes.

    Args:
        cases: of the source, and what `overlaps` says of their outlines.
    """
    held = [(case.outlines, found) for case, found in cases if case.outlines]
    pairs: dict[tuple[str, str], list[Overlap]] = {}
    for _, found in held:
        for overlap in found:
            pairs.setdefault((overlap.first, overlap.second), []).append(overlap)
    if not pairs:
        return []
    where = held[0][0]
    return _copies(where, pairs) + ([] if where.certain else _classes(where, pairs))


def _copies(where: Outlines, pairs: Mapping[tuple[str, str], list[Overlap]]) -> list[Finding]:
    told = []
    for (first, second), found in pairs.items():
        equal = sum(each.equal and each.both >= _CHANCE for each in found)
        if equal >= _LEAST_EQUAL or (equal and len(found) == 1):
            told.append(f"{first} and {second} {equal} of {plural(len(found), 'image')}")
    if not told:
        return []
    sentence = (
        f"{where.path}: outlines that are equal in every pixel, of {listed(told, _MOST_NAMED)}: is one a copy? Then "
        "remove it, nobody counts twice"
    )
    return [Finding("warning", "outlines-copied", str(where.path), sentence)]


def _classes(where: Outlines, pairs: Mapping[tuple[str, str], list[Overlap]]) -> list[Finding]:
    if not all(_apart(found) or _within(found) for found in pairs.values()):
        return []
    (first, second), found = next(iter(pairs.items()))
    many, share = plural(len(found), "image"), median(map(_share, found))
    seen = (
        f"have {share:.0%} of the smaller outline in common" if _apart(found) else "lie one within the other"
    )
    sentence = (
        f"{where.path}: {first} and {second} {seen} in {many}, unlike two annotators of one thing: pass --subfolders "
        "classes if their folders are classes, --subfolders annotators if they are people"
    )
    return [Finding("error", "annotators", str(where.path), sentence)]


def _share(overlap: Overlap) -> float:
    return overlap.both / min(overlap.sizes)


def _apart(found: Sequence[Overlap]) -> bool:
    return median(map(_share, found)) < APART


def _within(found: Sequence[Overlap]) -> bool:
    """Return whether the one outline is a small part of the other in every image."""
    ratios = [each.sizes[0] / each.sizes[1] for each in found]
    one_way = max(ratios) < 1 or min(ratios) > 1
    smaller = median(min(ratio, 1 / ratio) for ratio in ratios) < _MUCH_SMALLER
    return len(found) >= _LEAST_INSIDE and one_way and smaller and min(map(_share, found)) >= _INSIDE
