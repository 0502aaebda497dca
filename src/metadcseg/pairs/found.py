"""The pairs of a folder or a prepared set as the other modules get them, and what of a pair is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import listed, plural
from metadcseg.pairs.statistics import Diagnosis, Pair, diagnose


@dataclass(frozen=True)
class FoundPairs:
    """The pairs of a folder or a set.

    Args:
        pairs: in the order of their ids.
        classes: names in class order, background first.
        verified: how many verified masks there are, with the mask that they replaced or without it; of the cases for
            training only gold's.
        notes: what was guessed or passed over, one sentence each.
        load_image: returns the image of a pair by its id: (H, W, C), or (X, Y, Z, C) of a volume.
        outlines: given outlines of single annotators, beside pairs whose given mask was made of several.
    """

    pairs: tuple[Pair, ...]
    classes: tuple[str, ...]
    verified: int
    notes: tuple[str, ...]
    load_image: Callable[[str], NDArray[Any]]
    outlines: tuple[Pair, ...] = ()

    def diagnose(self) -> Diagnosis:
        """Return how the masks are wrong, as these pairs show it."""
        return diagnose(self.pairs, self.classes, self.verified, self.outlines)


@dataclass(frozen=True)
class View:
    """What of a pair can be drawn.

    Args:
        image: (H, W, C).
        given: (H, W) uint8.
        verified: likewise.
    """

    image: NDArray[Any]
    given: NDArray[np.uint8]
    verified: NDArray[np.uint8]


def with_known_pixels(pairs: Sequence[Pair], outlines: Sequence[Pair]) -> tuple[tuple[Pair, ...], list[str]]:
    """Return the pairs that show anything, and the note on the others: no pixel is known in both of their masks.

    Args:
        pairs: all.
        outlines: of single annotators; a pair that has some stays.
    """
    drawn = {pair.id for pair in outlines}
    shown, hidden = list[Pair](), list[str]()
    for pair in pairs:
        if pair.id in drawn or ((pair.given != IGNORE) & (pair.verified != IGNORE)).any():
            shown.append(pair)
        else:
            hidden.append(pair.id)
    count = plural(len(hidden), "pair")
    told = f"{count} left out, since no pixel is known in both masks: {listed(hidden, 5)}"
    return tuple(shown), [told] if hidden else []


def said_of_fused(outlines: Sequence[Pair], how: str) -> list[str]:
    """Return the note that tells the masks which training sees from those of each annotator; none without outlines.

    Args:
        outlines: of single annotators.
        how: one mask was made of several (`metadcseg.data.prepare.fusing`).
    """
    if not outlines:
        return []
    images = len({pair.id for pair in outlines})
    return [
        f"the whole is of one mask for each image, of {plural(images, 'image')} made of several outlines ({how}, tied "
        "pixels count nowhere); the lines of annotators are of what each drew"
    ]


def view(found: FoundPairs, pair: Pair) -> View:
    """Return what of a pair is shown: of a volume the slice along its last axis with most voxels that differ.

    Raises:
        InputError: where the image cannot be read.
    """
    image = found.load_image(pair.id)
    if pair.given.ndim == 2:
        return View(image, pair.given, pair.verified)
    place = int(np.argmax((pair.given != pair.verified).sum(axis=(0, 1))))
    turned = [np.moveaxis(array[:, :, place], 0, 1) for array in (image, pair.given, pair.verified)]
    return View(*(np.ascontiguousarray(array) for array in turned))
