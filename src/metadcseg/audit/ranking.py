"""How like the truth a given mask is expected to be."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.records import Region
from metadcseg.errors import InputError

Counts = NDArray[np.float64]

_Z = 1.959964  # 95 % of a normal deviate lie between -_Z and _Z


def expected_dsc(counts: Counts, highest: Counts | None = None) -> float:
    """Return the expected DSC of a given mask with the truth, mean over the foreground classes.

    With n(c, r) the expected pixels that were given c and are truly r:  DSC(c) = 2 n(c, c) / (sum_r n(c, r) + sum_r
    n(r, c)), 1 of a class that neither shows. Of a class that was not given, DSC is 1 if it is truly absent and 0 if
    not, so 1 - h(c) is expected: pixels of an object are truly there together, as probably as the most probable one.

    Args:
        counts: n, (L, L) float, at least 0: for each given class the sum of P(true class) over its pixels.
        highest: h, (L,), the highest P(true class) of any pixel; None where the counts are known and not expected.

    Raises:
        InputError: where the counts are not square, or of fewer than two classes.

    Example:
        >>> expected_dsc(np.array([[90.0, 2.0], [2.0, 6.0]]))  # 2 * 6 / (8 + 8)
        0.75
        >>> nothing = np.array([[96.0, 4.0], [0.0, 0.0]])  # an empty mask: is there really nothing?
        >>> expected_dsc(nothing), expected_dsc(nothing, np.array([1.0, 0.25]))
        (0.0, 0.75)
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(counts) < 2:
        raise InputError(f"counts must be (L, L) with two classes or more, got {counts.shape}")
    if highest is not None and highest.shape != counts.shape[:1]:
        raise InputError(f"highest must be of {len(counts)} classes, got {highest.shape}")
    return float(_dsc(counts[None], highest)[0])


def dsc_interval(
    counts: Counts, regions: Sequence[Region], spread: float = 0.0, highest: Counts | None = None
) -> tuple[float, float]:
    """Return the lower and upper limit of that DSC at 95 %: expected -+ 1.96 s, within 0 and 1.

    Pixels of a region are wrong together or not at all, so s^2 = spread^2 + sum_k p_k (1 - p_k) d_k^2, where p_k is the
    probability of region k and d_k the difference of the DSC with k wholly wrong and wholly right. A class that was not
    given adds h (1 - h) / (L - 1)^2.

    Args:
        counts: as for :func:`expected_dsc`.
        regions: of the mask.
        spread: root mean square of expected minus true DSC on verified masks.
        highest: as for :func:`expected_dsc`.

    Example:
        >>> dsc_interval(np.array([[90.0, 0.0], [0.0, 10.0]]), [])
        (1.0, 1.0)
        >>> region = Region(1, "too large", 1, 0, 8, None, 0.5, 4.0, ((0, 1), (0, 2), (0, 4)))
        >>> low, high = dsc_interval(np.array([[88.0, 0.0], [4.0, 8.0]]), [region])
        >>> round(low, 2), round(high, 2)  # wholly wrong 2 * 4 / 16, right 1: d = 0.5, and 0.8 -+ 1.96 * 0.25
        (0.31, 1.0)
    """
    middle, variance = expected_dsc(counts, highest), spread**2
    if highest is not None:
        odds = highest[1:][counts.sum(axis=1)[1:] == 0]
        variance += float((odds * (1 - odds)).sum()) / len(highest[1:]) ** 2
    if regions:
        given, proposed = (
            np.array([getattr(each, name) for each in regions]) for name in ("given", "proposed")
        )
        pixels, chance, expected = (
            np.array([getattr(each, name) for each in regions], np.float64)
            for name in ("pixels", "probability", "expected_wrong")
        )
        ends = np.repeat(counts[None], 2 * len(regions), axis=0)
        moved, place = np.concatenate([pixels - expected, -expected]), np.arange(len(ends))
        given, proposed = np.tile(given, 2), np.tile(proposed, 2)
        ends[place, given, given] -= moved
        ends[place, given, proposed] += moved
        wrong, right = _dsc(ends.clip(min=0), highest).reshape(2, -1)
        variance += float((chance * (1 - chance) * (wrong - right) ** 2).sum())
    reach = _Z * float(np.sqrt(variance))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _dsc(counts: Counts, highest: Counts | None) -> Counts:
    """Return the mean DSC over the foreground of (N, L, L) counts, (N,)."""
    overlap = np.diagonal(counts, axis1=1, axis2=2)[:, 1:]
    given = counts.sum(axis=2)[:, 1:]
    total = given + counts.sum(axis=1)[:, 1:]
    each: Counts = np.where(total > 0, 2 * overlap / np.maximum(total, 1e-12), 1.0)
    if highest is not None:
        each = np.where(given > 0, each, 1 - highest[1:])
    found: Counts = each.mean(axis=1)
    return found
