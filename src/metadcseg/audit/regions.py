"""Connected regions of pixels that are probably wrong, and what is wrong in each.

====================  ==============================================================================
kind                  where
====================  ==============================================================================
``invented``          foreground becomes background, and hardly anything is left of the object
``too large``         foreground becomes background at an object of which more is left
``missing``           background becomes foreground, away from all that was given the class
``too small``         background becomes foreground at an object of the class
``shifted``           an object that is too large on one side and too small on the opposite one
``other``             one foreground class becomes another
====================  ==============================================================================

An object is a connected part of what was given a class. Pixels touch along rows, columns and, of neighboring slices,
through the stack.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metadcseg.audit.records import Kind, Region
from metadcseg.bounding_box import Box, box_of
from metadcseg.constants import IGNORE
from metadcseg.errors import InputError

Labels = NDArray[np.uint8]
Numbers = NDArray[np.int32]

LEAST = 3.0
"""Regions of which fewer pixels are expected to be wrong are left out: single pixels are noise of the network."""

_LEFT = 0.2  # of an object, below which it was invented
_ALIKE = 1 / 3  # of the larger of two regions of one object, what the smaller has where it was shifted
_OPPOSITE = -0.5  # cosine of the directions in which they lie


def find_regions(
    given: Labels,
    proposed: Labels,
    wrong: NDArray[np.float32],
    spacing: Sequence[float] | None = None,
    least: float = LEAST,
) -> tuple[Numbers, tuple[Region, ...]]:
    """Return connected regions of one given and one proposed class.

    Args:
        given: (Z, H, W) uint8 class numbers, or ``IGNORE``, of which no pixel is in a region.
        proposed: the most probable classes, likewise.
        wrong: (Z, H, W), P(the given label is wrong), from 0 to 1.
        spacing: of pixels in mm along (Z, H, W), 1 along Z of an image; None where it is not known.
        least: pixels that must be expected to be wrong.

    Returns:
        (Z, H, W) int32 number of the region, 0 where none is; and the regions in the order of their numbers.

    Raises:
        InputError: for arrays that are not of one shape (Z, H, W).

    Example:
        >>> given, proposed = np.zeros((2, 1, 6, 8), np.uint8)
        >>> given[0, 1:5, 1:6] = 1  # four rows, five columns
        >>> proposed[0, 1:5, 1:5] = 1  # the last column is too much
        >>> numbers, (region,) = find_regions(given, proposed, np.full(given.shape, 0.75, np.float32))
        >>> region.kind, region.pixels, region.expected_wrong, region.box
        ('too large', 4, 3.0, ((0, 1), (1, 5), (5, 6)))
        >>> numbers[0, 2].tolist()
        [0, 0, 0, 0, 0, 1, 0, 0]
    """
    if given.ndim != 3 or not given.shape == proposed.shape == wrong.shape:
        raise InputError(
            f"given, proposed and wrong must all be (Z, H, W), got {given.shape}, {proposed.shape}, {wrong.shape}"
        )
    numbers = np.zeros(given.shape, np.int32)
    changed = (given != proposed) & (given != IGNORE)
    found: list[tuple[Region, Numbers, Box]] = []
    kinds_of = np.unique(given[changed].astype(np.int32) * (IGNORE + 1) + proposed[changed]).tolist()
    for c, r in (divmod(kind, IGNORE + 1) for kind in kinds_of):
        apart = changed & (given == c) & (proposed == r)
        outer = box_of(apart)
        parts, count = ndimage.label(apart[outer])
        pixels = np.bincount(parts.ravel(), minlength=count + 1)
        sums = np.bincount(parts.ravel(), wrong[outer].ravel(), minlength=count + 1)
        for number, box in enumerate(ndimage.find_objects(parts), start=1):
            if box is None or sums[number] < least - 1e-6:
                continue
            edges = tuple(
                (int(part.start + side.start), int(part.stop + side.start))
                for part, side in zip(box, outer, strict=True)
            )
            region = Region(
                number,
                "other",
                c,
                r,
                int(pixels[number]),
                None if spacing is None else float(pixels[number] * np.prod(spacing)),
                float(min(1.0, sums[number] / pixels[number])),
                float(sums[number]),
                (edges[0], edges[1], edges[2]),
            )
            found.append((region, parts, box))
    found.sort(key=lambda entry: -entry[0].expected_wrong)
    regions = []
    for number, (region, parts, box) in enumerate(found, start=1):
        numbers[_slices(region)][parts[box] == region.number] = number
        regions.append(replace(region, number=number))
    return numbers, _with_kinds(given, numbers, regions)


def _with_kinds(given: Labels, numbers: Numbers, regions: Sequence[Region]) -> tuple[Region, ...]:
    """Return the regions with what is wrong in each."""
    kinds: dict[int, Kind] = {}
    for label in sorted({region.given or region.proposed for region in regions if _of_background(region)}):
        shown = given == label
        outer = box_of(shown)
        objects = np.zeros(given.shape, np.int32)
        count = ndimage.label(shown[outer], output=objects[outer])
        taken = np.zeros(count + 1)
        touched: dict[int, list[Region]] = {}
        about = [region for region in regions if _of_background(region) and label == _class(region)]
        places = {region.number: _objects_at(objects, numbers, region) for region in about}
        for region in about:
            for place in places[region.number]:
                touched.setdefault(place, []).append(region)
                if region.given:
                    taken[place] += region.pixels
        sizes = np.bincount(objects[outer].ravel(), minlength=count + 1)
        for region in about:
            if region.given:
                gone = all(sizes[at] - taken[at] < _LEFT * sizes[at] for at in places[region.number])
                kinds[region.number] = "invented" if gone else "too large"
            else:
                kinds[region.number] = "too small" if places[region.number] else "missing"
        boxes = ndimage.find_objects(objects[outer]) if count else []
        for place, held in touched.items():
            rims = [region for region in held if kinds[region.number] in ("too large", "too small")]
            inner = boxes[place - 1]
            moved = _shifted(objects[outer][inner] == place, inner, outer, numbers, rims)
            kinds |= dict.fromkeys(moved, "shifted")
    return tuple(replace(region, kind=kinds.get(region.number, "other")) for region in regions)


def _of_background(region: Region) -> bool:
    return region.given == 0 or region.proposed == 0


def _class(region: Region) -> int:
    return region.given or region.proposed


def _objects_at(objects: Numbers, numbers: Numbers, region: Region) -> list[int]:
    """Return the objects that a region is part of, or touches."""
    wide = tuple(
        slice(max(0, low - 1), min(side, high + 1))
        for (low, high), side in zip(region.box, numbers.shape, strict=True)
    )
    inside = numbers[wide] == region.number
    near = (
        inside if region.given else ndimage.binary_dilation(inside, ndimage.generate_binary_structure(3, 2))
    )
    return [int(place) for place in np.unique(objects[wide][near]) if place]


def _shifted(
    shown: NDArray[np.bool_], inner: Box, outer: Box, numbers: Numbers, held: Sequence[Region]
) -> list[int]:
    """Return the two regions of an object that was moved, where its largest two say so; else none.

    Args:
        shown: the object, in its box.
        inner: that box, within the box of the class.
        outer: the box of the class.
        numbers: of the region that each pixel is in.
        held: the regions at the object's rim.
    """
    large, small = (
        max((region for region in held if bool(region.given) == side), key=_pixels, default=None)
        for side in (True, False)
    )
    if large is None or small is None:
        return []
    if min(large.pixels, small.pixels) < _ALIKE * max(large.pixels, small.pixels):
        return []
    pixels = np.argwhere(shown) + [side.start for side in inner]
    middle = pixels.mean(axis=0) + np.array([side.start for side in outer])
    first, second = (_middle(numbers, region) - middle for region in (large, small))
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    opposite = lengths > 0 and float(first @ second) / lengths < _OPPOSITE
    return [large.number, small.number] if opposite else []


def _pixels(region: Region) -> int:
    return region.pixels


def _middle(numbers: Numbers, region: Region) -> NDArray[np.float64]:
    inner = np.argwhere(numbers[_slices(region)] == region.number)
    middle: NDArray[np.float64] = inner.mean(axis=0) + [low for low, _ in region.box]
    return middle


def _slices(region: Region) -> tuple[slice, ...]:
    return tuple(slice(*edge) for edge in region.box)
