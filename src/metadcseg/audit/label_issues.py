"""The audit of arrays, for anybody's network: labels, probabilities and, where there are some, verified pairs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metadcseg.audit.judged import SURE, judge
from metadcseg.audit.probability import UNFITTED, Labels, Maps, PairCounts, ShareSample, Witnesses
from metadcseg.audit.ranking import dsc_interval, expected_dsc
from metadcseg.audit.records import Level, Region
from metadcseg.audit.regions import find_regions
from metadcseg.constants import IGNORE
from metadcseg.errors import InputError

_ASKED = 64  # of images that can be read again, on which the network's say is matched to the pairs'
_KEPT = 16  # of those that cannot, which wait in memory meanwhile
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class LabelIssues:
    """What is wrong in one mask; maps are of the mask's shape, (H, W) or (Z, H, W).

    Args:
        wrong: float32, P(the given label is wrong), 0 where it is ignored.
        regions: what is wrong where, in falling order of the expected wrong pixels.
        numbers: int32 number of the region that a pixel is in, 0 in none.
        corrected: uint8 class numbers of the levels ``sure``, ``balanced`` and ``network``.
        dsc: expected DSC of the mask with the truth, mean over the foreground classes.
        dsc_interval: its limits at 95 %, by the regions.
    """

    wrong: NDArray[np.float32]
    regions: tuple[Region, ...]
    numbers: NDArray[np.int32]
    corrected: dict[Level, NDArray[np.uint8]]
    dsc: float
    dsc_interval: tuple[float, float]


def find_label_issues(
    labels: Iterable[ArrayLike],
    probabilities: Iterable[ArrayLike],
    pairs: Iterable[tuple[ArrayLike, ArrayLike]] | None = None,
    *,
    sure: float = SURE,
) -> Iterator[LabelIssues]:
    """Yield what is wrong in each mask, one at a time in memory.

    Sequences, arrays and memory maps are read where they are. Of an iterator, which is read once, the first 16 masks
    wait in memory until the network's say is matched to the pairs'.

    Args:
        labels: masks as they were given, (H, W) or (Z, H, W) each: class numbers from 0 to L-1, 255 is ignored.
        probabilities: of the classes for each mask, (L, H, W) or (L, Z, H, W), from 0 to 1, best out of fold.
        pairs: (given, verified) masks, (H, W) or (Z, H, W), two slices or more; None: the network judges alone.
        sure: P(wrong) from which the level ``sure`` changes a pixel.

    Raises:
        InputError: for arrays of other shapes or values, or where there are more labels than probabilities or fewer.

    Example:
        >>> truth = np.zeros((3, 16, 16), np.uint8)
        >>> truth[:, 4:12, 4:12] = 1
        >>> given = truth.copy()
        >>> given[:, 3:13, 3:13] = 1  # one pixel too large all around
        >>> said = np.stack([0.9 - 0.8 * truth, 0.1 + 0.8 * truth], axis=1)
        >>> pairs = list(zip(given[:2], truth[:2]))
        >>> (found,) = find_label_issues(given[2:], said[2:], pairs)
        >>> found.regions[0].kind, found.regions[0].pixels, bool((found.corrected["balanced"] == truth[2]).all())
        ('too large', 36, True)
    """
    if not 0 < sure <= 1:
        raise InputError(f"sure must be above 0 and at most 1, got {sure}")
    counts: PairCounts | None = None
    first, probabilities = _peeked(probabilities)
    if first is None:
        if (label := next(iter(labels), None)) is not None:
            raise InputError(
                f"there are labels, of {np.shape(label)}, and no probabilities: give one for each"
            )
        return
    classes = len(np.asarray(first))
    if pairs is not None:
        counts = PairCounts.count(_slices_of(pairs, classes), classes)
        if counts.table() is None:
            raise InputError(f"pairs must be of two slices or more, got {len(counts)}: leave pairs out")
    witnesses, both = Witnesses(), _zipped(labels, probabilities, classes)
    if counts is not None and (table := counts.table()) is not None:
        odds = None
        if table.any():
            some, both = _some(labels, probabilities, classes)
            sample = ShareSample(classes, sum(len(label) for label, _ in some))
            for label, maps in some:
                for plane, said in zip(label, maps.swapaxes(0, 1), strict=True):
                    sample.add(plane, said)
            odds = sample.match(table, (UNFITTED,))[UNFITTED]
        witnesses = Witnesses(table, odds)
    for label, maps in both:
        yield _issues(witnesses, label, maps, sure)


def _issues(witnesses: Witnesses, label: Labels, maps: Maps, sure: float) -> LabelIssues:
    flat = label.shape[0] == 1
    judged = judge(witnesses, label, maps.swapaxes(0, 1))
    numbers, regions = find_regions(label, judged.proposed, judged.wrong)

    def shaped(array: NDArray[Any]) -> NDArray[Any]:
        return array[0] if flat else array

    return LabelIssues(
        shaped(judged.wrong),
        regions,
        shaped(numbers),
        {level: shaped(mask) for level, mask in judged.corrected(numbers, sure).items()},
        expected_dsc(judged.counts, judged.highest),
        dsc_interval(judged.counts, regions, highest=judged.highest),
    )


def _some(
    labels: Iterable[ArrayLike], probabilities: Iterable[ArrayLike], classes: int
) -> tuple[list[tuple[Labels, Maps]], Iterator[tuple[Labels, Maps]]]:
    """Return some masks with their probabilities, and all of them."""
    if isinstance(labels, Sequence | np.ndarray) and isinstance(probabilities, Sequence | np.ndarray):
        step = max(1, -(-len(labels) // _ASKED))
        some = [
            _checked(label, maps, classes)
            for label, maps in zip(labels[::step], probabilities[::step], strict=True)
        ]
        return some, _zipped(labels, probabilities, classes)
    both = _zipped(labels, probabilities, classes)
    kept = list(islice(both, _KEPT))
    return kept, chain(kept, both)


def _peeked(items: Iterable[_Item]) -> tuple[_Item | None, Iterable[_Item]]:
    """Return the first of some items, and all of them."""
    if isinstance(items, Sequence | np.ndarray):
        return (items[0] if len(items) else None), items
    iterator = iter(items)
    first = next(iterator, None)
    return first, iterator if first is None else chain([first], iterator)


def _zipped(
    labels: Iterable[ArrayLike], probabilities: Iterable[ArrayLike], classes: int
) -> Iterator[tuple[Labels, Maps]]:
    for label, maps in zip_longest(labels, probabilities):
        if label is None or maps is None:
            raise InputError("labels and probabilities must be as many: give one map for each mask")
        yield _checked(label, maps, classes)


def _checked(label: ArrayLike, maps: ArrayLike, classes: int) -> tuple[Labels, Maps]:
    """Return a mask, (Z, H, W), and its probabilities, (L, Z, H, W), a mask of one slice having Z = 1."""
    given, said = _mask("labels", label, classes), np.array(maps, np.float32)
    if said.ndim == np.ndim(label) + 1 == 3:
        said = said[:, None]
    if said.shape != (classes, *given.shape):
        raise InputError(
            f"probabilities must be (L, H, W) or (L, Z, H, W) of labels of {np.shape(label)} and {classes} classes, "
            f"got {np.shape(maps)}"
        )
    if not np.isfinite(said).all() or said.min() < 0 or said.max() > 1 + 1e-4:
        raise InputError("probabilities must be from 0 to 1: take the softmax of logits")
    return given, said


def _mask(name: str, label: ArrayLike, classes: int) -> Labels:
    given = np.asarray(label)
    if given.ndim not in (2, 3) or given.dtype.kind not in "biu" or 0 in given.shape:
        raise InputError(
            f"{name} must be whole numbers, (H, W) or (Z, H, W), got {given.dtype} {given.shape}"
        )
    known = given[given != IGNORE]
    if known.size and (known.min() < 0 or known.max() >= classes):
        raise InputError(
            f"{name} must be from 0 to {classes - 1}, or {IGNORE}, got {known.min()} to {known.max()}"
        )
    return given.astype(np.uint8).reshape((-1, *given.shape[-2:]))


def _slices_of(pairs: Iterable[tuple[ArrayLike, ArrayLike]], classes: int) -> Iterator[tuple[Labels, Labels]]:
    for given, verified in pairs:
        both = (_mask("pairs", given, classes), _mask("pairs", verified, classes))
        if both[0].shape != both[1].shape:
            raise InputError(
                f"masks of a pair must have one shape, got {np.shape(given)} and {np.shape(verified)}"
            )
        yield from zip(*both, strict=True)
