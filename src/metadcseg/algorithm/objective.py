"""The training objective (eq. 13, section 3.4 of the paper); a wrong axis or dtype of any argument is an InputError."""

from dataclasses import dataclass

from torch import Tensor

from metadcseg.losses import mean_over_pixels
from metadcseg.tensors import IGNORE, GlobalBatchSize, check_tensor


@dataclass(frozen=True)
class Objective:
    """The loss of one batch and what it is made of; all scalars, the parts before their lambda.

    Args:
        total: pixel + lambda_1 * boundary + lambda_2 * dice.
        pixel: the mean weighted loss of all pixels.
        boundary: the weighted loss of the boundary, averaged over images.
        dice: the Dice loss, averaged over images.
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
    """Return mean_p(l_p) + lambda_1 mean_n(sum_p w_np l_np) + lambda_2 mean_n(dice_n), p pixels, n images (eq. 13).

    As printed, the first term is a sum over pixels, so that its ratio to the second depends on the image size. Here
    all three have the size of one pixel's loss; an image without boundary counts as 0 in the second.

    Args:
        pixel_loss: l, (N, H, W) float, in nats (eq. 1).
        weights_boundary: w, (N, H, W) float, 0 outside the boundary (eq. 12).
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
    check_tensor("pixel_loss", pixel_loss, "float", ("N", ...))
    check_tensor("weights_boundary", weights_boundary, "float", tuple(pixel_loss.shape))
    check_tensor("dice", dice, "float", (len(pixel_loss),))
    whole = global_batch_size
    pixels, images = (None, len(dice)) if whole is None else (whole.pixels, whole.images)
    pixel = mean_over_pixels(pixel_loss, labels, pixels)
    on_boundary = (weights_boundary * pixel_loss).masked_fill(labels == IGNORE, 0.0)
    boundary = on_boundary.sum() / images
    region = dice.sum() / images
    total = pixel + lambda_boundary * boundary + lambda_dice * region
    return Objective(total, pixel, boundary, region)
