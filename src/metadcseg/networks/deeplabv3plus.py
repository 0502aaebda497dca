"""DeepLabv3+ (Chen et al., ECCV 2018) in the form that HAMIL's networks have (Zhong et al., IEEE TMI 2023).

A ResNet whose last stage keeps its size (a sixteenth of the image's side, no dilation in the encoder), atrous spatial
pyramid pooling, and a decoder that joins the maps of the first stage. Everything behind the encoder has group norm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.networks.contract import Norm, Size
from metadcseg.networks.resnet import ResNet
from metadcseg.networks.tap import TappedNetwork

_GROUPS = 4
_LOW = 48  # channels that the first stage's maps are brought to
_DILATIONS = (6, 12, 18)


@dataclass(frozen=True)
class Shape:
    """How large a DeepLabv3+ is.

    Args:
        stem: channels of the encoder's first convolution.
        planes: middle channels of the blocks of its four stages.
        depths: blocks of each stage.
        width: channels of pyramid pooling and decoder, a multiple of 4.
    """

    stem: int
    planes: Sequence[int]
    depths: Sequence[int]
    width: int


SHAPES: dict[Size, Shape] = {
    "published": Shape(64, (64, 128, 256, 512), (3, 4, 6, 3), 256),
    "small": Shape(16, (16, 32, 64, 128), (1, 1, 1, 1), 64),
}


def deeplabv3plus(channels: int, classes: int, size: Size = "small", norm: Norm = "batch") -> TappedNetwork:
    """Return DeepLabv3+: 40 347 298 parameters as published (ResNet-50, three channels, two classes), 1.6 M small.

    Args:
        channels: C of the images.
        classes: L, background included.
        size: ``published`` or ``small``.
        norm: of the encoder. HAMIL freezes batch norm at the statistics of ImageNet, which from scratch would be no
            normalization at all; here it is trained.

    Example:
        >>> output = deeplabv3plus(1, 2).eval()(torch.zeros(1, 1, 70, 64))
        >>> tuple(output.logits.shape), tuple(output.features.shape)
        ((1, 2, 70, 64), (1, 64, 70, 64))
    """
    network = DeepLab(channels, classes, SHAPES[size], norm)
    return TappedNetwork(network, "head", classes=classes, multiple=16, smallest=64, fit=True)


class DeepLab(nn.Module):
    """The network itself: (N, C, H, W) to logits (N, L, H, W).

    Args:
        channels: C of the images.
        classes: L, background included.
        shape: how large it is.
        norm: of the encoder.
    """

    def __init__(self, channels: int, classes: int, shape: Shape, norm: Norm = "batch") -> None:
        super().__init__()
        width = shape.width
        self.encoder = ResNet(channels, shape.depths, shape.planes, (2, 2, 2, 1), shape.stem, norm)
        self.pyramid = Pyramid(self.encoder.widths[-1], width)
        self.low = _unit(self.encoder.widths[1], _LOW)
        self.decoder = nn.Sequential(
            _unit(_LOW + width, width, 3), nn.Dropout(0.5), _unit(width, width, 3), nn.Dropout(0.1)
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, L, H, W)."""
        stages = self.encoder(images)
        low = self.low(stages[1])
        deep = _resized(self.pyramid(stages[-1]), low)
        logits: Tensor = _resized(self.head(self.decoder(torch.cat([deep, low], dim=1))), images)
        return logits


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling; (N, c, h, w) to (N, d, h, w).

    Args:
        inputs: c.
        width: d, of every branch and of the output.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        branches = [_unit(inputs, width), *(_unit(inputs, width, 3, dilation) for dilation in _DILATIONS)]
        self.branches = nn.ModuleList(branches)
        self.image = _unit(inputs, width)
        self.join = nn.Sequential(_unit((len(branches) + 1) * width, width), nn.Dropout(0.5))

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, d, h, w)."""
        pooled = self.image(maps.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *maps.shape[2:])
        joined: Tensor = self.join(torch.cat([*(branch(maps) for branch in self.branches), pooled], dim=1))
        return joined


def _unit(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the size, group norm and ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.GroupNorm(_GROUPS, outputs),
        nn.ReLU(inplace=True),
    )


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=list(like.shape[2:]), mode="bilinear", align_corners=True)
