"""The scores of one case that has a truth: how well each rule tells its wrong pixels from right ones."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.judged import Judged, Prior
from metadcseg.audit.probability import Labels, Maps, Witnesses
from metadcseg.audit.scoring import SCORES, histogram
from metadcseg.constants import IGNORE
from metadcseg.evaluation.noise_detection import outline_distances


class CaseScores:
    """What tells wrong pixels of one case from right ones, beside its truth.

    Args:
        truth: (Z, H, W) class numbers, or ``IGNORE``.
        given: likewise.
        witnesses: who judge it.
        prior: what the outlines of annotators say of each slice; None: nobody is known.
    """

    def __init__(self, truth: Labels, given: Labels, witnesses: Witnesses, prior: Prior | None) -> None:
        self._truth, self._given, self._witnesses, self._prior = truth, given, witnesses, prior
        self._network = np.zeros(given.shape, np.float32)
        self._pairs = np.zeros(given.shape, np.float32)

    def watched(self, maps: Iterator[Maps]) -> Iterator[Maps]:
        """Yield what comes, and keep how little the given labels are believed."""
        for number, said in enumerate(maps):
            plane = self._given[number]
            self._network[number] = self._witnesses.wrong(plane, said)
            if self._witnesses.table is not None:
                prior = None if self._prior is None else self._prior(number)
                alone = self._witnesses.posterior(plane, None, prior)
                self._pairs[number] = self._witnesses.wrong(plane, alone)
            yield said

    def found(self, judged: Judged, threshold: float) -> dict[str, NDArray[Any]]:
        """Return ``detection``, (S, 2, BINS) histograms in the order of ``SCORES``, and ``above``, (2,) pixels."""
        known = (self._given != IGNORE) & (self._truth != IGNORE)
        wrong = (self._given != self._truth)[known]
        scores = {
            "audit": judged.wrong,
            "disagreement": self._network,
            "pairs alone": self._pairs,
            "given foreground": (self._given != 0).astype(np.float32),
            "near the outline": (1 / (1 + outline_distances(self._given))).astype(np.float32),
        }
        above = judged.wrong[known] >= threshold
        return {
            "detection": np.stack([histogram(scores[name][known], wrong) for name in SCORES]),
            "above": np.array([above.sum(), (above & wrong).sum()], np.int64),
        }
