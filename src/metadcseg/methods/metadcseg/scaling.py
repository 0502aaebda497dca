"""How large a step of the weights is: eq. 22 leaves open what the meta-gradient is a sum or a mean of."""

from typing import Literal, get_args

import torch
from torch import Tensor

from metadcseg.errors import unknown_name
from metadcseg.tensors import Batch, PixelGradients

Scaling = Literal["rms", "sums", "none"]


def scale_gradients(gradients: PixelGradients, scaling: Scaling, valid: Tensor) -> PixelGradients:
    """Return d / sqrt(mean d^2), the mean over both maps and the valid pixels of each image; 0 where all d are 0.

    Args:
        gradients: d, (N, H, W).
        scaling: ``"rms"``; ``"none"`` and ``"sums"`` (see :func:`in_sums`) return d itself.
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
    if scaling != "rms":
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


def in_sums(gradients: PixelGradients, noisy: Batch, gold: Batch, lr: float) -> PixelGradients:
    """Return lr P Q d, with which eta of eq. 22 is a factor on the learning rate: "meta LR *scale*" of table 8.

    d is the derivative of the mean loss over the Q gold pixels with respect to a weight in a mean over P noisy pixels.
    Eq. 24 makes weights of sum one, so that the virtual step of eq. 21 is that of a mean. With respect to such a weight
    the derivative is P d, and that of the gold loss as it is printed, a sum, is P Q d (paper/notes.md, A.1).

    Args:
        gradients: d, (N, H, W).
        noisy: the batch; P are its labeled pixels, over all devices.
        gold: the verified batch; Q likewise.
        lr: lambda of eq. 21.

    Example:
        >>> from metadcseg.warp import Warp
        >>> batch = Batch(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 2).long(), torch.arange(1), Warp.identity(1))
        >>> one = torch.ones(1, 1, 2)
        >>> in_sums(PixelGradients(one, -one), batch, batch, lr=0.5).alpha.tolist()  # 0.5 * 2 * 2
        [[[2.0, 2.0]]]
    """
    sizes = [batch.global_batch_size for batch in (noisy, gold)]
    factor = lr * sizes[0].pixels * sizes[0].world_size * sizes[1].pixels * sizes[1].world_size
    return PixelGradients(gradients.alpha * factor, gradients.beta * factor)
