"""The built-in network: MONAI's U-Net++, of images or of volumes."""

from typing import Any

import torch
from monai.networks.nets.basic_unet import TwoConv, UpCat
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from torch import Tensor, nn

from metadcseg.networks.contract import Activation, Norm, Upsampling
from metadcseg.networks.tap import TappedNetwork

_GROUPS = 8
_Layer = tuple[str, dict[str, Any]]


def unetplusplus(
    channels: int,
    classes: int,
    width: int,
    norm: Norm = "group",
    spatial_dims: int = 2,
    upsampling: Upsampling = "learned",
    activation: Activation = "leaky_relu",
) -> TappedNetwork:
    """Return a U-Net++ (MONAI's), its four levels of halving ``width``-doubling each.

    The paper's width of 64 has 36.45 million parameters for three channels and two classes. With batch norm, bilinear
    upsampling and ReLU it is the network of L2B's published script: 36.63 million.
    The heads of deep supervision are left out, since nothing would train them. Image sides must be multiples
    of 16 and at least 32 (at 16 the deepest maps would be a single pixel, which cannot be normalized).

    Args:
        channels: C of the images.
        classes: L, background included.
        width: channels at full resolution, and D of the features.
        norm: ``"group"`` takes the largest number of groups up to 8 that divides the width.
        spatial_dims: 2, or 3 for volumes.
        upsampling: ``"learned"`` by a transposed convolution that halves the channels (except into the first level),
            or ``"bilinear"`` (of volumes trilinear), which keeps them all.
        activation: ``"leaky_relu"`` with slope 0.1, or ``"relu"``.
    """
    act, normal = layers_of_monai(width, norm, activation)
    network = BasicUNetPlusPlus(
        spatial_dims=spatial_dims,
        in_channels=channels,
        out_channels=classes,
        features=(width, 2 * width, 4 * width, 8 * width, 16 * width, width),
        norm=normal,
        act=act,
    )
    for unused in ("final_conv_0_1", "final_conv_0_2", "final_conv_0_3"):
        setattr(network, unused, nn.Identity())
    mend_joints(network, spatial_dims, upsampling, act, normal)
    return TappedNetwork(
        network, "final_conv_0_4", classes=classes, multiple=16, smallest=32, axes=spatial_dims
    )


def layers_of_monai(width: int, norm: Norm, activation: Activation = "leaky_relu") -> tuple[_Layer, _Layer]:
    """Return activation and normalization as MONAI's U-Nets want them."""
    groups = max(count for count in range(1, _GROUPS + 1) if width % count == 0)
    norms: dict[Norm, _Layer] = {
        "group": ("group", {"num_groups": groups}),
        "instance": ("instance", {"affine": True}),
        "batch": ("batch", {}),
    }
    acts: dict[Activation, _Layer] = {
        "leaky_relu": ("leakyrelu", {"negative_slope": 0.1, "inplace": True}),
        "relu": ("relu", {"inplace": True}),
    }
    return acts[activation], norms[norm]


def mend_joints(network: nn.Module, axes: int, upsampling: Upsampling, act: _Layer, norm: _Layer) -> None:
    """Have one of MONAI's U-Nets join its levels without padding, and upsample as is wanted."""
    for part in network.modules():
        if isinstance(part, UpCat):
            part.__class__ = _Joining
            if upsampling == "bilinear":
                _upsample_without_weights(part, axes, act, norm)


def _upsample_without_weights(part: UpCat, axes: int, act: _Layer, norm: _Layer) -> None:
    """Make a layer keep all channels of the level below; MONAI's network itself can only halve them."""
    below, beside = part.upsample.deconv.in_channels, part.convs.conv_0.conv.in_channels
    beside -= part.upsample.deconv.out_channels
    out = part.convs.conv_1.conv.out_channels
    mode = {2: "bilinear", 3: "trilinear"}[axes]
    part.upsample = nn.Upsample(scale_factor=2, mode=mode, align_corners=True)
    part.convs = TwoConv(axes, beside + below, out, act, norm, bias=True)


class _Joining(UpCat):  # type: ignore[misc]  # MONAI comes without types
    """MONAI's layer where nothing is to be padded, as sides are multiples of 16.

    Its own ``forward`` copies the maps to pad them by nothing, and asks TorchScript about them, which
    ``torch.compile`` cannot look into: the network would fall into dozens of pieces.
    """

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """Return the joint maps of the level below, upsampled, and of this level."""
        joined: Tensor = self.convs(torch.cat([beside, self.upsample(below)], dim=1))
        return joined
