"""Colour-changed views of images, each image's drawn from a generator of its own."""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

STRENGTH = 0.3
"""Most by which contrast and saturation change, as a share, and brightness, in standard deviations of the image."""

_HUE = 0.1  # of a full turn
_GREY = 0.5  # how often a view has no colours
_BLUR = 1.5  # largest standard deviation, in pixels
_REACH = 3


def colour_view(images: Tensor, valid: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Return the same images in other colours: brightness, contrast, blur; of three channels also saturation and hue.

    Images are normalized, so that grey is where the three channels agree, and 0 stands for the mean. Of one channel or
    four, each gets a brightness and a contrast of its own. Ignored pixels lend nothing to the blur of others.

    Args:
        images: (N, C, H, W) float, normalized.
        valid: (N, H, W) bool: the pixels that count.
        generators: one for each image, so that its view does not depend on who else is in the batch.

    Returns:
        (N, C, H, W), same dtype as ``images``.

    Example:
        >>> image = torch.ones(1, 3, 4, 4)  # one value everywhere: neither colours nor anything to blur
        >>> view = colour_view(image, torch.ones(1, 4, 4, dtype=torch.bool), [Generator().manual_seed(0)])
        >>> tuple(view.shape), bool(view.std() < 1e-6), bool((view - 1).abs().max() < 0.6 + 1e-6)
        ((1, 3, 4, 4), True, True)
    """
    draws = [_drawn(images.shape[1], generator) for generator in generators]
    mixes, shifts, blurs = (torch.stack(parts).to(images) for parts in zip(*draws, strict=True))
    with torch.autocast(images.device.type, enabled=False):  # a view is no place to lose digits
        changed = (mixes @ images.flatten(2) + shifts.unsqueeze(2)).view(images.shape)
        return blurred(changed, valid, blurs)


def blurred(maps: Tensor, valid: Tensor, deviations: Tensor) -> Tensor:
    """Return maps blurred by a Gaussian over the pixels that count; the others stay as they are.

    Args:
        maps: (N, C, H, W) float.
        valid: (N, H, W) bool.
        deviations: (N,) float, at least 0, in pixels; beyond three pixels the Gaussian is cut off.

    Example:
        >>> line = torch.tensor([[[[0.0, 4.0, 0.0]]]])
        >>> blurred(line, torch.ones(1, 1, 3, dtype=torch.bool), torch.tensor([0.0])).flatten().tolist()
        [0.0, 4.0, 0.0]
    """
    counts = valid.unsqueeze(1).to(maps.dtype)
    offsets = torch.arange(-_REACH, _REACH + 1, device=maps.device, dtype=maps.dtype)
    spread = deviations.clamp(min=1e-3).view(-1, 1)
    kernels = torch.exp(-0.5 * (offsets / spread) ** 2)  # (N, 7); their scale cancels
    summed = torch.cat([maps.masked_fill(~valid.unsqueeze(1), 0.0), counts], dim=1)
    for axis in range(2, maps.ndim):
        summed = _along(summed, axis, kernels)
    share = summed[:, -1:]
    return torch.where(valid.unsqueeze(1), summed[:, :-1] / share.clamp(min=1e-6), maps)


def _along(maps: Tensor, axis: int, kernels: Tensor) -> Tensor:
    """Return sum_d kernel_d maps shifted by d along an axis, with nothing beyond the edge."""
    around = [0, 0] * (maps.ndim - 1 - axis) + [_REACH, _REACH]
    padded, length = F.pad(maps, around), maps.shape[axis]
    total = torch.zeros_like(maps)
    for step in range(2 * _REACH + 1):
        weight = kernels[:, step].view(-1, *(1 for _ in maps.shape[1:]))
        total = total + weight * padded.narrow(axis, step, length)
    return total


def _drawn(channels: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return a (C, C) mix of channels, a (C,) shift and a blur's deviation."""
    own = 1 if channels == 3 else channels
    contrast, shift = STRENGTH * (2 * torch.rand(2, own, generator=generator) - 1)
    saturation, hue, grey, blur = torch.rand(4, generator=generator).tolist()
    mix = torch.eye(channels)
    if channels == 3:
        colour = 0.0 if grey < _GREY else 1 + STRENGTH * (2 * saturation - 1)
        mix = _colours(colour, 2 * math.pi * _HUE * (2 * hue - 1))
    return (1 + contrast).unsqueeze(1) * mix, shift.expand(channels), torch.tensor(_BLUR * blur)


def _colours(saturation: float, angle: float) -> Tensor:
    """Return the (3, 3) matrix that keeps the grey part of a colour, and scales and turns its difference from it."""
    grey = torch.full((3, 3), 1 / 3)
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    difference = torch.eye(3) - grey
    return grey + saturation * (math.cos(angle) * difference + math.sin(angle) * across)
