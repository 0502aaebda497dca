"""The built-in network: MONAI's U-Net++, of images or of volumes."""

import torch
from monai.networks.nets.basic_unet import UpCat
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from torch import Tensor, nn

from metadcseg.networks.contract import Norm
from metadcseg.networks.tap import TappedNetwork

_GROUPS = 8


def unetplusplus(
    channels: int, classes: int, width: int, norm: Norm = "group", axes: int = 2
) -> TappedNetwork:
    """Return a U-Net++ (MONAI's), its four levels of halving ``width``-doubling each.

    The paper's width of 64 has 36.45 million parameters for three channels and two classes.
    The heads of deep supervision are left out, since nothing would train them. Image sides must be multiples
    of 16 and at least 32 (at 16 the deepest maps would be a single pixel, which cannot be normalized).

    Args:
        channels: C of the images.
        classes: L, background included.
        width: channels at full resolution, and D of the features.
        norm: ``"group"`` takes the largest number of groups up to 8 that divides the width.
        axes: 2, or 3 for volumes.
    """
    groups = max(count for count in range(1, _GROUPS + 1) if width % count == 0)
    layers = {
        "group": ("group", {"num_groups": groups}),
        "instance": ("instance", {"affine": True}),
        "batch": ("batch", {}),
    }
    network = BasicUNetPlusPlus(
        spatial_dims=axes,
        in_channels=channels,
        out_channels=classes,
        features=(width, 2 * width, 4 * width, 8 * width, 16 * width, width),
        norm=layers[norm],
    )
    for unused in ("final_conv_0_1", "final_conv_0_2", "final_conv_0_3"):
        setattr(network, unused, nn.Identity())
    for part in network.modules():
        if isinstance(part, UpCat):
            part.__class__ = _Joining
    return TappedNetwork(network, "final_conv_0_4", classes=classes, multiple=16, smallest=32, axes=axes)


class _Joining(UpCat):  # type: ignore[misc]  # MONAI comes without types
    """MONAI's layer where nothing is to be padded, as sides are multiples of 16.

    Its own ``forward`` copies the maps to pad them by nothing, and asks TorchScript about them, which
    ``torch.compile`` cannot look into: the network would fall into dozens of pieces.
    """

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """Return the joint maps of the level below, upsampled, and of this level."""
        joined: Tensor = self.convs(torch.cat([beside, self.upsample(below)], dim=1))
        return joined
