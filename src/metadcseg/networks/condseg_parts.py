"""What ConDSeg is made of beside its encoder: attention, dilated branches, aggregation by contrast, decoders.

Lei et al., "ConDSeg: A General Medical Image Segmentation Framework via Contrast-Driven Feature Enhancement",
AAAI 2025, arXiv 2412.08345. Written from a description, not from its code.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.networks.contract import Norm
from metadcseg.networks.resnet import conv_norm

HEADS = 4
"""Of the attention over neighborhoods: each sees a quarter of the channels."""

_DILATIONS = (6, 12, 18)


def enlarged(maps: Tensor, times: int = 2) -> Tensor:
    """Return (N, C, times h, times w): bilinear, corners on corners, as all of ConDSeg upsamples."""
    return F.interpolate(maps, scale_factor=times, mode="bilinear", align_corners=True)


def neighborhood_attention(values: Tensor, scores: Tensor) -> Tensor:
    """Return what every pixel gets from the nine 3 x 3 neighborhoods that it is in: their results are added.

    Around each pixel p the nine values v_j (0 beyond the image) become nine results: r_i is the sum over j of
    softmax_j(scores)_ij v_j. A pixel q then holds the sum of all r_i(p) with p + i = q (outlook attention: Yuan et al.,
    VOLO, TPAMI 2023). The sum is not divided by the number of neighborhoods, as published.

    Args:
        values: (N, C, h, w) float, C a multiple of the number of heads.
        scores: (N, heads * 81, h, w) float: of each head 9 rows i of 9 columns j.

    Returns:
        (N, C, h, w).

    Example:
        >>> found = neighborhood_attention(torch.ones(1, 4, 7, 7), torch.zeros(1, 4 * 81, 7, 7))
        >>> [round(value, 4) for value in found[0, 0, 0, :3].tolist()], round(found[0, 0, 3, 3].item(), 4)
        ([2.7778, 4.4444, 5.0], 9.0)
    """
    count, channels, *size = values.shape
    pixels = size[0] * size[1]
    weights = scores.view(count, -1, 9, 9, pixels).softmax(dim=3)  # (N, heads, i, j, pixels)
    heads = weights.shape[1]
    near = F.unfold(values, 3, padding=1).view(count, heads, channels // heads, 9, pixels)
    results = torch.einsum("nhijp,nhcjp->nhcip", weights, near).reshape(count, channels * 9, pixels)
    return F.fold(results, (size[0], size[1]), 3, padding=1)


class ChannelAttention(nn.Module):
    """x sigmoid(f(mean) + f(max)): how much every channel counts, by its mean and its maximum over the pixels.

    Args:
        width: channels; f has width / 16 in its middle, at least 2, and no bias.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        middle = max(2, width // 16)
        self.weigh = nn.Sequential(
            nn.Conv2d(width, middle, 1, bias=False), nn.ReLU(), nn.Conv2d(middle, width, 1, bias=False)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, width, h, w), weighted."""
        pixels = maps.flatten(2)
        mean, largest = pixels.mean(dim=2), pixels.max(dim=2).values
        score: Tensor = self.weigh(mean[:, :, None, None]) + self.weigh(largest[:, :, None, None])
        return maps * score.sigmoid()


class SpatialAttention(nn.Module):
    """x sigmoid(7 x 7 convolution of [mean, max over channels], without bias): how much every pixel counts."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C, h, w), weighted."""
        seen = torch.cat([maps.mean(dim=1, keepdim=True), maps.max(dim=1, keepdim=True).values], dim=1)
        return maps * cast(Tensor, self.weigh(seen)).sigmoid()


class DilatedBranches(nn.Module):
    """One level of the encoder, seen at four ranges: 1 x 1, and 3 x 3 at dilation 6, 12 and 18, with both attentions.

    Args:
        inputs: channels of the level.
        width: channels of each branch and of the output.
        norm: the normalization layer.
    """

    def __init__(self, inputs: int, width: int, norm: Norm) -> None:
        super().__init__()
        branches = [conv_norm(inputs, width, 1, norm)]
        branches += [conv_norm(inputs, width, 3, norm, dilation=dilation) for dilation in _DILATIONS]
        self.branches = nn.ModuleList(nn.Sequential(*branch, ChannelAttention(width)) for branch in branches)
        self.join = conv_norm(len(branches) * width, width, 3, norm, relu=False)
        self.shortcut = conv_norm(inputs, width, 1, norm, relu=False)
        self.attend = SpatialAttention()

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, width, h, w) for (N, inputs, h, w)."""
        joined = self.join(torch.cat([branch(maps) for branch in self.branches], dim=1))
        attended: Tensor = self.attend(F.relu(joined + self.shortcut(maps)))
        return attended


class ContrastAggregation(nn.Module):
    """Contrast-driven feature aggregation: neighborhoods weighted by the foreground, then by the background.

    The scores come from the two decoupled maps alone, 1 / sqrt(width / heads) times a linear layer of each. The values
    of the second pass are the result of the first; one linear layer ends both.

    Args:
        inputs: channels of the level, with those of the level below where there is one.
        width: channels of all else.
        norm: the normalization layer.
    """

    def __init__(self, inputs: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.enter = nn.Sequential(conv_norm(inputs, width, 3, norm), conv_norm(width, width, 3, norm))
        self.value = nn.Conv2d(width, width, 1)
        self.foreground = nn.Conv2d(width, HEADS * 81, 1)
        self.background = nn.Conv2d(width, HEADS * 81, 1)
        self.leave_pass = nn.Conv2d(width, width, 1)
        self.leave = nn.Sequential(conv_norm(width, width, 3, norm), conv_norm(width, width, 3, norm))
        self.scale = (width / HEADS) ** -0.5

    def forward(self, maps: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
        """Return (N, width, h, w) for the level (N, inputs, h, w) and both maps (N, width, h, w)."""
        left: Tensor = self.leave(self.aggregate(self.enter(maps), foreground, background))
        return left

    def aggregate(self, maps: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
        """Return both passes over (N, width, h, w)."""
        values = self.value(maps)
        for score, by in ((self.foreground, foreground), (self.background, background)):
            values = self.leave_pass(neighborhood_attention(values, self.scale * score(by)))
        return cast(Tensor, values)


class SizeDecoder(nn.Module):
    """One of the three decoders for objects of different sizes: two levels joined, three residual steps, attention.

    Args:
        width: channels of either level and of the output.
        norm: the normalization layer.
    """

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.join = conv_norm(2 * width, width, 1, norm)
        self.first = conv_norm(width, width, 3, norm, relu=False)
        self.second = conv_norm(width, width, 3, norm, relu=False)
        self.third = conv_norm(width, width, 1, norm, relu=False)
        self.attend = nn.Sequential(ChannelAttention(width), SpatialAttention())

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """Return (N, width, h, w) for the coarser level, half as large, and the finer one."""
        joined = self.join(torch.cat([enlarged(below), beside], dim=1))
        first = F.relu(self.first(joined) + joined)
        second = F.relu(self.second(first) + first + joined)
        attended: Tensor = self.attend(F.relu(self.third(second) + second + first + joined))
        return attended


class Doubling(nn.Module):
    """Bilinear upsampling by two, as a layer."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C, 2 h, 2 w)."""
        return enlarged(maps)


def auxiliary_head(width: int, widths: Sequence[int], norm: Norm) -> nn.Sequential:
    """Return a head that makes one logit of every pixel out of a sixteenth of the sides.

    Args:
        width: channels of its input.
        widths: channels before each of the four doublings; the last also after it.
        norm: the normalization layer.
    """
    layers: list[nn.Module] = []
    for outputs in widths:
        layers += [conv_norm(width, outputs, 3, norm), Doubling()]
        width = outputs
    return nn.Sequential(*layers, conv_norm(width, width, 3, norm), nn.Conv2d(width, 1, 1))


def path_to_level(width: int, doublings: int, norm: Norm) -> nn.Sequential:
    """Return what brings a decoupled map to a level: 3 x 3, then as many times doubling and 3 x 3."""
    layers: list[nn.Module] = [conv_norm(width, width, 3, norm)]
    for _ in range(doublings):
        layers += [Doubling(), conv_norm(width, width, 3, norm)]
    return nn.Sequential(*layers)
