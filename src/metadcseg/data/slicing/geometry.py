"""Where the slices of a volume lie in it, and the way back from predictions on them to the volume's own grid."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats.geometry import Grid
from metadcseg.data.slicing.resampling import resample_plane
from metadcseg.errors import InputError

MAX_SIDE = 16_384
"""Pixels; a larger slice is a pixel size in the wrong unit."""

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class SliceGeometry:
    """Where the slices of one volume lie in it.

    Args:
        grid: of the volume in its file.
        axis: number of the file axis that is sliced, 0 to 2.
        box: (first, one past the last) voxel along each file axis that the slices cover.
        height: H of the stored slices.
        width: W of the stored slices.
        swapped: whether the last of the two other file axes are the rows, rather than the first.
        flipped: file axes that run from their last voxel to the first.
    """

    grid: Grid
    axis: int
    box: Box
    height: int
    width: int
    swapped: bool = False
    flipped: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        inside = all(
            0 <= low < high <= side for (low, high), side in zip(self.box, self.grid.shape, strict=True)
        )
        if not (
            inside
            and 0 <= self.axis <= 2
            and set(self.flipped) <= {0, 1, 2}
            and 1 <= self.height <= MAX_SIDE
            and 1 <= self.width <= MAX_SIDE
        ):
            raise InputError(
                f"slices of {self.height} x {self.width} along axis {self.axis} of {self.box} do not lie in a volume "
                f"of {self.grid.shape}: prepare the set again"
            )

    @property
    def slices(self) -> int:
        """How many slices the complete stack has."""
        return self.box[self.axis][1] - self.box[self.axis][0]

    @property
    def plane(self) -> tuple[int, int]:
        """The file axes of rows and columns."""
        first, second = (axis for axis in range(3) if axis != self.axis)
        return (second, first) if self.swapped else (first, second)

    def stack(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return what the slices cover of a volume, in their order and direction, as a view of it.

        Args:
            array: (X, Y, Z, ...) in the order of the file.

        Returns:
            (D, rows, columns, ...) in voxels of the file; what is written into it is written into ``array``.
        """
        inner = np.flip(array[tuple(slice(*edge) for edge in self.box)], self.flipped)
        return inner.transpose(self.axis, *self.plane, *range(3, array.ndim))

    def unstack(self, stack: NDArray[Any]) -> NDArray[Any]:
        """Return a stack (D, rows, columns) of any size in the order of the axes of the file, as a view of it."""
        return np.flip(stack.transpose(np.argsort((self.axis, *self.plane))), self.flipped)

    @property
    def native(self) -> tuple[int, int]:
        """Size of a slice in voxels of the file: (rows, columns)."""
        rows, columns = (self.box[axis][1] - self.box[axis][0] for axis in self.plane)
        return rows, columns

    @property
    def slice_spacing(self) -> tuple[float, float] | None:
        """(row, column) distance of pixel centers of the stored slices in mm, None where the file does not say."""
        if not self.grid.known:
            return None
        spacing = self.grid.spacing()
        row, column = self.plane
        return (
            spacing[row] * self.native[0] / self.height,
            spacing[column] * self.native[1] / self.width,
        )

    def restore(self, probabilities: Iterable[NDArray[Any]]) -> NDArray[np.uint8]:
        """Return the volume of the most probable classes, in the order and on the grid of the file.

        Args:
            probabilities: (L, H, W) of every slice of the complete stack, in order; one at a time is in memory where
                this comes from a generator.

        Returns:
            (X, Y, Z) uint8; 0 outside the box. Of classes that are equally probable the first is taken.

        Raises:
            InputError: where there are more or fewer slices, or one is of another size.
        """
        labels = np.zeros(self.grid.shape, np.uint8)
        inner = self.stack(labels)
        count = 0
        for number, planes in enumerate(probabilities):
            if number >= self.slices or planes.ndim != 3 or planes.shape[1:] != (self.height, self.width):
                raise InputError(
                    f"slice {number} of {planes.shape} does not fit a stack of {self.slices} slices of "
                    f"(L, {self.height}, {self.width}): give every slice of the volume once"
                )
            inner[number] = resample_plane(planes, self.native).argmax(axis=0)
            count += 1
        if count != self.slices:
            raise InputError(
                f"{count} of {self.slices} slices were given: give every slice of the volume once"
            )
        return labels

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = {
            "shape": list(self.grid.shape),
            "affine": [list(row) for row in self.grid.affine],
            "known": self.grid.known,
            "axis": self.axis,
            "box": [list(edge) for edge in self.box],
            "height": self.height,
            "width": self.width,
        }
        turned = {"swapped": self.swapped, "flipped": list(self.flipped)}
        unplaced = {} if self.grid.placed else {"placed": False}  # sets of before do not say it
        return values | (turned if self.swapped or self.flipped else {}) | unplaced

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SliceGeometry":
        """Return the placement that `to_dict` wrote.

        Raises:
            InputError: where values are missing or no placement can have them.
        """
        try:
            x, y, z = (int(side) for side in values["shape"])
            affine = tuple(tuple(float(value) for value in row) for row in values["affine"])
            low, mid, high = ((int(first), int(last)) for first, last in values["box"])
            grid = Grid((x, y, z), affine, bool(values["known"]), bool(values.get("placed", True)))
            return cls(
                grid,
                int(values["axis"]),
                (low, mid, high),
                int(values["height"]),
                int(values["width"]),
                bool(values.get("swapped", False)),
                tuple(int(axis) for axis in values.get("flipped", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"where slices lie is not readable ({error}): prepare the set again") from error
