"""Invertible warps: one affine map per image that carries the image and every map that belongs to it.

Augmentation draws a warp, moves image, label and edges with it, and the per-pixel weights, which live in
the image's own frame, travel through the same warp to the augmented frame and back.
"""

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
    both from -1 to 1 between the outer edges of the image, so a warp does not depend on the pixel count.

    Args:
        matrix: (N, 2, 3) float tensor; the last column is the shift.

    Example:
        >>> flip = Warp(torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]))
        >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> flip.apply(image, "nearest").flatten().tolist()
        [1.0, 0.0, 3.0, 2.0]
    """

    matrix: Tensor

    @classmethod
    def identity(cls, count: int) -> "Warp":
        """Return the warp that leaves ``count`` images where they are."""
        return cls(torch.eye(2, 3).expand(count, 2, 3).contiguous())

    def inverse(self) -> "Warp":
        """Return the warp that undoes this one.

        Raises:
            RuntimeError: where a matrix is singular.
        """
        linear = torch.linalg.inv(self.matrix[:, :, :2].double())
        shift = -linear @ self.matrix[:, :, 2:].double()
        return Warp(torch.cat([linear, shift], dim=2).to(self.matrix.dtype))

    def apply(self, maps: Tensor, mode: Mode, fill: float = 0.0) -> Tensor:
        """Resample maps through the warp.

        Args:
            maps: (N, C, H, W), any dtype; computed in float32 and returned in the dtype given.
            mode: ``"nearest"`` for labels and weights, ``"bilinear"`` for images.
            fill: the value of output pixels that lie outside the input.

        Returns:
            (N, C, H, W), same dtype as ``maps``, contiguous.
        """
        grid = self._grid(maps.shape[2], maps.shape[3], maps.device)
        moved = F.grid_sample(maps.float(), grid, mode=mode, padding_mode="border", align_corners=False)
        outside = (grid.abs() > 1).any(dim=-1).unsqueeze(1)
        return moved.masked_fill(outside, fill).to(maps.dtype).contiguous()

    def inside(self, height: int, width: int) -> Tensor:
        """Return (N, H, W) bool: the output pixels whose source lies inside the input."""
        return (self._grid(height, width, self.matrix.device).abs() <= 1).all(dim=-1)

    def _grid(self, height: int, width: int, device: torch.device) -> Tensor:
        """Return (N, H, W, 2): where in the input each output pixel lies."""
        matrix = self.matrix.to(device, torch.float32)
        # autocast would compute coordinates in half precision, whole pixels off in a large image
        with torch.autocast(device.type, enabled=False):
            return F.affine_grid(matrix, [len(matrix), 1, height, width], align_corners=False)
