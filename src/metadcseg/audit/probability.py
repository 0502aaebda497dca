"""How probable it is that a given label is wrong: what pairs say times what a network says, pixel by pixel.

P(true = r | given c, distances, image) by Bayes' rule from two witnesses (:func:`.pair_table.class_posterior`): the
table of the pairs, P(truly r | given c, distance to r), and the network's probability of r, whose say is corrected
such that on average as much is doubted as the pairs say (:mod:`metadcseg.methods.calibrated.shares`). All of it on the
native grid, where outlines are as they were drawn.

Where no pair has any doubt, P(wrong) is exactly 0 whatever the network says. Without pairs the network is the only
witness, and P(wrong) = 1 - q of the given class.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from metadcseg.audit.fusion import with_network
from metadcseg.constants import IGNORE
from metadcseg.errors import InputError
from metadcseg.methods.calibrated.shares import FLOOR, MatchedShares, with_floor
from metadcseg.methods.pair_table import DISTANCES, class_posterior, error_shares

Labels = NDArray[np.uint8]
Maps = NDArray[np.float32]

LEAST_PAIRS = 2
"""So many pairs make a table: one says nothing about others."""

FLOORS = (FLOOR, 0.3, 0.6)
"""Of these one is chosen (:meth:`PairCounts.floor`); training has the first."""

_LEAST = 1e-4  # probability that a log loss counts with
_PIXELS = 400_000  # on which shares are matched
_ROUNDS = 60  # of matching, after which no share moves by a thousandth


@dataclass(frozen=True)
class PairCounts:
    """What pairs show, image by image; a table is made of all, or of all but one.

    Args:
        pixels: (K, L, L, B) float32, of every pair the share of its pixels given c that lie in bin b of the distance to
            r, as in :class:`~metadcseg.methods.pair_table.PairTable`.
        truly: likewise, the part of them that is truly r.

    Example:
        >>> given, verified = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 0, 0, 1]], np.uint8)
        >>> counts = PairCounts.count([(given, verified)] * 2, classes=2)
        >>> counts.truly[0, 1, 0].sum().item(), counts.pixels[0, 1, 0].sum().item()  # of two given 1 one is truly 0
        (0.25, 0.5)
    """

    pixels: Tensor
    truly: Tensor

    @classmethod
    def count(
        cls, pairs: Iterable[tuple[Labels, Labels]], classes: int, bounds: Sequence[float] = DISTANCES
    ) -> "PairCounts":
        """Count pairs of a given and a verified mask, (H, W) each; pixels that either ignores do not count."""
        pixels, truly, distances = [], [], len(bounds) + 1
        for given, verified in pairs:
            if given.shape != verified.shape or given.ndim != 2:
                raise InputError(
                    f"the masks of a pair must be (H, W) both, got {given.shape} and {verified.shape}: give slices"
                )
            valid = (given != IGNORE) & (verified != IGNORE)
            bins = native_bins(given, classes, bounds)
            held = np.zeros((2, classes, classes, distances))
            for r in range(classes):
                flat = given[valid].astype(np.int64) * distances + bins[r][valid]
                for row, chosen in enumerate((flat, flat[verified[valid] == r])):
                    found = np.bincount(chosen, minlength=classes * distances)
                    held[row, :, r] = found.reshape(classes, distances)
            pixels.append(held[0] / given.size)
            truly.append(held[1] / given.size)
        empty = np.zeros((0, classes, classes, distances))
        return cls(*(torch.from_numpy(np.array(part) if part else empty).float() for part in (pixels, truly)))

    def __len__(self) -> int:
        return len(self.pixels)

    def only(self, kept: Sequence[bool]) -> "PairCounts":
        """Return the counts of some pairs, (K,)."""
        chosen = torch.tensor(kept, dtype=torch.bool)
        return PairCounts(self.pixels[chosen], self.truly[chosen])

    def table(self) -> Tensor | None:
        """Return T, (L, L, B), at least :meth:`floor` times the mean share; None of fewer than ``LEAST_PAIRS``."""
        if len(self) < LEAST_PAIRS:
            return None
        found = _tables(self.truly.sum(dim=0)[None], self.pixels.sum(dim=0)[None], self.floor())
        return found[0]

    def floor(self) -> float:
        """Return how far doubt reaches to distances at which few pairs had any, as a share of the mean doubt.

        Of ``FLOORS`` the one by which the table of all other pairs tells each pair best (mean log loss over given
        class, other class and distance). No network is asked, so none that has seen gold can mislead.

        Example:
            >>> generator = np.random.default_rng(0)
            >>> anywhere = [(generator.random((16, 16)) < 0.5).astype(np.uint8) for _ in range(6)]
            >>> truth = np.zeros((16, 16), np.uint8)
            >>> PairCounts.count([(truth, mask) for mask in anywhere], classes=2).floor()  # all one distance: a tie
            0.1
        """
        if len(self) <= LEAST_PAIRS:
            return FLOORS[0]
        truly, pixels = self.truly.sum(dim=0) - self.truly, self.pixels.sum(dim=0) - self.pixels
        other = ~torch.eye(self.truly.shape[1], dtype=torch.bool).view(1, *self.truly.shape[1:3], 1)

        def loss(floor: float) -> float:
            told = _tables(truly, pixels, floor).clamp(_LEAST, 1 - _LEAST)
            right = self.truly * told.log() + (self.pixels - self.truly) * (1 - told).log()
            return -float((right * other).sum())

        return min(FLOORS, key=loss)


@dataclass(frozen=True)
class Witnesses:
    """Who speaks about a label: the table of pairs, and how the network's say is corrected.

    Args:
        table: T, (L, L, B); None without pairs, where the network speaks alone.
        log_odds: o, (L, L) (:class:`.shares.MatchedShares`); None: 0.

    Example:
        >>> from metadcseg.methods.pair_table import BINS
        >>> nobody = Witnesses(torch.zeros(2, 2, BINS))  # pairs without any error
        >>> given = np.array([[0, 1]], np.uint8)
        >>> nobody.posterior(given, np.full((2, 1, 2), 0.5, np.float32)).tolist()
        [[[1.0, 0.0]], [[0.0, 1.0]]]
    """

    table: Tensor | None = None
    log_odds: Tensor | None = None

    def posterior(self, given: Labels, network: Maps | None, prior: Maps | None = None) -> Maps:
        """Return P(true class), (L, H, W) float32.

        Args:
            given: (H, W) uint8 class numbers, or ``IGNORE``.
            network: its probabilities, (L, H, W); None: the pairs alone.
            prior: what the tables of annotators say, likewise; None: the table speaks.
        """
        if prior is not None:
            matched = None if self.log_odds is None else self.log_odds.numpy()
            return prior if network is None else with_network(prior, given, network, matched)
        if self.table is None:
            if network is None:
                raise InputError("without pairs the probabilities of a network are needed: give either")
            return network
        labels = torch.from_numpy(given.astype(np.int64))[None]
        bins = torch.from_numpy(native_bins(given, len(self.table)))[None]
        said = None if network is None else torch.from_numpy(network)[None]
        odds = None if network is None else self.log_odds
        found: Maps = class_posterior(self.table, labels, bins, said, odds)[0].numpy()
        return found

    def wrong(self, given: Labels, posterior: Maps) -> Maps:
        """Return P(the given label is wrong), (H, W) float32; 0 where it is ignored."""
        own = np.where(given == IGNORE, 0, given).astype(np.int64)
        kept = np.take_along_axis(posterior, own[None], axis=0)[0]
        wrong: Maps = np.where(given == IGNORE, 0, 1 - kept).clip(0, 1).astype(np.float32)
        return wrong


def native_bins(given: Labels, classes: int, bounds: Sequence[float] = DISTANCES) -> NDArray[np.int64]:
    """Return the bin of every pixel's distance to every class, (L, H, W), as :func:`.pair_table.distance_bins`.

    Args:
        given: (H, W) class numbers, or ``IGNORE``.
        classes: L.
        bounds: where bins end, in pixels of a grid of 64.

    Example:
        >>> from metadcseg.methods.pair_table import distance_bins
        >>> given = (np.indices((70, 50)).sum(axis=0) // 40).astype(np.uint8)
        >>> expected = distance_bins(torch.from_numpy(given.astype(np.int64))[None], 3)[0].numpy()
        >>> bool((native_bins(given, 3) == expected).all())
        True
    """
    ends = np.array(bounds) * (max(given.shape) / 64)
    bins = np.full((classes, *given.shape), len(bounds), np.int64)
    for number in range(classes):
        other = given != number
        if not other.all():
            distance = ndimage.distance_transform_edt(other)
            bins[number] = np.searchsorted(ends, distance)
    return bins


class ShareSample:
    """Pixels of some images, on which the network's say is corrected: such that on average the pairs are right.

    Args:
        classes: L.
        slices: how many images, or slices, there will be.
    """

    def __init__(self, classes: int, slices: int) -> None:
        self._classes = classes
        self._pixels = max(64, _PIXELS // max(1, slices))
        self._images = 0
        self._labels: list[NDArray[np.int64]] = []
        self._bins: list[NDArray[np.int64]] = []
        self._said: list[Maps] = []

    def add(self, given: Labels, network: Maps) -> None:
        """Take in an image, (H, W), and the network's probabilities, (L, H, W)."""
        valid = np.flatnonzero(given.ravel() != IGNORE)
        if len(valid) > self._pixels:
            valid = np.random.default_rng(self._images).choice(valid, self._pixels, replace=False)
        self._images += 1
        self._labels.append(given.ravel()[valid].astype(np.int64))
        bins = native_bins(given, self._classes)
        self._bins.append(bins.reshape(self._classes, -1)[:, valid])
        self._said.append(network.reshape(self._classes, -1)[:, valid])

    def match(self, table: Tensor) -> Tensor | None:
        """Return the log odds by which the network's say is corrected, (L, L); None without a pixel."""
        if not sum(map(len, self._labels)):
            return None
        shares = MatchedShares()
        labels = torch.from_numpy(np.concatenate(self._labels))[None, None]
        bins = torch.from_numpy(np.concatenate(self._bins, axis=1))[None, :, None]
        said = torch.from_numpy(np.concatenate(self._said, axis=1))[None, :, None]
        for _ in range(_ROUNDS):
            shares.update(table, labels, bins, said)
        return shares.held()


def _tables(truly: Tensor, pixels: Tensor, floor: float) -> Tensor:
    """Return T of each of (N, L, L, B) counts, at least ``floor`` times its mean over the distances."""
    shares = error_shares(truly.sum(dim=3, keepdim=True), pixels.sum(dim=3, keepdim=True)).squeeze(3)
    return with_floor(error_shares(truly, pixels), shares, floor).clamp(0, 1)
