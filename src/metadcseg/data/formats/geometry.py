"""Voxel grids in the world, and volumes on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.errors import InputError

_TOLERANCE = (
    0.1  # voxels: rounded positions, and sform beside qform, differ by less; half a voxel shifts a mask
)
_FLAT = 1e-6  # of the volume of a box with the same sides: less than that is a plane
_SHEARED = 1e-3  # cosine between two axes of a grid; rounding in headers makes less


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a file lie in the world.

    Args:
        shape: (X, Y, Z) in the order of the file.
        affine: 4 x 4, from voxel index to mm in RAS+ (the convention of NIfTI).
        known: whether the file says so; where not, the affine is the identity and no number in mm is computed.
        placed: whether it says where in the world they lie; where not, only the size of a voxel counts.

    Raises:
        InputError: where the affine is singular or not finite.

    Example:
        >>> Grid((4, 4, 2), ((0, 2, 0, 0), (1, 0, 0, 0), (0, 0, 5, 0), (0, 0, 0, 1))).spacing()
        (1.0, 2.0, 5.0)
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    known: bool = True
    placed: bool = True

    def __post_init__(self) -> None:
        if (
            self.affine is UNKNOWN_AFFINE
        ):  # of every image: the determinant takes longer than reading a header
            return
        matrix = np.array(self.affine, np.float64)
        fits = matrix.shape == (4, 4) and bool(np.isfinite(matrix).all())
        if not fits or not invertible(matrix[:3, :3]):
            raise InputError(
                f"the affine of a volume must be 4 x 4, finite and invertible, got {self.affine}: export it again"
            )

    @property
    def bare(self) -> bool:
        """Whether it says no more than the size of a voxel: no rotation, no origin, as arrays saved without a header.

        Example:
            >>> Grid((4, 4, 2), ((2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 5, 0), (0, 0, 0, 1))).bare
            True
        """
        matrix = np.array(self.affine, np.float64)
        return not matrix[:3, 3].any() and not (matrix[:3, :3] - np.diag(np.diag(matrix[:3, :3]))).any()

    def spacing(self) -> tuple[float, float, float]:
        """Return the distance of voxel centers along each index axis in mm."""
        x, y, z = np.linalg.norm(np.array(self.affine, np.float64)[:3, :3], axis=0).tolist()
        return x, y, z

    def steps(self) -> tuple[float, ...] | tuple[tuple[float, ...], ...]:
        """Return what distances in mm are measured by: the spacing, or the step along each axis where it is sheared.

        Example:
            >>> upright = ((1, 0, 0, 0), (0, 2, 0, 0), (0, 0, 5, 0), (0, 0, 0, 1))
            >>> Grid((4, 4, 2), upright).steps()
            (1.0, 2.0, 5.0)
            >>> Grid((4, 4, 2), (upright[0], (0, 2, 3, 0), *upright[2:])).steps()
            ((1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 3.0, 5.0))
        """
        if not self.sheared:
            return self.spacing()
        axes = np.array(self.affine, np.float64)[:3, :3].T.tolist()
        return tuple(tuple(step) for step in axes)

    def same(self, other: "Grid") -> bool:
        """Return whether two grids agree: in shape and, where both know their place, to a tenth of a voxel."""
        if self.shape != other.shape:
            return False
        return not (self.is_placed and other.is_placed) or self.apart(other)[1] <= _TOLERANCE

    @property
    def is_placed(self) -> bool:
        """Whether the file says where in the world the voxels lie."""
        return self.known and self.placed

    @property
    def sheared(self) -> float:
        """By how many degrees the axes miss right angles: 0 but for a tilted gantry and its like."""
        axes = np.array(self.affine, np.float64)[:3, :3] / np.array(self.spacing())
        cosine = max(abs(float(axes[:, one] @ axes[:, other])) for one, other in ((0, 1), (0, 2), (1, 2)))
        return float(np.degrees(np.arcsin(min(1.0, cosine)))) if cosine > _SHEARED else 0.0

    def apart(self, other: "Grid") -> tuple[float, float]:
        """Return how far two grids of one shape lie apart at most, in mm and in voxels of this one.

        Example:
            >>> one = Grid((4, 4, 2), ((2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 5, 0), (0, 0, 0, 1)))
            >>> one.apart(Grid(one.shape, ((2, 0, 0, 1), (0, 2, 0, 0), (0, 0, 5, 0), (0, 0, 0, 1))))
            (1.0, 0.5)
        """
        corners = np.array([(*corner, 1) for corner in product(*((0, side - 1) for side in self.shape))])
        moved = ((np.array(other.affine) - np.array(self.affine)) @ corners.T)[:3]
        voxels = np.linalg.inv(np.array(self.affine)[:3, :3]) @ moved
        return float(np.linalg.norm(moved, axis=0).max()), float(np.abs(voxels).max())


@dataclass(frozen=True)
class Volume:
    """The voxels of a file.

    Args:
        array: (X, Y, Z, C) image or (X, Y, Z) labels.
        grid: where they lie.
        notes: what was converted while reading.
        lossy: whether the format changes values (JPEG).
        names: label value -> name, where the file names its segments, or color, where its palette has one.
        orientation: what the orientation tag (EXIF) of an image says, which has been applied; 1 is upright.
    """

    array: NDArray[Any]
    grid: Grid
    notes: tuple[str, ...] = ()
    lossy: bool = False
    names: Mapping[int, str] = field(default_factory=dict)
    orientation: int = 1


UNKNOWN_AFFINE = tuple(tuple(float(row == column) for column in range(4)) for row in range(4))
"""Of a file that says nothing about the world."""


def invertible(axes: NDArray[np.float64]) -> bool:
    """Return whether the axes of a grid span a volume; how small it is does not matter.

    Args:
        axes: (3, 3), the step along each axis of the file in a column.

    Example:
        >>> invertible(np.diag([4e-6, 4e-6, 4e-5])), invertible(np.ones((3, 3)))
        (True, False)
    """
    lengths = np.linalg.norm(axes, axis=0)
    return bool(lengths.all() and abs(np.linalg.det(axes / lengths)) > _FLAT)


def as_affine(matrix: NDArray[Any]) -> tuple[tuple[float, ...], ...]:
    """Return a 4 x 4 matrix as the plain numbers that a grid holds."""
    return tuple(tuple(float(value) for value in row) for row in matrix)


def check_same_grid(grid: Grid, wanted: Grid, path: Path, beside: Path) -> None:
    """Refuse two files on different grids.

    Raises:
        InputError: naming both files and both shapes.
    """
    if grid.shape != wanted.shape:
        raise InputError(
            f"{path} is {size_of(grid)} and {beside} is {size_of(wanted)}: they must lie on one grid"
        )
    if grid.known and wanted.known and not grid.same(wanted):
        far, voxels = wanted.apart(grid)
        raise InputError(
            f"{path} and {beside} lie at different places in the world, up to {voxels:.2g} voxels or {far:.3g} mm "
            "apart: resample one onto the other"
        )


def size_of(grid: Grid) -> str:
    """Return the shape of a grid for sentences.

    Example:
        >>> size_of(Grid((4, 5, 2), UNKNOWN_AFFINE))
        '4 x 5 x 2'
    """
    return " x ".join(map(str, grid.shape))
