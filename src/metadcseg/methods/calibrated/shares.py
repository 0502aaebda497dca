"""Pairs say how much of each class is wrong, the network says where: matching of shares.

A network that learns from wrong labels repeats their habit, and a witness that repeats it would argue the doubt away
(or, where masks err in both directions, argue for the smaller object). So the odds that table and network give are
multiplied by one number for every ordered pair of classes, such that on average over the labeled pixels of a class as
many are doubted as the pairs say. It is the correction of a classifier for shares that are known (Saerens, Latinne and
Decaestecker, 2002), with the shares counted on pairs.
"""

import torch
from torch import Tensor

from metadcseg.methods.late_buffers import LateBuffers
from metadcseg.methods.pair_table import class_posterior
from metadcseg.tensors import IGNORE, AllReduceMean

FLOOR = 0.1
"""How far a doubt between two classes reaches to distances at which no pair had any, as a share of its mean."""

RATE = 0.3
"""How much of what is missing in a batch a step makes up for."""

LARGEST = 6.0
"""The largest log odds by which the network is corrected."""

_LEAST = 1e-6


def with_floor(table: Tensor, shares: Tensor, floor: float = FLOOR) -> Tensor:
    """Return max(T(c, r, b), floor * s(c, r)), (..., L, L, B): a few pairs have not seen every distance of an error.

    Args:
        table: T, (..., L, L, B), 0 where c = r (:meth:`.PairTable.pooled`).
        shares: s, (..., L, L), of all that was given c the part that is truly r (:meth:`.PairTable.shares`).
        floor: at least 0.

    Example:
        >>> table = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[0.4, 0.0], [0.0, 0.0]]])
        >>> shares = torch.tensor([[0.0, 0.0], [0.3, 0.0]])
        >>> with_floor(table, shares)[1, 0].tolist()  # where no pair was ever wrong, nothing is doubted
        [0.4000000059604645, 0.030000001192092896]
    """
    return torch.maximum(table, floor * shares.unsqueeze(-1))


class MatchedShares(LateBuffers):
    """Log odds o(c, r) that keep the mean doubt at what the pairs say.

    After every batch  o(c, r) += RATE * (logit P(c, r) - logit M(c, r)),  where over the pixels given c P is the mean
    of the table and M that of the posterior with o (:func:`.class_posterior`).

    Args:
        all_reduce_mean: over the devices that share every batch; on one device ``dict``.

    Attributes:
        log_odds: o, (L, L) float32, from -``LARGEST`` to ``LARGEST``; empty until the first batch tells L.

    Example:
        >>> shares = MatchedShares()
        >>> table = torch.zeros(2, 2, 1)
        >>> table[1, 0, 0] = 0.5  # half of what was given 1 is truly 0
        >>> labels, bins = torch.ones(1, 1, 4, dtype=torch.long), torch.zeros(1, 2, 1, 4, dtype=torch.long)
        >>> q = torch.tensor([0.1, 0.1, 0.1, 0.8]).view(1, 1, 1, 4)  # the network sides with the labels
        >>> q = torch.cat([q, 1 - q], dim=1)
        >>> for _ in range(20):
        ...     shares.update(table, labels, bins, q)
        >>> found = class_posterior(table, labels, bins, q, shares.log_odds)[0, 0, 0]
        >>> round(found.mean().item(), 2), bool(found[3] > found[0])
        (0.5, True)
    """

    log_odds: Tensor

    def __init__(self, all_reduce_mean: AllReduceMean = dict) -> None:
        super().__init__(log_odds=("L", "L"))
        self._all_reduce_mean = all_reduce_mean

    def update(self, table: Tensor, labels: Tensor, bins: Tensor, probabilities: Tensor) -> None:
        """Take in what table and network say of a batch.

        Args:
            table: T, (L, L, B), or (N, L, L, B), one for each image.
            labels: c, (N, H, W) int64, class or ``IGNORE``.
            bins: b, (N, L, H, W) int64.
            probabilities: q, (N, L, H, W) float.
        """
        classes = table.shape[-2]
        if not len(self.log_odds):
            self.log_odds = torch.zeros((classes, classes), device=labels.device)
        valid = (labels != IGNORE).flatten()
        given = labels.flatten()[valid]
        empty = torch.zeros((classes, classes), device=labels.device)

        def sums(posterior: Tensor) -> Tensor:
            return empty.index_add(0, given, posterior.movedim(1, -1).flatten(0, -2)[valid].float())

        found = self._all_reduce_mean(
            {
                "prior": sums(class_posterior(table, labels, bins)),
                "posterior": sums(class_posterior(table, labels, bins, probabilities, self.log_odds)),
                "count": torch.bincount(given, minlength=classes).float(),
            }
        )
        count = found["count"].clamp(min=_LEAST).unsqueeze(1)
        prior, posterior = (found[name] / count for name in ("prior", "posterior"))
        step = prior.clamp(_LEAST, 1 - _LEAST).logit() - posterior.clamp(_LEAST, 1 - _LEAST).logit()
        asked = (prior > 0) & ~torch.eye(classes, dtype=torch.bool, device=prior.device)
        moved = (self.log_odds.to(step) + RATE * step).clamp(-LARGEST, LARGEST)
        self.log_odds = torch.where(asked, moved, self.log_odds.to(step))

    def held(self) -> Tensor | None:
        """Return o, (L, L); None before the first batch."""
        return self.log_odds if len(self.log_odds) else None
