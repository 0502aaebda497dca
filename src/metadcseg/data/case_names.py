"""Which case a name stands for, in tables and lists that people write, and which one was probably meant."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from unicodedata import normalize

from metadcseg.data.formats.images import SUFFIXES
from metadcseg.data.formats.volumes import stem_of

_MOST_COMPARED = 20


def one_form(name: str) -> str:
    """Return a name in the one form in which names are compared: systems write the same umlaut in two (NFC, NFD).

    Example:
        >>> one_form("Mu\u0308ller") == one_form("M\u00fcller")
        True
    """
    return normalize("NFC", name)


def case_called(name: str, cases: Collection[str]) -> str | None:
    """Return the case of a name, or of the name of its image or volume; None where there is none.

    Args:
        name: as a person wrote it.
        cases: ids of those that there are.

    Example:
        >>> cases = ["c0", "s0.9"]
        >>> [case_called(name, cases) for name in ("c0", "images/c0.png", "c0.nii.gz", "s0.9.PNG", "c0.v2")]
        ['c0', 'c0', 'c0', 's0.9', None]
    """
    known = one_form(name)
    file = Path(known).name  # lists may name the folder, too
    plain = file[: -len(Path(file).suffix)] if file.lower().endswith(SUFFIXES) else stem_of(Path(file))
    return next((case for case in (known, plain) if case in cases), None)


class Meant:
    """Says which name was probably meant, of the first twenty that are unknown: comparing takes time for each.

    Args:
        names: those that there are.
        cutoff: how alike two must be, from 0 to 1, see `difflib.get_close_matches`.

    Example:
        >>> Meant(["case-1", "case-2"]).hint("cas-1", "add it")
        "did you mean 'case-1'?"
        >>> Meant(["case-1"]).hint("liver", "add it")
        'add it'
    """

    def __init__(self, names: Collection[str], cutoff: float = 0.5) -> None:
        self._names: Sequence[str] = list(names)
        self._cutoff = cutoff
        self._asked = 0

    def near(self, name: str) -> str | None:
        """Return the name that is most like another one; None where none is, or too many were asked for."""
        self._asked += 1
        if self._asked > _MOST_COMPARED:
            return None
        return next(iter(get_close_matches(name[:200], self._names, n=1, cutoff=self._cutoff)), None)

    def hint(self, name: str, otherwise: str) -> str:
        """Return a question after the name that was probably meant, or what to do otherwise."""
        near = self.near(name)
        return otherwise if near is None else f"did you mean '{near}'?"
