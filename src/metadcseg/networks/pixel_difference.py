"""Pixel-difference convolutions: kernels that weigh differences of pixels in place of the pixels themselves.

From Su et al., "Pixel Difference Networks for Efficient Edge Detection", ICCV 2021, section 3.1. A difference
convolution is linear in the image, so each is the same map as a plain convolution whose kernel follows from the
weights; :func:`plain_kernel` is that rule, and all that is computed here.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.errors import unknown_name

Difference = Literal["central", "angular", "radial"]

_CENTER = 4  # positions in a 3x3 kernel are numbered row by row, 0 to 8
_CLOCKWISE = (0, 1, 2, 5, 8, 7, 6, 3)  # the eight neighbors, from the upper left one
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))  # row by row


def plain_kernel(weight: Tensor, difference: Difference) -> Tensor:
    """Return the plain convolution kernel that equals a pixel-difference convolution.

    With x the 3x3 (radial: 5x5) neighborhood of a pixel and w the weights, both numbered row by row:

    - central: sum of w_k (x_k - x_center) over the 3x3 neighborhood;
    - angular: sum of w_k (x_k - x_next(k)) over the eight neighbors, next(k) following clockwise; the weight in
      the middle has no effect;
    - radial: sum of w_k (outer_k - inner_k) over eight directions, inner at distance one, outer at distance
      two. The eight weights are 1 to 8 of the 3x3 kernel, for the directions row by row; weight 0 has no effect
      (that is how the published checkpoints have it).

    Args:
        weight: (O, I, 3, 3) float.
        difference: which of the three.

    Returns:
        (O, I, 3, 3), for ``"radial"`` (O, I, 5, 5), to be used with a padding of 1 or 2.

    Raises:
        InputError: for an unknown difference.

    Example:
        >>> weight = torch.arange(9.0).reshape(1, 1, 3, 3)
        >>> plain_kernel(weight, "central").flatten().tolist()
        [0.0, 1.0, 2.0, 3.0, -32.0, 5.0, 6.0, 7.0, 8.0]
        >>> plain_kernel(weight, "angular")[0, 0, 0].tolist()  # 0 - 3, 1 - 0, 2 - 1
        [-3.0, 1.0, 1.0]
        >>> plain_kernel(weight, "radial")[0, 0, 0].tolist()
        [1.0, 0.0, 2.0, 0.0, 3.0]
    """
    if difference not in get_args(Difference):
        raise unknown_name("difference", difference, get_args(Difference))
    flat = weight.flatten(2)  # (O, I, 9)
    if difference == "central":
        total = F.one_hot(torch.tensor(_CENTER), 9).to(flat) * flat.sum(dim=2, keepdim=True)
        return (flat - total).view_as(weight)
    if difference == "angular":
        # x_k comes with w_k as itself and with -w_before(k) as what the neighbor before it is compared with
        before = list(range(9))
        for position, following in zip(_CLOCKWISE, _CLOCKWISE[1:] + _CLOCKWISE[:1], strict=True):
            before[following] = position
        return (flat - flat[:, :, before]).view_as(weight)
    kernel = flat.new_zeros(*flat.shape[:2], 5, 5)
    for number, (down, right) in enumerate(_AROUND, start=1):
        kernel[:, :, 2 + 2 * down, 2 + 2 * right] = flat[:, :, number]
        kernel[:, :, 2 + down, 2 + right] = -flat[:, :, number]
    return kernel


class PixelDifferenceConv(nn.Module):
    """A convolution over pixel differences, without bias; the output has the size of the input.

    Beyond the image's border pixels are 0, as zero padding has it.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        difference: ``"central"``, ``"angular"`` or ``"radial"``: see :func:`plain_kernel`.
        groups: as in :class:`torch.nn.Conv2d`.

    Example:
        >>> layer = PixelDifferenceConv(1, 2, "radial")
        >>> image = torch.ones(1, 1, 9, 9)
        >>> bool(layer(image)[:, :, 4, 4].abs().max() < 1e-6)  # a constant image has no differences
        True
    """

    def __init__(self, inputs: int, outputs: int, difference: Difference, groups: int = 1) -> None:
        super().__init__()
        self.difference: Difference = difference
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as torch's own convolutions begin

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, outputs, H, W) for (N, inputs, H, W)."""
        kernel = plain_kernel(self.weight, self.difference)
        return F.conv2d(images, kernel, padding=kernel.shape[-1] // 2, groups=self.groups)

    def plain(self) -> nn.Conv2d:
        """Return the plain convolution that maps as this layer does, with weights of its own."""
        with torch.no_grad():
            kernel = plain_kernel(self.weight, self.difference)
        outputs, inputs, side, _ = kernel.shape
        layer = nn.Conv2d(
            inputs * self.groups, outputs, side, padding=side // 2, groups=self.groups, bias=False
        )
        layer.weight = nn.Parameter(kernel)
        return layer
