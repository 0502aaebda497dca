"""Masks in black and white whose edges have turned gray, by JPEG or by resampling."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE

THRESHOLD = 127
"""Soft edges: values above are foreground."""

_FEW_LEVELS = 3  # so few values between black and white in a lossless file are class numbers, not soft edges
_EDGE = 15  # both black and white are found in a window of this side around a pixel of a soft edge
_SOLID = (
    3  # an in-between region of this many pixels squared elsewhere is a class; smaller ones are JPEG ringing
)
_BLACK, _WHITE = 32, 223  # weaker ringing than this is not looked at


def has_soft_edges(array: NDArray[np.integer], levels: Sequence[int], *, lossy: bool) -> bool:
    """Return whether a mask is black and white, with values between them only where black meets white.

    Args:
        array: (H, W).
        levels: the different values in it, ascending.
        lossy: whether the format changes values (JPEG).

    Example:
        >>> mask = np.zeros((9, 9), np.uint8)
        >>> mask[:, 4:] = 255
        >>> mask[:, 4] = np.arange(90, 99)
        >>> has_soft_edges(mask, np.unique(mask).tolist(), lossy=False)
        True
    """
    if levels[0] < 0 or not THRESHOLD < levels[-1] <= IGNORE:
        return False
    between = [level for level in levels if 0 < level < IGNORE]
    if not between or (len(between) <= _FEW_LEVELS and not lossy):
        return False
    from scipy.ndimage import maximum_filter, minimum_filter  # few masks need it, and it takes a while

    gray = (array >= _BLACK) & (array <= _WHITE)
    edge = maximum_filter(array < _BLACK, _EDGE) & maximum_filter(array > _WHITE, _EDGE)
    return not minimum_filter(gray & ~edge, _SOLID).any()
