"""What black, white and see-through mean in a mask: the shape may lie in the alpha channel, and zero may be white."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.errors import InputError


def flattened(
    path: Path, colors: NDArray[Any], alpha: NDArray[np.uint8]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return what a mask with transparency shows: its colors, or its alpha where that carries the shape.

    ===============================================  =====================
    pixels                                           what counts
    ===============================================  =====================
    all opaque                                       the colors
    of one color, not all opaque                     alpha
    several colors, what is hidden is black          the colors
    several colors, what is hidden is not black      nothing: refused
    ===============================================  =====================

    A class number above 0 on hidden black counts as a color: both say the same there.

    Args:
        path: the file, for sentences.
        colors: (H, W) or (H, W, 3).
        alpha: (H, W) uint8, 255 is opaque.

    Returns:
        (H, W) or (H, W, 3) to read as a mask without transparency, and what was decided.

    Raises:
        InputError: where hidden pixels hold other colors than black.

    Example:
        >>> white, alpha = np.full((1, 3), 255, np.uint8), np.array([[0, 255, 0]], np.uint8)
        >>> flattened(Path("a.png"), white, alpha)[0].tolist()
        [[0, 255, 0]]
    """
    hidden, opaque = alpha == 0, int(np.iinfo(np.uint8).max)
    flat = colors.reshape(*colors.shape[:2], -1)
    seen = flat[~hidden]
    if (alpha == opaque).all():
        return colors, ()
    black = not flat[hidden].any()
    if not seen.size or bool((seen == seen[:1]).all()):
        number = seen[:1].ravel().tolist()
        plain = len(set(number)) == 1 and number[0] != 0 and set(np.unique(alpha).tolist()) <= {0, opaque}
        if not (hidden.any() and black and plain):
            return alpha, (f"{path}: it is of one color, its transparency is taken as the mask",)
        return colors, ()
    if not black:
        raise InputError(
            f"{path}: {int(hidden.sum())} transparent pixels hide other colors than black, so two shapes are in it: "
            "flatten it and save one gray channel"
        )
    return colors, (f"{path}: its transparency is dropped, its colors are taken as the mask",)


def white_zero_mask(
    path: Path, stored: NDArray[Any], top: int, numbers: bool
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the values of a mask in a file of which zero is white.

    Class numbers are numbers; black and white are what a viewer shows, and so inverted.

    Args:
        path: the file, for sentences.
        stored: (H, W) unsigned integers.
        top: the largest value of that depth.
        numbers: whether the file is known to hold numbers, because of what wrote it.

    Returns:
        (H, W), and what was decided.

    Example:
        >>> white_zero_mask(Path("a.tif"), np.array([[255, 0]], np.uint8), 255, False)[0].tolist()
        [[0, 255]]
    """
    if numbers or 0 < int(stored.max()) <= top // 2:
        return stored, (f"{path}: zero is white in it (TIFF); its values are taken as numbers, as stored",)
    inverted: NDArray[Any] = (top - stored).astype(stored.dtype)
    return inverted, (f"{path}: zero is white in it (TIFF); it is read as viewers show it, inverted",)
