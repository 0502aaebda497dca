"""What every network returns, whoever wrote it."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypedDict

from torch import Tensor

Norm = Literal["group", "instance", "batch"]
Upsampling = Literal["learned", "bilinear"]
Activation = Literal["leaky_relu", "relu"]
Size = Literal["small", "published"]

DEEP = "deep_"
"""Begins the names of deep supervision: ``deep_k`` holds logits (N, L, h, w) of every 2^k-th pixel."""


class Output(NamedTuple):
    """What a network says about a batch.

    Args:
        logits: (N, L, H, W) float; index 0 of L is background.
        features: (N, D, H, W) float, what enters the last layer (eq. 5).
        auxiliary: what else there is to train, by name: logits of deep supervision (:data:`DEEP`), of distance and
            boundary heads, (N, any, h, w). Networks may leave it empty in evaluation mode.
    """

    logits: Tensor
    features: Tensor
    auxiliary: Mapping[str, Tensor] = {}  # a plain dict, which torch.func can look into


class Taken(TypedDict):
    """What was taken from a file, as ``run.json`` keeps it.

    Args:
        sha256: of the file.
        taken: tensors of the network that came from it.
        tensors: tensors of the network.
        unused: tensors of the file that fit nowhere.
        path: of the file, from the root on.
    """

    sha256: str
    taken: int
    tensors: int
    unused: int
    path: str
