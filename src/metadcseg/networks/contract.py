"""What every network returns, whoever wrote it."""

from typing import Literal, NamedTuple

from torch import Tensor

Norm = Literal["group", "instance", "batch"]
Upsampling = Literal["learned", "bilinear"]
Activation = Literal["leaky_relu", "relu"]


class Output(NamedTuple):
    """What a network says about a batch.

    Args:
        logits: (N, L, H, W) float; index 0 of L is background.
        features: (N, D, H, W) float, what enters the last layer (eq. 5).
    """

    logits: Tensor
    features: Tensor
