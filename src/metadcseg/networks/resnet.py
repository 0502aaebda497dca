"""ResNet encoders of bottlenecks (He et al., CVPR 2016), with torchvision's parameter names.

A user's file of ImageNet weights therefore fits by name. The stride of a stage is on the 3 x 3 convolution of its first
block, as torchvision has it (in the paper it is on the 1 x 1 convolution before). The last layer, ``fc``, is left out.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.errors import InputError
from metadcseg.networks.contract import Norm

EXPANSION = 4
"""How many times wider a bottleneck's output is than its middle."""

_GROUPS = 8


def norm_layer(norm: Norm, width: int) -> nn.Module:
    """Return a normalization layer of ``width`` channels; each kind has 2 ``width`` parameters.

    Args:
        norm: ``"batch"``, ``"instance"``, or ``"group"``: the largest number of groups up to 8 that divides ``width``.
        width: channels.

    Example:
        >>> norm_layer("group", 12).num_groups
        6
    """
    if norm == "group":
        return nn.GroupNorm(max(count for count in range(1, _GROUPS + 1) if width % count == 0), width)
    if norm == "instance":
        return nn.InstanceNorm2d(width, affine=True)
    return nn.BatchNorm2d(width)


def conv_norm(
    inputs: int, outputs: int, kernel: int, norm: Norm, *, relu: bool = True, **options: Any
) -> nn.Sequential:
    """Return a convolution that keeps the size, its normalization and, unless told otherwise, a ReLU.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: side, odd.
        norm: the normalization layer.
        relu: False leaves it out.
        **options: of the convolution: ``dilation`` (padded for), ``stride``, ``groups``, ``bias`` (False by default).

    Example:
        >>> [type(layer).__name__ for layer in conv_norm(3, 4, 3, "batch", dilation=2)]
        ['Conv2d', 'BatchNorm2d', 'ReLU']
    """
    padding = options.get("dilation", 1) * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, **{"bias": False, **options})
    rest = [nn.ReLU(inplace=True)] if relu else []
    return nn.Sequential(convolution, norm_layer(norm, outputs), *rest)


class Bottleneck(nn.Module):
    """1 x 1 to ``planes``, 3 x 3 with the stride, 1 x 1 to 4 ``planes``, plus the input; ReLU.

    The input passes a strided 1 x 1 convolution (``downsample``) where its shape is another than the output's.

    Args:
        inputs: channels of the input.
        planes: channels of the 3 x 3 convolution.
        stride: of the block.
        norm: the normalization layer.
    """

    def __init__(self, inputs: int, planes: int, stride: int, norm: Norm) -> None:
        super().__init__()
        outputs = EXPANSION * planes
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = norm_layer(norm, planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = norm_layer(norm, planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = norm_layer(norm, outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm_layer(norm, outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, 4 planes, h, w) for (N, inputs, H, W)."""
        within = self.relu(self.bn1(self.conv1(maps)))
        within = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(within)))))
        joined: Tensor = self.relu(within + (maps if self.downsample is None else self.downsample(maps)))
        return joined


class StagedEncoder(nn.Module):
    """What ResNet and ResNeSt share: stages ``layer1``, ``layer2`` ... behind ``conv1``, ``bn1`` and ``maxpool``.

    Attributes:
        stages: the names of the stages.
        widths: channels of each map that ``forward`` returns.
    """

    conv1: nn.Module
    bn1: nn.Module
    maxpool: nn.Module
    stages: tuple[str, ...]
    widths: tuple[int, ...]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the first convolutions (before max pooling) and of every stage, (N, widths[i], h, w)."""
        maps = [F.relu(self.bn1(self.conv1(images)))]
        within = self.maxpool(maps[0])
        for name in self.stages:
            within = self.get_submodule(name)(within)
            maps.append(within)
        return maps

    def _add_stages(
        self,
        block: Callable[[int, int, int, Norm], nn.Module],
        stem: int,
        depths: Sequence[int],
        planes: Sequence[int],
        strides: Sequence[int],
        norm: Norm,
    ) -> None:
        """Add the stages behind a stem of ``stem`` channels, and give all weights their first values."""
        self.stages = tuple(f"layer{number}" for number in range(1, len(depths) + 1))
        widths = [stem]
        for name, depth, width, stride in zip(self.stages, depths, planes, strides, strict=True):
            blocks = [block(widths[-1], width, stride, norm)]
            blocks += [block(EXPANSION * width, width, 1, norm) for _ in range(depth - 1)]
            setattr(self, name, nn.Sequential(*blocks))
            widths.append(EXPANSION * width)
        self.widths = tuple(widths)
        initialize(self)


class ResNet(StagedEncoder):
    """The encoder: a 7 x 7 convolution, max pooling, and up to four stages of bottlenecks.

    The defaults are ResNet-50: 23 508 032 parameters for three channels. Weights start as in torchvision: He's normal
    distribution by fan-out, norms at 1 and 0.

    Args:
        channels: C of the images.
        depths: blocks of each stage; as many stages as there are numbers.
        planes: middle channels of each stage's blocks; a stage has four times as many outputs.
        strides: of the first convolution, and of each stage after the first, which has none: max pooling halves
            before it. DeepLab's encoder has (2, 2, 2, 1): a sixteenth of the input's side, and no dilation.
        stem: channels of the first convolution.
        norm: the normalization layer; ``batch`` is the published one.

    Attributes:
        widths: channels of each map that ``forward`` returns.

    Raises:
        InputError: where the numbers of depths, planes and strides differ.

    Example:
        >>> encoder = ResNet(channels=1, depths=(1, 1), planes=(4, 8), strides=(2, 2), stem=8)
        >>> import torch
        >>> [tuple(maps.shape) for maps in encoder(torch.zeros(2, 1, 32, 48))]
        [(2, 8, 16, 24), (2, 16, 8, 12), (2, 32, 4, 6)]
        >>> encoder.widths
        (8, 16, 32)
    """

    def __init__(
        self,
        channels: int,
        depths: Sequence[int] = (3, 4, 6, 3),
        planes: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[int] = (2, 2, 2, 2),
        stem: int = 64,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if not len(depths) == len(planes) == len(strides):
            raise InputError(
                f"ResNet needs as many depths as planes and strides, got {len(depths)}, {len(planes)} and "
                f"{len(strides)}"
            )
        self.conv1 = nn.Conv2d(channels, stem, 7, strides[0], padding=3, bias=False)
        self.bn1 = norm_layer(norm, stem)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self._add_stages(Bottleneck, stem, depths, planes, (1, *strides[1:]), norm)


def initialize(module: nn.Module) -> None:
    """Start every convolution in He's normal distribution by fan-out, of all groups; norms keep their 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=math.sqrt(2 / (math.prod(part.kernel_size) * part.out_channels)))
