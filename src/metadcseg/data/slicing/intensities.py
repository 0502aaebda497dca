"""What the values of a volume mean: its background, and a scale that all volumes share."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.errors import InputError

_PERCENTILES = (0.5, 99.5)
_NAMED = ("zscore", "nonzero", "percentile", "none")
_WINDOW = "window:"


def check_normalize(text: str) -> tuple[float, float] | None:
    """Refuse a normalization that does not exist; return the window where it is one.

    Raises:
        InputError: naming what is allowed.

    Example:
        >>> check_normalize("window:-160,240"), check_normalize("zscore")
        ((-160.0, 240.0), None)
    """
    if text in _NAMED:
        return None
    if text.startswith(_WINDOW):
        try:
            low, high = (float(part) for part in text.removeprefix(_WINDOW).split(","))
        except ValueError:
            low = high = math.nan
        if math.isfinite(low) and math.isfinite(high) and low < high:
            return low, high
    raise InputError(
        f"--normalize must be {', '.join(_NAMED)} or {_WINDOW}LOW,HIGH with LOW below HIGH, such as "
        f"window:-160,240, got '{text}'"
    )


def background_of(channel: NDArray[Any]) -> float:
    """Return the value of what surrounds the content: the most common one on the six faces of a volume.

    Args:
        channel: (X, Y, Z).

    Example:
        >>> head = np.zeros((5, 5, 5))
        >>> head[1:4, 1:4, 1:] = 7
        >>> background_of(head)
        0.0
    """
    faces = [channel[edge].ravel() for edge in (0, -1)]
    faces += [channel[:, edge].ravel() for edge in (0, -1)]
    faces += [channel[:, :, edge].ravel() for edge in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    return float(values[counts.argmax()])


def normalize_volume(channel: NDArray[Any], how: str) -> NDArray[np.float32]:
    """Bring one channel of a whole volume to the common scale.

    Args:
        channel: (X, Y, Z), any real dtype.
        how: as ``SliceOptions.normalize``.

    Returns:
        (X, Y, Z) float32 within the range of float16. A channel without contrast becomes 0 (but for ``none``).

    Raises:
        InputError: where values are not finite, or ``none`` leaves them too large for 16 bits.

    Example:
        >>> normalize_volume(np.array([[[0, 50, 900]]]), "window:0,100").tolist()
        [[[-1.0, 0.0, 1.0]]]
    """
    window = check_normalize(how)
    values = channel.astype(np.float32)
    if channel.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise InputError(f"{bad} of {values.size} voxels are NaN or infinite: replace them and save it again")
    if how == "none":
        largest = float(np.abs(values).max())
        if largest > float(np.finfo(np.float16).max):
            raise InputError(
                f"values up to {largest:g} do not fit into 16 bits with --normalize none: use zscore or a window"
            )
        return values
    if how in ("zscore", "nonzero"):
        known = channel != background_of(channel) if how == "nonzero" else np.ones(channel.shape, bool)
        counted = values[known]
        deviation = float(counted.std(dtype=np.float64)) if counted.size else 0.0
        if deviation == 0 or counted.min() == counted.max():
            return np.zeros(values.shape, np.float32)
        values = ((values - counted.mean(dtype=np.float64)) / deviation).astype(np.float32)
        scored: NDArray[np.float32] = np.where(known, values, np.float32(0))
        return scored
    low, high = window or (float(edge) for edge in np.percentile(values, _PERCENTILES))
    if low == high:
        return np.zeros(values.shape, np.float32)
    scaled: NDArray[np.float32] = ((values - low) * (2 / (high - low)) - 1).clip(-1, 1).astype(np.float32)
    return scaled
