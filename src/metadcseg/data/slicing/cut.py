"""From a volume to a stack of 2D slices.

One of the three axes of the file is sliced, the other two are the rows and columns of every slice. However a file
stores a volume, its slices show the body in one order and direction, that of RAS+: right before front before up, each
ascending. Where a file does not say how it lies in the body, and in sets of before (``order: file``), nothing is
flipped or turned. Where slices lie is a :class:`~metadcseg.data.slicing.geometry.SliceGeometry`, which leads back to
the volume.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.slicing.geometry import MAX_SIDE, Box, SliceGeometry
from metadcseg.data.slicing.intensities import background_of, check_normalize, normalize_volume
from metadcseg.data.slicing.resampling import nearest_index, resample_plane
from metadcseg.errors import InputError, unknown_name

Axis = Literal["auto", "x", "y", "z", "axial", "coronal", "sagittal"]
Crop = Literal["none", "content"]
Empty = Literal["keep", "drop"]
Order = Literal["file", "world"]

MARGIN = 4
"""Pixels of background that a crop to the content leaves around it, within the slices."""

_TIE = 1e-3  # spacings that differ by a smaller share are equal
_FILE_AXES = ("x", "y", "z")
_WORLD_AXES = ("sagittal", "coronal", "axial")  # perpendicular to x, y and z of the world


@dataclass(frozen=True)
class SliceOptions:
    """How volumes become slices.

    Args:
        axis: which axis is sliced: ``x``, ``y`` or ``z`` of the file, or the plane that the slices show; ``auto``
            takes the axis with the largest spacing, the last of those that tie; of a volume of one slice that slice.
        pixel: side of a pixel of the slices in mm, to which they are resampled; None leaves them as they are.
        normalize: over the whole volume, channel by channel: ``zscore`` (mean 0, variance 1), ``nonzero`` (the same,
            over voxels that are not background, which becomes 0), ``percentile`` (0.5th to 99.5th become -1 to 1),
            ``window:LOW,HIGH`` (these become -1 to 1; values outside are cut off), or ``none``.
        crop: ``content`` leaves out what is background around the content in all channels.
        empty: ``drop`` leaves out slices without foreground in any mask of the case, of training and gold volumes only.
        order: ``world`` turns slices to one order and direction in the body, ``file`` leaves them as stored.

    Raises:
        InputError: naming the option that is out of its range.

    Example:
        >>> SliceOptions.from_dict(SliceOptions(pixel=1.5).to_dict()).pixel
        1.5
    """

    axis: Axis = "auto"
    pixel: float | None = None
    normalize: str = "zscore"
    crop: Crop = "none"
    empty: Empty = "keep"
    order: Order = "world"

    def __post_init__(self) -> None:
        for name, allowed in (("axis", Axis), ("crop", Crop), ("empty", Empty), ("order", Order)):
            if getattr(self, name) not in get_args(allowed):
                raise unknown_name(f"--{name}", str(getattr(self, name)), get_args(allowed))
        if self.pixel is not None and not 0 < self.pixel < float("inf"):
            raise InputError(f"--pixel must be a size above 0 in mm, such as 1.5, got {self.pixel}")
        check_normalize(self.normalize)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = {
            "axis": self.axis,
            "pixel": self.pixel,
            "normalise": self.normalize,
            "crop": self.crop,
            "empty": self.empty,
        }
        return values | (
            {"order": self.order} if self.order != "file" else {}
        )  # sets of before do not say it

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SliceOptions":
        """Return the options that `to_dict` wrote.

        Raises:
            InputError: where a key is missing or unknown, or a value is out of its range.
        """
        try:
            told = {"order": "file", **values}
            pixel, normalize = told.pop("pixel"), told.pop("normalise")
            options = cls(
                **({"order": "file"} | told),
                pixel=None if pixel is None else float(pixel),
                normalize=normalize,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"how volumes were cut is not readable ({error!r}): prepare the set again"
            ) from error
        return options


def slicing_axis(grid: Grid, axis: Axis, order: Order = "file") -> int:
    """Return the number of the file axis that an option means.

    Args:
        grid: of the volume.
        axis: as in :class:`SliceOptions`.
        order: likewise; with ``world``, of spacings that tie the one nearest to up and down is sliced.

    Raises:
        InputError: where a plane of the body is asked for and the file does not say how it lies.

    Example:
        >>> thick = Grid((9, 9, 9), ((1, 0, 0, 0), (0, 0, 5, 0), (0, 1, 0, 0), (0, 0, 0, 1)))
        >>> slicing_axis(thick, "auto"), slicing_axis(thick, "axial")
        (2, 1)
    """
    if axis in _FILE_AXES:
        return _FILE_AXES.index(axis)
    if axis == "auto":
        single = [number for number in range(3) if grid.shape[number] == 1]
        if len(single) == 1:  # one slice: cut across it there are only lines
            return single[0]
        spacing = grid.spacing() if grid.known else (1.0, 1.0, 1.0)
        tied = [number for number in range(3) if spacing[number] >= max(spacing) * (1 - _TIE)]
        body = _body_axes(grid) if order == "world" and grid.is_placed else (0, 1, 2)
        return max(tied, key=lambda number: body[number])
    if not grid.is_placed:
        raise InputError(
            f"--axis {axis}: the file does not say how the volume lies in the body, use x, y or z"
        )
    return int(_cosines(grid)[_WORLD_AXES.index(axis)].argmax())


def _cosines(grid: Grid) -> NDArray[np.float64]:
    """Return (world, file): how far each file axis runs along each axis of the world."""
    cosines: NDArray[np.float64] = np.abs(np.array(grid.affine)[:3, :3]) / np.array(grid.spacing())
    return cosines


def _body_axes(grid: Grid) -> tuple[int, int, int]:
    """Return for each file axis the axis of the world that it runs along, each once."""
    from scipy.optimize import linear_sum_assignment  # takes a third of what images need to begin with

    world, file = linear_sum_assignment(-np.round(_cosines(grid), 6))
    x, y, z = (int(world[list(file).index(number)]) for number in range(3))
    return x, y, z


def place(grid: Grid, options: SliceOptions, box: Box | None = None) -> SliceGeometry:
    """Return where the slices of a volume on this grid lie.

    Args:
        grid: of the volume.
        options: how it is cut.
        box: what a crop leaves, everything by default.

    Raises:
        InputError: where a pixel size is asked for and the file has none, or it makes slices too large.
    """
    axis = slicing_axis(grid, options.axis, options.order)
    kept: Box = box or ((0, grid.shape[0]), (0, grid.shape[1]), (0, grid.shape[2]))
    sides = []
    first, second = (number for number in range(3) if number != axis)
    swapped = False
    flipped: tuple[int, ...] = ()
    if options.order == "world" and grid.is_placed:
        body = _body_axes(grid)
        swapped = body[first] > body[second]
        flipped = tuple(number for number in range(3) if grid.affine[body[number]][number] < 0)
    for number in (second, first) if swapped else (first, second):
        native = kept[number][1] - kept[number][0]
        side = native
        if options.pixel is not None:
            if not grid.known:
                raise InputError(
                    "--pixel needs the size of a voxel in mm, which the file does not say: leave the option out"
                )
            side = max(1, round(native * grid.spacing()[number] / options.pixel))
        if side > MAX_SIDE:
            raise InputError(
                f"slices of {side} pixels a side are too large (at most {MAX_SIDE}): raise --pixel"
            )
        sides.append(side)
    return SliceGeometry(grid, axis, kept, sides[0], sides[1], swapped, flipped)


def cut(volume: Volume, options: SliceOptions) -> tuple[NDArray[np.float16], SliceGeometry]:
    """Cut the image of a volume into normalized slices.

    Args:
        volume: (X, Y, Z, C), any real dtype, finite.
        options: how.

    Returns:
        (D, H, W, C) float16, and where the slices lie.

    Raises:
        InputError: where voxels are not finite, do not fit into 16 bits, or an option does not fit the volume.

    Example:
        >>> grid = Grid((4, 5, 3), ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 2, 0), (0, 0, 0, 1)))
        >>> slices, placement = cut(Volume(np.ones((4, 5, 3, 1), np.int16), grid), SliceOptions())
        >>> slices.shape, placement.axis, placement.slice_spacing
        ((3, 4, 5, 1), 2, (1.0, 1.0))
    """
    array = volume.array
    if array.ndim != 4 or array.shape[:3] != volume.grid.shape:
        raise InputError(f"an image volume must be {volume.grid.shape} and channels, got {array.shape}")
    axis = slicing_axis(volume.grid, options.axis, options.order)
    box = content_box(array, axis) if options.crop == "content" else None
    placement = place(volume.grid, options, box)
    stack = np.empty((placement.slices, placement.height, placement.width, array.shape[3]), np.float16)
    for channel in range(array.shape[3]):  # one at a time: four channels in float32 are large
        values = normalize_volume(array[..., channel], options.normalize)
        for number, plane in enumerate(placement.stack(values)):
            stack[number, :, :, channel] = resample_plane(
                plane, (placement.height, placement.width), smooth=True
            )
    return stack, placement


def cut_labels(labels: Volume, placement: SliceGeometry) -> NDArray[np.uint8]:
    """Cut a label volume like its image; each pixel takes the label nearest to its center.

    Args:
        labels: (X, Y, Z) integers 0 to 255, on the grid of the image.
        placement: where the slices lie.

    Returns:
        (D, H, W) uint8.

    Raises:
        InputError: where the volume is of another size than the image.
    """
    if labels.array.shape != placement.grid.shape:
        raise InputError(f"labels of {labels.array.shape} do not fit an image of {placement.grid.shape}")
    inner = placement.stack(labels.array)
    rows = nearest_index(placement.native[0], placement.height)
    columns = nearest_index(placement.native[1], placement.width)
    return np.ascontiguousarray(inner[:, rows][:, :, columns], np.uint8)


def content_box(array: NDArray[Any], axis: int) -> Box:
    """Return the box of all voxels of which any channel is not background, with a margin within the slices.

    Args:
        array: (X, Y, Z, C).
        axis: the one that is sliced, along which there is no margin.
    """
    content = np.zeros(array.shape[:3], bool)
    for channel in range(array.shape[3]):
        content |= array[..., channel] != background_of(array[..., channel])
    box = []
    for number in range(3):
        others = tuple(other for other in range(3) if other != number)
        held = np.flatnonzero(content.any(axis=others))
        if not held.size:
            return (0, array.shape[0]), (0, array.shape[1]), (0, array.shape[2])
        margin = 0 if number == axis else MARGIN
        box.append((max(0, int(held[0]) - margin), min(array.shape[number], int(held[-1]) + 1 + margin)))
    return box[0], box[1], box[2]
