"""Linear and nearest resampling of planes, in numpy: pixel centers as in ``torch.nn.functional.interpolate``."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def nearest_index(old: int, new: int) -> NDArray[np.intp]:
    """Return, for each of ``new`` pixels, the one of ``old`` nearest to its center.

    Example:
        >>> nearest_index(4, 2).tolist(), nearest_index(2, 4).tolist()
        ([1, 3], [0, 0, 1, 1])
    """
    return ((2 * np.arange(new) + 1) * old // (2 * new)).astype(np.intp)


@lru_cache(maxsize=16)
def _weights(old: int, new: int, smooth: bool) -> NDArray[np.float32]:
    """Return (new, old): how much every old pixel counts in every new one; the rows sum to 1."""
    width = max(1.0, old / new) if smooth else 1.0
    centers = (np.arange(new) + 0.5) * old / new - 0.5
    if not smooth:
        centers = centers.clip(0, old - 1)  # beyond the last center its value is repeated
    distance = np.abs(np.arange(old)[None] - centers[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    weights.setflags(write=False)
    kept: NDArray[np.float32] = weights
    return kept


def resample_plane(planes: NDArray[Any], size: tuple[int, int], *, smooth: bool = False) -> NDArray[Any]:
    """Stretch planes to another size, linearly; of the same size they come back untouched.

    Args:
        planes: (..., H, W).
        size: the new (H, W).
        smooth: whether shrinking averages over all pixels that a new one covers (antialiasing).

    Returns:
        (..., new H, new W) float32, or ``planes`` itself.

    Example:
        >>> resample_plane(np.array([[0.0, 4.0]]), (1, 4)).tolist()
        [[0.0, 1.0, 3.0, 4.0]]
    """
    height, width = planes.shape[-2:]
    if (height, width) == size:
        return planes
    rows, columns = _weights(height, size[0], smooth), _weights(width, size[1], smooth)
    moved: NDArray[Any] = rows @ planes.astype(np.float32) @ columns.T
    return moved
