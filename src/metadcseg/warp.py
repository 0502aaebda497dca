"""Invertible warps: one affine map per image that carries the image and every map that belongs to it.

Augmentation draws a warp, moves image, label and edges with it, and the per-pixel weights, which live in
the image's own grid, travel through the same warp to the augmented grid and back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Mode = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class Warp:
    """One affine map per image, from output coordinates to input coordinates.

    Coordinates are those of :func:`torch.nn.functional.affine_grid` with ``align_corners=False``: (x, y),
    both from -1 to 1 between the outer edges of the image, so a warp does not depend on the pixel count. Volumes
    have (x, y, z), of their columns, rows and slices.

    Args:
        matrix: (N, 2, 3) float tensor, of volumes (N, 3, 4); the last column is the shift.

    Example:
        >>> flip = Warp(torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]))
        >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> flip.apply(image, "nearest").flatten().tolist()
        [1.0, 0.0, 3.0, 2.0]
    """

    matrix: Tensor

    @classmethod
    def identity(cls, count: int, axes: int = 2) -> "Warp":
        """Return the warp that leaves ``count`` images (of 3 ``axes``: volumes) where they are."""
        return cls(torch.eye(axes, axes + 1).repeat(count, 1, 1))

    def inverse(self) -> "Warp":
        """Return the warp that undoes this one.

        Raises:
            RuntimeError: where a matrix is singular.
        """
        linear = torch.linalg.inv(self.matrix[:, :, :-1].double())
        shift = -linear @ self.matrix[:, :, -1:].double()
        return Warp(torch.cat([linear, shift], dim=2).to(self.matrix.dtype))

    def after(self, inner: "Warp") -> "Warp":
        """Return the warp that leads from the outputs of ``inner``, applied to what this one makes, to its inputs.

        Example:
            >>> half = Warp(torch.tensor([[[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]]))
            >>> half.after(half).matrix[0, 0].tolist()
            [0.25, 0.0, 0.75]
        """
        linear, shift = self.matrix[:, :, :-1], self.matrix[:, :, -1:]
        inner_linear, inner_shift = inner.matrix[:, :, :-1], inner.matrix[:, :, -1:]
        return Warp(torch.cat([linear @ inner_linear, linear @ inner_shift + shift], dim=2))

    def apply(self, maps: Tensor, mode: Mode, fill: float = 0.0, size: Sequence[int] | None = None) -> Tensor:
        """Resample maps through the warp.

        Args:
            maps: (N, C, H, W), any dtype; computed in float32 and returned in the dtype given.
            mode: ``"nearest"`` for labels and weights, ``"bilinear"`` for images.
            fill: the value of output pixels that lie outside the input.
            size: (H, W) of the output; that of the input by default.

        Returns:
            (N, C, H, W), same dtype as ``maps``, contiguous.
        """
        grid = self._grid(maps.shape[2:] if size is None else size, maps.device)
        moved = F.grid_sample(maps.float(), grid, mode=mode, padding_mode="border", align_corners=False)
        outside = (grid.abs() > 1).any(dim=-1).unsqueeze(1)
        return moved.masked_fill(outside, fill).to(maps.dtype).contiguous()

    def inside(self, size: Sequence[int]) -> Tensor:
        """Return (N, *size) bool: the output pixels whose source lies inside the input."""
        return (self._grid(size, self.matrix.device).abs() <= 1).all(dim=-1)

    def _grid(self, size: Sequence[int], device: torch.device) -> Tensor:
        """Return (N, *size, 2 or 3): where in the input each output pixel lies."""
        matrix = self.matrix.to(device, torch.float32)
        # autocast would compute coordinates in half precision, whole pixels off in a large image
        with torch.autocast(device.type, enabled=False):
            return F.affine_grid(matrix, [len(matrix), 1, *size], align_corners=False)
