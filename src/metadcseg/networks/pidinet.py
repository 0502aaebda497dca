"""PiDiNet, the edge detector of eq. 8 (Su et al., ICCV 2021), in its arrangement "carv4" with CSAM and CDCM.

The image passes four stages, each half the size of the one before it. A block is a depthwise convolution over
pixel differences, a rectifier, a 1x1 convolution and a shortcut; its kind follows the cycle central, angular,
radial, plain. From the end of every stage a side map is made (dilated convolutions, then spatial attention, then
one channel), stretched to the image's size, and the four are fused by a 1x1 convolution.

Parameters carry the names that the published checkpoints have, so that those can be loaded.
"""

import copy
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.errors import unknown_name
from metadcseg.networks.pixel_difference import Difference, PixelDifferenceConv

Size = Literal["full", "small", "tiny"]

CHANNELS: dict[Size, tuple[int, int]] = {"full": (60, 24), "small": (30, 12), "tiny": (20, 8)}
"""Size -> channels of the first stage, channels of the side maps."""

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of the red, green and blue of ImageNet, values from 0 to 1: how the published networks want their images."""

_CYCLE: tuple[Difference | None, ...] = ("central", "angular", "radial", None)  # None: a plain convolution
_BLOCKS = (3, 4, 4, 4)  # of the four stages; the very first convolution is the first of the cycle
_WIDER = (1, 2, 4, 4)  # channels of the stages as multiples of the first
_DILATIONS = (5, 7, 9, 11)
_ATTENTION = 4  # channels inside the attention


class PiDiNet(nn.Module):
    """The network of edges: 710 149 (full), 183 763 (small) or 84 477 (tiny) parameters.

    Args:
        size: ``"full"``, ``"small"`` or ``"tiny"``.

    Raises:
        InputError: for an unknown size.

    Example:
        >>> network = PiDiNet("tiny")
        >>> tuple(network(torch.zeros(1, 3, 33, 40)).shape)
        (1, 5, 33, 40)
    """

    def __init__(self, size: Size = "tiny") -> None:
        super().__init__()
        if size not in get_args(Size):
            raise unknown_name("size of PiDiNet", size, get_args(Size))
        first, side = CHANNELS[size]
        self.size: Size = size
        kinds = iter(_CYCLE * 4)
        self.init_block = _convolution(3, first, next(kinds))
        self._stages: list[list[str]] = []
        before = first
        for stage, (count, wider) in enumerate(zip(_BLOCKS, _WIDER, strict=True), start=1):
            names = [f"block{stage}_{number}" for number in range(1, count + 1)]
            for name in names:
                halves = stage > 1 and name == names[0]
                self.add_module(name, _Block(before, first * wider, next(kinds), halves))
                before = first * wider
            self._stages.append(names)
        self.dilations = nn.ModuleList(_Dilated(first * wider, side) for wider in _WIDER)
        self.attentions = nn.ModuleList(_Attention(side) for _ in _WIDER)
        self.conv_reduces = nn.ModuleList(_Reduce(side) for _ in _WIDER)
        self.classifier = nn.Conv2d(len(_WIDER), 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of four side maps and, last, of the fused map.

        Args:
            images: (N, 3, H, W) float32, red, green and blue from 0 to 1, less ``MEAN``, over ``DEVIATION``;
                sides of at least 8 pixels.

        Returns:
            (N, 5, H, W) float32; the sigmoid is the probability of an edge.
        """
        size = images.shape[2:]
        maps = self.init_block(images)
        sides = []
        heads = zip(self._stages, self.dilations, self.attentions, self.conv_reduces, strict=True)
        for names, dilated, attention, reduce in heads:
            for name in names:
                maps = self.get_submodule(name)(maps)
            side = reduce(attention(dilated(maps)))  # (N, 1, H', W')
            sides.append(F.interpolate(side, size, mode="bilinear", align_corners=False))
        together = torch.cat(sides, dim=1)
        return torch.cat([together, self.classifier(together)], dim=1)


def convert(network: PiDiNet) -> PiDiNet:
    """Return a copy in which plain convolutions stand for those over pixel differences: for inference.

    The outputs are equal to float rounding; the kernels are computed once instead of at each call.

    Example:
        >>> network = PiDiNet("tiny")
        >>> image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
        >>> bool(torch.allclose(convert(network)(image), network(image), atol=1e-5))
        True
    """
    converted = copy.deepcopy(network)
    for name, module in list(converted.named_modules()):
        if isinstance(module, PixelDifferenceConv):
            parent, _, own = name.rpartition(".")
            setattr(converted.get_submodule(parent), own, module.plain())
    return converted


def _convolution(inputs: int, outputs: int, difference: Difference | None, groups: int = 1) -> nn.Module:
    if difference is None:
        return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=False)
    return PixelDifferenceConv(inputs, outputs, difference, groups)


class _Block(nn.Module):
    """Depthwise 3x3, rectifier, 1x1, and a shortcut; the first of a stage halves the maps before that."""

    def __init__(self, inputs: int, outputs: int, difference: Difference | None, halves: bool) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if halves else None
        self.conv1 = _convolution(inputs, inputs, difference, groups=inputs)
        self.conv2 = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        if self.shortcut is not None:
            maps = F.max_pool2d(maps, 2)
        changed = cast(Tensor, self.conv2(F.relu(self.conv1(maps))))
        return changed + (maps if self.shortcut is None else self.shortcut(maps))


class _Dilated(nn.Module):
    """CDCM, the compact dilation module: four dilated convolutions of the same maps, added up."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 1)
        for number, dilation in enumerate(_DILATIONS, start=1):
            layer = nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
            self.add_module(f"conv2_{number}", layer)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv1(F.relu(maps))
        seen = [self.get_submodule(f"conv2_{number}")(maps) for number in range(1, len(_DILATIONS) + 1)]
        return torch.stack(seen).sum(dim=0)


class _Attention(nn.Module):
    """CSAM, the compact spatial attention: every pixel's features times one number from 0 to 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _ATTENTION, 1)
        self.conv2 = nn.Conv2d(_ATTENTION, 1, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return maps * torch.sigmoid(self.conv2(self.conv1(F.relu(maps))))


class _Reduce(nn.Module):
    """The step from the side features to one logit per pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.conv(maps))
