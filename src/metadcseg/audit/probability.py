"""How probable it is that a given label is wrong: what pairs say times what a network says, pixel by pixel.

P(true = r | given c, distances, image) is a weighted pool (:mod:`metadcseg.audit.pool`) of two witnesses: the table of
the pairs, P(truly r | given c, distance to r), and the network's probability of r, whose say is corrected such that on
average as much is doubted as the pairs say. What the network's say is worth is fitted on the pairs
(:mod:`metadcseg.audit.weight`). All of it on the native grid, where outlines are as they were drawn.

Where no pair has any doubt, P(wrong) is exactly 0 whatever the network says. Without pairs the network is the only
witness, and P(wrong) = 1 - q of the given class.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from metadcseg.audit.fusion import with_network
from metadcseg.audit.pool import match, pooled
from metadcseg.bounding_box import Box, box_of
from metadcseg.constants import IGNORE
from metadcseg.errors import InputError
from metadcseg.methods.calibrated.shares import FLOOR, with_floor
from metadcseg.methods.pair_table import DISTANCES, error_table, mean_shares

Labels = NDArray[np.uint8]
Maps = NDArray[np.float32]

LEAST_PAIRS = 2
"""So many pairs make a table: one says nothing about others."""

FLOORS = (FLOOR, 0.3, 0.6)
"""Of these one is chosen (:meth:`PairCounts.floor`); training has the first."""

LEAST_TOLD = 1e-4
"""The least probability that pairs count with where it is chosen by them."""

UNFITTED = 0.8
"""The weight of a network of which pairs have not told what its say is worth."""

_PIXELS = 100_000  # on which shares are matched


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
        pixels, truly, distances = [], [], len(bounds) + 2  # the last: given nowhere
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
        """Return T, (L, L, B), at least :meth:`floor` times the mean share; None of fewer than ``LEAST_PAIRS``.

        It is at most 1 - 1 / (K + 2)^2: what is wrong in all of K pairs may be right in the next, so a network that
        says so is heard.
        """
        told = self.only(self.shows())
        if len(told) < LEAST_PAIRS:
            return None
        found = tables_of(
            told.truly.sum(dim=0), told.pixels.sum(dim=0), told.pixels.mean(dim=0), told.floor()
        )
        return found.clamp(max=1 - (len(told) + 2) ** -2)

    def shows(self) -> list[bool]:
        """Return of each pair whether any pixel of it is known in both masks; others are no evidence of anything."""
        return (self.pixels.flatten(1).sum(dim=1) > 0).tolist()

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
            told = tables_of(truly, pixels, pixels / (len(self) - 1), floor).clamp(LEAST_TOLD, 1 - LEAST_TOLD)
            right = self.truly * told.log() + (self.pixels - self.truly) * (1 - told).log()
            return -float((right * other).sum())

        return min(FLOORS, key=loss)


@dataclass(frozen=True)
class Witnesses:
    """Who speaks about a label: the table of pairs, and a network with a weight and a correction.

    Args:
        table: T, (L, L, B) float; None without pairs, where the network speaks alone.
        log_odds: o, (L, L), the correction of the network's say (:func:`.pool.match`); None: 0.
        weight: w, of the network beside the table, from 0 to 1 (:mod:`metadcseg.audit.weight`); 0: pairs alone.

    Example:
        >>> from metadcseg.methods.pair_table import BINS
        >>> nobody = Witnesses(torch.zeros(2, 2, BINS))  # pairs without any error
        >>> given = np.array([[0, 1]], np.uint8)
        >>> nobody.posterior(given, np.full((2, 1, 2), 0.5, np.float32)).tolist()
        [[[1.0, 0.0]], [[0.0, 1.0]]]
    """

    table: Tensor | None = None
    log_odds: Tensor | None = None
    weight: float = UNFITTED

    def posterior(self, given: Labels, network: Maps | None, prior: Maps | None = None) -> Maps:
        """Return P(true class), (L, H, W) float32; of an ignored label what the network says of it has no meaning.

        Args:
            given: (H, W) uint8 class numbers, or ``IGNORE``.
            network: its probabilities, (L, H, W); None: the pairs alone.
            prior: what the outlines of annotators say, likewise, in place of the table; None: nobody is known.
        """
        if prior is not None:
            odds = None if self.log_odds is None else self.log_odds.numpy()
            return prior if network is None else with_network(prior, given, network, self.weight, odds)
        if self.table is None:
            if network is None:
                raise InputError("without pairs the probabilities of a network are needed: give either")
            return network
        classes = len(self.table)
        found = pooled(
            self.table.numpy(),
            np.where(given == IGNORE, 0, given).ravel(),
            native_bins(given, classes).reshape(classes, -1),
            None if network is None else network.reshape(classes, -1),
            self.weight,
            None if self.log_odds is None else self.log_odds.numpy(),
        )
        return found.reshape(classes, *given.shape)

    def wrong(self, given: Labels, posterior: Maps) -> Maps:
        """Return P(the given label is wrong), (H, W) float32; 0 where it is ignored."""
        wrong = np.zeros(given.shape, np.float32)
        for number, own in enumerate(posterior):
            np.subtract(1, own, out=wrong, where=given == number)
        np.clip(wrong, 0, 1, out=wrong)
        return wrong


def native_bins(given: Labels, classes: int, bounds: Sequence[float] = DISTANCES) -> NDArray[np.uint8]:
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
    bins, bin_of = np.zeros((classes, *given.shape), np.uint8), _bin_of_squared(tuple(ends.tolist()))
    for number in range(classes):
        other = given != number
        if other.all():
            bins[number] = len(bounds) + 1
            continue
        near, away = box_of(~other, int(ends[-1]) + 1), box_of(other, 1)
        if _area(near) < _area(away):  # all outside is farther than any bound
            bins[number] = len(bounds)
            inner = near
        else:  # all outside is of the class
            inner = away
        nearest = ndimage.distance_transform_edt(other[inner], return_distances=False, return_indices=True)
        rows = nearest[0] - np.arange(nearest.shape[1], dtype=np.int32)[:, None]
        columns = nearest[1] - np.arange(nearest.shape[2], dtype=np.int32)
        squared = rows * rows + columns * columns
        bins[number][inner] = bin_of[np.minimum(squared, len(bin_of) - 1)]
    return bins


@lru_cache
def _bin_of_squared(bounds: tuple[float, ...]) -> NDArray[np.uint8]:
    """Return the bin of every whole number that a squared distance can be, up to the first in the last bin."""
    return np.searchsorted(bounds, np.sqrt(np.arange(int(bounds[-1] ** 2) + 2))).astype(np.uint8)


def _area(box: Box) -> int:
    return int((box[0].stop - box[0].start) * (box[1].stop - box[1].start))


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
        self._labels: list[Labels] = []
        self._bins: list[NDArray[np.uint8]] = []
        self._said: list[Maps] = []

    def add(self, given: Labels, network: Maps) -> None:
        """Take in an image, (H, W), and the network's probabilities, (L, H, W)."""
        chosen = some_pixels(given != IGNORE, self._pixels, self._images)
        self._images += 1
        self._labels.append(given.ravel()[chosen])
        self._bins.append(native_bins(given, self._classes).reshape(self._classes, -1)[:, chosen])
        self._said.append(network.reshape(self._classes, -1)[:, chosen])

    def match(self, table: Tensor, weights: Sequence[float]) -> dict[float, Tensor]:
        """Return for each weight of the network the log odds by which its say is corrected, (L, L)."""
        if not sum(map(len, self._labels)):
            return {weight: torch.zeros(table.shape[:2]) for weight in weights}
        labels, bins = np.concatenate(self._labels), np.concatenate(self._bins, axis=1)
        said = np.concatenate(self._said, axis=1)
        return {
            weight: torch.from_numpy(match(table.numpy(), labels, bins, said, weight)) for weight in weights
        }


def some_pixels(known: NDArray[np.bool_], most: int, seed: int) -> NDArray[np.intp]:
    """Return the flat numbers of at most so many of the known pixels, drawn by a seed."""
    chosen = np.flatnonzero(known.ravel())
    return chosen if len(chosen) <= most else np.random.default_rng(seed).choice(chosen, most, replace=False)


def tables_of(truly: Tensor, pixels: Tensor, mean: Tensor, floor: float) -> Tensor:
    """Return T of counts, (..., L, L, B), at least ``floor`` times its mean over the distances.

    Args:
        truly: (..., L, L, B), see :class:`PairCounts`.
        pixels: likewise.
        mean: pixels of a mean pair, likewise.
        floor: at least 0.
    """
    return with_floor(error_table(truly, pixels, mean), mean_shares(truly, pixels), floor).clamp(0, 1)
