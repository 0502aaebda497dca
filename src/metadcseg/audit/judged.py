"""What the witnesses say of one case, slice by slice, and the masks that follow."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.probability import Labels, Maps, Witnesses
from metadcseg.audit.ranking import expected_dsc
from metadcseg.audit.records import Level
from metadcseg.audit.regions import Numbers
from metadcseg.constants import IGNORE
from metadcseg.errors import InputError

SURE = 0.9
"""How probable it must be that a label is wrong for the level ``sure`` to change it."""

Prior = Callable[[int], Maps | None]
"""Returns what the outlines of annotators say of a slice, (L, H, W); None where nobody is known."""


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
        gains: (Z,) float64, how much nearer the truth the most probable classes of a slice are expected to be than its
            given labels, as DSC.
    """

    given: Labels
    wrong: Maps
    proposed: Labels
    network: Labels
    counts: NDArray[np.float64]
    highest: NDArray[np.float64]
    gains: NDArray[np.float64]

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
    margin: float = 0.0,
    prior: Prior | None = None,
    watch: Callable[[int, Maps], None] | None = None,
) -> Judged:
    """Ask the witnesses about every slice.

    Args:
        witnesses: who speaks.
        given: (Z, H, W) uint8 class numbers, or ``IGNORE``.
        network: probabilities of every slice, (L, H, W) float32, one at a time in memory.
        margin: the expected gain in DSC up to which a slice is left as it is (:func:`.margin.fit_margin`).
        prior: what the outlines of annotators say of each slice.
        watch: is told the number and P(true class), (L, H, W), of every slice.

    Raises:
        InputError: for probabilities of another size.

    Example:
        >>> given = np.array([[[0, 1, 255]]], np.uint8)
        >>> network = np.array([[[0.75, 0.75, 0.75]], [[0.25, 0.25, 0.25]]], np.float32)
        >>> judged = judge(Witnesses(), given, [network])
        >>> judged.wrong.tolist(), judged.proposed.tolist(), judged.counts.tolist()
        ([[[0.25, 0.75, 0.0]]], [[[0, 0, 255]]], [[0.75, 0.25], [0.75, 0.25]])
        >>> judged.gains.tolist()  # the given mask: 2 * 0.25 / (1 + 0.5); an empty one is right where 1 - 0.25
        [0.4166666666666667]
        >>> judge(Witnesses(), given, [network], margin=0.5).proposed.tolist()
        [[[0, 1, 255]]]
    """
    wrong, gains = np.zeros(given.shape, np.float32), np.zeros(len(given))
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
        posterior = witnesses.posterior(plane, maps, None if prior is None else prior(number))
        if watch is not None:
            watch(number, posterior)
        wrong[number] = witnesses.wrong(plane, posterior)
        alone[number] = np.where(known, most_probable(maps), plane)
        if counts is None:
            counts, highest = np.zeros((len(maps),) * 2), np.zeros(len(maps))
        peak = (
            (posterior if known.all() else posterior * known)
            .reshape(len(maps), -1)
            .max(axis=1)
            .astype(np.float64)
        )
        found = _sums(plane, posterior)
        counts, highest = counts + found, np.maximum(highest, peak)
        better, hoped = nearest_mask(plane, posterior, found, peak)
        gains[number] = hoped - expected_dsc(found, peak)
        if gains[number] > margin:
            proposed[number] = better
    if counts is None or number + 1 != len(given):
        raise InputError(f"probabilities of all {len(given)} slices are needed: give every slice once")
    return Judged(given, wrong, proposed, alone, counts, highest, gains)


def nearest_mask(
    given: Labels, posterior: Maps, sums: NDArray[np.float64], peak: NDArray[np.float64]
) -> tuple[Labels, float]:
    """Return the mask of the highest expected DSC that is found, and that DSC; ignored labels stay.

    Where D is the highest expected DSC, the best mask holds the pixels that are foreground with a probability above
    D / 2 (Nordstroem et al., 2022). Of two classes these are the pixels whose odds are above D / (2 - D). D is taken
    from the most probable classes.

    Args:
        given: (H, W).
        posterior: P(true class), (L, H, W).
        sums: for each given class the sum of P(true class) over its pixels, (L, L).
        peak: (L,), the highest P(true class) of any pixel that is not ignored.
    """
    known = given != IGNORE
    mask = np.where(known, most_probable(posterior), given)
    hoped = expected_dsc(_moved(sums, given, mask, posterior), peak)
    background = posterior[0] * np.float32(hoped / (2 - hoped))
    other = np.where(known, most_probable([background, *posterior[1:]]), given)
    then = expected_dsc(_moved(sums, given, other, posterior), peak)
    return (other, then) if then > hoped else (mask, hoped)


def _moved(sums: NDArray[np.float64], given: Labels, mask: Labels, posterior: Maps) -> NDArray[np.float64]:
    """Return the sums of another mask than the given one: only what differs is counted."""
    place = np.flatnonzero(given.ravel() != mask.ravel())
    if not len(place):
        return sums
    inside = posterior.reshape(len(posterior), 1, -1)[:, :, place]
    before, after = (_sums(labels.ravel()[place], inside) for labels in (given, mask))
    moved: NDArray[np.float64] = (sums + after - before).clip(min=0)
    return moved


def most_probable(maps: Maps | Sequence[Maps]) -> Labels:
    """Return the class of the highest probability, (H, W) uint8, of (L, H, W); the first of equal ones.

    Example:
        >>> most_probable(np.array([[[0.2, 0.5]], [[0.5, 0.5]], [[0.3, 0.0]]], np.float32)).tolist()
        [[1, 0]]
    """
    best, found = maps[0].copy(), np.zeros(maps[0].shape, np.uint8)
    for number in range(1, len(maps)):
        np.copyto(found, number, where=maps[number] > best)
        np.maximum(best, maps[number], out=best)
    return found


def _sums(labels: Labels, posterior: Maps) -> NDArray[np.float64]:
    """Return for each class of the labels the sum of P(true class) over its pixels, (L, L)."""
    flat, classes = labels.ravel(), len(posterior)
    sums = [np.bincount(flat, each.ravel(), minlength=IGNORE + 1)[:classes] for each in posterior]
    return np.stack(sums, axis=1)
