"""What every network returns, whoever wrote it."""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from metadcseg.errors import InputError

Norm = Literal["group", "instance", "batch"]
Part = Literal["decoder", "head"]


class Output(NamedTuple):
    """What a network says about a batch.

    Args:
        logits: (N, L, H, W) float; index 0 of L is background.
        features: (N, D, H, W) float, what enters the last layer (eq. 5).
    """

    logits: Tensor
    features: Tensor


def parameters_of(network: nn.Module, part: Part) -> frozenset[str]:
    """Return the names of the parameters in one part of a network.

    Raises:
        InputError: where the network does not tell.
    """
    names = getattr(network, "names_of", None)
    if names is None:
        raise InputError(
            f"network {type(network).__name__} does not tell which parameters its {part} has; create it with "
            "metadcseg.networks.create_network, or take the tangents of all"
        )
    found: frozenset[str] = names(part)
    return found
