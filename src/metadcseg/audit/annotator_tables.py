"""A table of pairs for each annotator, since each has a habit of their own, and what all of them say of an image.

T_j(c, r, b) is the share of the pixels that annotator j gave c, at a distance to r in bin b, and that are truly r. Of
few pairs it is drawn to that of all annotators together: ``OTHERS`` mean pairs of everybody's count beside j's own,

    T_j = (sum_k truly_jk + OTHERS mean truly) / (sum_k pixels_jk + OTHERS mean pixels),

so somebody of whom there is no pair has everybody's table. Bins are finer than those of training: where several draw
within a pixel of each other, that pixel is what they differ in.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metadcseg.audit.fusion import (
    DEPENDENCE,
    Labels,
    Maps,
    chosen_dependence,
    fuse,
    log_loss,
)
from metadcseg.audit.probability import LEAST_PAIRS, PairCounts, native_bins
from metadcseg.constants import IGNORE
from metadcseg.data.store.reader import Case, PreparedSet
from metadcseg.methods.calibrated.shares import with_floor
from metadcseg.methods.pair_table import class_posterior, error_shares

BOUNDS = (0.4, 0.75, 1.1, 1.5, 2.0, 2.5, 3.0, 3.5, 4.5, 5.5, 6.5, 8.5, 10.5, 12.5)
"""Where the bins of the distance end, in pixels of a grid of 64 pixels; larger grids in proportion."""

OTHERS = 1.0
"""So many mean pairs of all annotators count beside an annotator's own."""

Outlines = Mapping[str, Labels]


@dataclass(frozen=True)
class Drawn:
    """A verified image and what annotators drew of it.

    Args:
        image: names it.
        group: what it belongs to, such as a volume or a patient.
        outlines: annotator -> (H, W) class numbers, or ``IGNORE``.
        verified: likewise.
    """

    image: str
    group: str
    outlines: Outlines
    verified: Labels


@dataclass(frozen=True)
class AnnotatorTables:
    """What is known of each annotator, and how far they err together.

    Args:
        tables: T_j of each annotator of whom there are pairs, (L, L, B), by name.
        everybody: T of all together, likewise; it speaks for everybody else.
        pairs: how many there are of each.
        dependence: rho (:mod:`.fusion`).
    """

    tables: Mapping[str, Tensor]
    everybody: Tensor
    pairs: Mapping[str, int]
    dependence: float = 1.0

    def of(self, name: str) -> Tensor:
        """Return T_j, (L, L, B)."""
        return self.tables.get(name, self.everybody)

    def posteriors(self, outlines: Outlines) -> tuple[Maps, NDArray[np.bool_]]:
        """Return what each outline says, (A, L, H, W) float32, and where it says anything, (A, H, W)."""
        decided = np.stack([outline != IGNORE for outline in outlines.values()])
        return np.stack([_posterior(self.of(name), mask) for name, mask in outlines.items()]), decided

    def prior(self, outlines: Outlines) -> Maps:
        """Return P(true class) by all outlines of an image, (L, H, W) float32, without a network."""
        return fuse(*self.posteriors(outlines), self.dependence)

    def effective(self, annotators: int) -> float:
        """Return how many independent annotators so many are worth.

        Example:
            >>> AnnotatorTables({}, torch.zeros(2, 2, 1), {}, dependence=1.0).effective(7)
            1.0
        """
        return annotators / (1 + (annotators - 1) * self.dependence)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        tables = {name: table.tolist() for name, table in self.tables.items()}
        told = {"tables": tables, "everybody": self.everybody.tolist(), "pairs": dict(self.pairs)}
        return told | {"dependence": self.dependence}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "AnnotatorTables":
        """Return what :meth:`to_dict` said."""
        tables = {name: torch.tensor(table) for name, table in told["tables"].items()}
        return cls(tables, torch.tensor(told["everybody"]), told["pairs"], told["dependence"])


@dataclass(frozen=True)
class AnnotatorPairs:
    """The outlines of verified images, counted one by one.

    Args:
        counts: P pairs.
        owners: who drew each, (P,).
        images: of which image, (P,).
        groups: of which group, (P,).

    Example:
        >>> truth = np.zeros((32, 32), np.uint8)
        >>> truth[8:24, 8:24] = 1
        >>> larger, smaller = np.zeros_like(truth), np.zeros_like(truth)
        >>> larger[6:26, 6:26], smaller[9:23, 9:23] = 1, 1
        >>> outlines = {"anna": larger, "ben": smaller}
        >>> drawn = [Drawn(name, name, outlines, truth) for name in "abc"]
        >>> tables = AnnotatorPairs.count(drawn, classes=2).learn(drawn)
        >>> bool((tables.prior(outlines).argmax(axis=0) == truth).all()), tables.pairs
        (True, {'anna': 3, 'ben': 3})
    """

    counts: PairCounts
    owners: tuple[str, ...]
    images: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def count(cls, drawn: Iterable[Drawn], classes: int) -> "AnnotatorPairs":
        """Count images as they come, one in memory; L is the number of classes."""
        named: list[tuple[str, str, str]] = []

        def pairs() -> Iterator[tuple[Labels, Labels]]:
            for one in drawn:
                for name, outline in one.outlines.items():
                    named.append((name, one.image, one.group))
                    yield outline, one.verified

        counts = PairCounts.count(pairs(), classes, BOUNDS)
        return cls(counts, *(tuple(each[part] for each in named) for part in range(3)))

    @property
    def enough(self) -> bool:
        """Whether they are of as many images as make a table."""
        return len(set(self.images)) >= LEAST_PAIRS

    def tables(self, dependence: float = 1.0) -> AnnotatorTables:
        """Return the tables of all annotators."""
        floor = self.counts.floor()

        def table(name: str | None) -> Tensor:
            own = torch.tensor([who == name for who in self.owners])
            truly, pixels = (
                part[own].sum(dim=0) + OTHERS * part.mean(dim=0)
                for part in (self.counts.truly, self.counts.pixels)
            )
            shares = error_shares(truly.sum(dim=2, keepdim=True), pixels.sum(dim=2, keepdim=True)).squeeze(2)
            return with_floor(error_shares(truly, pixels), shares, floor).clamp(0, 1)

        count = {name: self.owners.count(name) for name in sorted(set(self.owners))}
        return AnnotatorTables({name: table(name) for name in count}, table(None), count, dependence)

    def learn(self, drawn: Iterable[Drawn]) -> AnnotatorTables:
        """Return the tables with the rho by which those of other images tell each image best.

        Args:
            drawn: the images that were counted, once more.
        """
        losses = []
        for one in drawn:
            others = self.without(one.image, one.group)
            if others is None or len(one.outlines) < 2 or (one.verified == IGNORE).all():
                continue
            said = others.tables().posteriors(one.outlines)
            losses.append([log_loss(fuse(*said, rho), one.verified) for rho in DEPENDENCE])
        return self.tables(chosen_dependence(losses))

    def unseen_priors(
        self, cases: Iterable[Case], prepared: PreparedSet, dependence: float
    ) -> Iterator[Maps | None]:
        """Yield what tables that have not seen a verified image say of it; None where nobody is known."""
        for case in cases:
            others = self.without(case.id, case.group) if case.annotators else None
            yield None if others is None else others.tables(dependence).prior(prepared.outlines(case))

    def without(self, image: str, group: str) -> "AnnotatorPairs | None":
        """Return all but those of a group; where they are not enough, all but those of the image."""
        for held, left_out in ((self.groups, group), (self.images, image)):
            kept = [each != left_out for each in held]
            names = (tuple(compress(part, kept)) for part in (self.owners, self.images, self.groups))
            others = AnnotatorPairs(self.counts.only(kept), *names)
            if others.enough:
                return others
        return None


def _posterior(table: Tensor, outline: Labels) -> Maps:
    labels = torch.from_numpy(outline.astype(np.int64))[None]
    bins = torch.from_numpy(native_bins(outline, len(table), BOUNDS))[None]
    found: Maps = class_posterior(table, labels, bins)[0].numpy()
    return found
