"""A table of pairs for each annotator, since each has a habit of their own, and what all of them say of an image.

T_j(c, r, b) is the share of the pixels that annotator j gave c, at a distance to r in bin b, and that are truly r. Of
few pairs it is drawn to that of all annotators together: ``OTHERS`` mean pairs of everybody's count beside j's own,

    T_j = (sum_k truly_jk + OTHERS mean truly) / (sum_k pixels_jk + OTHERS mean pixels),

so somebody of whom there is no pair has everybody's table. The majority of three or more is one more witness, with a
table of its own: where verified images show that it is right, it outweighs all others. Bins are finer than those of
training: where several draw within a pixel of each other, that pixel is what they differ in.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from math import exp, log
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metadcseg.audit.fusion import (
    DEPENDENCE,
    Labels,
    Maps,
    chosen_dependence,
    effective,
    fuse,
    log_loss,
)
from metadcseg.audit.probability import LEAST_PAIRS, PairCounts, native_bins, some_pixels, tables_of
from metadcseg.constants import IGNORE
from metadcseg.data.prepare.fusing import vote
from metadcseg.data.store.reader import Case, PreparedSet
from metadcseg.methods.annotator_pairs import OTHERS
from metadcseg.methods.pair_table import class_posterior

BOUNDS = (0.4, 0.75, 1.1, 1.5, 2.0, 2.5, 3.0, 3.5, 4.5, 5.5, 6.5, 8.5, 10.5, 12.5)
"""Where the bins of the distance end, in pixels of a grid of 64 pixels; larger grids in proportion."""

Outlines = Mapping[str, Labels]

_PIXELS = 20_000  # of a verified image, by which precisions and rho are told
_TINY = 1e-4  # of a log loss

MAJORITY = ""
"""The name of what most of three or more gave, which is heard beside them; nobody else is called so."""


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
        precisions: p_j, likewise by name; of everybody else it is their mean.
    """

    tables: Mapping[str, Tensor]
    everybody: Tensor
    pairs: Mapping[str, int]
    dependence: float = 1.0
    precisions: Mapping[str, float] = field(default_factory=dict)

    def of(self, name: str) -> Tensor:
        """Return T_j, (L, L, B)."""
        return self.tables.get(name, self.everybody)

    def posteriors(self, outlines: Outlines) -> tuple[Maps, NDArray[np.bool_]]:
        """Return what each outline says, (A, L, H, W) float32, and where it says anything, (A, H, W)."""
        decided = np.stack([outline != IGNORE for outline in outlines.values()])
        return np.stack([_posterior(self.of(name), mask) for name, mask in outlines.items()]), decided

    def prior(self, outlines: Outlines) -> Maps:
        """Return P(true class) by all outlines of an image, (L, H, W) float32, without a network."""
        heard = self.heard(outlines)
        return fuse(*self.posteriors(heard), self.dependence, self.weights(heard))

    def heard(self, outlines: Outlines) -> Outlines:
        """Return all who have a say: the annotators, and their majority where it has pairs of its own."""
        return with_majority(outlines) if MAJORITY in self.tables else outlines

    def weights(self, names: Iterable[str]) -> list[float]:
        """Return p_j of each annotator."""
        mean = fmean(self.precisions.values()) if self.precisions else 1.0
        return [self.precisions.get(name, mean) for name in names]

    def effective(self, names: Iterable[str]) -> float:
        """Return how many independent annotators some are worth: n / (1 + (n - 1) rho) (:mod:`.fusion`)."""
        p = self.weights(names)
        return float(effective(sum(p) ** 2 / sum(each**2 for each in p), self.dependence))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        tables = {name: table.tolist() for name, table in self.tables.items()}
        told = {"tables": tables, "everybody": self.everybody.tolist(), "pairs": dict(self.pairs)}
        return told | {"dependence": self.dependence, "precisions": dict(self.precisions)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "AnnotatorTables":
        """Return what :meth:`to_dict` said."""
        tables = {name: torch.tensor(table) for name, table in told["tables"].items()}
        rest = (told[name] for name in ("pairs", "dependence", "precisions"))
        return cls(tables, torch.tensor(told["everybody"]), *rest)


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
                for name, outline in with_majority(one.outlines).items():
                    named.append((name, one.image, one.group))
                    yield outline, one.verified

        counts = PairCounts.count(pairs(), classes, BOUNDS)
        return cls(counts, *(tuple(each[part] for each in named) for part in range(3)))

    @property
    def enough(self) -> bool:
        """Whether they are of as many images as make a table."""
        return len(set(self.images)) >= LEAST_PAIRS

    def tables(
        self, dependence: float = 1.0, precisions: Mapping[str, float] | None = None
    ) -> AnnotatorTables:
        """Return the tables of all annotators."""
        floor, person = self.counts.floor(), torch.tensor([who != MAJORITY for who in self.owners])

        def table(name: str | None) -> Tensor:
            own = torch.tensor([who == name for who in self.owners])
            mean_truly, mean = (part[person].mean(dim=0) for part in (self.counts.truly, self.counts.pixels))
            truly = self.counts.truly[own].sum(dim=0) + OTHERS * mean_truly
            return tables_of(truly, self.counts.pixels[own].sum(dim=0) + OTHERS * mean, mean, floor)

        count = {name: self.owners.count(name) for name in sorted(set(self.owners))}
        tables = {name: table(name) for name in count}
        count.pop(MAJORITY, None)
        return AnnotatorTables(tables, table(None), count, dependence, precisions or {})

    def learn(self, drawn: Iterable[Drawn]) -> AnnotatorTables:
        """Return the tables, with the precisions and the rho of images that tables of others tell.

        Args:
            drawn: the images that were counted, once more.
        """
        alone: dict[str, list[float]] = {name: [] for name in sorted(set(self.owners))}
        held: list[_Told] = []
        for one in drawn:
            others = self.without(one.image, one.group)
            if others is None:
                continue
            told = _told(others.tables(), one, len(held))
            for name, posterior, known in zip(told.names, told.posteriors, told.decided, strict=True):
                truth = np.where(known, told.verified, IGNORE).astype(np.uint8)
                if (truth != IGNORE).any():
                    alone[name].append(log_loss(posterior, truth))
            if len(told.names) > 1 and (told.verified != IGNORE).any():
                held.append(told)
        precisions = _precisions(alone)
        tables = self.tables(precisions=precisions)
        losses = [
            [
                log_loss(fuse(one.posteriors, one.decided, rho, tables.weights(one.names)), one.verified)
                for rho in DEPENDENCE
            ]
            for one in held
        ]
        return self.tables(chosen_dependence(losses), precisions)

    def unseen_priors(
        self, cases: Iterable[Case], prepared: PreparedSet, learned: AnnotatorTables
    ) -> Iterator[Maps | None]:
        """Yield what tables that have not seen a verified image say of it; None where nobody is known.

        Args:
            cases: verified ones.
            prepared: their set.
            learned: has rho and precisions.
        """
        for case in cases:
            others = self.without(case.id, case.group) if case.annotators else None
            yield (
                None
                if others is None
                else others.tables(learned.dependence, learned.precisions).prior(prepared.outlines(case))
            )

    def without(self, image: str, group: str) -> "AnnotatorPairs | None":
        """Return all but those of a group; where they are not enough, all but those of the image."""
        for held, left_out in ((self.groups, group), (self.images, image)):
            kept = [each != left_out for each in held]
            names = (tuple(compress(part, kept)) for part in (self.owners, self.images, self.groups))
            others = AnnotatorPairs(self.counts.only(kept), *names)
            if others.enough:
                return others
        return None


class _Told(NamedTuple):
    """Some pixels of a verified image, and what tables that have not seen it say: (A, L, P, 1), (A, P, 1), (P, 1)."""

    names: tuple[str, ...]
    posteriors: Maps
    decided: NDArray[np.bool_]
    verified: Labels


def _told(tables: AnnotatorTables, one: Drawn, number: int) -> _Told:
    """Return what tables say of at most ``_PIXELS`` pixels of an image; its number decides which."""
    chosen = some_pixels(np.ones(one.verified.shape, np.bool_), _PIXELS, number)
    outlines = with_majority(one.outlines)
    posteriors, decided = tables.posteriors(outlines)
    flat = posteriors.reshape(*posteriors.shape[:2], -1, 1)[:, :, chosen]
    verified: Labels = one.verified.reshape(-1, 1)[chosen]
    return _Told(tuple(outlines), flat, decided.reshape(len(decided), -1, 1)[:, chosen], verified)


def with_majority(outlines: Outlines) -> Outlines:
    """Return outlines of three or more with their majority, a witness with a table of its own.

    Example:
        >>> masks = {name: np.array([[number, 1]], np.uint8) for number, name in enumerate("ab")}
        >>> len(with_majority(masks)), with_majority(masks | {"c": masks["a"]})[MAJORITY].tolist()
        (2, [[0, 1]])
    """
    if len(outlines) < 3:
        return outlines
    return {**outlines, MAJORITY: vote(np.stack(list(outlines.values())))}


def _precisions(losses: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return p_j = 1 / mean log loss; the logarithm is drawn to that of all as tables are.

    Example:
        >>> {name: round(p, 2) for name, p in _precisions({"anna": [0.1, 0.1, 0.1], "ben": []}).items()}
        {'anna': 9.99, 'ben': 9.99}
    """
    every = [loss for own in losses.values() for loss in own]
    if not every:
        return {}
    mean = log(fmean(every) + _TINY)
    shrunk = {
        name: (len(own) * log(fmean(own) + _TINY) + OTHERS * mean) / (len(own) + OTHERS) if own else mean
        for name, own in losses.items()
    }
    return {name: exp(-held) for name, held in shrunk.items()}


def _posterior(table: Tensor, outline: Labels) -> Maps:
    labels = torch.from_numpy(outline.astype(np.int64))[None]
    bins = torch.from_numpy(native_bins(outline, len(table), BOUNDS)).long()[None]
    found: Maps = class_posterior(table, labels, bins)[0].numpy()
    return found
