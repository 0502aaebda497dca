"""What the network itself says of a batch: the other side of what alpha and beta decide between."""

from dataclasses import dataclass

from torch import Tensor

from metadcseg.algorithm.meta_weights import pseudo_labels


@dataclass(frozen=True)
class Opinion:
    """What a network says of every pixel.

    Args:
        probabilities: (N, L, H, W) float, detached.
        labels: (N, H, W) int64, the pseudo-labels: the most probable class (eq. 1).
    """

    probabilities: Tensor
    labels: Tensor


def opinion_of(logits: Tensor) -> Opinion:
    """Return what logits (N, L, H, W) say.

    Example:
        >>> import torch
        >>> opinion = opinion_of(torch.tensor([[[[0.0]], [[2.0]]]]))
        >>> opinion.labels.tolist(), round(opinion.probabilities[0, 1, 0, 0].item(), 2)
        ([[[1]]], 0.88)
    """
    logits = logits.detach()
    return Opinion(logits.float().softmax(dim=1), pseudo_labels(logits))
