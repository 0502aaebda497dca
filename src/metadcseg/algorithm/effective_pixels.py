"""How many pixels share the boundary's weight: a figure for logs, which no step of the method needs."""

import torch
from torch import Tensor

from metadcseg.tensors import check_tensor


def effective_pixels(weights: Tensor) -> Tensor:
    """Return exp(-sum_i w_i ln w_i), (N,): how many pixels share each boundary's weight; 0 without boundary.

    Args:
        weights: w, (N, H, W) float, see :func:`boundary_weights`.

    Example:
        >>> effective_pixels(torch.tensor([[[0.5, 0.5, 0.0]], [[0.0, 0.0, 0.0]]])).tolist()
        [2.0, 0.0]
    """
    check_tensor("weights", weights, "float", ("N", ...))
    flat = weights.flatten(1)
    entropy: Tensor = torch.special.entr(flat).sum(dim=1)
    return entropy.exp() * (flat.sum(dim=1) > 0)
