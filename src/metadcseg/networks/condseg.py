"""ConDSeg (Lei et al., AAAI 2025, arXiv 2412.08345): a network that is trained in two stages, the encoder first.

Foreground, background and what is uncertain are told apart ("decoupled") in the deepest map. The first two then guide
how every level gathers its neighborhoods. Three decoders for objects of different sizes end in one head. Written from a
description; all outputs are logits (the published ones have passed a sigmoid).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from metadcseg.networks.condseg_parts import (
    ContrastAggregation,
    DilatedBranches,
    Doubling,
    SizeDecoder,
    auxiliary_head,
    enlarged,
    path_to_level,
)
from metadcseg.networks.contract import Norm, Output, Size
from metadcseg.networks.resnet import ResNet, conv_norm
from metadcseg.networks.tap import TappedNetwork

DECOUPLED = ("foreground", "background", "uncertainty")
"""The names of the auxiliary maps, (N, 1, H, W) logits each."""


@dataclass(frozen=True)
class Widths:
    """How wide each part is.

    Args:
        depths: blocks of the encoder's three stages.
        planes: middle channels of their blocks.
        level: channels of every level behind the dilated branches; the encoder's own head and the last layer of all
            have half as many.
        decoupling: channels in which foreground, background and uncertainty part.
        heads: channels of the auxiliary heads, from a sixteenth of the sides to a half.
    """

    depths: Sequence[int]
    planes: Sequence[int]
    level: int
    decoupling: int
    heads: Sequence[int]


WIDTHS: dict[Size, Widths] = {
    "published": Widths((3, 4, 6), (64, 128, 256), 128, 512, (256, 256, 128, 64)),
    "small": Widths((1, 1, 1), (16, 32, 64), 32, 64, (64, 64, 32, 16)),
}


def condseg(channels: int, classes: int, size: Size, norm: Norm) -> TappedNetwork:
    """Return a ConDSeg: published 45 552 786 parameters for three channels and one logit, small 2 064 178.

    Each further class adds 65 (17) to that. Not counted is the encoder's own head of the first stage.

    Args:
        channels: C of the images.
        classes: L, background included.
        size: which :data:`WIDTHS`.
        norm: the normalization layer; published is ``batch``.
    """
    module = ConDSeg(channels, classes, WIDTHS[size], norm)
    return TappedNetwork(module, "output.head", classes=classes, multiple=16, smallest=32, fit=True)


class EncoderHead(nn.Module):
    """The head of the first stage: every level at full size, 1 x 1 each, joined, 1 x 1.

    A 1 x 1 convolution before upsampling computes the same as after it, for a fraction of the work.

    Args:
        inputs: channels of the levels.
        width: channels that each of them gets.
        classes: L.
        norm: the normalization layer.
    """

    def __init__(self, inputs: Sequence[int], width: int, classes: int, norm: Norm) -> None:
        super().__init__()
        self.levels = nn.ModuleList(conv_norm(own, width, 1, norm) for own in inputs)
        self.head = nn.Conv2d(len(inputs) * width, classes, 1, bias=False)

    def forward(self, maps: Sequence[Tensor]) -> Output:
        """Return logits and features (N, levels * width, H, W), of levels at S/2, S/4, S/8, ..."""
        seen = []
        for halvings, (level, own) in enumerate(zip(self.levels, maps, strict=True), start=1):
            convolution, norm, relu = cast(nn.Sequential, level)
            seen.append(relu(norm(enlarged(convolution(own), 2**halvings))))
        features = torch.cat(seen, dim=1)
        return Output(self.head(features), features)


class OutputBlock(nn.Module):
    """What the three decoders say, at half the sides, made into logits of every pixel.

    Args:
        width: channels of each decoder.
        classes: L.
        norm: the normalization layer.
    """

    def __init__(self, width: int, classes: int, norm: Norm) -> None:
        super().__init__()
        self.join = nn.Sequential(
            conv_norm(3 * width, width, 3, norm),
            Doubling(),
            conv_norm(width, width, 3, norm),
            conv_norm(width, width // 2, 1, norm),
        )
        self.head = nn.Conv2d(width // 2, classes, 1)

    def forward(self, small: Tensor, middle: Tensor, large: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and features (N, width / 2, H, W) for maps at S/2, S/4 and S/8."""
        features = self.join(torch.cat([small, enlarged(middle), enlarged(large, 4)], dim=1))
        return self.head(features), features


class ConDSeg(nn.Module):
    """The whole network; :meth:`train_encoder` says which of its two stages it is in.

    In the first stage it is its encoder and a head of few layers. In the second it is all the rest, and in training
    mode also says three auxiliary maps (:data:`DECOUPLED`). A new network is in the second. The stage is saved with
    the weights, so that a network that was kept in the first stage predicts as it was trained.

    Args:
        channels: C of the images.
        classes: L, background included.
        widths: how wide each part is.
        norm: the normalization layer.

    Attributes:
        stage: int64, 1 or 2, saved with the weights.
        encoder_only: it is in the first stage: what ``stage`` was when it was last loaded, or the mode last set.
    """

    stage: Tensor

    def __init__(self, channels: int, classes: int, widths: Widths, norm: Norm) -> None:
        super().__init__()
        width = widths.level
        self.encoder = ResNet(channels, widths.depths, widths.planes, (2, 2, 2), norm=norm)
        inputs = self.encoder.widths
        self.encoder_head = EncoderHead(inputs, width // 2, classes, norm)
        self.levels = nn.ModuleList(DilatedBranches(own, width, norm) for own in inputs)
        self.decoupling, self.auxiliary = nn.ModuleDict(), nn.ModuleDict()
        for name in DECOUPLED:
            self.decoupling[name] = nn.Sequential(
                conv_norm(inputs[-1], widths.decoupling, 3, norm),
                conv_norm(widths.decoupling, width, 3, norm),
                conv_norm(width, width, 1, norm),
            )
            self.auxiliary[name] = auxiliary_head(width, widths.heads, norm)
        steps = range(len(inputs) - 1, -1, -1)  # doublings from the deepest map to each level, finest first
        self.foreground_paths = nn.ModuleList(path_to_level(width, count, norm) for count in steps)
        self.background_paths = nn.ModuleList(path_to_level(width, count, norm) for count in steps)
        self.aggregation = nn.ModuleList(
            ContrastAggregation(width if count == 0 else 2 * width, width, norm) for count in steps
        )
        self.decoders = nn.ModuleList(
            SizeDecoder(width, norm) for _ in range(3)
        )  # small, middle, large objects
        self.output = OutputBlock(width, classes, norm)
        self.register_buffer("stage", torch.tensor(2))
        self.encoder_only = False  # beside the buffer, so that no pass waits for a device

    def train_encoder(self, only: bool) -> None:
        """Go to the first stage, or to the second where not ``only``."""
        if only != self.encoder_only:
            self.stage.fill_(1 if only else 2)
            self.encoder_only = only

    def train(self, mode: bool = True) -> "ConDSeg":
        """Set training mode, or evaluation mode, and see what the stage is: a moving average copies buffers alone."""
        super().train(mode)
        self._recall()
        return self

    def forward(self, images: Tensor) -> Output:
        """Return logits, features and auxiliary maps for (N, C, H, W) images with sides that are multiples of 16."""
        maps = self.encoder(images)
        if self.encoder_only:
            return cast(Output, self.encoder_head(maps))
        deep = {name: path(maps[-1]) for name, path in self.decoupling.items() if self._is_needed(name)}
        small, middle, large, deepest = self._aggregated(maps, deep)
        objects = zip(self.decoders, ((middle, small), (large, middle), (deepest, large)), strict=True)
        logits, features = self.output(*(decode(*pair) for decode, pair in objects))
        auxiliary = {name: head(deep[name]) for name, head in self.auxiliary.items() if self.training}
        return Output(logits, features, auxiliary)

    def _is_needed(self, name: str) -> bool:
        return self.training or name != "uncertainty"

    def _aggregated(self, maps: Sequence[Tensor], deep: Mapping[str, Tensor]) -> list[Tensor]:
        """Return every level as foreground and background have it gathered, finest first."""
        found: list[Tensor] = []
        for number in reversed(range(len(maps))):
            level = self.levels[number](maps[number])
            if found:
                level = torch.cat([level, enlarged(found[0])], dim=1)
            foreground = self.foreground_paths[number](deep["foreground"])
            background = self.background_paths[number](deep["background"])
            found.insert(0, self.aggregation[number](level, foreground, background))
        return found

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._recall()

    def _recall(self) -> None:
        if not self.stage.is_meta:
            self.encoder_only = int(self.stage) == 1
