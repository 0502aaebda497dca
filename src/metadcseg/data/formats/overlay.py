"""Several classes drawn over each other into one array of labels: a lesion in an organ, an organ in a body."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.errors import InputError

_FEW = 3
"""Classes on fewer slices say nothing about the gaps between them."""


class Overlay:
    """Labels of classes, numbered from 1 in the order of their names; where two overlap, the smaller one counts.

    Args:
        path: what sentences call the mask by.
        shape: (X, Y, Z), below 2^31 voxels.
        names: of all classes.

    Raises:
        InputError: where there are more classes than labels can tell.

    Example:
        >>> drawn = Overlay(Path("a"), (1, 4, 1), ["liver", "cyst"])
        >>> drawn.add("cyst", np.array([[[False], [False], [True], [False]]]))
        >>> drawn.add("liver", np.array([[[True], [True], [True], [False]]]))
        >>> labels, notes = drawn.labels()
        >>> labels[0, :, 0].tolist(), drawn.names, len(notes)
        ([2, 2, 1, 0], {1: 'cyst', 2: 'liver'}, 1)
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], names: Collection[str]) -> None:
        order = sorted(set(names))
        if len(order) >= IGNORE:
            raise InputError(f"{path} holds {len(order)} classes, at most {IGNORE - 1} fit: leave some out")
        self.names: Mapping[int, str] = dict(enumerate(order, start=1))
        self._path, self._shape = path, shape
        self._places: dict[str, list[NDArray[np.int32]]] = {name: [] for name in order}

    def add(self, name: str, inside: NDArray[np.bool_]) -> None:
        """Draw a class, or more of it.

        Args:
            name: of the class.
            inside: where, (X, Y, Z).
        """
        self._places[name].append(np.flatnonzero(inside).astype(np.int32))

    def add_at(self, name: str, voxels: NDArray[np.intp]) -> None:
        """Draw more of a class, voxels by their index, (3, n)."""
        x, y, z = voxels
        self._places[name].append(np.ravel_multi_index((x, y, z), self._shape).astype(np.int32))

    def labels(self) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Return the labels, (X, Y, Z) uint8, and a note on how many voxels lie in several classes.

        Raises:
            InputError: where nothing of a class is left.
        """
        whole = {name: np.unique(np.concatenate(parts)) for name, parts in self._places.items() if parts}
        numbers = {name: number for number, name in self.names.items()}
        flat = np.zeros(int(np.prod(self._shape)), np.uint8)
        twice = 0
        for name in sorted(whole, key=lambda name: (-whole[name].size, name)):
            twice += int(np.count_nonzero(flat[whole[name]]))
            flat[whole[name]] = numbers[name]
        left = np.bincount(flat, minlength=len(self.names) + 1)
        for name, voxels in whole.items():
            if voxels.size and not left[numbers[name]]:
                raise InputError(
                    f"{self._path}: all of '{name}' is covered by other classes of the same extent or less: leave "
                    "out the one or the others"
                )
        note = f"{self._path}: {twice} places lie in two of its classes, the smaller one counts there"
        return flat.reshape(self._shape), (note,) if twice else ()


def refuse_stripes(file: Path, slices: Mapping[str, Collection[int]], what: str) -> None:
    """Refuse classes that were drawn on slices thicker than those of the image: they would become stripes.

    Args:
        file: what sentences call the mask by.
        slices: class -> numbers of the slices of the image on which it is drawn.
        what: is drawn there.

    Raises:
        InputError: where a class is on three slices or more, no two of which follow each other.

    Example:
        >>> refuse_stripes(Path("a"), {"liver": [2, 4, 5], "cyst": [1, 9]}, "frames")
    """
    for name, numbers in slices.items():
        gap = int(np.diff(sorted(numbers)).min()) if len(numbers) >= _FEW else 1
        if gap > 1:
            raise InputError(
                f"{file}: the {what} of '{name}' lie {gap} slices of the image apart, so they were drawn on thicker "
                "ones: export them for this series"
            )
