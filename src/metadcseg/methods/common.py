"""What every method's step needs: the mean loss of a batch, the gold batch it asked for, and predictions."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from metadcseg.errors import InputError
from metadcseg.losses import mean_cross_entropy, mean_soft_dice
from metadcseg.tensors import Batch


def supervised_loss(logits: Tensor, batch: Batch, dice: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Return mean cross-entropy + ``dice`` * mean soft Dice loss, and both by name, before the factor, detached."""
    pixel = mean_cross_entropy(logits, batch)
    region = mean_soft_dice(logits, batch)
    return pixel + dice * region, {"pixel": pixel.detach(), "dice": region.detach()}


def require_gold(gold: Batch | None, method: str) -> Batch:
    """Return the gold batch.

    Raises:
        InputError: where there is none, which only a loop that overlooks the method's declaration can cause.
    """
    if gold is None:
        raise InputError(f"method '{method}' declares that it needs gold batches, but this step got none")
    return gold


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Put a network in evaluation mode without gradients, and every part back in its own mode afterwards."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield network
    finally:
        for part, mode in modes:
            part.training = mode


def class_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """Return (N, L, H, W) softmax probabilities for (N, C, H, W) images, in evaluation mode."""
    with evaluating(network):
        probabilities: Tensor = network(images).logits.softmax(dim=1)
        return probabilities
