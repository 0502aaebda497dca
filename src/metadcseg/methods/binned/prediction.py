"""What the network itself says of a batch: the other side of what alpha and beta decide between."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metadcseg.algorithm.meta_weights import pseudo_labels


@dataclass(frozen=True)
class Prediction:
    """What a network says of every pixel.

    Args:
        probabilities: (N, L, H, W) float, detached.
        labels: (N, H, W) int64, the pseudo-labels: the most probable class (eq. 1).
    """

    probabilities: Tensor
    labels: Tensor

    def against(self, given: Tensor) -> "Prediction":
        """Return the prediction whose label is the most probable class but the given one.

        Example:
            >>> import torch
            >>> prediction = prediction_of(torch.tensor([[[[0.0, 0.0]], [[2.0, 2.0]]]]))
            >>> prediction.against(torch.tensor([[[0, 1]]])).labels.tolist()
            [[[1, 0]]]
        """
        classes = torch.arange(self.probabilities.shape[1], device=given.device)
        own = given.unsqueeze(1) == classes.view(1, -1, *(1 for _ in given.shape[1:]))
        return Prediction(self.probabilities, self.probabilities.masked_fill(own, -1.0).max(dim=1).indices)


def prediction_of(logits: Tensor) -> Prediction:
    """Return what logits (N, L, H, W) say.

    Example:
        >>> import torch
        >>> prediction = prediction_of(torch.tensor([[[[0.0]], [[2.0]]]]))
        >>> prediction.labels.tolist(), round(prediction.probabilities[0, 1, 0, 0].item(), 2)
        ([[[1]]], 0.88)
    """
    logits = logits.detach()
    return Prediction(logits.float().softmax(dim=1), pseudo_labels(logits))
