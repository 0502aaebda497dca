"""How often each value of a score occurs: exact, however close the scores of many pixels are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FRESH = 2**20  # values that wait before they are counted, at least


class ValueCounts:
    """Counts the values of a score; two float32 are one value where they are equal, and nowhere else.

    Memory grows with the different values, not with the pixels: 12 bytes for each, about four times that for a moment
    where new ones join. A probability from 1 - p has at most 2^24 of them, 0.2 GB; other scores at most one a pixel.

    Example:
        >>> counted = ValueCounts()
        >>> for part in ([0.5, 1.0], [0.5, 0.0]):
        ...     counted.add(np.array(part))
        >>> counted.at(np.array([0.0, 0.5, 0.75, 1.0], np.float32)).tolist()
        [1, 2, 0, 1]
    """

    def __init__(self) -> None:
        self._values: NDArray[np.float32] = np.zeros(0, np.float32)
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self._fresh: list[NDArray[np.float32]] = []
        self._waiting = 0

    @property
    def values(self) -> NDArray[np.float32]:
        """The different values, ascending."""
        self._settle()
        return self._values

    def add(self, values: NDArray[Any]) -> None:
        """Count more values, of any shape; they are rounded to float32."""
        self._fresh.append(values.astype(np.float32).ravel())
        self._waiting += values.size
        if self._waiting >= max(_FRESH, len(self._values)):  # so that a value is sorted a few times at most
            self._settle()

    def at(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return how often each of these values occurs; all that were counted must be among them.

        Args:
            values: different ones, ascending.
        """
        self._settle()
        found = np.zeros(len(values), np.int64)
        found[np.searchsorted(values, self._values)] = self._counts
        return found

    def _settle(self) -> None:
        """Count what waits."""
        if not self._waiting:
            return
        fresh, often = np.unique(np.concatenate(self._fresh), return_counts=True)
        self._fresh, self._waiting = [], 0
        values, counts = np.concatenate([self._values, fresh]), np.concatenate([self._counts, often])
        order = np.argsort(values, kind="stable")
        values = values[order]
        first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        self._values, self._counts = values[first], np.add.reduceat(counts[order], first)
