"""The weights of every pixel: the bootstrapping loss and how alpha and beta move (eq. 1, 2, 9, 22-24).

Symbols: f is a pixel's cross-entropy with the given label, g with the pseudo-label; alpha and beta are the
trust in either; gamma = alpha + beta (eq. 9) is :attr:`metadcseg.tensors.WeightMaps.gamma`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from metadcseg.errors import unknown_name
from metadcseg.losses import pixel_cross_entropy
from metadcseg.tensors import IGNORE, AllReduceMean, WeightMaps, check_shape

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
        check_shape("beta", self.beta, tuple(self.alpha.shape))


def pseudo_labels(logits: Tensor) -> Tensor:
    """Return the most probable class of every pixel (y_pseudo of eq. 1).

    Args:
        logits: (N, L, H, W) float.

    Returns:
        (N, H, W) int64, without gradient; the lowest class number where classes tie.

    Example:
        >>> pseudo_labels(torch.tensor([[[[0.0]], [[2.0]], [[1.0]]]])).tolist()
        [[[1]]]
    """
    return logits.detach().max(dim=1).indices  # argmax over strided values takes fifty times as long


def initial_weights(shape: Sequence[int], device: torch.device | None = None) -> WeightMaps:
    """Return the weights at the start: full trust in the given label (eq. 2).

    Args:
        shape: (N, H, W).
        device: where the maps shall lie.

    Returns:
        alpha = 1 and beta = 0 everywhere, float32.

    Example:
        >>> initial_weights((1, 1, 2)).gamma.tolist()
        [[[1.0, 1.0]]]
    """
    return WeightMaps(torch.ones(shape, device=device), torch.zeros(shape, device=device))


def weighted_pixel_loss(logits: Tensor, labels: Tensor, pseudo: Tensor, weights: WeightMaps) -> Tensor:
    """Return the bootstrapping loss of every pixel, alpha * f + beta * g (eq. 1).

    Args:
        logits: (N, L, H, W) float.
        labels: (N, H, W) int64, what was given, or ``IGNORE``.
        pseudo: (N, H, W) int64, see :func:`pseudo_labels`.
        weights: alpha and beta, (N, H, W).

    Returns:
        (N, H, W), exactly 0 where ``labels`` are ``IGNORE``.

    Example:
        >>> halves = WeightMaps(torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1), 0.5))
        >>> label, pseudo = torch.tensor([[[0]]]), torch.tensor([[[1]]])
        >>> round(weighted_pixel_loss(torch.zeros(1, 2, 1, 1), label, pseudo, halves).item(), 4)
        0.6931
    """
    given = pixel_cross_entropy(logits, labels)  # f
    guessed = pixel_cross_entropy(logits, pseudo.masked_fill(labels == IGNORE, IGNORE))  # g
    return weights.alpha * given + weights.beta * guessed


def update_weights(
    weights: WeightMaps, gradients: PixelGradients, *, eta: float, scaling: Scaling, valid: Tensor
) -> WeightMaps:
    """Take one gradient step on the weights and rectify them (eq. 22, 23).

    What comes back is the rectified pair, and it is what shall be kept for the pixel's next visit: projected
    gradient descent. (As printed, eq. 22 would go on from the unrectified values, so that a weight pushed
    below 0 many times could hardly ever return.) It is also what gamma is made of (eq. 9), before
    :func:`normalize_weights`.

    Args:
        weights: alpha and beta, (N, H, W).
        gradients: the derivative of the gold loss with respect to them.
        eta: the step size, at least 0.
        scaling: ``"rms"`` divides the gradients by their root mean square, taken in each image over the valid
            pixels and both maps, so that eta is the typical step whatever the learning rate, the image size
            and the network; ``"none"`` is eq. 22 as printed. An all-zero gradient moves nothing either way.
        valid: (N, H, W) bool; pixels that are not valid keep their weights.

    Returns:
        The new weights, at least 0.

    Raises:
        InputError: for an unknown scaling.

    Example:
        >>> step = PixelGradients(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[1.0, -3.0]]]))
        >>> every = torch.ones(1, 1, 2, dtype=torch.bool)
        >>> moved = update_weights(initial_weights((1, 1, 2)), step, eta=0.5, scaling="none", valid=every)
        >>> moved.alpha.tolist(), moved.beta.tolist()
        ([[[0.0, 0.5]]], [[[0.0, 1.5]]])
    """
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
    """Scale rectified weights to a common size (eq. 24).

    Eq. 24 makes weights that sum to one, so of size 1 / (H W). Here they average one instead (Z_i / (H W) in
    place of Z_i), so that the first term of eq. 13 is a mean over pixels, comparable with the second.

    Args:
        weights: rectified alpha and beta, (N, H, W), at least 0.
        mode: ``"image"``: alpha + beta averages 1 over the valid pixels of each image (eq. 24); an image
            whose weights are all 0 goes back to eq. 2. ``"batch"``: averages 1 over those of the whole batch
            (as L2B does; an image may lose all its weight to others); back to eq. 2 where the whole batch is
            0. ``"complementary"``: alpha + beta = 1 in every pixel (3.2.3 of the paper); a pixel with both 0
            goes back to eq. 2.
        valid: (N, H, W) bool.
        all_reduce_mean: over the devices that share the batch, where several do; only ``"batch"`` needs it.

    Returns:
        The scaled weights, 0 where pixels are not valid.

    Raises:
        InputError: for an unknown mode.

    Example:
        >>> weights = WeightMaps(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
        >>> scaled = normalize_weights(weights, "image", torch.ones(1, 1, 2, dtype=torch.bool))
        >>> [round(value, 3) for value in scaled.gamma.flatten().tolist()]
        [1.6, 0.4]
    """
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
