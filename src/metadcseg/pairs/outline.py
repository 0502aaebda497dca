"""One pair of masks, one class: how much they agree, where the given outline lies, which objects it lacks.

Conventions:

- *Outline*: the faces between a pixel of the class and a pixel outside it (edges of pixels in an image, faces of
  voxels in a volume). Where an object is cut by the frame there is no outline. Equal masks have distance exactly 0.
  A distance goes from the middle of a face of the given outline to the nearest middle of the verified one. As both are
  stairs where they run aslant, it is there up to 0.2 pixels (in a volume 0.3) less than that of the lines drawn.
- *Object*: pixels that touch, at a corner, too. One of the verified mask that no given pixel touches is *missing*,
  one of the given mask that no verified pixel touches is *invented*. Neither has a place in distances.
- *Ignored pixels* (``IGNORE`` in either mask) belong to no class; faces beside them do not count, and objects beside
  them are neither missing nor invented, as nobody knows where they end.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.bounding_box import box_of
from metadcseg.constants import IGNORE
from metadcseg.errors import InputError
from metadcseg.metrics import Spacing, dice, step_along

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ClassPair:
    """How a given mask differs from the verified one, of one class.

    Args:
        dsc: Dice similarity coefficient of the two.
        offset_px: mean signed distance of the given outline from the verified one in pixels (in a volume: in voxels),
            positive where it lies outside; None where the two have no object with an outline in common.
        offset_mm: likewise in mm; None where the spacing is unknown, too.
        distance_px: mean distance without its sign, or None.
        missing: objects of the verified mask that the given one does not touch.
        invented: objects of the given mask that the verified one does not touch.
    """

    dsc: float
    offset_px: float | None
    offset_mm: float | None
    distance_px: float | None
    missing: int
    invented: int


def compare_pair(
    given: NDArray[np.uint8], verified: NDArray[np.uint8], spacing: Spacing | None = None
) -> dict[int, ClassPair]:
    """Compare a given mask with the verified one, class by class.

    Args:
        given: (H, W) or (X, Y, Z) uint8: class number, or ``IGNORE``.
        verified: likewise, of the same shape.
        spacing: of a pixel along each axis in mm, or the step along each, a row each; None where unknown.

    Returns:
        Class number -> how it differs, of every foreground class that either mask shows.

    Raises:
        InputError: where the shapes differ or have other than two or three dimensions.

    Example:
        >>> verified = np.zeros((20, 20), np.uint8)
        >>> verified[8:12, 8:12] = 1
        >>> given = np.zeros((20, 20), np.uint8)
        >>> given[6:14, 8:12] = 1
        >>> found = compare_pair(given, verified, spacing=(0.5, 0.5))[1]
        >>> round(found.dsc, 2), round(found.offset_px, 2), round(found.offset_mm, 2), found.missing
        (0.67, 1.05, 0.52, 0)
    """
    if given.shape != verified.shape or given.ndim not in (2, 3):
        raise InputError(
            f"the given mask and the verified one must be of one shape, (H, W) or (X, Y, Z), got {given.shape} and "
            f"{verified.shape}: resample one to the other"
        )
    counted = (given != IGNORE) & (verified != IGNORE)
    shown = np.union1d(np.unique(given[counted]), np.unique(verified[counted]))
    return {
        int(number): _compare(given == number, verified == number, counted, spacing)
        for number in shown
        if number > 0
    }


def _compare(given: Mask, verified: Mask, counted: Mask, spacing: Spacing | None) -> ClassPair:
    from scipy import ndimage  # takes a while, and only pairs need it

    box = box_of((given | verified) & counted, 2)
    counted = counted[box]
    given, verified = given[box] & counted, verified[box] & counted
    unknown = None if counted.all() else ndimage.binary_dilation(~counted, _touching(counted.ndim))
    matched, invented = _matched(given, verified, unknown)
    kept, missing = _matched(verified, given, unknown)
    distances = _signed(matched, kept, counted, (1.0,) * given.ndim)
    offset = offset_mm = distance = None
    if distances is not None:
        offset, distance = distances
        if spacing is not None:
            offset_mm = _in_mm(offset, matched, kept, counted, spacing)
    return ClassPair(dice(given, verified), offset, offset_mm, distance, missing, invented)


def _matched(mask: Mask, other: Mask, unknown: Mask | None) -> tuple[Mask, int]:
    """Return the objects of a mask that the other one touches, and how many it does not."""
    from scipy import ndimage

    objects, count = ndimage.label(mask, _touching(mask.ndim))
    met = np.bincount(objects[other & mask], minlength=count + 1) > 0
    open_ended = np.zeros(count + 1, bool)
    if unknown is not None:
        open_ended = np.bincount(objects[unknown & mask], minlength=count + 1) > 0
    met[0] = False
    return met[objects], int((~met & ~open_ended)[1:].sum())


def _touching(dimensions: int) -> NDArray[Any]:
    return np.ones((3,) * dimensions, bool)


def _in_mm(offset: float, given: Mask, verified: Mask, counted: Mask, spacing: Spacing) -> float:
    steps = np.asarray(spacing, np.float64)
    if steps.ndim == 1 and (steps == steps[0]).all():
        return offset * float(steps[0])
    found = _signed(given, verified, counted, spacing)
    assert found is not None, "there is an outline in pixels"  # noqa: S101
    return found[0]


def _signed(given: Mask, verified: Mask, counted: Mask, spacing: Spacing) -> tuple[float, float] | None:
    """Return the mean distance of the given outline's faces from the verified outline: with sign, and without.

    A face lies outside the verified object where both of its pixels do. Faces count by their area.
    """
    from scipy.spatial import cKDTree

    points, sides, areas = _faces(given, verified, counted, spacing)
    targets, _, _ = _faces(verified, verified, counted, spacing)
    if not len(points) or not len(targets):
        return None
    nearest = cKDTree(targets).query(points)[0] * (sides != 0)
    return float(np.average(sides * nearest, weights=areas)), float(np.average(nearest, weights=areas))


def _faces(
    mask: Mask, other: Mask, counted: Mask, spacing: Spacing
) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.float64]]:
    """Return the middles of the faces of a mask, on which side of the other mask they lie, and their areas.

    Returns:
        (K, D) float64 in the unit of ``spacing``; (K,) 1 outside of the other mask, -1 inside, 0 on its outline;
        (K,) float64.
    """
    points, sides, areas = [], [], []
    axes = step_along(spacing)
    # a face spanned by all axes but one has the volume of a voxel, over its height along that one
    faces = abs(np.linalg.det(axes)) * np.linalg.norm(np.linalg.inv(axes), axis=0)
    for axis in range(mask.ndim):
        before = tuple(slice(None, -1) if each == axis else slice(None) for each in range(mask.ndim))
        after = tuple(slice(1, None) if each == axis else slice(None) for each in range(mask.ndim))
        cut = (mask[before] != mask[after]) & counted[before] & counted[after]
        place = np.argwhere(cut).astype(np.float64)
        place[:, axis] += 0.5
        points.append(place @ axes)
        sides.append((1 - other[before][cut].astype(np.int8) - other[after][cut]).astype(np.int8))
        areas.append(np.full(len(place), faces[axis]))
    return np.concatenate(points), np.concatenate(sides), np.concatenate(areas)
