"""MAXFormer (Liang et al., Knowledge-Based Systems 280:110987, 2023), written from its description.

A U of three stages whose blocks join a convolution with window and grid attention (as MaxViT has them, but side by
side) and with external attention. Its two skips are refined from all three stages, and cross attention joins them to
the decoder. Images of any size: attention groups are laid over the image as it is.

What the published code has and never uses is left out: a fourth convolution per skip, a second channel attention per
cross block, two spare norms. Grid attention is cut as it is put back, as the published code does from its last commit.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metadcseg.networks.contract import Norm, Size
from metadcseg.networks.maxformer_parts import (
    Block,
    ChannelAttention,
    MBConv,
    PatchExpand,
    channels_first,
    channels_last,
)
from metadcseg.networks.tap import TappedNetwork


@dataclass(frozen=True)
class Shape:
    """How large a MAXFormer is.

    Args:
        widths: d, channels of the three stages, at a fourth, an eighth and a sixteenth of the image's side; multiples
            of 8 and of ``head_width``.
        depths: blocks of the three stages, of the decoder as of the encoder.
        head_width: channels of each head of window and grid attention.
        window: w, the side of their groups.
    """

    widths: tuple[int, int, int]
    depths: tuple[int, int, int]
    head_width: int
    window: int


SHAPES: dict[Size, Shape] = {
    "published": Shape((128, 320, 512), (2, 2, 4), 32, 7),
    "small": Shape((32, 64, 128), (1, 1, 2), 16, 6),
}


def maxformer(channels: int, classes: int, size: Size = "small", norm: Norm = "batch") -> TappedNetwork:
    """Return MAXFormer: 86 519 154 parameters as published (three channels, two classes), 2 987 378 in the small size.

    Softmax over all tokens makes it depend on the number of pixels: training and prediction should have one size.

    Args:
        channels: C of the images.
        classes: L, background included.
        size: ``published`` or ``small``.
        norm: of its convolutions; ``batch`` is the published one.

    Example:
        >>> output = maxformer(1, 2).eval()(torch.zeros(1, 1, 40, 50))
        >>> tuple(output.logits.shape), tuple(output.features.shape)
        ((1, 2, 40, 50), (1, 32, 40, 50))
    """
    network = MAXFormer(channels, classes, SHAPES[size], norm)
    return TappedNetwork(network, "decoder_0.last_layer", classes=classes, multiple=16, smallest=32, fit=True)


class MAXFormer(nn.Module):
    """The network itself: (N, C, H, W) to logits (N, L, H, W), sides multiples of 16.

    Args:
        channels: C of the images.
        classes: L, background included.
        shape: how large it is.
        norm: of its convolutions.
    """

    def __init__(self, channels: int, classes: int, shape: Shape, norm: Norm = "batch") -> None:
        super().__init__()
        d0, d1, d2 = shape.widths
        self.backbone = Backbone(channels, shape, norm)
        self.refine_1 = RefinedSkip(
            [
                Reduce(d0, d1),
                nn.Identity(),
                nn.Sequential(PatchExpand(d2, d2 // 2, 2), nn.Linear(d2 // 2, d1)),
            ],
            d1,
            norm,
        )
        self.refine_2 = RefinedSkip(
            [
                nn.Identity(),
                nn.Sequential(PatchExpand(d1, d1 // 2, 2), nn.Linear(d1 // 2, d0)),
                nn.Sequential(PatchExpand(d2, d2, 4), nn.Linear(d2, d0)),
            ],
            d0,
            norm,
        )
        self.decoder_2 = PatchExpand(d2, d2 // 2, 2)
        self.decoder_1 = Decoder(1, d2 // 2, shape, norm, PatchExpand(d1, d1 // 2, 2))
        self.decoder_0 = Decoder(0, d1 // 2, shape, norm, PatchExpand(d0, d0, 4), classes)
        for part in (*self.decoder_2.modules(), *self.decoder_1.modules(), *self.decoder_0.modules()):
            if isinstance(part, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, L, H, W)."""
        stages = [channels_last(maps) for maps in self.backbone(images)]
        maps = self.decoder_1(self.decoder_2(stages[2]), self.refine_1(stages))
        logits: Tensor = self.decoder_0(maps, self.refine_2(stages))
        return logits


class Reduce(nn.Module):
    """A strided convolution and a layer norm; (N, H, W, c) to (N, H / 2, W / 2, d).

    Args:
        inputs: c.
        outputs: d.
        kernel: 3, or 7 for the stem, whose stride is 4.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, 2 if kernel == 3 else 4, padding=kernel // 2)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the coarser maps, channels last."""
        found: Tensor = self.norm(channels_last(self.convolution(channels_first(maps))))
        return found


class Backbone(nn.Module):
    """The encoder; (N, C, H, W) to three maps (N, d, h, w), at a fourth, an eighth and a sixteenth of the side.

    Args:
        channels: C of the images.
        shape: how large it is.
        norm: of its convolutions.
    """

    def __init__(self, channels: int, shape: Shape, norm: Norm) -> None:
        super().__init__()
        inputs = (channels, *shape.widths)
        self.stems = nn.ModuleList(
            Reduce(before, after, 7 if stage == 0 else 3)
            for stage, (before, after) in enumerate(zip(inputs, shape.widths, strict=False))
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, shape.head_width, shape.window, norm) for _ in range(depth)))
            for width, depth in zip(shape.widths, shape.depths, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the three stages, channels first."""
        found, maps = [], images
        for stem, stage in zip(self.stems, self.stages, strict=True):
            maps = stage(channels_first(stem(channels_last(maps))))
            found.append(maps)
        return found


class RefinedSkip(nn.Module):
    """All stages of the encoder at one size and width, each convolved, then joined by channel attention.

    Args:
        fits: what brings the three stages to one size and width.
        width: d, channels of each.
        norm: of the convolutions.
    """

    def __init__(self, fits: list[nn.Module], width: int, norm: Norm) -> None:
        super().__init__()
        self.fits = nn.ModuleList(fits)
        self.convolutions = nn.ModuleList(MBConv(width, norm) for _ in fits)
        self.norm = nn.LayerNorm(len(fits) * width)
        self.attention = ChannelAttention(len(fits) * width)
        self.project = nn.Linear(len(fits) * width, width, bias=False)

    def forward(self, stages: list[Tensor]) -> Tensor:
        """Return (N, h, w, d) for the three stages' (N, h_i, w_i, d_i)."""
        parts = [
            channels_last(convolution(channels_first(fit(maps))))
            for fit, convolution, maps in zip(self.fits, self.convolutions, stages, strict=True)
        ]
        joined = torch.cat(parts, dim=-1)
        found: Tensor = self.project(joined + self.attention(self.norm(joined)))
        return found


class CrossBlock(nn.Module):
    """Efficient cross attention of what comes from below to a skip, and an MLP over both; 2 x (N, h, w, d) to 2 d.

    Args:
        width: d, the channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = ChannelAttention(width)
        self.cross_norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 2 * width)  # in the paper a 1 x 1 convolution
        self.project_norm = nn.LayerNorm(2 * width)
        self.mlp_norm = nn.LayerNorm(2 * width)
        self.mlp = MixedMLP(2 * width)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """Return (N, h, w, 2 d)."""
        below, skip = (maps + self.attention(self.norm(maps)) for maps in (below, skip))
        attended = cross_attention(self.cross_norm(below).flatten(1, 2), self.cross_norm(skip).flatten(1, 2))
        joined = torch.cat([below, skip], dim=-1)
        joined = joined + self.project_norm(self.project(attended)).reshape(joined.shape)
        found: Tensor = joined + self.mlp(self.mlp_norm(joined))
        return found


def cross_attention(values: Tensor, asked: Tensor) -> Tensor:
    """Return Q (K' V), K the softmax of ``asked`` over tokens and Q over channels; (N, n, d) each.

    Example:
        >>> cross_attention(torch.eye(2)[None], torch.zeros(1, 2, 2)).tolist()
        [[[0.5, 0.5], [0.5, 0.5]]]
    """
    context = asked.softmax(dim=1).transpose(1, 2) @ values
    return asked.softmax(dim=2) @ context


class MixedMLP(nn.Module):
    """Two linear layers with a depthwise 3 x 3 convolution between; (N, h, w, c) to the same.

    Args:
        width: c; within there are twice as many channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 2 * width
        self.expand = nn.Linear(width, inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.norm = nn.LayerNorm(inner)
        self.activation = nn.GELU()
        self.project = nn.Linear(inner, width)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, h, w, c)."""
        within = self.expand(maps)
        within = within + channels_last(self.depthwise(channels_first(within)))
        found: Tensor = self.project(self.activation(self.norm(within)))
        return found


class Decoder(nn.Module):
    """One stage of the decoder: cross attention with a skip, blocks, and finer tokens.

    Args:
        stage: which one, as the encoder counts: it has the width and the depth of that one.
        inputs: channels from below.
        shape: how large the network is.
        norm: of the convolutions.
        expand: makes the tokens finer.
        classes: L, where this is the last stage: it returns logits.
    """

    def __init__(
        self, stage: int, inputs: int, shape: Shape, norm: Norm, expand: nn.Module, classes: int | None = None
    ) -> None:
        super().__init__()
        width, depth = shape.widths[stage], shape.depths[stage]
        self.fit = nn.Linear(inputs, width)
        self.cross = CrossBlock(width)
        self.join = nn.Linear(2 * width, width)
        self.blocks = nn.Sequential(
            *(Block(width, shape.head_width, shape.window, norm) for _ in range(depth))
        )
        self.expand = expand
        self.last_layer = None if classes is None else nn.Conv2d(width, classes, 1)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """Return finer tokens, channels last, or logits (N, L, H, W)."""
        maps = self.join(self.cross(self.fit(below), skip))
        maps = self.expand(channels_last(self.blocks(channels_first(maps))))
        found: Tensor = maps if self.last_layer is None else self.last_layer(channels_first(maps))
        return found
