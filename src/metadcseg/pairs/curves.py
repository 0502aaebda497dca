"""How probable a class is in the verified mask, by signed distance to the outline of the given one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metadcseg.bounding_box import box_of
from metadcseg.constants import IGNORE
from metadcseg.pairs.outline import Mask
from metadcseg.pairs.statistics import Pair

REACH = 10
"""So many steps on either side of the outline are looked at."""


@dataclass(frozen=True)
class DistanceCurve:
    """P(verified has the class | signed distance to the given outline of the class), bin by bin.

    Args:
        name: of the class.
        unit: ``px`` or ``mm``.
        centers: of the bins, (2 ``REACH``,): negative inside the given outline, positive outside.
        shares: mean over the pairs that have pixels in a bin, None where none has.
        spreads: standard deviation over these pairs, 0 for one.
    """

    name: str
    unit: str
    centers: tuple[float, ...]
    shares: tuple[float | None, ...]
    spreads: tuple[float, ...]


def distance_curves(pairs: Sequence[Pair], classes: Sequence[str], width: int = 1) -> list[DistanceCurve]:
    """Return the curve of every class that a given mask shows.

    A pixel's distance is that of its middle from the outline: Euclidean, to the nearest pixel on the other side, less
    half a pixel. Each pair has one vote in a bin, whatever its size: the share of its pixels there that are of the
    class in the verified mask. Bins are one pixel wide; where the spacing of all pairs is known, as wide as the
    smallest side of any of their pixels, in mm (not where axes of a volume miss right angles). Pixels that either mask
    ignores do not count.

    Args:
        pairs: of which masks.
        classes: names in class order, background first.
        width: of a bin, in pixels.

    Example:
        >>> true, large = np.zeros((2, 30, 30), np.uint8)
        >>> true[10:20, 10:20] = large[8:22, 8:22] = 1
        >>> curve = distance_curves([Pair("a", "a", large, true)], ["background", "foreground"])[0]
        >>> dict(zip(curve.centers[7:12], curve.shares[7:12]))  # the outer two pixels of what was given are wrong
        {-2.5: 1.0, -1.5: 0.0, -0.5: 0.0, 0.5: 0.0, 1.5: 0.0}
    """
    known = [sides for pair in pairs if (sides := _sides(pair)) is not None]
    in_mm = bool(pairs) and len(known) == len(pairs)
    step = width * (min(min(sides) for sides in known) if in_mm else 1.0)
    centers = tuple(float(place * step) for place in np.arange(-REACH, REACH) + 0.5)
    curves = []
    for number, name in enumerate(classes):
        if number == 0:
            continue
        votes = [
            vote
            for pair in pairs
            if (vote := _vote(pair, number, width, step if in_mm else None)) is not None
        ]
        if not votes:
            continue
        table = np.array(votes)
        shares, spreads = [], []
        for column in table.T:
            held = column[~np.isnan(column)]
            shares.append(float(held.mean()) if len(held) else None)
            spreads.append(float(held.std(ddof=1)) if len(held) > 1 else 0.0)
        curves.append(DistanceCurve(name, "mm" if in_mm else "px", centers, tuple(shares), tuple(spreads)))
    return curves


def _vote(pair: Pair, number: int, width: int, in_mm: float | None) -> NDArray[np.float64] | None:
    """Return the share of one pair in every bin, NaN where it has no pixel; None where the class is not given."""
    given = pair.given == number
    if not given.any() or given.all():
        return None
    sides = (None if in_mm is None else _sides(pair)) or (1.0,) * given.ndim
    box = box_of(given, REACH * width + 1)
    distance = _signed_distance(given[box], sides) / (in_mm or width)
    counted = (pair.given[box] != IGNORE) & (pair.verified[box] != IGNORE) & (np.abs(distance) < REACH)
    bins = np.floor(distance[counted]).astype(np.int64) + REACH
    right = pair.verified[box][counted] == number
    total = np.bincount(bins, minlength=2 * REACH)
    held = np.bincount(bins[right], minlength=2 * REACH)
    with np.errstate(invalid="ignore"):
        share: NDArray[np.float64] = held / total
    return share


def _sides(pair: Pair) -> tuple[float, ...] | None:
    """Return the sides of a pixel in mm; None where unknown, or where axes miss right angles: SciPy has boxes only."""
    steps = np.asarray(pair.spacing, np.float64)
    return tuple(steps.tolist()) if steps.ndim == 1 else None


def _signed_distance(mask: Mask, spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the distance of every pixel's middle to the outline, negative inside."""
    half = min(spacing) / 2
    outside = ndimage.distance_transform_edt(~mask, spacing) - half
    inside = ndimage.distance_transform_edt(mask, spacing) - half
    distance: NDArray[np.float64] = np.where(mask, -inside, outside)
    return distance
