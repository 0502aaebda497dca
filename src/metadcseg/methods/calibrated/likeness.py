"""Which of the pairs a given mask resembles, and how far a mean over pairs is to be believed.

Masks are drawn too large or too small one by one: of noise in both directions the mean of all pairs says little. The
network says which pairs a mask is like: those whose table makes its prediction the most probable.
"""

import torch
from torch import Tensor

from metadcseg.methods.common import class_numbers
from metadcseg.methods.pair_table import LEAST, look_up, without_own
from metadcseg.tensors import IGNORE

SMOOTHING = 0.002
"""The share of an image's pixels that the mean of all pairs counts for in the table of one pair."""

COMPONENTS = 8
"""At most so many tables are told apart: of more pairs, those with a like share of wrong pixels are taken together."""

WITNESS = 64.0
"""Pixels of a grid of 64 x 64 that count as one witness: what a network says of neighbors is nearly the same."""

LEAST_WRONG = 0.02
"""The least P(given label wrong), by any component, where a pixel is a witness."""


def components_of(pixels: Tensor, truly: Tensor) -> Tensor:
    """Return one table for every pair, or group of like pairs: (M, L, L, B), none of fewer than two pairs.

    T_k = (truly_k + m T) / (pixels_k + m): the share in pair k, drawn to that of all pairs, T, which counts as m
    pixels; m is ``SMOOTHING`` times the visits of the image.

    Args:
        pixels: (K, L, L, B) float, of the pairs seen (:meth:`.pair_table.PairTable.seen`).
        truly: likewise.
    """
    if len(pixels) < 2:
        return pixels[:0]
    if len(pixels) > COMPONENTS:
        order = without_own(truly).flatten(1).sum(dim=1) / pixels.flatten(1).sum(dim=1)
        groups = order.argsort().tensor_split(COMPONENTS)
        pixels, truly = (
            torch.stack([part[group].sum(dim=0) for group in groups]) for part in (pixels, truly)
        )
    pooled = truly.sum(dim=0) / pixels.sum(dim=0).clamp(min=torch.finfo(torch.float32).tiny)
    more = SMOOTHING * pixels[:, :, 0].sum(dim=(1, 2)).view(-1, 1, 1, 1)
    return without_own((truly + more * pooled) / (pixels + more))


def likeness(components: Tensor, labels: Tensor, bins: Tensor, probabilities: Tensor) -> Tensor:
    """Return how probable it is that each mask was drawn as each component was: w, (N, M), of sum 1.

    log w_k = sum_p log(sum_r T_k(c, r, b_r) q_r) / m + constant, over the labeled pixels p where a component has a
    doubt; r runs over all classes, T_k(c, c) = 1 - sum of the others, and m pixels count as one witness.

    Args:
        components: T, (M, L, L, B).
        labels: c, (N, H, W) int64 from 0 to L-1, or ``IGNORE``.
        bins: b, (N, L, H, W) int64.
        probabilities: q, (N, L, H, W) float.
    """
    valid = labels != IGNORE
    given = labels.masked_fill(~valid, 0)
    own = given.unsqueeze(1) == class_numbers(probabilities.shape[1], given)
    agreed = (own * probabilities).sum(dim=1)
    asked, found = torch.zeros_like(agreed), []
    for table in components:
        others = look_up(table.expand(len(given), *table.shape), given, bins)
        wrong = others.sum(dim=1).clamp(max=1.0)
        asked = torch.maximum(asked, wrong)
        found.append(((others * probabilities).sum(dim=1) + (1 - wrong) * agreed).clamp(min=LEAST).log())
    counted = valid & (asked > LEAST_WRONG)
    logs = torch.stack([(part * counted).flatten(1).sum(dim=1) for part in found], dim=1)
    return (logs / (WITNESS * given[0].numel() / 4096)).softmax(dim=1)


def cautious_mean(components: Tensor, weights: Tensor, bound: float, pairs_each: float = 1.0) -> Tensor:
    """Return max(0, n / (n + 1) p - bound * se) for every image, (N, L, L, B).

    p = sum_k w_k T_k, n = g / sum_k w_k^2 is as many pairs as count, and se is the standard error over images,
    se^2 = sum_k w_k (T_k - p)^2 / max(n - 1, 1). So one more pair without any error is always supposed, and where pairs
    contradict each other the label is believed.

    Args:
        components: T, (M, L, L, B).
        weights: w, (N, M), at least 0, of sum 1.
        bound: standard errors, at least 0.
        pairs_each: g, how many pairs a component stands for, at least 1.

    Example:
        >>> table = torch.tensor([0.6, 0.8]).view(2, 1, 1, 1)  # p = 0.7, se = 0.1
        >>> round(cautious_mean(table, torch.tensor([[0.5, 0.5]]), bound=1.0).item(), 4)  # 2 / 3 * 0.7 - 0.1
        0.3667
    """
    flat = components.flatten(1)
    mean = weights @ flat
    variance = (weights @ flat.square() - mean.square()).clamp(min=0)
    count = pairs_each / weights.square().sum(dim=1, keepdim=True)
    error = (variance / (count - 1).clamp(min=1)).sqrt()
    return (mean * count / (count + 1) - bound * error).clamp(min=0).view(-1, *components.shape[1:])
