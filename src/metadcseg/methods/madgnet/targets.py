"""What the three tasks of MADGNet learn from a mask: weights of pixels, distances within objects, boundaries."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from metadcseg.methods.common import class_numbers
from metadcseg.tensors import IGNORE, check_tensor

_POOLED = 31
_NEAR_OUTLINE = 5.0


@dataclass(frozen=True)
class Targets:
    """Of a batch.

    Args:
        masks: (N, L-1, H, W) float32, 1 where the label is that foreground class.
        weight: (N, H, W) float32, q of :func:`outline_weight`; 0 where ignored.
        distance: (N, L-1, H, W) float32 from 0 to 1, see :func:`inner_distance`.
        boundary: (N, L-1, H, W) float32, 1 on the boundary, see :func:`sobel_boundary`.
        beside_ignored: (N, H, W) bool: no boundary is known there.
    """

    masks: Tensor
    weight: Tensor
    distance: Tensor
    boundary: Tensor
    beside_ignored: Tensor


def targets_of(labels: Tensor, classes: int) -> Targets:
    """Return what the tasks learn.

    Args:
        labels: (N, H, W) int64, class 0 .. L-1, or ``IGNORE``.
        classes: L, at least 2.

    Example:
        >>> labels = torch.tensor([[0, 1, 1, 1, 0]]).repeat(5, 1).unsqueeze(0)
        >>> found = targets_of(labels, classes=2)
        >>> found.distance[0, 0, 2].tolist(), found.boundary[0, 0, 2].tolist()
        ([0.0, 0.5, 1.0, 0.5, 0.0], [1.0, 1.0, 0.0, 1.0, 1.0])
    """
    check_tensor("labels", labels, "int64", ("N", ...))
    ignored = labels == IGNORE
    masks = (labels.unsqueeze(1) == class_numbers(classes, labels)[:, 1:]).float()
    largest = F.max_pool2d if labels.ndim == 3 else F.max_pool3d
    near = largest(ignored.unsqueeze(1).float(), 3, stride=1, padding=1)[:, 0] > 0
    return Targets(
        masks, outline_weight(masks, ignored), inner_distance(masks, ignored), sobel_boundary(masks), near
    )


def outline_weight(masks: Tensor, ignored: Tensor) -> Tensor:
    """Return q = 1 + 5 max_k |mean of y_k over 31 x 31 pixels - y_k|, (N, H, W): what a pixel counts; 0 where ignored.

    PraNet's weight (Fan et al., MICCAI 2020), the largest over the foreground classes. Beyond the image y is 0; ignored
    pixels are left out of the mean.

    Args:
        masks: y, (N, L-1, H, W) float.
        ignored: (N, H, W) bool.

    Example:
        >>> mask = torch.zeros(1, 1, 31, 31)
        >>> mask[..., 15, 15] = 1
        >>> none = torch.zeros(1, 31, 31, dtype=torch.bool)
        >>> round(outline_weight(mask, none)[0, 15, 15].item(), 4)  # 1 + 5 (1 - 1 / 961)
        5.9948
    """
    held = torch.cat([masks, ignored.unsqueeze(1).to(masks.dtype)], dim=1)
    for axis in range(2, held.ndim):
        lines = held.movedim(axis, -1)
        pooled = F.avg_pool1d(lines.reshape(-1, 1, lines.shape[-1]), _POOLED, stride=1, padding=_POOLED // 2)
        held = pooled.view(lines.shape).movedim(-1, axis)
    counted = (1 - held[:, -1:]).clamp(min=_POOLED ** -(masks.ndim - 2))
    differs = (held[:, :-1] / counted - masks).abs().amax(dim=1)
    return (1 + _NEAR_OUTLINE * differs).masked_fill(ignored, 0.0)


def inner_distance(masks: Tensor, ignored: Tensor) -> Tensor:
    """Return the Euclidean distance within each mask to where it certainly ends, as a share of the image's largest.

    0 outside. Ignored pixels end no object; an object that nothing ends has no distances: 0. Computed on the CPU, for
    which the device is waited for.

    Args:
        masks: (N, L-1, H, W) float.
        ignored: (N, H, W) bool.

    Returns:
        (N, L-1, H, W), from 0 to 1.
    """
    inside = masks.bool()
    within = (inside | ignored.unsqueeze(1)).cpu().numpy()
    found = np.zeros(within.shape, np.float32)
    for place in np.ndindex(*within.shape[:2]):
        if not within[place].all():
            found[place] = distance_transform_edt(within[place])
    distance = torch.from_numpy(found).to(masks) * inside
    return distance / distance.flatten(2).amax(dim=2).clamp(min=1.0).view(
        *masks.shape[:2], *(1 for _ in masks.shape[2:])
    )


def sobel_boundary(masks: Tensor) -> Tensor:
    """Return 1 where the magnitude of the Sobel gradient of a mask is at least 0.5: on both sides of its outline.

    The image's edge is repeated beyond it, so that an object which it cuts has no boundary there.

    Args:
        masks: (N, L-1, H, W) float of 0 and 1.
    """
    axes = range(2, masks.ndim)
    padded = F.pad(masks, [1, 1] * len(axes), mode="replicate")
    total = torch.zeros_like(masks)
    for along in axes:
        response = padded
        for axis in axes:
            first, middle, last = (response.narrow(axis, start, masks.shape[axis]) for start in range(3))
            response = last - first if axis == along else first + 2 * middle + last
        total = total + response.square()
    return (total >= 0.25).to(masks.dtype)
