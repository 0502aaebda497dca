"""The unified training objective (eq. 13)."""

from dataclasses import dataclass

from torch import Tensor

from metadcseg.losses import mean_over_pixels
from metadcseg.tensors import IGNORE, GlobalBatchSize, check_shape


@dataclass(frozen=True)
class Objective:
    """The loss of one batch and what it is made of; all scalars, the parts before their lambda.

    Args:
        total: pixel + lambda_1 * boundary + lambda_2 * dice.
        pixel: the mean weighted loss of all pixels.
        boundary: the weighted loss of the boundary, ema_model over images.
        dice: the Dice loss, ema_model over images.
    """

    total: Tensor
    pixel: Tensor
    boundary: Tensor
    dice: Tensor


def total_objective(
    pixel_loss: Tensor,
    weights_boundary: Tensor,
    dice: Tensor,
    labels: Tensor,
    lambda_boundary: float,
    lambda_dice: float,
    global_batch_size: GlobalBatchSize | None = None,
) -> Objective:
    """Return the total loss of a batch (eq. 13).

    As printed, the first term sums over all pixels while the second is an average (boundary weights sum to
    one), so that their ratio depends on the image size. Here the first term is a mean over the valid pixels
    of the batch, the second a sum over each image's boundary ema_model over images (an image without boundary
    counts as 0), and the third an average over images: all three are of the size of one pixel's loss.

    Args:
        pixel_loss: (N, H, W) float (eq. 1).
        weights_boundary: (N, H, W) float, 0 outside the boundary (eq. 12).
        dice: (N,) float, see :func:`metadcseg.losses.soft_dice_loss`.
        labels: (N, H, W) int64; pixels that are ``IGNORE`` count in no term.
        lambda_boundary: lambda_1, at least 0.
        lambda_dice: lambda_2, at least 0.
        global_batch_size: what the means divide by where this is one device's part of a larger batch.

    Example:
        >>> import torch
        >>> loss, weights = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 1.0]]])
        >>> labels = torch.zeros(1, 1, 2, dtype=torch.int64)
        >>> total_objective(loss, weights, torch.tensor([0.5]), labels, 0.5, 1.0).total.item()
        4.0
    """
    check_shape("weights_boundary", weights_boundary, tuple(pixel_loss.shape))
    check_shape("dice", dice, (pixel_loss.shape[0],))
    pixels, images = (
        (None, len(dice))
        if global_batch_size is None
        else (global_batch_size.pixels, global_batch_size.images)
    )
    pixel = mean_over_pixels(pixel_loss, labels, pixels)
    on_boundary = (weights_boundary * pixel_loss).masked_fill(labels == IGNORE, 0.0)
    boundary = on_boundary.sum() / images
    region = dice.sum() / images
    total = pixel + lambda_boundary * boundary + lambda_dice * region
    return Objective(total, pixel, boundary, region)
