"""Label noise, eq. 15-20: rotate, erode or dilate, perhaps replace by an ellipse; and the rate this makes.

What chance decides comes from :mod:`metadcseg.noise.draws`; here nothing is drawn, only applied.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metadcseg.constants import IGNORE
from metadcseg.errors import InputError
from metadcseg.noise.draws import NoiseDraw, NoiseLevel

Region = NDArray[np.bool_]
Mask = NDArray[np.integer]


def rotate(region: Region, angle: float, center: tuple[float, float] | None = None) -> Region:
    """Rotate about a point, nearest neighbor, empty beyond the edges (eq. 15).

    Args:
        region: (H, W) bool.
        angle: degrees, anticlockwise as displayed (rows downwards).
        center: row and column of the point, in pixels; None is the center of the image.

    Returns:
        (H, W) bool.

    Example:
        >>> rotate(np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0]], bool), 90.0).astype(int).tolist()
        [[1, 0, 0], [1, 0, 0], [1, 0, 0]]
    """
    height, width = region.shape
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    middle_row, middle_column = center or ((height - 1) / 2, (width - 1) / 2)
    down = np.arange(height)[:, None] - middle_row  # (H, 1)
    right = np.arange(width)[None, :] - middle_column  # (1, W)
    # source pixels, counted in the image with an empty frame around it, on which all that lies outside falls
    row = cosine * down + sine * right + (middle_row + 1.5)  # (H, W); + 0.5 to round, + 1 for the frame
    column = cosine * right - sine * down + (middle_column + 1.5)
    moved: Region = np.pad(region, 1)[
        row.clip(0, height + 1).astype(np.intp), column.clip(0, width + 1).astype(np.intp)
    ]
    return moved


def bounding_box(region: Region) -> tuple[int, int, int, int] | None:
    """Return the first and last row and the first and last column (inclusive) of a region, None when empty.

    Example:
        >>> bounding_box(np.array([[0, 0, 0], [0, 1, 1]], bool))
        (1, 1, 1, 2)
    """
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if len(rows) == 0:
        return None
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def box_center(region: Region) -> tuple[float, float]:
    """Return row and column of the middle of the bounding box, the center of eq. 19; (0, 0) when empty.

    Example:
        >>> box_center(np.array([[0, 0, 0], [0, 1, 1]], bool))
        (1.0, 1.5)
    """
    top, bottom, left, right = bounding_box(region) or (0, 0, 0, 0)
    return (top + bottom) / 2, (left + right) / 2


def morph(region: Region, size: int, *, erode: bool) -> Region:
    """Erode (eq. 16) or dilate (eq. 17) by a filled square.

    The window of pixel i reaches from ``i - size // 2`` to ``i + (size - 1) // 2`` in rows and in columns,
    for erosion and dilation alike, as in OpenCV: an even square cannot be centered and reaches a pixel further
    up and left. What lies beyond the image does not count: the image's edge neither erodes nor dilates.

    Args:
        region: (H, W) bool.
        size: edge length of the square in pixels, at least 1.
        erode: erosion, or else dilation.

    Returns:
        (H, W) bool.

    Example:
        >>> morph(np.array([[1, 1, 1, 0, 0]], bool), 3, erode=True).astype(int).tolist()
        [[1, 1, 0, 0, 0]]
        >>> morph(np.array([[0, 0, 0, 1, 0, 0]], bool), 2, erode=False).astype(int).tolist()
        [[0, 0, 0, 1, 1, 0]]
    """
    changed = np.zeros_like(region)
    box = bounding_box(region)
    if box is None:
        return changed
    reach = size // 2  # nothing changes further away from the region, so work on this window only
    rows = slice(max(0, box[0] - reach), box[1] + reach + 1)
    columns = slice(max(0, box[2] - reach), box[3] + reach + 1)
    window = region[rows, columns].view(np.uint8)
    filter_line = ndimage.minimum_filter1d if erode else ndimage.maximum_filter1d
    for axis in (0, 1):  # a square is a row of columns: two line filters do
        line = min(size, 2 * window.shape[axis])  # this long it covers everything from everywhere
        window = filter_line(window, line, axis=axis, mode="constant", cval=float(erode))
    changed[rows, columns] = window.view(np.bool_)
    return changed


def ellipse(region: Region) -> Region:
    """Return the filled ellipse that touches the bounding box of a region (eq. 19); empty stays empty.

    Center and semi-axes come from the first and last pixel, as printed; a box with an even number of rows or
    columns has no pixel on that axis, and its ellipse ends a pixel short of the sides that the axis meets.
    Eq. 19 is evaluated times 16 r_x^2 r_y^2, in integers: exact, and a box one pixel wide stays a line.

    Args:
        region: (H, W) bool.

    Returns:
        (H, W) bool.

    Example:
        >>> ellipse(np.ones((3, 3), bool)).astype(int).tolist()
        [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    replaced = np.zeros_like(region)
    box = bounding_box(region)
    if box is None:
        return replaced
    top, bottom, left, right = box
    two_r_y, two_r_x = bottom - top, right - left
    down = 2 * np.arange(top, bottom + 1, dtype=np.int64)[:, None] - (top + bottom)  # 2 (h - y_c)
    across = 2 * np.arange(left, right + 1, dtype=np.int64)[None, :] - (left + right)  # 2 (w - x_c)
    replaced[top : bottom + 1, left : right + 1] = (
        down**2 * two_r_x**2 + across**2 * two_r_y**2 <= two_r_x**2 * two_r_y**2
    )
    return replaced


def corrupt_rotated(rotated: Region, one: NoiseDraw, level: NoiseLevel) -> Region:
    """Apply eq. 16-19 to a region that is already rotated: the part that depends on the kernel scale."""
    changed = morph(rotated, one.kernel_size(level.scale), erode=one.erode)
    if one.r < level.p_ellipse and np.count_nonzero(changed) > level.ellipse_min_pixels:
        return ellipse(changed)
    return changed


def rotate_class(region: Region, one: NoiseDraw, level: NoiseLevel, *, about_itself: bool = False) -> Region:
    """Apply eq. 15, or leave out a class as small as ``level.omit_below``: the scale-free part.

    Args:
        region: (H, W) bool.
        one: gives the angle.
        level: that it was drawn from.
        about_itself: rotate about the middle of the region's bounding box in place of the image's center.

    Returns:
        (H, W) bool.
    """
    if np.count_nonzero(region) <= level.omit_below:
        return np.zeros_like(region)
    return rotate(region, one.angle, box_center(region) if about_itself else None)


def paint(regions: Sequence[Region], clean: Mask) -> Mask:
    """Paint class regions over each other in class order; ``IGNORE`` pixels of the clean mask stay ignored.

    Args:
        regions: (H, W) bool for class 1, 2, ...
        clean: (H, W) integer, the mask that was corrupted.

    Returns:
        (H, W), the dtype of ``clean``.
    """
    painted = np.zeros_like(clean)
    for value, region in enumerate(regions, start=1):
        painted[region] = value
    painted[clean == IGNORE] = IGNORE
    return painted


def check_labels(mask: Mask, classes: int) -> None:
    """Raise unless a mask is an (H, W) integer array of the classes 0 .. L-1 and ``IGNORE``.

    Raises:
        InputError: naming what was got.
    """
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise InputError(f"a mask must be an (H, W) integer array, got {mask.dtype} of shape {mask.shape}")
    wrong = mask[(mask != IGNORE) & ((mask < 0) | (mask >= classes))]
    if wrong.size:
        raise InputError(f"a mask may hold the classes 0 to {classes - 1} and {IGNORE}, got {int(wrong[0])}")


def corruption_rate(clean: NDArray[np.generic], noisy: NDArray[np.generic]) -> float:
    """Return 1 - DSC between two binary masks (eq. 20).

    Args:
        clean: (H, W) bool or integer, foreground where not 0.
        noisy: the same shape.

    Returns:
        Between 0 (equal; two empty masks are equal) and 1 (no pixel in common).

    Raises:
        InputError: where the shapes differ.

    Example:
        >>> corruption_rate(np.array([[1, 1, 0]]), np.array([[0, 1, 1]]))
        0.5
    """
    if clean.shape != noisy.shape:
        raise InputError(f"both masks must be of one shape, got {clean.shape} and {noisy.shape}")
    before, after = clean.astype(bool), noisy.astype(bool)
    total = int(np.count_nonzero(before)) + int(np.count_nonzero(after))
    if total == 0:
        return 0.0
    return 1.0 - 2.0 * int(np.count_nonzero(before & after)) / total


def class_rates(clean: Mask, noisy: Mask, classes: int) -> tuple[float | None, ...]:
    """Return eq. 20 for the classes 1 .. L-1; None for a class that the clean mask does not hold.

    Example:
        >>> class_rates(np.array([[1, 1, 0]]), np.array([[0, 1, 0]]), 3)
        (0.33333333333333337, None)
    """
    return tuple(
        corruption_rate(clean == value, noisy == value) if np.any(clean == value) else None
        for value in range(1, classes)
    )
