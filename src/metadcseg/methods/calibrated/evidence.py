"""The meta-gradient as evidence that is counted over gold images: which pixels gold speaks against, and how surely.

Gold images take turns (:mod:`metadcseg.methods.gold_turns`): in an epoch one group is asked and not trained on. The
group, not the step, is the unit: of every cell of pixels that look alike each group has one mean derivative, and a
cell is doubted where these agree by more than chance, with the false discovery rate held over all cells.
"""

from typing import Any

import numpy as np
import torch
from scipy.special import stdtr
from torch import Tensor

from metadcseg.methods.late_buffers import LateBuffers
from metadcseg.methods.pair_table import FAR, Trust
from metadcseg.tensors import IGNORE, AllReduceMean, WeightMaps

LEVELS = 5
"""How many bins the probability of the given class beside the candidate's has."""

GROUPS = 8
"""At most so many groups of gold images take turns."""

LEAST_GROUPS = 3
"""Fewer groups than these say nothing of a cell."""

DISCOVERY_RATE = 0.1
"""The share of the doubted cells that may be doubted by chance (Benjamini and Hochberg, 1995)."""

PRIOR = 0.5
"""P(given label wrong) in a cell that passes, before its Bayes factor and without a table."""

FORGET = 0.9
"""How much of a group's sums stays when it is asked again: the network moves on."""


class GoldEvidence(LateBuffers):
    """What every group of gold images says of every cell (given class, candidate, distance, probability).

    The t statistic of a cell is  mean_g / (sd_g / root of G)  over the G groups that have seen it. One that passes has
    the log Bayes factor  -log(-e p log p)  against its label, the largest that a p-value below 1 / e allows (Sellke,
    Bayarri and Berger, 2001).

    Args:
        groups: G, how many take turns.
        all_reduce_mean: over the devices that share every batch; on one device ``dict``.

    Attributes:
        sums: (G, cells) float32, of each group's mean derivatives with respect to distrust, one a step.
        visits: (G, cells), how many steps that were.
        against: (cells,), the log Bayes factor against the label, 0 where the cell does not pass.
    """

    sums: Tensor
    visits: Tensor
    against: Tensor

    def __init__(self, groups: int, all_reduce_mean: AllReduceMean = dict) -> None:
        super().__init__(sums=(groups, "cells"), visits=(groups, "cells"), against=("cells",))
        self._groups = groups
        self._all_reduce_mean = all_reduce_mean

    def check_classes(self, classes: int) -> None:
        """Raise unless what was loaded has the cells of so many classes.

        Raises:
            ValueError: where it has more or fewer.
        """
        self._check("cells", _cells(classes))

    def cells(self, labels: Tensor, candidates: Tensor, bins: Tensor, probabilities: Tensor) -> Tensor:
        """Return the cell of every pixel, (N, H, W) int64; -1 where the label is ``IGNORE`` or the candidate itself."""
        classes = probabilities.shape[1]
        if not len(self.against):
            self.against = torch.zeros(_cells(classes), device=labels.device)
            self.sums = torch.zeros((self._groups, len(self.against)), device=labels.device)
            self.visits = torch.zeros_like(self.sums)
        asked = (labels != IGNORE) & (labels != candidates)
        given = labels.masked_fill(~asked, 0)
        own, other = (_of(probabilities, each) for each in (given, candidates))
        level = (own / (own + other).clamp(min=1e-12) * LEVELS).long().clamp(0, LEVELS - 1)
        distance = _of(bins, candidates).clamp(max=FAR)
        cell = ((given * classes + candidates) * (FAR + 1) + distance) * LEVELS + level
        return cell.masked_fill(~asked, -1)

    def update(self, group: int, cells: Tensor, distrust: Tensor) -> None:
        """Take in what a group says of a batch: the derivative of its loss with respect to trust taken away.

        Args:
            group: from 0 to G-1.
            cells: (N, H, W) int64, -1 where nothing is asked.
            distrust: (N, H, W) float; negative where less trust in the given label would lower the gold loss.
        """
        asked = cells >= 0
        chosen, values = cells[asked], distrust[asked].float()
        size = len(self.against)
        empty = torch.zeros(size, device=cells.device)
        found = self._all_reduce_mean(
            {
                "sum": empty.index_add(0, chosen, values),
                "count": torch.bincount(chosen, minlength=size).float(),
                "square": values.square().sum().reshape(1),
            }
        )
        # one scale for a step: gradients shrink as the gold loss does, and no epoch counts more for that
        scale = (found["square"] / found["count"].sum().clamp(min=1e-12)).sqrt().clamp(min=1e-30)
        held = (found["count"] > 0) & (found["square"] > 0)  # where nobody was asked all derivatives are 0
        mean = found["sum"] / found["count"].clamp(min=1e-12) / scale
        self.sums[group] = (FORGET * self.sums[group].to(mean) + mean).where(held, self.sums[group].to(mean))
        visits = self.visits[group].to(mean)
        self.visits[group] = (FORGET * visits + 1).where(held, visits)
        self.against = torch.from_numpy(
            log_bayes_factors(self.sums.cpu().double().numpy(), self.visits.cpu().double().numpy())
        ).to(mean)

    def weigh(self, trust: Trust, cells: Tensor, prior: bool) -> Trust:
        """Return a trust whose odds against the label are multiplied by the Bayes factor of each pixel's cell.

        Args:
            trust: what is known without gold gradients.
            cells: (N, H, W) int64.
            prior: there is no table, so ``PRIOR`` stands for the odds before.
        """
        against = self.against.to(cells.device)[cells.clamp(min=0)].masked_fill(cells < 0, 0.0)
        before = trust.weights.beta
        if prior:
            before = torch.full_like(before, PRIOR).masked_fill(against == 0, 0.0)
        weighed = before * against.exp()
        alpha = (1 - before) / (1 - before + weighed).clamp(min=1e-12)
        return Trust(WeightMaps(alpha, 1 - alpha), trust.candidates)


def log_bayes_factors(sums: np.ndarray[Any, Any], visits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the log Bayes factor against the label of every cell, (cells,) float32, at least 0.

    Args:
        sums: (G, cells), of each group's derivatives.
        visits: (G, cells), by which they are divided.
    """
    from scipy.stats import false_discovery_control  # takes half a second: only when used

    groups = (visits > 0).sum(axis=0)
    tested = np.flatnonzero(groups >= LEAST_GROUPS)
    found = np.zeros(sums.shape[1], np.float32)
    if not len(tested):
        return found
    held = visits[:, tested] > 0
    count = groups[tested]
    means = np.divide(sums[:, tested], visits[:, tested], out=np.zeros(held.shape), where=held)
    center = means.sum(axis=0) / count
    error = np.sqrt((np.square(means - center) * held).sum(axis=0) / (count - 1) / count)
    p = stdtr(
        count - 1, np.where(error > 0, center / np.maximum(error, 1e-30), 0.0)
    )  # one-sided: gold against
    p = np.clip(p, 1e-6, 1.0)
    passing = (false_discovery_control(p) <= DISCOVERY_RATE) & (p < np.exp(-1))
    found[tested[passing]] = -np.log(-np.e * p[passing] * np.log(p[passing]))
    return found


def _cells(classes: int) -> int:
    return classes * classes * (FAR + 1) * LEVELS


def _of(maps: Tensor, classes: Tensor) -> Tensor:
    """Return the map of each pixel's class, (N, H, W), from (N, L, H, W)."""
    return maps.gather(1, classes.unsqueeze(1)).squeeze(1)
