"""The bounding box of a mask of any number of axes."""

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def box_of(mask: NDArray[np.bool_], margin: int = 0) -> Box:
    """Return the box of what a mask shows, wider by a margin on each side; an empty one where it shows nothing.

    Example:
        >>> box_of(np.eye(9, dtype=bool)[4:], 1)
        (slice(0, 5, None), slice(3, 9, None))
        >>> box_of(np.zeros((2, 2), bool), 1)
        (slice(0, 0, None), slice(0, 0, None))
    """
    edges = []
    for axis, side in enumerate(mask.shape):
        held = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(held):
            return (slice(0, 0),) * mask.ndim
        edges.append(slice(max(0, int(held[0]) - margin), min(side, int(held[-1]) + 1 + margin)))
    return tuple(edges)
