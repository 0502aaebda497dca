"""Masks that number classes each in a way of its own: what no table of names can bring together."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from metadcseg.constants import IGNORE
from metadcseg.data.findings import Finding, listed
from metadcseg.data.prepare.facts import CaseFacts, MaskFacts
from metadcseg.data.sources.case import RawCase


def numbering(
    cases: Sequence[RawCase],
    facts: Sequence[CaseFacts],
    remap: Mapping[int, int],
    declared: Mapping[int, int],
) -> list[Finding]:
    """Find numbers of classes that are open between files, and white that would be taken for unknown.

    Args:
        cases: of the source.
        facts: what is in their masks.
        remap: value -> class number, as given.
        declared: likewise, as the source says.

    Returns:
        Errors. A mask made of a file for each class is numbered by the names of its files, and one that is drawn by
        the names of its shapes: beside a mask of class numbers without names nobody knows which number is which.
    """
    files: list[MaskFacts] = []
    composed: list[MaskFacts] = []
    for case, one in zip(cases, facts, strict=True):
        for what, entry in one.masks.items():
            (files if isinstance(case.mask(what), Path) else composed).append(entry)
    made = [entry for entry in composed if entry.names and entry.stored is None]  # else their names say it
    unnamed = [entry for entry in (*files, *composed) if not entry.names and _values(entry, remap)]
    unknown = declared.get(IGNORE) == IGNORE and remap.get(IGNORE) == IGNORE
    return _open(made, unnamed, remap) + (_white(files) if unknown else [])


def _open(made: Sequence[MaskFacts], unnamed: Sequence[MaskFacts], remap: Mapping[int, int]) -> list[Finding]:
    names = sorted({name for entry in made for name in entry.names.values()})
    values = {value for entry in unnamed for value in _values(entry, remap)}
    if not made or not unnamed or (len(names) < 2 and len(values) < 2):
        return []
    sentence = (
        f"{made[0].where} numbers its classes by their names ({listed(names, 8)}), {unnamed[0].where} holds "
        f"numbers without names ({listed(sorted(values), 8)}): which is which is open, so export both in "
        "one way, as masks of class numbers or as a file for each class"
    )
    return [Finding("error", "label-meaning", unnamed[0].where, sentence)]


def _values(entry: MaskFacts, remap: Mapping[int, int]) -> set[int]:
    """Return the foreground values of a mask; one with soft edges has one."""
    if entry.soft:
        return {IGNORE}
    return {value for value in entry.levels if remap.get(value, value) != 0 and remap.get(value) != IGNORE}


def _white(files: Sequence[MaskFacts]) -> list[Finding]:
    """Refuse masks in black and white where the source says that 255 is unknown."""
    white = [
        entry
        for entry in files
        if IGNORE in entry.levels and not (entry.soft or entry.lossy) and set(entry.levels) <= {0, IGNORE}
    ]
    if not white:
        return []
    sentence = (
        f"{white[0].where} is black and white ({len(white)} such masks), but drawings beside it have shapes called "
        "ignore, so 255 is an unknown pixel: save masks of pixels with class numbers (0, 1, ...), or rename the shapes"
    )
    return [Finding("error", "label-meaning", white[0].where, sentence)]
