"""The weights of every pixel: the bootstrapping loss and how alpha and beta move (sections 3.2 and A.3 of the paper).

Symbols: f is a pixel's cross-entropy with the given label, g with the pseudo-label; alpha and beta are the trust in
either; gamma = alpha + beta (eq. 9) is :attr:`metadcseg.tensors.WeightMaps.gamma`. A wrong axis or dtype of any
argument is an InputError.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from metadcseg.errors import unknown_name
from metadcseg.losses import pixel_cross_entropy
from metadcseg.tensors import IGNORE, AllReduceMean, WeightMaps, check_classes, check_tensor

Scaling = Literal["rms", "none"]
Normalization = Literal["image", "batch", "complementary"]


@dataclass(frozen=True)
class PixelGradients:
    """The derivative of the gold loss with respect to every pixel's weights (eq. 29).

    Args:
        alpha: (N, H, W) float; negative where more trust in the given label would lower the gold loss.
        beta: (N, H, W) float; the same for the pseudo-label.
    """

    alpha: Tensor
    beta: Tensor

    def __post_init__(self) -> None:
        check_tensor("gradients.alpha", self.alpha, "float", ("N", ...))
        check_tensor("gradients.beta", self.beta, "float", tuple(self.alpha.shape))


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
    weights: WeightMaps, gradients: PixelGradients, *, eta: float, scaling: Scaling, valid: Tensor
) -> WeightMaps:
    """Return max(0, alpha - eta d_alpha) and max(0, beta - eta d_beta), d being the gradients (eq. 22, 23).

    The rectified pair is what gamma is made of (eq. 9) and what is kept for the pixel's next visit: projected gradient
    descent. (Eq. 22 as printed goes on from unrectified values; a weight far below 0 could hardly return.)

    Args:
        weights: alpha and beta, (N, H, W).
        gradients: the derivative of the gold loss with respect to them, (N, H, W).
        eta: the step size, at least 0.
        scaling: ``"rms"`` divides d by its root mean square over the valid pixels of both maps of an image, so that
            eta is the typical step whatever the learning rate; ``"none"`` is as printed.
        valid: (N, H, W) bool; other pixels keep their weights.

    Raises:
        InputError: for an unknown scaling.

    Example:
        >>> step = PixelGradients(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[1.0, -3.0]]]))
        >>> every = torch.ones(1, 1, 2, dtype=torch.bool)
        >>> moved = update_weights(initial_weights((1, 1, 2)), step, eta=0.5, scaling="none", valid=every)
        >>> moved.alpha.tolist(), moved.beta.tolist()
        ([[[0.0, 0.5]]], [[[0.0, 1.5]]])
    """
    check_tensor("gradients", gradients.alpha, "float", tuple(weights.alpha.shape))
    check_tensor("valid", valid, "bool", tuple(weights.alpha.shape))
    if scaling not in get_args(Scaling):
        raise unknown_name("meta_scaling", scaling, get_args(Scaling))
    if scaling == "rms":
        gradients = _unit_rms(gradients, valid)

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
    if mode == "complementary":
        size = gamma
    else:
        over = tuple(range(1 if mode == "image" else 0, gamma.ndim))
        sums = {
            "gamma": gamma.sum(dim=over, keepdim=True),
            "pixels": valid.sum(dim=over, keepdim=True).float(),
        }
        if mode == "batch":
            sums = dict(all_reduce_mean(sums))
        counted = torch.where(sums["pixels"] > 0, sums["pixels"], 1.0)
        size = sums["gamma"] / counted  # Z_i / (H W)
    empty = size <= 0
    divisor = torch.where(empty, 1.0, size)
    alpha = torch.where(empty, 1.0, weights.alpha / divisor)
    beta = torch.where(empty, 0.0, weights.beta / divisor)
    return WeightMaps(alpha.masked_fill(~valid, 0.0), beta.masked_fill(~valid, 0.0))


def _unit_rms(gradients: PixelGradients, valid: Tensor) -> PixelGradients:
    """Divide each image's gradients by their root mean square over its valid pixels and both maps."""
    pair = torch.stack([gradients.alpha, gradients.beta], dim=1).masked_fill(~valid.unsqueeze(1), 0.0)
    over = tuple(range(1, pair.ndim))
    largest = pair.abs().amax(dim=over, keepdim=True)  # (N, 1, 1, 1)
    # first to size one: the square of a gradient of 1e-23 would be 0 in float32
    pair = pair / torch.where(largest > 0, largest, 1.0)
    counted = 2 * valid.flatten(1).sum(dim=1).clamp(min=1).view(-1, *(1 for _ in over))
    rms = (pair.square().sum(dim=over, keepdim=True) / counted).sqrt()
    pair = pair / torch.where(rms > 0, rms, 1.0)
    return PixelGradients(pair[:, 0], pair[:, 1])
