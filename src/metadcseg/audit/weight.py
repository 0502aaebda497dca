"""What a network's say is worth beside the pairs' table, told by pairs that the table has not seen.

For each of some weights every verified mask is told by the table of all other volumes or patients and the network with
that weight (:func:`.pool.pooled`). The loss of an image is the mean of -log P(verified class). The least weight is
taken whose loss is within one standard error of the best: a network that says nothing, or less than the pairs, ends at
weight 0, pairs alone.

A network whose training read the verified masks fits them better than others, so its weight is at most ``SEEN``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metadcseg.audit.fusion import log_loss, near_best
from metadcseg.audit.pool import pooled
from metadcseg.audit.probability import (
    LEAST_TOLD,
    UNFITTED,
    Labels,
    Maps,
    PairCounts,
    Witnesses,
    native_bins,
    some_pixels,
)
from metadcseg.constants import IGNORE

WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of these one is chosen."""

SEEN = 0.8
"""The largest weight of a network that was trained on the verified masks."""

_PIXELS = 400_000  # of all pairs, on which the weight is fitted


def weights_for(*, seen: bool) -> tuple[float, ...]:
    """Return the weights that a network can have; ``seen``: it was trained on the verified masks."""
    return tuple(weight for weight in WEIGHTS if not seen or weight <= SEEN)


@dataclass(frozen=True)
class WeightFit:
    """How well each weight tells each pair.

    Args:
        odds: weight -> log odds that correct the network's say at that weight, (L, L).
        losses: (K, W) mean -log P(verified class) of every pair by every weight, in the order of ``odds``; NaN of a
            pair that no other pairs can tell.
        groups: of every pair, such as its volume.

    Example:
        >>> losses = np.array([[0.30, 0.10], [0.20, 0.10], [0.25, 0.20]])
        >>> WeightFit({0.0: None, 0.6: None}, losses, ("a", "b", "c")).weight()
        0.6
        >>> WeightFit({0.0: None, 0.6: None}, losses[:, [0, 0]], ("a", "b", "c")).weight()  # it says nothing
        0.0
    """

    odds: Mapping[float, Tensor | None]
    losses: NDArray[np.float64]
    groups: tuple[str, ...]

    def weight(self, without: int | None = None) -> float:
        """Return the chosen weight, fitted without a pair and, where there are others, without all of its group."""
        own = None if without is None else self.groups[without]
        rows = {name: held for name, held in self._rows.items() if name != own}
        if own is not None and not rows:
            told = [number for number in self._told if number != without]
            rows = {own: self.losses[told]} if told else {}
        if not rows:
            return min(UNFITTED, max(self.odds))
        losses = next(iter(rows.values()))
        if len(rows) > 1:  # images of one volume are no independent evidence
            losses = np.stack([self._means[name] for name in rows])
        return tuple(self.odds)[int(np.flatnonzero(near_best(losses))[0])]

    @cached_property
    def _told(self) -> list[int]:
        """Which pairs others can tell."""
        return list(np.flatnonzero(np.isfinite(self.losses).all(axis=1)))

    @cached_property
    def _rows(self) -> dict[str, NDArray[np.float64]]:
        """The losses of the pairs of every group, of those that others can tell."""
        rows: dict[str, list[int]] = {}
        for number in self._told:
            rows.setdefault(self.groups[number], []).append(number)
        return {name: self.losses[rows[name]] for name in sorted(rows)}

    @cached_property
    def _means(self) -> dict[str, NDArray[np.float64]]:
        return {name: held.mean(axis=0) for name, held in self._rows.items()}

    def witnesses(self, table: Tensor, without: int | None = None) -> Witnesses:
        """Return who speaks: a table, and the network at its weight, fitted as :meth:`weight` says."""
        weight = self.weight(without)
        return Witnesses(table, self.odds[weight], weight)


def fit_weight(
    seen: Iterable[tuple[Labels, Labels, Maps]],
    counts: PairCounts,
    groups: Sequence[str],
    odds: Mapping[float, Tensor | None],
) -> WeightFit:
    """Tell every pair by every weight.

    Args:
        seen: given and verified mask, (H, W), and the network's probabilities, (L, H, W), of every pair in the order of
            ``counts``; one is in memory at a time.
        counts: of all pairs.
        groups: of every pair.
        odds: weight -> log odds (:meth:`.ShareSample.match`), ascending.
    """
    most = max(500, _PIXELS // max(1, len(groups)))
    losses = np.full((len(groups), len(odds)), np.nan)
    for number, (table, (given, verified, network)) in enumerate(
        zip(tables_of_others(counts, groups), seen, strict=True)
    ):
        known = (given != IGNORE) & (verified != IGNORE)
        if table is None or not known.any():
            continue
        classes, chosen = len(network), some_pixels(known, most, number)
        labels, truly = given.ravel()[chosen], verified.ravel()[chosen]
        bins = native_bins(given, classes).reshape(classes, -1)[:, chosen]
        said = network.reshape(classes, -1)[:, chosen]
        for place, (weight, held) in enumerate(odds.items()):
            found = pooled(table.numpy(), labels, bins, said, weight, None if held is None else held.numpy())
            losses[number, place] = log_loss(found, truly, LEAST_TOLD)
    return WeightFit(odds, losses, tuple(groups))


def tables_of_others(counts: PairCounts, groups: Sequence[str]) -> Iterator[Tensor | None]:
    """Yield for every pair the table of all that are not of its group; where these make none, of all other pairs.

    None where even these make none.
    """
    tables: dict[str, Tensor | None] = {}
    for number, group in enumerate(groups):
        if group not in tables:
            tables[group] = counts.only([other != group for other in groups]).table()
        table = tables[group]
        yield (
            counts.only([other != number for other in range(len(groups))]).table() if table is None else table
        )
