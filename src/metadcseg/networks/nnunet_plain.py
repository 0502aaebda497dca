"""nnU-Net's plain convolutional U-Net (Isensee et al., Nature Methods 2021), with deep supervision."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

from metadcseg.networks.contract import DEEP, Norm
from metadcseg.networks.tap import TappedNetwork
from metadcseg.networks.unetplusplus import layers_of_monai

_LEVELS = 5
_MOST = 512  # channels
_SLOPE = 0.01
_CONVOLUTIONS: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def nnunet_plain(
    channels: int, classes: int, width: int, norm: Norm = "instance", spatial_dims: int = 2
) -> TappedNetwork:
    """Return the network of nnU-Net's default plan for images of about 96 pixels, of any size here.

    Five levels of two 3 x 3 convolutions (32, 64, 128, 256, 512 channels, halving by stride), each with bias, instance
    norm and leaky ReLU; transposed convolutions upwards; logits at every level of the decoder. Those below full
    resolution are ``auxiliary`` in training mode, as ``deep_1`` to ``deep_3``. nnU-Net's planner would add levels for
    larger images.

    Args:
        channels: C of the images.
        classes: L, background included.
        width: channels at full resolution, doubled up to 512: 32 as published, which has 7 766 344 parameters for
            one channel and two classes.
        norm: the published one is ``instance``.
        spatial_dims: 2, or 3 for volumes.

    Example:
        >>> output = nnunet_plain(1, 2, width=4)(torch.zeros(1, 1, 64, 64))
        >>> {name: tuple(maps.shape[2:]) for name, maps in output.auxiliary.items()}
        {'deep_1': (32, 32), 'deep_2': (16, 16), 'deep_3': (8, 8)}
    """
    widths = [min(width * 2**level, _MOST) for level in range(_LEVELS)]
    network = PlainConvUNet(channels, classes, widths, norm, spatial_dims)
    multiple = 2 ** (_LEVELS - 1)
    return TappedNetwork(
        network,
        "heads.0",
        classes=classes,
        multiple=multiple,
        smallest=2 * multiple,
        axes=spatial_dims,
        fit=True,
    )


class PlainConvUNet(nn.Module):
    """A U-Net whose encoder halves by strided convolutions, with logits at every level of its decoder.

    Args:
        channels: C of the images.
        classes: L, background included.
        widths: channels of every level, from full resolution down.
        norm: the normalization layer.
        axes: 2, or 3 for volumes.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int], norm: Norm, axes: int = 2) -> None:
        super().__init__()
        inputs = [channels, *widths]
        self.encoder = nn.ModuleList(
            _level(before, after, norm, axes, stride=1 if level == 0 else 2)
            for level, (before, after) in enumerate(pairwise(inputs))
        )
        self.up = nn.ModuleList(
            _TRANSPOSED[axes](below, here, kernel_size=2, stride=2) for here, below in pairwise(widths)
        )
        self.decoder = nn.ModuleList(_level(2 * here, here, norm, axes) for here in widths[:-1])
        self.heads = nn.ModuleList(_CONVOLUTIONS[axes](here, classes, kernel_size=1) for here in widths[:-1])
        for part in self.modules():
            if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.kaiming_normal_(part.weight, a=_SLOPE)
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits (N, L, H, W), and in training mode those of the coarser levels by name."""
        skips: list[Tensor] = []
        maps = images
        for down in self.encoder:
            maps = down(maps)
            skips.append(maps)
        deep: dict[int, Tensor] = {}
        for level in reversed(range(len(self.decoder))):
            maps = self.decoder[level](torch.cat([self.up[level](maps), skips[level]], dim=1))
            if level and self.training:
                deep[level] = self.heads[level](maps)
        logits: Tensor = self.heads[0](maps)
        return logits, {f"{DEEP}{level}": deep[level] for level in range(1, len(deep) + 1)}


def _level(before: int, after: int, norm: Norm, axes: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, step in ((before, stride), (after, 1)):
        layers += [
            _CONVOLUTIONS[axes](inputs, after, kernel_size=3, stride=step, padding=1),
            get_norm_layer(layers_of_monai(after, norm)[1], axes, after),
            nn.LeakyReLU(_SLOPE, inplace=True),
        ]
    return nn.Sequential(*layers)
