"""ResNeSt encoders (Zhang et al., CVPR Workshops 2022): bottlenecks with split attention, radix 2, cardinality 1.

Parameters are named as in its authors' files of weights, so that a user's file fits by name.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.networks.contract import Norm
from metadcseg.networks.resnet import EXPANSION, StagedEncoder, norm_layer

_LEAST_MIDDLE = 32


class SplitAttention(nn.Module):
    """A 3 x 3 convolution in two groups; its halves are added, each channel by the share that attention gives either.

    Shares are the softmax over both halves of two linear layers of the halves' sum, averaged over pixels.

    Args:
        width: channels of input and output.
        norm: the normalization layer.
    """

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        middle = max(width // 2, _LEAST_MIDDLE)
        self.conv = nn.Conv2d(width, 2 * width, 3, padding=1, groups=2, bias=False)
        self.bn0 = norm_layer(norm, 2 * width)
        self.fc1 = nn.Conv2d(width, middle, 1)
        self.bn1 = norm_layer(
            "group" if norm == "instance" else norm, middle
        )  # a single pixel is no instance
        self.fc2 = nn.Conv2d(middle, 2 * width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, width, h, w)."""
        halves = torch.stack(F.relu(self.bn0(self.conv(maps))).chunk(2, dim=1), dim=1)  # (N, 2, width, h, w)
        mean = halves.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        scores = torch.stack(self.fc2(F.relu(self._normalized(self.fc1(mean)))).chunk(2, dim=1), dim=1)
        return (halves * scores.softmax(dim=1)).sum(dim=1)

    def _normalized(self, means: Tensor) -> Tensor:
        """Normalize (N, middle, 1, 1); a batch of one, which has no statistics, by those kept so far."""
        norm = self.bn1
        if isinstance(norm, nn.BatchNorm2d) and self.training and len(means) == 1:
            return F.batch_norm(
                means, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        normalized: Tensor = norm(means)
        return normalized


class SplitBottleneck(nn.Module):
    """1 x 1 to ``planes``, split attention, average pooling by the stride, 1 x 1 to 4 ``planes``; plus the input; ReLU.

    Args:
        inputs: channels of the input.
        planes: channels in the middle.
        stride: 1 (no pooling) or 2.
        norm: the normalization layer.
    """

    def __init__(self, inputs: int, planes: int, stride: int, norm: Norm) -> None:
        super().__init__()
        outputs = EXPANSION * planes
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = norm_layer(norm, planes)
        self.conv2 = SplitAttention(planes, norm)
        self.pool = nn.Identity() if stride == 1 else nn.AvgPool2d(3, stride, padding=1)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = norm_layer(norm, outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                norm_layer(norm, outputs),
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, 4 planes, h, w) for (N, inputs, H, W)."""
        within = self.pool(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        within = self.bn3(self.conv3(within))
        return F.relu(within + (maps if self.downsample is None else self.downsample(maps)))


class ResNeSt(StagedEncoder):
    """The encoder: three 3 x 3 convolutions, max pooling, and stages of split-attention bottlenecks.

    The defaults are ResNeSt-50: 25 434 240 parameters for three channels. All stages but the first halve the sides, by
    average pooling. Convolutions start in He's normal distribution by fan-out.

    Args:
        channels: C of the images.
        depths: blocks of each stage.
        planes: middle channels of each stage's blocks; a stage has four times as many outputs.
        stem: channels of the three first convolutions.
        norm: the normalization layer; ``batch`` is the published one.

    Attributes:
        widths: channels of each map that ``forward`` returns.

    Example:
        >>> encoder = ResNeSt(channels=1, depths=(1, 1), planes=(4, 8), stem=(4, 4, 8))
        >>> [tuple(maps.shape) for maps in encoder(torch.zeros(2, 1, 32, 48))]
        [(2, 8, 16, 24), (2, 16, 8, 12), (2, 32, 4, 6)]
    """

    def __init__(
        self,
        channels: int,
        depths: Sequence[int] = (3, 4, 6, 3),
        planes: Sequence[int] = (64, 128, 256, 512),
        stem: tuple[int, int, int] = (32, 32, 64),
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        first, second, third = stem
        self.conv1 = nn.Sequential(
            nn.Conv2d(channels, first, 3, 2, padding=1, bias=False),
            norm_layer(norm, first),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 3, padding=1, bias=False),
            norm_layer(norm, second),
            nn.ReLU(inplace=True),
            nn.Conv2d(second, third, 3, padding=1, bias=False),
        )
        self.bn1 = norm_layer(norm, third)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        strides = (1, *(2 for _ in depths[1:]))
        self._add_stages(SplitBottleneck, third, depths, planes, strides, norm)
