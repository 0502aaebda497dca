"""The plain U-Net (Ronneberger et al., MICCAI 2015), MONAI's: what the nested one is to be compared with."""

from monai.networks.nets.basic_unet import BasicUNet

from metadcseg.networks.contract import Activation, Norm, Upsampling
from metadcseg.networks.tap import TappedNetwork
from metadcseg.networks.unetplusplus import layers_of_monai, mend_joints


def unet(
    channels: int,
    classes: int,
    width: int,
    norm: Norm = "group",
    spatial_dims: int = 2,
    upsampling: Upsampling = "learned",
    activation: Activation = "leaky_relu",
) -> TappedNetwork:
    """Return a U-Net of two convolutions a level, its four levels of halving ``width``-doubling each.

    Its layers are those of our U-Net++, of which it is the outer path; convolutions keep the size, and every one
    is normalized, which the original's are not. It takes images of any size.

    Args:
        channels: C of the images.
        classes: L, background included.
        width: channels at full resolution, and D of the features; the original has 64.
        norm: ``"group"`` takes the largest number of groups up to 8 that divides the width.
        spatial_dims: 2, or 3 for volumes.
        upsampling: ``"learned"`` or ``"bilinear"``.
        activation: ``"leaky_relu"`` with slope 0.1, or ``"relu"``.

    Example:
        >>> import torch
        >>> tuple(unet(1, 3, width=2)(torch.zeros(1, 1, 37, 50)).logits.shape)
        (1, 3, 37, 50)
    """
    act, normal = layers_of_monai(width, norm, activation)
    network = BasicUNet(
        spatial_dims=spatial_dims,
        in_channels=channels,
        out_channels=classes,
        features=(width, 2 * width, 4 * width, 8 * width, 16 * width, width),
        norm=normal,
        act=act,
    )
    mend_joints(network, spatial_dims, upsampling, act, normal)
    return TappedNetwork(
        network, "final_conv", classes=classes, multiple=16, smallest=32, axes=spatial_dims, fit=True
    )
