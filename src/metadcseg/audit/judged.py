"""What the witnesses say of one case, slice by slice, and the masks that follow."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.probability import Labels, Maps, Witnesses
from metadcseg.audit.records import Level
from metadcseg.audit.regions import Numbers
from metadcseg.constants import IGNORE
from metadcseg.errors import InputError

SURE = 0.9
"""How probable it must be that a label is wrong for the level ``sure`` to change it."""


@dataclass(frozen=True)
class Judged:
    """What is known of the pixels of one case, all (Z, H, W).

    Args:
        given: uint8 class numbers, or ``IGNORE``.
        wrong: float32, P(the given label is wrong), 0 where it is ignored.
        proposed: uint8, the most probable class.
        network: uint8, that of the network alone; ``IGNORE`` where the given label is.
        counts: (L, L) float64, for each given class the sum of P(true class) over its pixels.
        highest: (L,) float64, the highest P(true class) of any pixel that is not ignored.
    """

    given: Labels
    wrong: Maps
    proposed: Labels
    network: Labels
    counts: NDArray[np.float64]
    highest: NDArray[np.float64]

    def corrected(self, regions: Numbers, sure: float = SURE) -> dict[Level, Labels]:
        """Return the corrected masks; ``balanced`` changes what lies in regions, ``sure`` the most probable of it."""
        inside = regions > 0
        return {
            "sure": np.where(inside & (self.wrong >= sure), self.proposed, self.given),
            "balanced": np.where(inside, self.proposed, self.given),
            "network": self.network,
        }


def judge(
    witnesses: Witnesses,
    given: Labels,
    network: Iterable[Maps],
    priors: Sequence[Maps | None] | None = None,
    watch: Callable[[int, Maps], None] | None = None,
) -> Judged:
    """Ask the witnesses about every slice.

    Args:
        witnesses: who speaks.
        given: (Z, H, W) uint8 class numbers, or ``IGNORE``.
        network: probabilities of every slice, (L, H, W) float32, one at a time in memory.
        priors: what the outlines of annotators say of each slice, likewise; None where nobody is known.
        watch: is told the number and P(true class), (L, H, W), of every slice.

    Raises:
        InputError: for probabilities of another size.

    Example:
        >>> given = np.array([[[0, 1, 255]]], np.uint8)
        >>> network = np.array([[[0.75, 0.75, 0.75]], [[0.25, 0.25, 0.25]]], np.float32)
        >>> judged = judge(Witnesses(), given, [network])
        >>> judged.wrong.tolist(), judged.proposed.tolist(), judged.counts.tolist()
        ([[[0.25, 0.75, 0.0]]], [[[0, 0, 255]]], [[0.75, 0.25], [0.75, 0.25]])
    """
    wrong = np.zeros(given.shape, np.float32)
    proposed, alone = given.copy(), given.copy()
    counts: NDArray[np.float64] | None = None
    highest: NDArray[np.float64] = np.zeros(0)
    for number, maps in enumerate(network):
        if number >= len(given) or maps.ndim != 3 or maps.shape[1:] != given.shape[1:]:
            raise InputError(
                f"probabilities must be (L, H, W) of {len(given)} slices of {given.shape[1:]}, got {maps.shape} as "
                f"number {number + 1}: give them at the size of the mask"
            )
        plane, known = given[number], given[number] != IGNORE
        posterior = witnesses.posterior(plane, maps, None if priors is None else priors[number])
        if watch is not None:
            watch(number, posterior)
        wrong[number] = witnesses.wrong(plane, posterior)
        proposed[number][known] = posterior.argmax(axis=0)[known]
        alone[number][known] = maps.argmax(axis=0)[known]
        if counts is None:
            counts, highest = np.zeros((len(maps),) * 2), np.zeros(len(maps))
        highest = np.maximum(highest, posterior.max(axis=(1, 2), where=known, initial=0))
        for c in range(len(maps)):
            counts[c] += posterior[:, plane == c].sum(axis=1, dtype=np.float64)
    if counts is None or number + 1 != len(given):
        raise InputError(f"probabilities of all {len(given)} slices are needed: give every slice once")
    return Judged(given, wrong, proposed, alone, counts, highest)
