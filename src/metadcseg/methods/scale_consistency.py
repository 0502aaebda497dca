"""What a network says of an image at several scales, and how far it agrees (ADELE; Liu et al., CVPR 2022)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metadcseg.errors import InputError
from metadcseg.losses import mean_over_pixels
from metadcseg.networks.committee import members_of
from metadcseg.tensors import IGNORE, Batch

SCALES = (0.7, 1.0, 1.5)
"""By what the sides of an image are multiplied."""

CONFIDENT = 0.8
"""How probable the mean of the scales must find a class in some pixel of an image that counts."""

_LEAST = 1e-3
_MOST_HALVED = 32  # five times


def logits_at(network: nn.Module, images: Tensor, scales: Sequence[float] = SCALES) -> list[Tensor]:
    """Return the logits of an image at several scales, each brought to the size of the image, (N, L, H, W).

    Args:
        network: returns an :class:`.Output`.
        images: (N, C, H, W) float; of volumes (N, C, D, H, W), whose depth is scaled, too.
        scales: factors of the sides, above 0; sides are rounded to what the network takes. Of one that does not say
            so, a side stays a multiple of the largest power of two up to 32 that divides the image's.
    """
    size = images.shape[2:]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    found = []
    for scale in scales:
        if scale == 1:
            found.append(network(images).logits)
            continue
        sides = _scaled_sides(network, size, scale)
        scaled = F.interpolate(images, sides, mode=mode, align_corners=False)
        found.append(F.interpolate(network(scaled).logits, size, mode=mode, align_corners=False))
    return found


def _scaled_sides(network: nn.Module, size: Sequence[int], scale: float) -> list[int]:
    """Return the sides nearest to those of an image times a factor that the network, or committee, takes."""
    first = members_of(network)[0]
    sides = []
    for axis, side in enumerate(size):
        multiple, least = first.multiple, first.least_side(axis)
        if first.fit:
            multiple, least = 1, 1
        elif multiple == 1:  # it may halve its maps several times, as the whole image lets it
            multiple = least = min(side & -side, _MOST_HALVED)
        sides.append(max(least, multiple * int(side * scale / multiple + 0.5)))
    return sides


def mean_of_scales(logits: Sequence[Tensor]) -> Tensor:
    """Return q, the mean of the softmax at all scales, (N, L, H, W) float32 at least.

    Example:
        >>> even, three_to_one = torch.zeros(1, 2, 1, 1), torch.tensor([0.0, 1.0986123]).view(1, 2, 1, 1)
        >>> mean_of_scales([even, three_to_one]).flatten().tolist()
        [0.375, 0.625]
    """
    at_least_float = torch.promote_types(logits[0].dtype, torch.float32)
    return torch.stack([one.to(at_least_float).softmax(dim=1) for one in logits]).mean(dim=0)


def scale_consistency(logits: Sequence[Tensor], batch: Batch) -> Tensor:
    """Return the mean over scales k and pixels of KL(p_k || q), in nats; a scalar.

    p_k is the softmax at scale k, q their mean, within 0.001 of 0 and 1. An image counts where q gives some class 0.8
    in some pixel; its other pixels count 0, as in the published code. Both sides of the divergence have a gradient.

    Args:
        logits: (N, L, H, W) float of each scale.
        batch: the images, with labels (N, H, W) int64; ``IGNORE`` and label confidence take pixels out.

    Raises:
        InputError: for no scale, or logits of different shapes.

    Example:
        >>> from metadcseg.warp import Warp
        >>> sure, unsure = torch.tensor([4.0, 0.0]).view(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
        >>> labels = torch.zeros(1, 1, 1, dtype=torch.int64)
        >>> one = Batch(torch.zeros(1, 1, 1, 1), labels, torch.arange(1), Warp.identity(1))
        >>> abs(round(scale_consistency([sure, sure], one).item(), 6))
        0.0
        >>> scale_consistency([sure, unsure], one).item()  # their mean gives no class 0.8
        0.0
        >>> apart = [torch.tensor([p, 1 - p]).log().view(1, 2, 1, 1) for p in (0.99, 0.71)]  # 0.85 in the mean
        >>> round(scale_consistency(apart, one).item(), 4)  # half of KL(0.99 || 0.85) + KL(0.71 || 0.85)
        0.0936
    """
    if not logits or any(one.shape != logits[0].shape for one in logits):
        shapes = ", ".join(str(tuple(one.shape)) for one in logits) or "none"
        raise InputError(f"logits of the scales must be given and have one shape, got {shapes}")
    mean = mean_of_scales(logits).clamp(_LEAST, 1 - _LEAST)
    seen = batch.labels != IGNORE
    most = mean.detach().max(dim=1).values.masked_fill(~seen, 0.0).flatten(1).max(dim=1).values
    counts = (most >= CONFIDENT).view(-1, *(1 for _ in batch.labels.shape[1:]))
    total = mean.new_zeros(batch.labels.shape)
    for one in logits:
        own = one.to(mean.dtype)
        total = total + (own.softmax(dim=1) * (own.log_softmax(dim=1) - mean.log())).sum(dim=1)
    maps = batch.weigh_by_confidence(total * counts) / len(logits)
    return mean_over_pixels(maps, batch.labels, batch.global_batch_size.pixels)
