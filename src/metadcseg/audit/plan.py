"""What a corrected folder shall hold: files that are taken over, and masks that are written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.review import Outcome
from metadcseg.csv_files import csv_rows
from metadcseg.data.splits.roles import SplitRow
from metadcseg.errors import InputError

IMAGES, MASKS, GOLD, SPLITS = "images", "masks", "gold", "splits.csv"
CORRECTIONS = "corrections.csv"
"""Which masks of a corrected folder changed in which audit."""

Write = Callable[[Path], object]
"""Writes one file, whose suffix says its format."""


@dataclass
class Plan:
    """The files of a corrected folder, all by their place in it.

    Args:
        copies: place -> file or folder that is taken over.
        links: which of these are images, so that a link serves as well.
        writes: place -> what writes it.
        removes: files that others take the place of.
        rows: what ``splits.csv`` says.
        left: sentences about what is not taken over.
        limit: how many of the training cases to prepare, and the seed that draws them; None: all.
    """

    copies: dict[Path, Path] = field(default_factory=dict)
    links: set[Path] = field(default_factory=set)
    writes: dict[Path, Write] = field(default_factory=dict)
    removes: set[Path] = field(default_factory=set)
    rows: dict[str, SplitRow] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    limit: tuple[int, int] | None = None

    def put(self, place: Path, write: Write) -> None:
        """Write a file, in the place of one that would have been taken over."""
        self.copies.pop(place, None)
        self.writes[place] = write


@dataclass(frozen=True)
class Mask:
    """A mask without its pixels.

    Args:
        read: returns it, (Z, H, W), made anew each time: memory holds the pixels of one case.
        write: writes it in the likeness of the given one.
    """

    read: Callable[[], NDArray[np.uint8]]
    write: Write


@dataclass(frozen=True)
class Reviewed:
    """What became of a case.

    Args:
        outcome: of the review.
        mask: that follows from it.
        write_class: writes the pixels of one class of it, white on black.
    """

    outcome: Outcome
    mask: Mask
    write_class: Callable[[int, Path], object]


Reviews = Mapping[str, Reviewed]
"""Id -> what became of it, of the cases that were decided on."""

Twins = Mapping[str, Mask]
"""Id -> the mask beside the verified one, of the pairs in which it is another one now."""


def splits_text(rows: Mapping[str, SplitRow]) -> bytes:
    r"""Return ``splits.csv``.

    Raises:
        InputError: where an id is no text that a table can hold.

    Example:
        >>> splits_text({"a": SplitRow("gold", "patient, 1")})
        b'id,role,group\na,gold,"patient, 1"\n'
    """
    for id, row in rows.items():
        for name in (id, row.group or ""):
            if name != name.strip() or len(name.splitlines()) > 1:
                raise InputError(
                    f"the name {name!a} begins or ends with a blank, or holds a line break, which {SPLITS} cannot "
                    "say: rename its files, prepare, train and audit again"
                )
    text = csv_rows([("id", "role", "group"), *((id, row.role, row.group) for id, row in rows.items())])
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"a case has a name that is no text in UTF-8 ({text[error.start]!a}): rename its files"
        ) from error
