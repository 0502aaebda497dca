"""How like the truth a given mask is expected to be: its DSC with masks drawn as probable as they are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.records import Region
from metadcseg.errors import InputError

Counts = NDArray[np.float64]

_DRAWS = 400
_Z = 1.959964  # 95 % of a normal deviate lie between -_Z and _Z


def expected_dsc(counts: Counts) -> float:
    """Return the expected DSC of a given mask with the truth, mean over the foreground classes.

    With n(c, r) the expected pixels that were given c and are truly r:  DSC(c) = 2 n(c, c) / (sum_r n(c, r) + sum_r
    n(r, c)), 1 of a class that neither shows.

    Args:
        counts: n, (L, L) float, at least 0: for each given class the sum of P(true class) over its pixels.

    Raises:
        InputError: where the counts are not square, or of fewer than two classes.

    Example:
        >>> expected_dsc(np.array([[90.0, 2.0], [2.0, 6.0]]))  # 2 * 6 / (8 + 8)
        0.75
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(counts) < 2:
        raise InputError(f"counts must be (L, L) with two classes or more, got {counts.shape}")
    return float(_dsc(counts[None])[0])


def dsc_interval(counts: Counts, regions: Sequence[Region], spread: float = 0.0) -> tuple[float, float]:
    """Return the lower and upper limit of that DSC at 95 %.

    Pixels of a region are wrong together or not at all: masks are drawn in which each region is wholly wrong with its
    probability. What such draws cannot know, how far expected values were off on verified masks, widens the interval.

    Args:
        counts: as for :func:`expected_dsc`.
        regions: of the mask.
        spread: root mean square of expected minus true DSC on verified masks.

    Example:
        >>> dsc_interval(np.array([[90.0, 0.0], [0.0, 10.0]]), [])
        (1.0, 1.0)
    """
    middle = expected_dsc(counts)
    low = high = middle
    if regions:
        generator = np.random.default_rng(0)  # equal masks have equal intervals
        draws = np.repeat(counts[None], _DRAWS, axis=0)
        for region in regions:
            wrong = generator.random(_DRAWS) < region.probability
            moved = np.where(wrong, region.pixels - region.expected_wrong, -region.expected_wrong)
            draws[:, region.given, region.given] -= moved
            draws[:, region.given, region.proposed] += moved
        low, high = np.quantile(_dsc(draws.clip(min=0)), [0.025, 0.975]).tolist()
    below, above = (np.hypot(_Z * spread, part) for part in (middle - min(low, middle), max(high, middle) - middle))
    return float(max(0.0, middle - below)), float(min(1.0, middle + above))


def _dsc(counts: Counts) -> Counts:
    """Return the mean DSC over the foreground of (N, L, L) counts, (N,)."""
    overlap = np.diagonal(counts, axis1=1, axis2=2)[:, 1:]
    total = (counts.sum(axis=2) + counts.sum(axis=1))[:, 1:]
    found: Counts = np.where(total > 0, 2 * overlap / np.maximum(total, 1e-12), 1.0).mean(axis=1)
    return found
