"""How people tell a source which cases are verified, held out, or of one patient: the ends of sentences about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEAST_GOLD = 5
"""Fewer verified cases than these are worth a warning."""


@dataclass(frozen=True)
class WaysOut:
    """What to do, by what is wrong.

    Args:
        role: no case has a role.
        move: a class is in no case of a role.
        group: one image lies in two roles.
        gold: no or too few cases are verified.
        test: masks of test cases are not verified.
    """

    role: str
    move: str
    group: str
    gold: str
    test: str


OF_FOLDERS = WaysOut(
    role="name some in splits.csv",
    move="move some cases in splits.csv",
    group="remove one of the two or give both one group in splits.csv",
    gold=f"correct a few masks by hand and put them into gold/ ({LEAST_GOLD} or more)",
    test="put verified masks of test cases into gold/ and name their role, test, in splits.csv",
)
"""A plain folder: files in it say so."""

OF_DATA_SETS = WaysOut(
    role="choose other shares (--val, --test)",
    move="another --seed deals cases otherwise",
    group="remove one of the two",
    gold="verify a few masks and pass --gold, a file of their ids or, where all masks are verified, a number "
    f"({LEAST_GOLD} or more)",
    test="'metadcseg prepare patterns' takes verified masks as --truth",
)
"""A named data set, or patterns: options say so."""


def ways_out(source: Mapping[str, Any] | None) -> WaysOut:
    """Return what fits the source of a set or a scan.

    Args:
        source: as a set keeps it, with the name of its kind as ``source``; None for cases made by code.

    Example:
        >>> ways_out({"source": "folder of volumes"}).role, ways_out({"source": "nnunet"}).role
        ('name some in splits.csv', 'choose other shares (--val, --test)')
    """
    kind = str((source or {}).get("source", "folder"))
    return OF_FOLDERS if kind.startswith("folder") else OF_DATA_SETS
