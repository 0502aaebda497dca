"""The weights of every pixel: the bootstrapping loss and how alpha and beta move (sections 3.2 and A.3 of the paper).

Symbols: f is a pixel's cross-entropy with the given label, g with the pseudo-label; alpha and beta are the trust in
either; gamma = alpha + beta (eq. 9) is :attr:`metadcseg.tensors.WeightMaps.gamma`. A wrong axis or dtype of any
argument is an InputError.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from metadcseg.errors import unknown_name
from metadcseg.losses import pixel_cross_entropy
from metadcseg.tensors import IGNORE, AllReduceMean, PixelGradients, WeightMaps, check_classes, check_tensor

Normalization = Literal["image", "batch", "complementary"]


def pseudo_labels(logits: Tensor) -> Tensor:
    """Return y_pseudo = argmax_c p[c] of every pixel (eq. 1), (N, H, W) int64; the lowest class where some tie.

    Args:
        logits: (N, L, H, W) float, or probabilities: their order is the same.

    Example:
        >>> pseudo_labels(torch.tensor([[[[0.0]], [[2.0]], [[1.0]]]])).tolist()
        [[[1]]]
    """
    check_classes("logits", logits)
    return logits.detach().max(dim=1).indices  # argmax over strided values takes fifty times as long


def initial_weights(shape: Sequence[int], device: torch.device | None = None) -> WeightMaps:
    """Return alpha = 1 and beta = 0 (eq. 2), full trust in the given label: float32 of the shape (N, H, W).

    Example:
        >>> initial_weights((1, 1, 2)).gamma.tolist()
        [[[1.0, 1.0]]]
    """
    return WeightMaps(torch.ones(shape, device=device), torch.zeros(shape, device=device))


def weighted_pixel_loss(logits: Tensor, labels: Tensor, pseudo: Tensor, weights: WeightMaps) -> Tensor:
    """Return the bootstrapping loss of every pixel, alpha * f + beta * g (eq. 1), in nats.

    Args:
        logits: (N, L, H, W) float.
        labels: (N, H, W) int64, what was given: class 0 .. L-1, or ``IGNORE``.
        pseudo: (N, H, W) int64, see :func:`pseudo_labels`.
        weights: alpha and beta, (N, H, W).

    Returns:
        (N, H, W) float, at least 0; exactly 0 where ``labels`` are ``IGNORE``.

    Example:
        >>> weights = WeightMaps(torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1), 1.5))
        >>> label, pseudo = torch.tensor([[[0]]]), torch.tensor([[[1]]])
        >>> loss = weighted_pixel_loss(torch.zeros(1, 2, 1, 1), label, pseudo, weights)
        >>> round(loss.item(), 4)  # 2 ln 2
        1.3863
    """
    check_tensor("weights", weights.alpha, "float", check_classes("logits", logits))
    check_tensor("pseudo", pseudo, "int64", tuple(weights.alpha.shape))
    given = pixel_cross_entropy(logits, labels)  # f
    guessed = pixel_cross_entropy(logits, pseudo.masked_fill(labels == IGNORE, IGNORE))  # g
    return weights.alpha * given + weights.beta * guessed


def update_weights(
    weights: WeightMaps, gradients: PixelGradients, *, eta: float, valid: Tensor
) -> WeightMaps:
    """Return max(0, alpha - eta d_alpha) and max(0, beta - eta d_beta), d being the gradients (eq. 22, 23).

    The rectified pair is what gamma is made of (eq. 9) and what is kept for the pixel's next visit: projected gradient
    descent. (Eq. 22 as printed goes on from unrectified values; a weight far below 0 could hardly return.)

    Args:
        weights: alpha and beta, (N, H, W).
        gradients: the derivative of the gold loss with respect to them, (N, H, W).
        eta: the step size, at least 0.
        valid: (N, H, W) bool; other pixels keep their weights.

    Example:
        >>> step = PixelGradients(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[1.0, -3.0]]]))
        >>> every = torch.ones(1, 1, 2, dtype=torch.bool)
        >>> moved = update_weights(initial_weights((1, 1, 2)), step, eta=0.5, valid=every)
        >>> moved.alpha.tolist(), moved.beta.tolist()
        ([[[0.0, 0.5]]], [[[0.0, 1.5]]])
    """
    check_tensor("gradients", gradients.alpha, "float", tuple(weights.alpha.shape))
    check_tensor("valid", valid, "bool", tuple(weights.alpha.shape))

    def move(weight: Tensor, gradient: Tensor) -> Tensor:
        return torch.where(valid, (weight - eta * gradient).clamp(min=0.0), weight)

    return WeightMaps(move(weights.alpha, gradients.alpha), move(weights.beta, gradients.beta))


def normalize_weights(
    weights: WeightMaps, mode: Normalization, valid: Tensor, all_reduce_mean: AllReduceMean = dict
) -> WeightMaps:
    """Return alpha / Z and beta / Z, Z being the mean of alpha + beta over valid pixels (eq. 24).

    As printed, Z is their sum, and weights have the size 1 / (H W). With the mean they average 1, so that the first
    term of eq. 13 is of the size of one pixel's loss, as the second is.

    Args:
        weights: rectified alpha and beta, (N, H, W), at least 0.
        mode: over what Z is a mean. ``"image"``: each image (eq. 24). ``"batch"``: the whole batch, as in L2B.
            ``"complementary"``: each pixel, so that alpha + beta = 1 (3.2.3 of the paper). Where Z is 0: eq. 2.
        valid: (N, H, W) bool.
        all_reduce_mean: over the devices that share the batch, where several do; only ``"batch"`` needs it.

    Returns:
        The scaled weights, at least 0; 0 where pixels are not valid.

    Raises:
        InputError: for an unknown mode.

    Example:
        >>> weights = WeightMaps(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
        >>> scaled = normalize_weights(weights, "image", torch.ones(1, 1, 2, dtype=torch.bool))
        >>> [round(value, 3) for value in scaled.gamma.flatten().tolist()]
        [1.6, 0.4]
    """
    check_tensor("valid", valid, "bool", tuple(weights.alpha.shape))
    if mode not in get_args(Normalization):
        raise unknown_name("normalization", mode, get_args(Normalization))
    gamma = weights.gamma.masked_fill(~valid, 0.0)
    size = gamma
    if mode != "complementary":
        over = tuple(range(1 if mode == "image" else 0, gamma.ndim))
        total, pixels = gamma.sum(dim=over, keepdim=True), valid.sum(dim=over, keepdim=True).float()
        if mode == "batch":
            means = all_reduce_mean({"gamma": total, "pixels": pixels})
            total, pixels = means["gamma"], means["pixels"]
        size = total / torch.where(pixels > 0, pixels, 1.0)  # Z_i / (H W)
    empty = size <= 0
    divisor = torch.where(empty, 1.0, size)
    alpha = torch.where(empty, 1.0, weights.alpha / divisor)
    beta = torch.where(empty, 0.0, weights.beta / divisor)
    return WeightMaps(alpha.masked_fill(~valid, 0.0), beta.masked_fill(~valid, 0.0))
