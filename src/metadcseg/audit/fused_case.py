"""The outlines of one case on their way through an audit: what their tables say, and what comes of them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metadcseg.audit.annotator_tables import AnnotatorPairs, AnnotatorTables, Drawn, Outlines
from metadcseg.audit.correction import write_wrong
from metadcseg.audit.fusion import Labels, Maps, log_loss, matched_odds, with_network
from metadcseg.audit.predictors import CasePredictor
from metadcseg.audit.probability import Witnesses, some_pixels
from metadcseg.audit.ranking import expected_dsc
from metadcseg.audit.units import Unit, paired_units
from metadcseg.audit.weight import WeightFit
from metadcseg.constants import IGNORE
from metadcseg.data.store.reader import PreparedSet
from metadcseg.files import output_folder

_PIXELS = 400_000  # on which shares are matched

FUSED, CERTAINTY = "fused", "certainty"
"""The folders of the fused label, in ``corrected/``, and of its certainty."""


def verified_outlines(prepared: PreparedSet) -> Iterator[Drawn]:
    """Yield the gold images, or slices, of which outlines are known."""
    for unit in paired_units(prepared):
        for case in unit.cases:
            if case.has_given and case.annotators:
                yield Drawn(case.id, case.group, prepared.outlines(case), prepared.label(case))


def learned_annotators(prepared: PreparedSet) -> tuple[AnnotatorPairs, AnnotatorTables] | None:
    """Return the pairs and tables of the annotators of a set; None of one annotator, or of fewer than two images."""
    if len(prepared.annotators) < 2 or not prepared.select("gold"):
        return None
    pairs = AnnotatorPairs.count(verified_outlines(prepared), len(prepared.classes))
    return (pairs, pairs.learn(verified_outlines(prepared))) if pairs.enough else None


class FusedCase:
    """What is drawn of a case, and what is probably true of it: the fused label, and how each annotator erred.

    Args:
        tables: of the annotators.
        unit: the case.
        prepared: its set.
    """

    def __init__(self, tables: AnnotatorTables, unit: Unit, prepared: PreparedSet) -> None:
        self._unit, self._classes, self._tables = unit, len(prepared.classes), tables
        self._outlines: list[Outlines] = [
            prepared.outlines(case) if case.annotators else {} for case in unit.cases
        ]
        self._last: tuple[int, Maps | None] = (-1, None)
        self._labels: dict[int, Labels] = {}
        self._certain: dict[int, Maps] = {}
        self._counts: dict[str, NDArray[np.float64]] = {}
        self._highest = np.zeros(self._classes)

    @property
    def several(self) -> bool:
        """Whether a slice has outlines of more than one."""
        return any(len(each) > 1 for each in self._outlines)

    def prior(self, number: int) -> Maps | None:
        """Return what the outlines of a slice say, (L, H, W) float32; None where nobody is known."""
        if self._last[0] != number:
            outlines = self._outlines[number]
            self._last = (number, self._tables.prior(outlines) if outlines else None)
        return self._last[1]

    def watch(self, number: int, posterior: Maps) -> None:
        """Take in P(true class) of a slice, (L, H, W)."""
        outlines = self._outlines[number]
        known = np.any([mask != IGNORE for mask in outlines.values()], axis=0) if outlines else np.False_
        self._labels[number] = np.where(known, posterior.argmax(axis=0), IGNORE).astype(np.uint8)
        self._certain[number] = np.where(known, posterior.max(axis=0), 0).astype(np.float32)
        self._highest = np.maximum(self._highest, posterior.max(axis=(1, 2), where=known, initial=0))
        for name, mask in outlines.items():
            counts = self._counts.setdefault(name, np.zeros((self._classes,) * 2))
            for c in range(self._classes):
                counts[c] += posterior[:, mask == c].sum(axis=1, dtype=np.float64)

    def written(self, out: Path) -> dict[str, Labels]:
        """Write ``certainty/`` of the fused label, and return that label as ``fused``; nothing of one outline.

        The label is the most probable class by all outlines and the network, where anybody decided; its certainty is
        the probability of that class.

        Raises:
            InputError: where the disk refuses.
        """
        if not self.several:
            return {}
        order = range(len(self._outlines))
        folder = output_folder(out, CERTAINTY)
        write_wrong(folder, self._unit, np.stack([self._certain[number] for number in order]))
        return {FUSED: np.stack([self._labels[number] for number in order])}

    def found(self) -> dict[str, NDArray[Any]]:
        """Return what is kept of each annotator, as one array of text."""
        told = {
            name: {"dsc": expected_dsc(counts, self._highest), "counts": counts.round(3).tolist()}
            for name, counts in self._counts.items()
        }
        return {"annotators": np.array(json.dumps(told))}


def matched_to_outlines(
    units: Sequence[Unit],
    prepared: PreparedSet,
    predictor: CasePredictor,
    table: Tensor,
    tables: AnnotatorTables,
    weights: Sequence[float],
) -> dict[float, Tensor | None]:
    """Return for each weight the log odds by which the network's say is matched to that of the outlines, (L, L).

    Args:
        units: the cases that are asked.
        prepared: the set.
        predictor: the network.
        table: of the fused label, for cases of which nobody is known.
        tables: of the annotators.
        weights: that the network can have.
    """
    pixels = max(64, _PIXELS // max(1, sum(len(unit.cases) for unit in units)))
    witnesses, held = Witnesses(table), list[tuple[Maps, Labels, Maps]]()
    for unit in units:
        fused = FusedCase(tables, unit, prepared)
        for number, (given, maps) in enumerate(zip(unit.given(prepared), predictor.of(unit), strict=True)):
            chosen = some_pixels(np.ones(given.shape, np.bool_), pixels, len(held))
            told = witnesses.posterior(given, None, fused.prior(number))
            flat = (part.reshape(len(part), -1)[:, chosen] for part in (told, maps))
            held.append((next(flat), given.ravel()[chosen], next(flat)))
    if not held:
        return dict.fromkeys(weights)
    outlines, labels, network = zip(*held, strict=True)
    said = (np.concatenate(outlines, axis=1), np.concatenate(labels), np.concatenate(network, axis=1))
    return {weight: torch.from_numpy(matched_odds(*said, weight)).float() for weight in weights}


def fit_weight_beside(
    seen: Iterable[tuple[Labels, Labels, Maps]],
    priors: Iterable[Maps | None],
    groups: Sequence[str],
    odds: Mapping[float, Tensor | None],
) -> WeightFit:
    """Tell every pair by every weight of the network beside its outlines, as :func:`.fit_weight` beside a table.

    Args:
        seen: given and verified mask, (H, W), and the network's probabilities, (L, H, W), of every pair.
        priors: what tables of annotators that have not seen the pair say of it, likewise; None: it tells nothing.
        groups: of every pair.
        odds: weight -> log odds (:func:`matched_to_outlines`), ascending.
    """
    losses = np.full((len(groups), len(odds)), np.nan)
    for number, ((given, verified, network), prior) in enumerate(zip(seen, priors, strict=True)):
        if prior is None or (verified == IGNORE).all():
            continue
        for place, (weight, held) in enumerate(odds.items()):
            found = with_network(prior, given, network, weight, None if held is None else held.numpy())
            losses[number, place] = log_loss(found, verified)
    return WeightFit(odds, losses, tuple(groups))
