"""Gold counted in slices: so many slices of a few volumes are verified, and the rest of these volumes is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metadcseg.constants import IGNORE
from metadcseg.data.splits.roles import seeded_order
from metadcseg.data.store.reader import Case, PreparedSet
from metadcseg.errors import InputError

_PREFIX = "slices:"


@dataclass(frozen=True)
class GoldSlices:
    """A share of the training slices that counts as verified, where a share of the volumes would be too coarse.

    Args:
        share: of the slices of all training volumes, above 0 and below 1.

    Raises:
        InputError: where the share is out of its range.

    Example:
        >>> str(GoldSlices(0.02))
        'slices:0.02'
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"gold slices are a share above 0 and below 1, got {self.share}")

    @classmethod
    def read(cls, text: object) -> "GoldSlices | None":
        """Return what a text such as ``slices:0.02`` says, None where it is anything else.

        Example:
            >>> GoldSlices.read("slices:0.02"), GoldSlices.read("0.02"), GoldSlices.read("slices:2")
            (GoldSlices(share=0.02), None, None)
        """
        if not isinstance(text, str) or not text.startswith(_PREFIX):
            return None
        try:
            share = float(text.removeprefix(_PREFIX))
        except ValueError:
            return None
        return cls(share) if 0 < share < 1 else None

    def __str__(self) -> str:
        """Return the text that :meth:`read` understands."""
        return f"{_PREFIX}{self.share}"

    def draw(self, slices: Mapping[str, int], *, seed: int = 0) -> dict[str, int]:
        """Draw volumes until they hold enough slices: all of the first ones count, of the last one the rest.

        Args:
            slices: id of every training volume -> how many slices it has, at least 1.
            seed: another seed, another draw. A larger share contains the smaller one's volumes; they come in the
                order of :func:`~metadcseg.data.splits.roles.draw_gold`.

        Returns:
            id of every gold volume -> how many of its slices are gold; together the share, and at least 1.

        Raises:
            InputError: where there is no volume, or none would be left to train on.

        Example:
            >>> GoldSlices(0.02).draw({"a": 100, "b": 120, "c": 80}), GoldSlices(0.5).draw({"a": 9, "b": 9, "c": 9})
            ({'a': 6}, {'a': 9, 'b': 5})
        """
        if not slices:
            raise InputError(
                f"gold {self} is a share of the slices of training volumes, and there are none: give a share of the "
                f"images, such as {self.share}"
            )
        if len(slices) == 1:
            raise InputError(
                "one volume is left to train on, and gold slices take one of their own: hold out less with --val and "
                "--test, or pass --gold 0"
            )
        left = max(1, round(self.share * sum(slices.values())))
        drawn: dict[str, int] = {}
        for name in seeded_order(slices, seed, "gold"):
            if left:
                drawn[name] = min(left, slices[name])
                left -= drawn[name]
        if len(drawn) == len(slices):
            raise InputError(
                f"gold {self} takes slices of every training volume ({len(slices)}) and leaves none to learn from: "
                "choose a smaller share"
            )
        return drawn


def kept_slices(
    prepared: PreparedSet, roles: Mapping[str, str], gold: GoldSlices, *, seed: int = 0
) -> dict[str, tuple[int, ...]]:
    """Return which slices of the gold volumes a set keeps: evenly through those that show foreground.

    Where more are wanted than show foreground, those that show none are added, evenly as well.

    Args:
        prepared: the set that holds the volumes.
        roles: id of every volume that has slices -> role, drawn with the same gold and seed (see
            :func:`~metadcseg.data.splits.folds.fold_roles`).
        gold: how much.
        seed: of the draw.

    Returns:
        id of every gold volume -> numbers of the slices to keep, ascending.

    Raises:
        InputError: where the gold cannot be drawn, or naming case and file where stored bytes are damaged.
    """
    volumes = {one.id: one for one in prepared.volumes if roles.get(one.id) in ("train", "gold")}
    sizes = {name: len(prepared.slices_of(volume)) for name, volume in volumes.items()}
    return {
        name: _chosen(prepared, prepared.slices_of(volumes[name]), count)
        for name, count in gold.draw(sizes, seed=seed).items()
    }


def _chosen(prepared: PreparedSet, cases: Sequence[Case], count: int) -> tuple[int, ...]:
    shown: list[int] = []
    bare: list[int] = []
    for case in cases:
        label = prepared.truth(case) if case.has_truth else prepared.label(case)  # what a gold case shows
        (shown if np.any((label != 0) & (label != IGNORE)) else bare).append(case.slice or 0)
    first = min(count, len(shown))
    return tuple(sorted([*_spread(shown, first), *_spread(bare, count - first)]))


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    """Return so many of the numbers, each the middle one of as many equal parts."""
    return [numbers[(2 * place + 1) * len(numbers) // (2 * count)] for place in range(count)]
