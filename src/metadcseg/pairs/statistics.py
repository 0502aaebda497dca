"""Pairs of masks counted: how wrong the masks were that verified ones replaced, over all, by class, by annotator."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.metrics import Spacing
from metadcseg.pairs.intervals import Interval, interval
from metadcseg.pairs.outline import ClassPair, compare_pair

EQUAL_PX = 0.5
"""An outline nearer than this many pixels is the same outline: whoever turns a drawn line into pixels decides about
the pixels that it cuts, and taking all of them or none moves the outline by half a pixel."""

_DSC = (0.0, 1.0)


@dataclass(frozen=True)
class Pair:
    """A verified mask and the mask that it replaced.

    Args:
        id: of the case.
        group: what belongs together, such as a patient: the unit of chance.
        given: (H, W) or (X, Y, Z) uint8: class number, or ``IGNORE``.
        verified: likewise, of the same shape.
        spacing: of a pixel along each axis in mm, or the step along each, a row each; None where unknown.
        annotator: who drew the given mask, or None where unknown.
    """

    id: str
    group: str
    given: NDArray[np.uint8]
    verified: NDArray[np.uint8]
    spacing: Spacing | None = None
    annotator: str | None = None


@dataclass(frozen=True)
class Measured:
    """What one pair shows, over all classes that either of its masks shows or in one of them.

    Args:
        pair: whose.
        dsc: mean over classes; None where neither mask shows anything.
        offset_px: of the given outline from the verified one, mean over classes: positive outside. None where the
            masks have no object with an outline in common.
        offset_mm: likewise in mm; None where the spacing is unknown, too.
        distance_px: without its sign.
        missing: objects that the given mask lacks, all classes together.
        invented: objects that it has and the verified one has not.
        identical: whether no pixel that is known in both masks differs; never where outlines were tied.
    """

    pair: Pair
    dsc: float | None
    offset_px: float | None
    offset_mm: float | None
    distance_px: float | None
    missing: int
    invented: int
    identical: bool

    @property
    def side(self) -> int:
        """1 where the given outline is too large, -1 where too small, 0 where equal within ``EQUAL_PX``."""
        if self.offset_px is None or abs(self.offset_px) < EQUAL_PX:
            return 0
        return 1 if self.offset_px > 0 else -1


@dataclass(frozen=True)
class Summary:
    """Several pairs together; means and intervals are over groups (images, where each is its own group).

    Args:
        members: the pairs.
        dsc: of the given masks, over the pairs in which either mask shows something.
        offset_px: of the given outlines, over the pairs with an object in common: positive outside.
        offset_mm: likewise in mm; None unless the spacing of every pair is known.
        distance_px: without its sign.
    """

    members: tuple[Measured, ...]
    dsc: Interval
    offset_px: Interval
    offset_mm: Interval | None
    distance_px: Interval

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self.members)

    @property
    def units(self) -> int:
        """How many groups they belong to."""
        return len({entry.pair.group for entry in self.members})

    @property
    def identical(self) -> int:
        """How many given masks are identical to the verified one."""
        return sum(entry.identical for entry in self.members)

    @property
    def too_large(self) -> int:
        """How many given outlines lie outside the verified one by ``EQUAL_PX`` or more."""
        return sum(entry.side > 0 for entry in self.members)

    @property
    def too_small(self) -> int:
        """How many given outlines lie inside the verified one by ``EQUAL_PX`` or more."""
        return sum(entry.side < 0 for entry in self.members)

    @property
    def outlined(self) -> int:
        """How many pairs have an object in common, so that their outlines can be compared."""
        return sum(entry.offset_px is not None for entry in self.members)

    @property
    def missing(self) -> int:
        """How many objects the given masks lack."""
        return sum(entry.missing for entry in self.members)

    @property
    def invented(self) -> int:
        """How many objects the given masks have and the verified ones have not."""
        return sum(entry.invented for entry in self.members)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "pairs": self.pairs,
            "dsc": self.dsc.to_dict(),
            "offset_px": self.offset_px.to_dict(),
            "offset_mm": None if self.offset_mm is None else self.offset_mm.to_dict(),
            "too_large": self.too_large,
            "too_small": self.too_small,
            "missing": self.missing,
            "invented": self.invented,
        }


@dataclass(frozen=True)
class Diagnosis:
    """How the masks are wrong, as the pairs show it.

    Args:
        total: all pairs.
        classes: name -> the pairs in which either mask shows the class.
        annotators: name -> their pairs, in the order of the names; empty where nobody is known.
        verified: how many verified masks there are, with the mask that they replaced or without it.
    """

    total: Summary
    classes: Mapping[str, Summary] = field(default_factory=dict)
    annotators: Mapping[str, Summary] = field(default_factory=dict)
    verified: int = 0

    def worst(self, number: int = 3) -> list[Measured]:
        """Return the pairs of lowest DSC, the lowest first; those that are identical are left out."""
        differing = [entry for entry in self.total.members if entry.dsc is not None and not entry.identical]
        return sorted(differing, key=lambda entry: (entry.dsc, entry.pair.id))[:number]


def diagnose(
    pairs: Iterable[Pair],
    classes: Sequence[str] = ("background", "foreground"),
    verified: int | None = None,
    outlines: Iterable[Pair] = (),
) -> Diagnosis:
    """Compare the masks of all pairs.

    Args:
        pairs: in any order; their order plays no part.
        classes: names in class order, background first.
        verified: how many verified masks there are; as many as pairs by default.
        outlines: what single annotators drew, where the given mask of a pair was made of several outlines: they count
            for their annotator only.

    Raises:
        InputError: where the masks of a pair differ in shape.

    Example:
        >>> true, large = np.zeros((2, 20, 20), np.uint8)
        >>> true[8:12, 8:12] = large[7:13, 7:13] = 1
        >>> total = diagnose([Pair("a", "a", large, true), Pair("b", "b", true, true)]).total
        >>> total.pairs, total.too_large, total.identical, round(total.offset_px.mean, 2)
        (2, 1, 1, 0.57)
    """
    found = [(pair, compare_pair(pair.given, pair.verified, pair.spacing)) for pair in pairs]
    found.sort(key=lambda entry: entry[0].id)
    outlines = sorted(outlines, key=lambda pair: pair.id)
    outlined = {pair.id for pair in outlines}
    total = [_measured(pair, list(shown.values())) for pair, shown in found]
    total = [replace(entry, identical=entry.identical and not _tied(entry.pair, outlined)) for entry in total]
    by_class = {
        name: summary([_measured(pair, [shown[number]]) for pair, shown in found if number in shown])
        for number, name in enumerate(classes)
        if number > 0
    }
    each = [
        _measured(pair, list(compare_pair(pair.given, pair.verified, pair.spacing).values()))
        for pair in outlines
    ]
    drawn = [entry for entry in [*total, *each] if entry.pair.annotator is not None]
    names = sorted({str(entry.pair.annotator) for entry in drawn})
    by_annotator = {
        name: summary([entry for entry in drawn if entry.pair.annotator == name]) for name in names
    }
    count = len(total) if verified is None else verified
    return Diagnosis(summary(total), by_class, by_annotator, count)


def summary(members: Sequence[Measured]) -> Summary:
    """Return means and intervals of some pairs."""

    def over(name: str, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Interval:
        known = [
            (value, entry.pair.group) for entry in members if (value := getattr(entry, name)) is not None
        ]
        return interval([value for value, _ in known], [group for _, group in known], bounds)

    in_mm = bool(members) and all(entry.pair.spacing is not None for entry in members)
    return Summary(
        tuple(members),
        over("dsc", _DSC),
        over("offset_px"),
        over("offset_mm") if in_mm else None,
        over("distance_px", (0.0, np.inf)),
    )


def _measured(pair: Pair, shown: Sequence[ClassPair]) -> Measured:
    return Measured(
        pair,
        _mean(entry.dsc for entry in shown),
        _mean(entry.offset_px for entry in shown),
        _mean(entry.offset_mm for entry in shown),
        _mean(entry.distance_px for entry in shown),
        sum(entry.missing for entry in shown),
        sum(entry.invented for entry in shown),
        all(entry.dsc == 1.0 for entry in shown),
    )


def _tied(pair: Pair, outlined: Container[str]) -> bool:
    """Return whether the given mask was made of outlines that leave something open which the verified one knows."""
    return pair.id in outlined and bool(np.any((pair.given == IGNORE) & (pair.verified != IGNORE)))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
