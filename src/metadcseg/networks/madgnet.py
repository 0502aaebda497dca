"""MADGNet (Nam et al., CVPR 2024, arXiv 2405.06284): ResNeSt, attention over frequencies and scales, three tasks.

Written from a description. Every map has L channels, whose softmax is the prediction; published is one logit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.networks.contract import Norm, Size
from metadcseg.networks.madgnet_parts import TASKS, MultiScaleAttention, TaskCascade
from metadcseg.networks.resnest import ResNeSt
from metadcseg.networks.resnet import conv_norm
from metadcseg.networks.tap import TappedNetwork

_SCALES = 3


@dataclass(frozen=True)
class Widths:
    """How wide each part is; lists of the decoder begin at its deepest stage.

    Args:
        depths: blocks of the encoder's stages.
        planes: middle channels of their blocks.
        stem: channels of the encoder's first convolutions.
        skip: channels that a level of the encoder hands to the decoder.
        decoder: channels of the decoder's stages.
        least: least channels of attention.
        grids: sides of the cosine filters.
    """

    depths: Sequence[int]
    planes: Sequence[int]
    stem: tuple[int, int, int]
    skip: int
    decoder: Sequence[int]
    least: int
    grids: Sequence[int]


WIDTHS: dict[Size, Widths] = {
    "published": Widths(
        (3, 4, 6, 3), (64, 128, 256, 512), (32, 32, 64), 64, (256, 128, 64, 32), 32, (14, 28, 56, 112)
    ),
    "small": Widths((1, 1, 1, 1), (16, 32, 64, 128), (8, 8, 16), 16, (64, 32, 16, 8), 8, (7, 7, 14, 28)),
}


def madgnet(channels: int, classes: int, size: Size, norm: Norm) -> TappedNetwork:
    """Return a MADGNet: published 33 367 824 parameters for three channels and two classes, small 1 055 488.

    Args:
        channels: C of the images.
        classes: L, background included.
        size: which :data:`WIDTHS`.
        norm: the normalization layer; published is ``batch``.
    """
    module = MADGNet(channels, classes, WIDTHS[size], norm)
    return TappedNetwork(module, "cascades.3.region", classes=classes, multiple=32, smallest=64, fit=True)


class DecoderStage(nn.Module):
    """Upsampling by two, a level of the encoder beside it, 3 x 3, attention over frequencies and scales, 3 x 3.

    Args:
        inputs: channels of the stage below.
        beside: channels of the encoder's level.
        skip: channels that it hands over.
        outputs: channels of the output.
        attention: of that many channels.
        norm: the normalization layer.
    """

    def __init__(
        self, inputs: int, beside: int, skip: int, outputs: int, attention: nn.Module, norm: Norm
    ) -> None:
        super().__init__()
        self.skip = conv_norm(beside, skip, 1, norm, bias=True)
        self.decode = nn.Sequential(
            conv_norm(inputs + skip, outputs, 3, norm, bias=True),
            attention,
            conv_norm(outputs, outputs, 3, norm, bias=True),
        )

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """Return (N, outputs, h, w) for maps (N, inputs, h / 2, w / 2) and (N, beside, h, w)."""
        enlarged = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
        decoded: Tensor = self.decode(torch.cat([enlarged, self.skip(beside)], dim=1))
        return decoded


class MADGNet(nn.Module):
    """The whole network; in training mode it also says what its other depths and tasks are trained with.

    Those are ``region_d`` for d = 1, 2, 3 (the fourth are the logits), ``distance_d`` and ``boundary_d`` for
    d = 1 .. 4, from the deepest stage on: (N, L, H, W) logits each.

    Args:
        channels: C of the images.
        classes: L, background included.
        widths: how wide each part is.
        norm: the normalization layer.
    """

    def __init__(self, channels: int, classes: int, widths: Widths, norm: Norm) -> None:
        super().__init__()
        self.encoder = ResNeSt(channels, widths.depths, widths.planes, widths.stem, norm)
        *levels, inputs = self.encoder.widths
        groups = widths.decoder[-1]
        self.stages, self.cascades = nn.ModuleList(), nn.ModuleList()
        for number, (outputs, grid) in enumerate(zip(widths.decoder, widths.grids, strict=True)):
            attention = MultiScaleAttention(outputs, _SCALES, groups, widths.least, grid, norm)
            beside = levels[-1 - number]
            self.stages.append(DecoderStage(inputs, beside, widths.skip, outputs, attention, norm))
            self.cascades.append(TaskCascade(outputs, classes, 2 ** (4 - number)))
            inputs = outputs

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits and auxiliary maps for (N, C, H, W) images with sides that are multiples of 32."""
        *levels, maps = self.encoder(images)
        auxiliary: dict[str, Tensor] = {}
        last = len(self.stages)
        for depth, (stage, cascade) in enumerate(zip(self.stages, self.cascades, strict=True), start=1):
            maps = stage(maps, levels[-depth])
            if self.training or depth == last:
                tasks = dict(zip(TASKS, cascade(maps), strict=True))
                auxiliary |= {f"{task}_{depth}": logits for task, logits in tasks.items()}
        prediction = auxiliary.pop(f"region_{last}")
        return prediction, auxiliary if self.training else {}
