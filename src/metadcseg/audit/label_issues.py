"""The audit of arrays, for anybody's network: labels, probabilities and, where there are some, verified pairs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import Tensor

from metadcseg.audit.judged import SURE, judge
from metadcseg.audit.probability import UNFITTED, Labels, Maps, PairCounts, ShareSample, Witnesses
from metadcseg.audit.ranking import dsc_interval, expected_dsc
from metadcseg.audit.records import Level, Region
from metadcseg.audit.regions import find_regions
from metadcseg.audit.weight import fit_weight, weights_for
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
    pairs: Iterable[tuple[ArrayLike, ...]] | None = None,
    *,
    sure: float = SURE,
) -> Iterator[LabelIssues]:
    """Yield what is wrong in each mask, one at a time in memory.

    Sequences, arrays and memory maps are read where they are. Of an iterator, which is read once, the first 16 masks
    wait in memory until the network's say is matched to the pairs'.

    Args:
        labels: masks as they were given, (H, W) or (Z, H, W) each: class numbers from 0 to L-1, 255 is ignored.
        probabilities: of the classes for each mask, (L, H, W) or (L, Z, H, W), from 0 to 1, best out of fold.
        pairs: (given, verified) masks, (H, W) or (Z, H, W), two slices or more; None: the network judges alone. Or
            (given, verified, probabilities) of all, from a network that was not trained on them: how much the network
            counts beside the pairs is fitted then (:func:`.weight.fit_weight`), else it is 0.6. A volume is one case
            there, so give slices of one volume together.
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
    first, probabilities = _peeked(probabilities)
    if first is None:
        if (label := next(iter(labels), None)) is not None:
            raise InputError(
                f"there are labels, of {_array('labels', label).shape}, and no probabilities: give one for each"
            )
        return
    if isinstance(labels, Sized) and isinstance(probabilities, Sized) and len(labels) != len(probabilities):
        raise _not_as_many(f", got {len(labels)} and {len(probabilities)}")
    classes = len(np.atleast_1d(_array("probabilities", first)))
    verified = [] if pairs is None else _verified(pairs, classes)
    counts = PairCounts.count(((given, true) for given, true, _, _ in _slices_of(verified)), classes)
    table, both = counts.table(), _zipped(labels, probabilities, classes)
    if pairs is not None and table is None:
        raise InputError(f"pairs must be of two slices or more, got {len(counts)}: leave pairs out")
    witnesses = Witnesses()
    if table is not None:
        fitted = len(verified[0]) == 3
        weights = weights_for(seen=False) if fitted else (UNFITTED,)
        odds: Mapping[float, Tensor | None] = dict.fromkeys(weights)
        if table.any():
            some, both = _some(labels, probabilities, classes)
            sample = ShareSample(classes, sum(len(label) for label, _ in some))
            for label, maps in some:
                for plane, said in zip(label, maps.swapaxes(0, 1), strict=True):
                    sample.add(plane, said)
            odds = sample.match(table, weights)
        witnesses = _fitted(verified, counts, odds, table) if fitted else Witnesses(table, odds[UNFITTED])
    for label, maps in both:
        yield _issues(witnesses, label, maps, sure)


def _fitted(
    verified: Sequence[tuple[ArrayLike, ...]],
    counts: PairCounts,
    odds: Mapping[float, Tensor | None],
    table: Tensor,
) -> Witnesses:
    """Return who speaks, the network with the weight that tells verified masks best by the table of all others."""
    groups = [str(number) for *_, number in _slices_of(verified)]

    def seen() -> Iterator[tuple[Labels, Labels, Maps]]:
        for given, true, said, _ in _slices_of(verified):
            if said is not None:
                yield given, true, said

    return fit_weight(seen(), counts, groups, odds).witnesses(table)


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
            raise _not_as_many()
        yield _checked(label, maps, classes)


def _not_as_many(counts: str = "") -> InputError:
    return InputError(f"labels and probabilities must be as many{counts}: give one map for each mask")


def _array(name: str, value: ArrayLike, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Return a copy of what is given as an array."""
    try:
        return np.array(np.asarray(value), dtype)  # of a tensor, NumPy warns of a copy in one step
    except (ValueError, TypeError, RuntimeError) as error:  # PyTorch raises the last two
        raise InputError(
            f"{name} cannot be read as an array ({error}): give numbers in rows of one length; of PyTorch, "
            "tensor.detach().cpu()"
        ) from error


def _checked(label: ArrayLike, maps: ArrayLike, classes: int) -> tuple[Labels, Maps]:
    """Return a mask, (Z, H, W), and its probabilities, (L, Z, H, W), a mask of one slice having Z = 1."""
    given, said = _mask("labels", label, classes), _array("probabilities", maps, np.float32)
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
    given = _array(name, label)
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


def _verified(pairs: Iterable[tuple[ArrayLike, ...]], classes: int) -> list[tuple[ArrayLike, ...]]:
    """Return all pairs, each with its probabilities or none with any, after all of them were checked."""
    held = list(pairs)
    for item in held:
        if len(item) not in (2, 3) or len(item) != len(held[0]):
            raise InputError(
                "pairs must be (given, verified), or (given, verified, probabilities) all of them, got "
                f"{len(held[0])} and {len(item)} arrays"
            )
        given, true, *said = item
        both = (_mask("pairs", given, classes), _mask("pairs", true, classes))
        if both[0].shape != both[1].shape:
            raise InputError(
                f"masks of a pair must have one shape, got {np.shape(given)} and {np.shape(true)}"
            )
        for maps in said:
            _checked(given, maps, classes)
    return held


def _slices_of(
    verified: Sequence[tuple[ArrayLike, ...]],
) -> Iterator[tuple[Labels, Labels, Maps | None, int]]:
    """Yield every slice of the pairs with its probabilities, (L, H, W), where they have some, and the pair's number."""
    for number, (given, true, *said) in enumerate(verified):
        masks = [np.asarray(each) for each in (given, true)]
        stacks = [each.astype(np.uint8).reshape((-1, *each.shape[-2:])) for each in masks]
        maps = [np.asarray(each, np.float32) for each in said]
        planes = [each[:, None] if each.ndim == 3 else each for each in maps]
        for place, pair in enumerate(zip(*stacks, strict=True)):
            yield (*pair, planes[0][:, place] if planes else None, number)
