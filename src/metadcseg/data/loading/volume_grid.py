"""From the slices of a volume to the input grid of networks in three dimensions, and back.

Within a slice everything is as in two dimensions (:mod:`metadcseg.data.loading.input_grid`); then the stack itself is
stretched to the grid's number of slices.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from metadcseg.data.loading.input_grid import resize_edges_to_input, resize_label_to_input, resize_to_input
from metadcseg.data.store.layout import Array


def resize_stack_to_input(stack: Sequence[Array] | Array, depth: int, size: int) -> Tensor:
    """Stretch the slices of a volume to the input grid (linear, antialiased when shrinking).

    Args:
        stack: every slice in order, (H, W, C), normalized already.
        depth: Z, slices of the grid.
        size: S, rows and columns of the grid.

    Returns:
        (C, Z, S, S) float32.

    Example:
        >>> import numpy as np
        >>> resize_stack_to_input(np.ones((3, 4, 4, 1), np.float16), depth=2, size=2).flatten().unique().tolist()
        [1.0]
    """
    planes = torch.stack(
        [resize_to_input(plane, size, normalized=True) for plane in stack], dim=1
    )  # (C, slices, S, S)
    columns = planes.flatten(2).unsqueeze(0)  # one image, whose rows are slices
    grid = F.interpolate(columns, (depth, size * size), mode="bilinear", antialias=True, align_corners=False)
    return grid.view(-1, depth, size, size)


def resize_label_stack_to_input(stack: Sequence[Array], depth: int, size: int) -> Tensor:
    """Stretch the masks of a volume to the input grid, nearest neighbor.

    Args:
        stack: of every slice in order, (H, W) uint8.
        depth: Z, slices of the grid.
        size: S, rows and columns of the grid.

    Returns:
        (Z, S, S) uint8.
    """
    planes = torch.stack([resize_label_to_input(plane, size).byte() for plane in stack])
    columns = planes.flatten(1)[None, None]
    return F.interpolate(columns, (depth, size * size), mode="nearest-exact").view(depth, size, size)


def resize_edge_stack_to_input(stack: Sequence[Array], depth: int, size: int) -> Tensor:
    """Bring the edges of a volume's slices to the input grid; every voxel takes the highest that it covers.

    Args:
        stack: of every slice in order, (H, W) uint8, 255 times the probability.
        depth: Z, slices of the grid.
        size: S, rows and columns of the grid.

    Returns:
        (Z, S, S) uint8, likewise.
    """
    planes = torch.stack([resize_edges_to_input(plane, size) for plane in stack]).float()
    columns = planes.flatten(1)[None, None]
    return F.adaptive_max_pool2d(columns, (depth, size * size)).byte().view(depth, size, size)


def input_to_stack(grid: Tensor, slices: int) -> Tensor:
    """Stretch what a network says of the input grid to a number of slices (linear).

    Args:
        grid: (L, Z, S, S) float.
        slices: how many the volume has.

    Returns:
        (slices, L, S, S).
    """
    classes, _, size, _ = grid.shape
    columns = grid.flatten(2).unsqueeze(0)  # (1, L, Z, S * S)
    stack = F.interpolate(columns, (slices, size * size), mode="bilinear", align_corners=False)
    return stack.view(classes, slices, size, size).transpose(0, 1)
