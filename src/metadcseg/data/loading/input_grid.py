"""From images and volumes in their own size to the input grid of a network, likewise their masks and edges; and back.

A network of images has a grid of (S, S), one of volumes (Z, S, S). An image is a stack of one slice. Within a slice
both are treated alike; then the stack of a volume is stretched to the grid's number of slices.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metadcseg.data.store.layout import Array
from metadcseg.errors import InputError

INPUT_CACHE_BYTES = 256 * 2**20
"""Bytes of finished grids that one view or validator keeps."""

Size = tuple[int, ...]
"""(S, S) of images, (Z, S, S) of volumes."""

Grid = TypeVar("Grid")


def normalize(image: Array) -> Array:
    """Give each channel of one image zero mean and unit variance; a constant channel becomes zero.

    Args:
        image: (H, W, C), any real dtype, finite.

    Returns:
        (H, W, C) float32.

    Example:
        >>> normalize(np.array([[[3], [5]]], np.uint8)).flatten().tolist()
        [-1.0, 1.0]
    """
    planes = np.moveaxis(image, 2, 0).astype(np.float64, order="C")  # channels first: several times faster
    constant = np.ptp(planes, axis=(1, 2), keepdims=True) == 0
    planes -= planes.mean(axis=(1, 2), keepdims=True)
    planes /= np.where(constant, 1.0, planes.std(axis=(1, 2), keepdims=True))
    return np.moveaxis(np.where(constant, 0.0, planes), 0, 2).astype(np.float32)


def resize_to_input(image: Array, size: int | Size, *, normalized: bool = False) -> Tensor:
    """Normalize an image and stretch it to the input grid (bilinear, antialiased when shrinking).

    The aspect ratio of an image that is not square is not kept; its prediction has to be stretched back.

    Args:
        image: (H, W, C) uint8, uint16, float16 or float32.
        size: S, the side in pixels of a square grid, or its (H, W).
        normalized: whether it is normalized already, as slices of volumes are: its values are then kept.

    Returns:
        (C, S, S) or (C, H, W) float32.

    Raises:
        InputError: where the image has other axes.
    """
    if image.ndim != 3:
        raise InputError(f"an image must be (H, W, C), got {image.shape}: a gray one is image[:, :, None]")
    planes = torch.from_numpy(image.astype(np.float32) if normalized else normalize(image)).permute(2, 0, 1)[
        None
    ]
    sides = (size, size) if isinstance(size, int) else size
    grid = F.interpolate(planes, size=sides, mode="bilinear", antialias=True, align_corners=False)
    return grid[0].contiguous()


def resize_label_to_input(label: Array, size: int) -> Tensor:
    """Stretch a mask to the square input grid; each pixel takes the label nearest to its center.

    Args:
        label: (H, W) uint8.
        size: S, the grid's side in pixels.

    Returns:
        (S, S) int64.
    """
    plane = torch.from_numpy(np.array(label))[None, None]
    return F.interpolate(plane, size=(size, size), mode="nearest-exact")[0, 0].long()


def resize_edges_to_input(edges: Array, size: int) -> Tensor:
    """Bring edges to the square input grid; each pixel takes the highest probability of those it covers.

    A mean over the area would fade a line of one or two pixels away when the grid is smaller than the image,
    and the nearest pixel would miss parts of it; with the highest every edge stays a closed line.

    Args:
        edges: (H, W) uint8, 255 times the probability.
        size: S, the grid's side in pixels.

    Returns:
        (S, S) uint8, likewise.

    Example:
        >>> resize_edges_to_input(np.array([[0, 9, 0, 0], [0, 0, 0, 7]], np.uint8), 2).tolist()
        [[9, 0], [0, 7]]
    """
    plane = torch.from_numpy(np.array(edges))[None, None].float()
    return F.adaptive_max_pool2d(plane, (size, size))[0, 0].byte()


def stack_to_input(stack: Sequence[Array] | Array, grid: Size, *, normalized: bool = True) -> Tensor:
    """Stretch the slices of a case to the input grid (linear, antialiased when shrinking).

    Args:
        stack: every slice in order, (H, W, C).
        grid: of the network; for (S, S) there is one slice.
        normalized: whether they are normalized already.

    Returns:
        (C, *grid) float32.

    Example:
        >>> stack_to_input(np.ones((3, 4, 4, 1), np.float16), (2, 2, 2)).flatten().unique().tolist()
        [1.0]
    """
    planes = [resize_to_input(plane, grid[-2:], normalized=normalized) for plane in stack]
    if len(grid) == 2:
        return planes[0]
    columns = torch.stack(planes, dim=1).flatten(2).unsqueeze(0)  # one image, whose rows are slices
    sides = (grid[0], grid[1] * grid[2])
    whole = F.interpolate(columns, sides, mode="bilinear", antialias=True, align_corners=False)
    return whole.view(-1, *grid)


def labels_to_input(stack: Sequence[Array], grid: Size) -> Tensor:
    """Stretch the masks of a case to the input grid, nearest neighbor.

    Args:
        stack: of every slice in order, (H, W) uint8.
        grid: of the network.

    Returns:
        (*grid) uint8.
    """
    planes = torch.stack([resize_label_to_input(plane, grid[-1]).byte() for plane in stack])
    if len(grid) == 2:
        return planes[0]
    columns = planes.flatten(1)[None, None]
    return F.interpolate(columns, (grid[0], grid[1] * grid[2]), mode="nearest-exact").view(grid)


def edges_to_input(stack: Sequence[Array], grid: Size) -> Tensor:
    """Bring the edges of a case to the input grid; every pixel takes the highest that it covers.

    Args:
        stack: of every slice in order, (H, W) uint8, 255 times the probability.
        grid: of the network.

    Returns:
        (*grid) uint8, likewise.
    """
    planes = torch.stack([resize_edges_to_input(plane, grid[-1]) for plane in stack])
    if len(grid) == 2:
        return planes[0]
    columns = planes.float().flatten(1)[None, None]
    return F.adaptive_max_pool2d(columns, (grid[0], grid[1] * grid[2])).byte().view(grid)


def input_to_stack(maps: Tensor, slices: int) -> Tensor:
    """Stretch what a network says of the input grid to a number of slices (linear).

    Args:
        maps: (L, *grid) float.
        slices: how many the case has; an image has one.

    Returns:
        (slices, L, H, W), the sides those of the grid.
    """
    if maps.ndim == 3:
        return maps[None]
    classes, _, *sides = maps.shape
    columns = maps.flatten(2).unsqueeze(0)  # (1, L, Z, H * W)
    stack = F.interpolate(columns, (slices, sides[0] * sides[1]), mode="bilinear", align_corners=False)
    return stack.view(classes, slices, *sides).transpose(0, 1)


class InputCache(Generic[Grid]):
    """Finished grids that stay in memory while they fit: small sets are resized once, not once per epoch.

    Args:
        limit: how many bytes are kept; later grids are made anew each time; `INPUT_CACHE_BYTES` by default.

    Example:
        >>> memory = InputCache[str](4)
        >>> memory.get(0, lambda: "made", len), memory.get(0, lambda: "again", len), memory.get(1, lambda: "new", len)
        ('made', 'made', 'new')
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit, self._held = limit, 0
        self._grids: dict[int, Grid] = {}

    def __len__(self) -> int:
        return len(self._grids)

    def get(self, row: int, make: Callable[[], Grid], size: Callable[[Grid], int]) -> Grid:
        """Return the grid of a row, made where it is not kept.

        Args:
            row: which grid.
            make: makes it.
            size: its bytes.
        """
        if row in self._grids:
            return self._grids[row]
        grid = make()
        needed = size(grid)
        if self._held + needed <= (INPUT_CACHE_BYTES if self._limit is None else self._limit):
            self._grids[row] = grid
            self._held += needed
        return grid
