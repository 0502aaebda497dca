"""What MADGNet is made of beside its encoder: attention over frequencies and scales, and the cascade of three tasks.

Nam et al., "Modality-agnostic Domain Generalizable Medical Image Segmentation by Multi-Frequency in Multi-Scale
Attention", CVPR 2024, arXiv 2405.06284. Written from a description, not from its code.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.networks.contract import Norm
from metadcseg.networks.resnet import conv_norm

FREQUENCIES = (
    (0, 0, 6, 0, 0, 1, 1, 4, 5, 1, 3, 0, 0, 0, 3, 2),
    (0, 1, 0, 5, 2, 0, 2, 0, 0, 6, 0, 4, 6, 3, 5, 2),
)
"""Vertical and horizontal frequencies of the 16 filters, in sevenths of the grid's side."""

TASKS = ("region", "distance", "boundary")
"""What a :class:`TaskCascade` says of every pixel."""

_LEAST_SIDE = 8
"""A branch pools its input only where the shorter side keeps as many pixels."""


def cosine_filters(grid: int, like: Tensor) -> Tensor:
    """Return the 16 fixed filters of the discrete cosine transform, (16, grid, grid), orthonormal.

    D_k(y, x) = b(y, u_k) b(x, v_k)  with  b(t, f) = cos(pi f (t + 1/2) / grid) / sqrt(grid), times sqrt(2) for f > 0.

    Args:
        grid: g, a multiple of 7.
        like: their dtype and device.

    Example:
        >>> first, second = cosine_filters(14, torch.zeros(()))[:2]
        >>> round(first[3, 5].item() * 14, 6), [round(value, 6) for value in second[0, :3].tolist()]
        (1.0, [0.098483, 0.078977, 0.043829])
    """
    place = torch.arange(grid, device=like.device, dtype=torch.float32)

    def waves(sevenths: Sequence[int]) -> Tensor:
        frequency = place.new_tensor([grid // 7 * own for own in sevenths]).unsqueeze(1)
        wave = torch.cos(math.pi / grid * frequency * (place + 0.5)) / math.sqrt(grid)
        return torch.where(frequency > 0, math.sqrt(2) * wave, wave)  # (16, grid)

    vertical, horizontal = map(waves, FREQUENCIES)
    return (vertical.unsqueeze(2) * horizontal.unsqueeze(1)).to(like.dtype)


def frequency_moments(maps: Tensor, grid: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, maximum and minimum over pixels of x D_k, each averaged over the 16 filters D_k: (N, C) each.

    x are the maps in ``grid`` x ``grid`` cells (adaptive average pooling). Of -x they are (-mean, -minimum, -maximum).
    The mean, being linear, needs only the average filter.

    Args:
        maps: (N, C, h, w) float.
        grid: side of the filters.
    """
    pooled = F.adaptive_avg_pool2d(maps, grid).flatten(2)  # (N, C, pixels)
    filters = cosine_filters(grid, pooled).flatten(1)
    mean = (pooled * filters.mean(dim=0)).mean(dim=2)
    products = pooled.unsqueeze(2) * filters  # (N, C, 16, pixels)
    return mean, products.max(dim=3).values.mean(dim=2), products.min(dim=3).values.mean(dim=2)


class FrequencyAttention(nn.Module):
    """x sigmoid(f(mean) + f(max) + f(min)) of :func:`frequency_moments`: how much every channel counts.

    Args:
        width: channels; f has width / 16 in its middle, at least 2, and no bias.
        grid: side of the filters.
    """

    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        middle = max(2, width // 16)
        self.grid = grid
        self.weigh = nn.Sequential(
            nn.Conv2d(width, middle, 1, bias=False), nn.ReLU(), nn.Conv2d(middle, width, 1, bias=False)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, width, h, w), weighted."""
        moments = frequency_moments(maps, self.grid)
        scores = [self.weigh(own[:, :, None, None]) for own in moments]
        return maps * torch.stack(scores).sum(dim=0).sigmoid()


class ScaleBranch(nn.Module):
    """One scale of the attention: its channels by frequency, its pixels by a gate.

    With the gate m = sigmoid(1 x 1 convolution), x becomes alpha x (1 - m) + beta x m; at alpha = beta = 1, as at the
    start, it stays as it is.

    Args:
        width: channels of input and output.
        middle: channels of attention and gate.
        scale: s: the input is pooled by 2^s, and the first convolution dilated by 1 + s.
        groups: of that convolution.
        grid: side of the filters.
        norm: the normalization layer.
    """

    def __init__(self, width: int, middle: int, scale: int, groups: int, grid: int, norm: Norm) -> None:
        super().__init__()
        self.pool = 2**scale
        self.enter = nn.Sequential(
            conv_norm(width, width, 3, norm, dilation=1 + scale, groups=groups),
            conv_norm(width, middle, 1, norm),
            FrequencyAttention(middle, grid),
        )
        self.gate = nn.Conv2d(middle, 1, 1, bias=False)
        self.alpha, self.beta = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
        self.leave = conv_norm(middle, width, 3, norm)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, width, h, w)."""
        size = maps.shape[2:]
        if self.pool > 1 and min(size) // self.pool >= _LEAST_SIDE:
            maps = F.avg_pool2d(maps, self.pool)
        within: Tensor = self.gated(self.enter(maps))
        return F.interpolate(self.leave(within), size=size, mode="bilinear", align_corners=False)

    def gated(self, maps: Tensor) -> Tensor:
        """Return (N, middle, h, w) behind the gate."""
        gate = torch.sigmoid(self.gate(maps))
        return maps * (self.alpha * (1 - gate) + self.beta * gate)


class MultiScaleAttention(nn.Module):
    """Multi-frequency attention at several scales (MFMSA): the mean over the branches, plus the input.

    Args:
        width: channels.
        scales: how many branches.
        groups: of their first convolutions.
        least: branch s has width / 2^s channels in its middle, at least as many as this.
        grid: side of the filters.
        norm: the normalization layer.
    """

    def __init__(self, width: int, scales: int, groups: int, least: int, grid: int, norm: Norm) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            ScaleBranch(width, max(width // 2**scale, least), scale, groups, grid, norm)
            for scale in range(scales)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, width, h, w)."""
        return torch.stack([branch(maps) for branch in self.branches]).mean(dim=0) + maps


class TaskCascade(nn.Module):
    """Region, distance and boundary of one depth (E-SDM): each gates the next, and once enlarged helps the one before.

    m = M(x), t = T(x) sigmoid(m), b = B(x) sigmoid(t); then, enlarged (bilinear, corners on corners), b' = up(b),
    t' = up(t) + sigmoid(b'), m' = up(m) + sigmoid(t'). M, T, B are 1 x 1 convolutions.

    Args:
        width: channels of x.
        classes: L of every map.
        scale: by how much maps are enlarged.
    """

    def __init__(self, width: int, classes: int, scale: int) -> None:
        super().__init__()
        self.region = nn.Conv2d(width, classes, 1)
        self.distance = nn.Conv2d(width, classes, 1)
        self.boundary = nn.Conv2d(width, classes, 1)
        self.scale = scale

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits m', t', b', (N, L, scale h, scale w), for (N, width, h, w)."""
        region = self.region(maps)
        distance = self.distance(maps) * region.sigmoid()
        boundary = self._enlarged(self.boundary(maps) * distance.sigmoid())
        distance = self._enlarged(distance) + boundary.sigmoid()
        return self._enlarged(region) + distance.sigmoid(), distance, boundary

    def _enlarged(self, maps: Tensor) -> Tensor:
        return F.interpolate(maps, scale_factor=self.scale, mode="bilinear", align_corners=True)
