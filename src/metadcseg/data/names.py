"""When two names of classes are one: for segments, colors, files of parts and shapes alike."""

from collections.abc import Iterable
from unicodedata import normalize

BACKGROUND = "background"
IGNORED = "ignore"
"""The class of unknown pixels."""


def name_key(name: str, exact: bool = False) -> str:
    """Return the form in which names are compared: one Unicode form, single blanks, and no case unless it is asked for.

    Args:
        name: of a class.
        exact: whether names that differ in case alone are different (`spelt_apart`).

    Example:
        >>> name_key("Left  Lung"), name_key("Left  Lung", exact=True), name_key("_Background_"), name_key("Ignored")
        ('left lung', 'Left Lung', 'background', 'ignore')
    """
    plain = " ".join(normalize("NFC", name).split())
    bare = plain.casefold().strip("_ ")
    if bare == BACKGROUND:
        return BACKGROUND
    return IGNORED if bare in (IGNORED, "ignored") else plain if exact else plain.casefold()


def spelt_apart(names: Iterable[str]) -> bool:
    """Return whether one file has names that differ in case alone: it then means different classes by them.

    Example:
        >>> spelt_apart(["liver", "Liver"]), spelt_apart(["liver", "liver"])
        (True, False)
    """
    held = set(names)
    return len({name_key(name, True) for name in held}) > len({name_key(name) for name in held})
