"""Losses per pixel and image, unreduced, so that weights come before means; a wrong axis or dtype is an InputError."""

import torch
from torch import Tensor
from torch.nn import functional as F

from metadcseg.tensors import IGNORE, Batch, check_classes, check_label_values, check_shape, check_tensor

_SMOOTHING = 1.0  # pixels added to both sides of the Dice fraction: what makes an absent class finite


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return -ln softmax(logits)[label] of every pixel (L_CE of eq. 1), in nats.

    Args:
        logits: (N, L, H, W) float, L >= 2.
        labels: (N, H, W) int64, class 0 .. L-1, or ``IGNORE``.

    Returns:
        (N, H, W) float, at least 0; exactly 0, without gradient, where labels are ``IGNORE``.

    Example:
        >>> loss = pixel_cross_entropy(torch.zeros(1, 2, 1, 2), torch.tensor([[[1, IGNORE]]]))
        >>> [round(value, 4) for value in loss.flatten().tolist()]
        [0.6931, 0.0]
    """
    check_tensor("labels", labels, "int64", check_classes("logits", logits))
    check_label_values("labels", labels, logits.shape[1])
    return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")


def soft_dice_loss(
    probabilities: Tensor,
    labels: Tensor,
    label_confidence: Tensor | None = None,
    second: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return 1 - mean_k (2 sum p_k y_k + 1) / (sum p_k + sum y_k + 1) of every image, k = 1 .. L-1 (L_Dice of eq. 13).

    The Dice loss of V-Net (Milletari et al., 3DV 2016) with sums in place of squares, for each foreground class alike.
    Sums run over the pixels that are not ``IGNORE``; y_k is 1 where the label is k, else 0. The one pixel on both sides
    makes these policies: a class absent from the labels costs 0 where it is not predicted and 1 - 1 / (sum p_k + 1)
    where it is; an image without valid pixels costs 0.

    Args:
        probabilities: p, (N, L, H, W) float, from 0 to 1; index 0 of L is background, L >= 2.
        labels: (N, H, W) int64, class 0 .. L-1, or ``IGNORE``.
        label_confidence: (N, H, W) float, how much each pixel counts in all sums; fully by default.
        second: another label of every pixel, (N, H, W) int64, and how much it counts, (N, H, W) float, beside the
            ``label_confidence`` in the first: a pixel then counts as much as both together.

    Returns:
        (N,), from 0 (exact agreement) to below 1; float32 at least.

    Example:
        >>> labels = torch.tensor([[[0, 1], [1, 0]]])
        >>> soft_dice_loss(torch.full((1, 2, 2, 2), 0.25), labels).tolist()  # 1 - (2 * 0.5 + 1) / (1 + 2 + 1)
        [0.5]
    """
    shape = check_classes("probabilities", probabilities)
    check_tensor("labels", labels, "int64", shape)
    check_label_values("labels", labels, probabilities.shape[1])
    valid = (labels != IGNORE).unsqueeze(1)  # (N, 1, H, W)
    space = tuple(range(2, probabilities.ndim))
    numbers = torch.arange(1, probabilities.shape[1], device=labels.device).view(-1, *(1 for _ in space))
    at_least_float = torch.promote_types(probabilities.dtype, torch.float32)  # half overflows in the sums
    foreground = probabilities[:, 1:].to(at_least_float).masked_fill(~valid, 0.0)
    counted: Tensor = labels.unsqueeze(1) == numbers  # (N, L-1, H, W)
    predicted = foreground
    if label_confidence is not None:
        check_tensor("label_confidence", label_confidence, "float", shape)
        weight = label_confidence.to(foreground.dtype).unsqueeze(1)
        counted, predicted = counted * weight, foreground * weight
    if second is not None:
        check_tensor("second[0]", second[0], "int64", shape)
        check_tensor("second[1]", second[1], "float", shape)
        other, more = second[0].unsqueeze(1), second[1].to(foreground.dtype).unsqueeze(1)
        counted = counted + (other == numbers) * more.masked_fill(~valid, 0.0)
        predicted = predicted + foreground * more
    overlap = (foreground * counted).sum(dim=space)  # (N, L-1)
    sizes = predicted.sum(dim=space) + counted.sum(dim=space)
    return 1.0 - ((2.0 * overlap + _SMOOTHING) / (sizes + _SMOOTHING)).mean(dim=1)


def mean_over_pixels(maps: Tensor, labels: Tensor, pixels: Tensor | None = None) -> Tensor:
    """Return sum_p m_p / P over the P pixels p whose label is not ``IGNORE``, a scalar; 0 where there are none.

    Args:
        maps: m, (N, H, W) float.
        labels: (N, H, W) int64; pixels that are ``IGNORE`` do not count.
        pixels: what to divide by where the batch is one device's part of a larger one
            (:attr:`metadcseg.tensors.Batch.global_batch_size`); by default the pixels that count.

    Example:
        >>> mean_over_pixels(torch.tensor([[[1.0, 3.0, 9.0]]]), torch.tensor([[[0, 1, IGNORE]]])).item()
        2.0
    """
    check_tensor("maps", maps, "float", ("N", ...))
    check_tensor("labels", labels, "int64", tuple(maps.shape))
    if pixels is not None:
        check_shape("pixels", pixels, ())
    valid = labels != IGNORE
    return maps.masked_fill(~valid, 0.0).sum() / (valid.sum().clamp(min=1) if pixels is None else pixels)


def mean_cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Return the cross-entropy times label confidence, averaged over the pixels that are not ignored; a scalar."""
    pixels = batch.weigh_by_confidence(pixel_cross_entropy(logits, batch.labels))
    return mean_over_pixels(pixels, batch.labels, batch.global_batch_size.pixels)


def mean_soft_dice(logits: Tensor, batch: Batch) -> Tensor:
    """Return the soft Dice loss, each pixel counting by its label confidence, averaged over images; a scalar."""
    images = soft_dice_loss(logits.softmax(dim=1), batch.labels, batch.label_confidence)
    return images.sum() / batch.global_batch_size.images
