"""Voxel grids in the world, and volumes on them."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.errors import InputError

_TOLERANCE = 1e-3  # mm


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a file lie in the world.

    Args:
        shape: (X, Y, Z) in the order of the file.
        affine: 4 x 4, from voxel index to mm in RAS+ (the convention of NIfTI).
        known: whether the file says so; where not, the affine is the identity and no number in mm is computed.

    Raises:
        InputError: where the affine is singular or not finite.

    Example:
        >>> Grid((4, 4, 2), ((0, 2, 0, 0), (1, 0, 0, 0), (0, 0, 5, 0), (0, 0, 0, 1))).spacing()
        (1.0, 2.0, 5.0)
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    known: bool = True

    def __post_init__(self) -> None:
        matrix = np.array(self.affine, np.float64)
        fits = matrix.shape == (4, 4) and bool(np.isfinite(matrix).all())
        if not fits or abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
            raise InputError(
                f"the affine of a volume must be 4 x 4, finite and invertible, got {self.affine}: export it again"
            )

    def spacing(self) -> tuple[float, float, float]:
        """Return the distance of voxel centers along each index axis in mm."""
        x, y, z = np.linalg.norm(np.array(self.affine, np.float64)[:3, :3], axis=0).tolist()
        return x, y, z

    def same(self, other: "Grid") -> bool:
        """Return whether two grids agree: in shape, and at the corners to 0.001 mm."""
        if self.shape != other.shape:
            return False
        corners = np.array([(*corner, 1) for corner in product(*((0, side - 1) for side in self.shape))])
        moved = (np.array(self.affine) - np.array(other.affine)) @ corners.T
        return bool(np.abs(moved).max() <= _TOLERANCE)


@dataclass(frozen=True)
class Volume:
    """The voxels of a file.

    Args:
        array: (X, Y, Z, C) image or (X, Y, Z) labels.
        grid: where they lie.
        notes: what was converted while reading.
        lossy: whether the format changes values (JPEG).
    """

    array: NDArray[Any]
    grid: Grid
    notes: tuple[str, ...] = ()
    lossy: bool = False


UNKNOWN_AFFINE = tuple(tuple(float(row == column) for column in range(4)) for row in range(4))
"""Of a file that says nothing about the world."""


def as_affine(matrix: NDArray[Any]) -> tuple[tuple[float, ...], ...]:
    """Return a 4 x 4 matrix as the plain numbers that a grid holds."""
    return tuple(tuple(float(value) for value in row) for row in matrix)
