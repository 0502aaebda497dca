"""Losses per pixel and per image, unreduced, so that weights can be laid on them before any mean is taken."""

import torch
from torch import Tensor
from torch.nn import functional as F

from metadcseg.errors import InputError
from metadcseg.tensors import IGNORE, Batch, check_shape

_SMOOTHING = 1.0
"""Pixels added to both sides of the Dice fraction: what makes an absent class finite."""


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of every pixel (L_CE of eq. 1).

    Args:
        logits: (N, L, H, W) float.
        labels: (N, H, W) int64, class 0 .. L-1, or ``IGNORE``.

    Returns:
        (N, H, W), at least 0, in nats; exactly 0, without gradient, where labels are ``IGNORE``.

    Example:
        >>> loss = pixel_cross_entropy(torch.zeros(1, 2, 1, 2), torch.tensor([[[1, IGNORE]]]))
        >>> [round(value, 4) for value in loss.flatten().tolist()]
        [0.6931, 0.0]
    """
    return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")


def soft_dice_loss(
    probabilities: Tensor,
    labels: Tensor,
    label_confidence: Tensor | None = None,
    second: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return one minus the soft Dice coefficient of every image (L_Dice of eq. 13).

    For each foreground class the coefficient is (2 sum p y + 1) / (sum p + sum y + 1), sums over the pixels
    that are not ``IGNORE``; classes are ema_model with equal weight. The one pixel added on both sides makes
    every case finite and gives these policies: a class that is absent from the labels costs nothing where it
    is not predicted either, and false pixels of it cost 1 - 1 / (sum p + 1); so an all-background image asks
    for an all-background prediction. An image without any valid pixel costs 0.

    Args:
        probabilities: (N, L, H, W) float, from 0 to 1; index 0 of L is background.
        labels: (N, H, W) int64, class 0 .. L-1, or ``IGNORE``.
        label_confidence: (N, H, W) float, how much each pixel counts in all sums; fully by default.
        second: another label of every pixel, (N, H, W) int64, and how much it counts, (N, H, W) float, beside the
            ``label_confidence`` in the first: a pixel then counts as much as both together.

    Returns:
        (N,), from 0 (exact agreement) to below 1; float32 at least.

    Raises:
        InputError: where there is no foreground class, or shapes do not fit together.

    Example:
        >>> labels = torch.tensor([[[0, 1], [1, 0]]])
        >>> exact = torch.nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2).float()
        >>> soft_dice_loss(exact, labels).tolist()
        [0.0]
    """
    count, classes, *size = probabilities.shape
    check_shape("labels", labels, (count, *size))
    if classes < 2:
        raise InputError(f"probabilities must have at least 2 classes (background first), got {classes}")
    valid = (labels != IGNORE).unsqueeze(1)  # (N, 1, H, W)
    numbers = torch.arange(1, classes, device=labels.device).view(1, -1, *(1 for _ in size))
    at_least_float = torch.promote_types(probabilities.dtype, torch.float32)  # half overflows in the sums
    foreground = probabilities[:, 1:].to(at_least_float).masked_fill(~valid, 0.0)
    counted: Tensor = labels.unsqueeze(1) == numbers  # (N, L-1, H, W)
    predicted = foreground
    if label_confidence is not None:
        weight = label_confidence.to(foreground.dtype).unsqueeze(1)
        counted, predicted = counted * weight, foreground * weight
    if second is not None:
        other, more = second[0].unsqueeze(1), second[1].to(foreground.dtype).unsqueeze(1)
        counted = counted + (other == numbers) * more.masked_fill(~valid, 0.0)
        predicted = predicted + foreground * more
    space = tuple(range(2, foreground.ndim))
    overlap = (foreground * counted).sum(dim=space)  # (N, L-1)
    sizes = predicted.sum(dim=space) + counted.sum(dim=space)
    return 1.0 - ((2.0 * overlap + _SMOOTHING) / (sizes + _SMOOTHING)).mean(dim=1)


def mean_over_pixels(maps: Tensor, labels: Tensor, pixels: Tensor | None = None) -> Tensor:
    """Return the mean over all pixels of the batch whose label counts.

    Args:
        maps: (N, H, W) float.
        labels: (N, H, W) int64; pixels that are ``IGNORE`` do not count.
        pixels: what to divide by where the batch is one device's part of a larger one
            (:attr:`metadcseg.tensors.Batch.global_batch_size`); by default the pixels that count.

    Returns:
        A scalar; 0, still part of the graph, where no pixel counts.

    Example:
        >>> mean_over_pixels(torch.tensor([[[1.0, 3.0, 9.0]]]), torch.tensor([[[0, 1, IGNORE]]])).item()
        2.0
    """
    valid = labels != IGNORE
    return maps.masked_fill(~valid, 0.0).sum() / (valid.sum().clamp(min=1) if pixels is None else pixels)


def mean_cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Return the cross-entropy times trust, ema_model over the pixels that are not ignored; a scalar."""
    pixels = batch.weigh_by_confidence(pixel_cross_entropy(logits, batch.labels))
    return mean_over_pixels(pixels, batch.labels, batch.global_batch_size.pixels)


def mean_soft_dice(logits: Tensor, batch: Batch) -> Tensor:
    """Return the soft Dice loss of the labels as they are trusted, ema_model over images; a scalar."""
    return (
        soft_dice_loss(logits.softmax(dim=1), batch.labels, batch.label_confidence).sum()
        / batch.global_batch_size.images
    )
