"""Which classes shrink to a few pixels on the input grid of a network?

An object is a connected part of one class within an image, or within a slice of a volume. Of a set it is told whether
at least a twentieth of a class's objects would be lost, so that one speck among thousands decides nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.findings import Finding, plural
from metadcseg.data.store.reader import PreparedSet

FEW = 8
"""An object on fewer pixels of the input grid than this can hardly be learned."""

SIZE = 256
"""The input grid's side that is judged before a training: the default of ``training.size``."""

SHARE = 0.05
"""So large a share of the objects of a class may be lost without a word."""

MOST_SLICES = 64
"""So many slices of a volume are looked at, evenly spread."""

MOST_MASKS = 200
"""So many of a prepared set."""

NEVER = -1
"""Stands for a side at which an object keeps enough where there is none."""

_STEP = 32  # sides that every network here takes
_MOST_WORK = 8  # times the pixels of a slice: a mask of noise would take minutes
_TOUCHING = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one mask.

    Args:
        where: the file or case.
        native: side of its slices as a set stores them (of a square of equal area), in pixels.
        sides: class -> side of the input grid at which an object keeps 8 pixels -> number of such objects. Sides that
            are no larger than the grid that is judged are 0, and -1 where the object is smaller in the image itself.
    """

    where: str
    native: int
    sides: Mapping[int, Mapping[int, int]] = field(default_factory=dict)


def find_objects(
    where: str,
    planes: NDArray[Any],
    size: int = SIZE,
    native: tuple[int, int] | None = None,
    zoom: float = 1.0,
) -> Objects:
    """Measure the objects of a mask.

    Args:
        where: the file or case.
        planes: (D, H, W) integers; values from 1 on are classes. An image has one plane.
        size: side of the input grid, in pixels.
        native: of the part of each plane that is shown to a network, in pixels; all of it by default.
        zoom: pixels that a set stores for each one of them.

    Example:
        >>> mask = np.zeros((1, 640, 640), np.uint8)
        >>> mask[0, :4, :4] = mask[0, 100:200, 100:200] = 1
        >>> find_objects("a.png", mask).sides
        {1: {453: 1, 0: 1}}
    """
    height, width = native or planes.shape[1:]
    area, stored = height * width, int(sqrt(height * width * zoom))
    counts: dict[int, Counter[int]] = {}
    chosen = set(np.linspace(0, len(planes) - 1, MOST_SLICES).round().astype(int).tolist())
    for plane in (planes[number] for number in sorted(chosen) if len(planes)):
        for value, pixels in _parts(plane, whole=area <= size * size):
            sides = np.ceil(np.sqrt(FEW * area / pixels)).astype(int)
            sides[(pixels * zoom < FEW) & (sides > size)] = np.iinfo(int).max
            held = counts.setdefault(value, Counter())
            held.update(np.where(sides > size, sides, 0).tolist())
            held[NEVER] += held.pop(np.iinfo(int).max, 0)
    return Objects(where, stored, {value: dict(+held) for value, held in sorted(counts.items())})


def counted_objects(where: str, area: int, values: Sequence[int], counts: Sequence[int]) -> Objects:
    """Do the same for an image that is no larger than the input grid, on which no object shrinks.

    Args:
        where: the file or case.
        area: pixels of the image.
        values: that the mask holds.
        counts: pixels of each.

    Example:
        >>> counted_objects("a.png", 600, (0, 1), (580, 20))
        Objects(where='a.png', native=24, sides={1: {0: 1}})
    """
    held = ((value, count * SIZE**2 < FEW * area) for value, count in zip(values, counts, strict=True))
    return Objects(where, int(sqrt(area)), _one_each(tuple((value, few) for value, few in held if value > 0)))


@lru_cache(maxsize=256)
def _one_each(held: tuple[tuple[int, bool], ...]) -> Mapping[int, Mapping[int, int]]:
    """Return one object of each value; most masks of a set share it."""
    return {value: {NEVER if few else 0: 1} for value, few in held}


def tiny_classes(masks: Iterable[Objects], names: Sequence[str], size: int = SIZE) -> list[Finding]:
    """Warn of classes of which at least a twentieth of the objects has fewer than 8 pixels left at an input grid.

    The size that is named keeps 95 % of them; it is a multiple of 32 and no larger than the images are.

    Args:
        masks: every one of the set, measured for this ``size``.
        names: of the classes, the background first.
        size: side of the square input grid, in pixels.

    Example:
        >>> masks = [Objects("a.png", 640, {1: {453: 3, 0: 1}})]
        >>> print(tiny_classes(masks, ("background", "lesion"))[0].sentence)  # doctest: +ELLIPSIS
        lesion has fewer than 8 pixels at an input grid of 256 x 256 in 3 of 4 objects, such as in a.png: ...
    """
    masks = list(masks)
    findings = []
    for label, name in enumerate(names[1:], 1):
        held = [mask for mask in masks if label in mask.sides]
        sides: Counter[int] = Counter()
        for mask in held:
            sides.update(mask.sides[label])
        never, total = sides.pop(NEVER, 0), sides.total()
        lost = total - sides[0]
        if never and not total:
            such = f"{plural(len(held), 'mask')}, such as {held[0].where}"
            sentence = (
                f"{name} has no object of {FEW} pixels or more in {such}: a network can hardly learn it at any size, "
                "look whether it is meant"
            )
            findings.append(Finding("warning", "class-tiny", name, sentence))
        elif lost and lost >= SHARE * total:
            where = next(mask.where for mask in held if any(side > 0 for side in mask.sides[label]))
            larger = _side(sides, max(mask.native for mask in held))
            advice = (
                f"train with --training.size {larger} to keep {1 - SHARE:.0%} of them".replace("%", " %")
                if larger > size
                else "no size keeps them, look whether they are meant"
            )
            sentence = (
                f"{name} has fewer than {FEW} pixels at an input grid of {size} x {size} in {lost} of "
                f"{plural(total, 'object')}, such as in {where}: {advice}"
            )
            findings.append(Finding("warning", "class-tiny", name, sentence))
    return findings


def tiny_in_set(prepared: PreparedSet, size: int) -> list[Finding]:
    """Do the same for a prepared set, from at most 200 of its training and gold labels, evenly spread.

    Args:
        prepared: the set.
        size: side of the square input grid, in pixels.

    Raises:
        InputError: where one of them is damaged.
    """
    cases = [*prepared.select("train"), *prepared.select("gold")]
    chosen = set(np.linspace(0, len(cases) - 1, MOST_MASKS).round().astype(int).tolist()) if cases else set()
    looked = (cases[number] for number in sorted(chosen))
    masks = (find_objects(case.id, prepared.label(case)[None], size) for case in looked)
    return tiny_classes(masks, prepared.classes, size)


def _side(sides: Counter[int], native: int) -> int:
    """Return the side that keeps all but a twentieth of the objects, a multiple of 32 within the images."""
    most, left = 0, SHARE * sides.total()
    for side in sorted(sides, reverse=True):
        most = side
        left -= sides[side]
        if left < 0:
            break
    return min(
        _STEP * ceil(most / _STEP), max(_STEP, native // _STEP * _STEP)
    )  # no grid is smaller than a step


def _parts(plane: NDArray[Any], *, whole: bool) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield every class of a plane and the pixels of each connected part; of it as a whole where that will do."""
    values: NDArray[Any] = np.arange(256)
    if plane.dtype != np.uint8:
        values, places = np.unique(plane, return_inverse=True)
        plane = places.reshape(plane.shape)
    counts = np.bincount(plane.ravel(), minlength=len(values))
    shown = [number for number in np.flatnonzero(counts).tolist() if values[number] > 0]
    if whole or not shown:
        for number in shown:
            yield int(values[number]), counts[number : number + 1]
        return
    from scipy import ndimage  # takes a while

    boxes = ndimage.find_objects(plane + (plane.dtype != np.uint8))
    first = 0 if plane.dtype != np.uint8 else 1  # the number that the first box belongs to
    apart = sum(plane[boxes[n - first]].size for n in shown) <= _MOST_WORK * plane.size
    for number in shown:
        if apart:
            parts, _ = ndimage.label(plane[boxes[number - first]] == number, _TOUCHING)
            yield int(values[number]), np.bincount(parts.ravel())[1:]
        else:
            yield int(values[number]), counts[number : number + 1]
