"""Without pairs: what a network that has learned from given masks draws on gold stands in for the masks replaced.

It shows the habit of the given masks and errors of its own. Of training images it shows its own errors beside what
nobody can foresee of the given masks. Both are counted as pairs are (:class:`.PairTable`), and the own part taken out.
"""

from dataclasses import replace

import torch
from scipy.special import stdtrit
from torch import Tensor

from metadcseg.methods.base import MethodState
from metadcseg.methods.common import evaluating
from metadcseg.methods.pair_table import PairTable, known_labels
from metadcseg.tensors import IGNORE, Batch

SURE = 0.05
"""The largest p-value of a direction that the images of gold agree on."""

_LEAST_IMAGES = 3


def drawn(state: MethodState, gold: Batch) -> Batch:
    """Return a gold batch with what the network draws for the mask that was replaced."""
    return replace(gold, given=_drawing_of(state, gold).masked_fill(gold.labels == IGNORE, IGNORE))


def as_pairs(state: MethodState, noisy: Batch) -> Batch:
    """Return a training batch as pairs of one image: given masks as if verified, and what the network draws of them."""
    return replace(
        noisy,
        labels=known_labels(noisy),
        given=_drawing_of(state, noisy),
        indices=torch.zeros_like(noisy.indices),
    )


def without_own_errors(
    table: Tensor, shares: Tensor, gold: PairTable, training: PairTable
) -> tuple[Tensor, Tensor]:
    """Return what stand-ins say of the given masks: what the network gets wrong by itself is taken out.

    M(c, r) is the area that the network draws as c on gold and that is truly r, E(c, r) the area that it draws as c on
    training images and that was given r. Where gold images agree that M(c, r) > M(r, c), the given masks err in this
    direction, and a part of E is what nobody can foresee of them. The network's own errors go in both directions
    alike but for its bias, so they are at most  M(r, c) + max(0, E(c, r) - E(r, c)),  and else E.

    Args:
        table: T of the stand-ins, (L, L, B).
        shares: s of the stand-ins, (L, L).
        gold: the stand-ins.
        training: training images as pairs of one image; nothing is taken out where it has seen nothing.
    """
    count = len(gold.seen()[0])  # training images are one pair, which counts like those of gold
    own_table, own_shares = training.pooled(least=1, count=count), training.shares(least=1)
    if own_table is None or own_shares is None:
        return table, shares
    part = own_part(confused(*gold.seen()), confused(*training.seen())[0]).to(table)
    own_table, own_shares = own_table.to(table) * part.unsqueeze(-1), own_shares.to(table) * part
    return (table - own_table).clamp(min=0), (shares - own_shares).clamp(min=0)


def confused(pixels: Tensor, truly: Tensor) -> Tensor:
    """Return the share of each image that was given c and is truly r, (K, L, L).

    Args:
        pixels: of pairs by image, (K, L, L, B) (:class:`.PairTable`).
        truly: likewise.
    """
    whole = pixels[:, :, 0].sum(dim=(1, 2)).clamp(min=torch.finfo(torch.float32).tiny)
    return truly.sum(dim=3) / whole.view(-1, 1, 1)


def own_part(gold: Tensor, training: Tensor) -> Tensor:
    """Return the part of E(c, r) that is the network's own error, (L, L) float32, from 0 to 1.

    Args:
        gold: M by image, (K, L, L): what the network draws as c and is truly r, as shares of the image.
        training: E, (L, L): what it draws as c and was given r.

    Example:
        >>> gold, training = torch.zeros(3, 2, 2), torch.zeros(2, 2)
        >>> gold[:, 1, 0], gold[:, 0, 1] = torch.tensor([0.3, 0.4, 0.5]), 0.05  # gold is drawn too large
        >>> training[1, 0], training[0, 1] = 0.2, 0.1  # and training masks by 0.1 too large
        >>> round(own_part(gold, training)[1, 0].item(), 2)  # 0.05 + 0.1 of 0.2
        0.75
        >>> own_part(gold[:2], training)[1, 0].item()  # two images agree on nothing
        1.0
    """
    excess = gold - gold.transpose(1, 2)
    count, mean = len(gold), excess.mean(dim=0)
    if count < _LEAST_IMAGES:
        return torch.ones_like(training)
    error = excess.std(dim=0) / count**0.5
    t = mean / error.clamp(min=torch.finfo(torch.float32).tiny)
    agreed = (t > float(stdtrit(count - 1, 1 - SURE))).to(training.device)
    bias = (training - training.T).clamp(min=0)
    most = gold.mean(dim=0).T.to(training) + bias
    part = (most / training.clamp(min=torch.finfo(torch.float32).tiny)).clamp(max=1)
    return torch.where(agreed, part, torch.ones_like(part))


def _drawing_of(state: MethodState, batch: Batch) -> Tensor:
    """Return the most probable class of every pixel, (N, H, W) int64; gold and given masks are drawn in one mode."""
    with evaluating(state.network) as still:
        found: Tensor = still(batch.images).logits.argmax(dim=1)
    return found
