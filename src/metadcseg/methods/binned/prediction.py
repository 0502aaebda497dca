"""What the network itself says of a batch: the other side of what alpha and beta decide between."""

from dataclasses import dataclass

from torch import Tensor

from metadcseg.algorithm.meta_weights import pseudo_labels
from metadcseg.methods.common import runner_up


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
        return Prediction(self.probabilities, runner_up(self.probabilities, given))


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
