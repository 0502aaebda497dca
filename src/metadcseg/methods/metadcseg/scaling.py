"""A step of the weights that the paper does not have: of the same size whatever the learning rate."""

from typing import Literal, get_args

import torch
from torch import Tensor

from metadcseg.errors import unknown_name
from metadcseg.tensors import PixelGradients

Scaling = Literal["rms", "none"]


def scale_gradients(gradients: PixelGradients, scaling: Scaling, valid: Tensor) -> PixelGradients:
    """Return d / sqrt(mean d^2), the mean over both maps and the valid pixels of each image; 0 where all d are 0.

    Args:
        gradients: d, (N, H, W).
        scaling: ``"rms"``; ``"none"`` returns d itself, as printed in eq. 22.
        valid: (N, H, W) bool; other pixels count 0.

    Raises:
        InputError: for an unknown scaling.

    Example:
        >>> step = PixelGradients(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[4.0, -3.0]]]))
        >>> scaled = scale_gradients(step, "rms", torch.ones(1, 1, 2, dtype=torch.bool))
        >>> [round(value, 3) for value in scaled.alpha.flatten().tolist()]  # 3 and 4 over the root of 12.5
        [0.849, 1.131]
    """
    if scaling not in get_args(Scaling):
        raise unknown_name("meta_scaling", scaling, get_args(Scaling))
    if scaling == "none":
        return gradients
    pair = torch.stack([gradients.alpha, gradients.beta], dim=1).masked_fill(~valid.unsqueeze(1), 0.0)
    over = tuple(range(1, pair.ndim))
    largest = pair.abs().amax(dim=over, keepdim=True)  # (N, 1, 1, 1)
    # first to size one: the square of a gradient of 1e-23 would be 0 in float32
    pair = pair / torch.where(largest > 0, largest, 1.0)
    counted = 2 * valid.flatten(1).sum(dim=1).clamp(min=1).view(-1, *(1 for _ in over))
    rms = (pair.square().sum(dim=over, keepdim=True) / counted).sqrt()
    pair = pair / torch.where(rms > 0, rms, 1.0)
    return PixelGradients(pair[:, 0], pair[:, 1])
