"""What the values in mask files mean: class numbers, black and white, or soft edges of black and white.

Nobody's masks look alike, so the meaning is settled once for all masks of a folder, from what is in them:

====================================  ============================================================
values in the files                   meaning
====================================  ============================================================
0 and 255 only                        255 is the foreground, class 1
0, 255 and soft edges between them    black and white through JPEG or resampling: thresholded at 127, and said
0 .. L-1, each used                   class numbers
0 .. L-1 and 255                      class numbers, and 255 = ignored (unknown); white of soft masks is class 1
anything else                         an error with a suggested remap
====================================  ============================================================

A file of 0 and 255 beside files that use several classes, or 255 beside classes, is ambiguous and refused.
A remap (``{7: 1, 900: 2}``) is applied first and settles it: values that it does not name stay, and where it
names 255 (``{255: 1}`` foreground, ``{255: 255}`` ignored) it decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.formats.soft import THRESHOLD
from metadcseg.data.prepare.facts import MOST_LEVELS, MaskFacts
from metadcseg.errors import InputError

_MOST_SUGGESTED = 16  # a remap of more values helps nobody


@dataclass(frozen=True)
class LabelScheme:
    """How values of the files become class numbers.

    Args:
        classes: number of classes, background included.
        remap: value in the file -> class number (or 255), as the user gave it.
        white_is_foreground: whether 255 is class 1 rather than ignored.
    """

    classes: int
    remap: Mapping[int, int] = field(default_factory=dict)
    white_is_foreground: bool = True

    def hides(self, facts: MaskFacts) -> bool:
        """Return whether every pixel of a mask is unknown."""
        return bool((self.apply(np.array(facts.in_file), facts) == IGNORE).all())

    def apply(self, mask: NDArray[Any], facts: MaskFacts) -> NDArray[np.uint8]:
        """Return the labels of a mask.

        Args:
            mask: integers as stored in the file, of any shape; the values alone do as well.
            facts: what `mask_facts` says about the whole mask.

        Returns:
            uint8 of the same shape, 0 .. classes-1 and 255 (ignored).

        Example:
            >>> stored = np.array([[0, 900], [7, 0]])
            >>> LabelScheme(3, {7: 1, 900: 2}).apply(stored, MaskFacts("a.png", (0, 7, 900))).tolist()
            [[0, 2], [1, 0]]
        """
        stored, levels = facts.in_file, facts.levels
        if _thresholded(facts, self.remap):
            mask, stored, levels = np.where(mask > THRESHOLD, IGNORE, 0), (0, IGNORE), (0, IGNORE)
        meant = dict(self.remap)
        if self.white_is_foreground:
            meant.setdefault(IGNORE, 1)
        if _is_object(facts, self.remap) and meant.get(IGNORE, IGNORE) == IGNORE:
            meant[IGNORE] = 1
        remap = {value: meant.get(level, level) for value, level in zip(stored, levels, strict=True)}
        if mask.dtype == np.uint8:  # several times as fast as looking for each value
            table = np.zeros(256, np.uint8)
            table[list(remap)] = list(remap.values())
            return np.take(table, mask)
        labels = np.zeros(mask.shape, np.uint8)
        for value, label in remap.items():
            labels[mask == value] = label
        return labels


def check_remap(remap: Mapping[int, int]) -> None:
    """Refuse a remap to numbers that no class can have.

    Raises:
        InputError: where a class number is outside 0 .. 255.
    """
    for value, label in remap.items():
        if not 0 <= label <= IGNORE:
            raise InputError(
                f"--remap {value}:{label}: a class lies between 0 and 254, or is 255 for ignored"
            )


def typed_remap(remap: Mapping[int, int]) -> str:
    """Return a remap as it is typed: words that begin with a minus can follow = only.

    Example:
        >>> typed_remap({7: 1, 900: 2}), typed_remap({-1024: 0, 3: 1})
        ('--remap 7:1,900:2', '--remap=-1024:0,3:1')
    """
    pairs = ",".join(f"{value}:{label}" for value, label in remap.items())
    return f"--remap{'=' if pairs.startswith('-') else ' '}{pairs}"


def settle(
    facts: Sequence[MaskFacts], remap: Mapping[int, int] | None = None, classes: int | None = None
) -> tuple[LabelScheme | None, list[Finding]]:
    """Settle what the values of all masks of a folder mean.

    Args:
        facts: of every mask that could be read.
        remap: value in the file -> class number, applied first.
        classes: number of classes with background where it is known; found from the masks otherwise.

    Returns:
        The scheme, None where there is an error, and what was found.
    """
    remap = dict(remap or {})
    check_remap(remap)
    findings = [_not_labels(entry) for entry in facts if _hopeless(entry, remap)]
    usable = [entry for entry in facts if not _hopeless(entry, remap)]
    white = [entry for entry in usable if _black_and_white(entry, remap)]
    numbered = [entry for entry in usable if not _black_and_white(entry, remap)]
    used = {remap.get(level, level) for entry in numbered for level in _levels(entry, remap)}
    findings += _unexpected(numbered, used, remap, classes)
    scheme = None
    if not findings:
        most = max(1 if white else 0, *(used - {IGNORE}), 0)
        as_stored = any(IGNORE in entry.levels for entry in numbered) and IGNORE not in remap
        scheme = LabelScheme(max(2, classes or 0, most + 1), remap, not as_stored)
        findings += _ambiguous(white, numbered, scheme)
        if facts and most == 0:
            where = facts[0].where
            sentence = (
                f"none of {plural(len(facts), 'mask')} shows any foreground: are these the right files?"
            )
            findings.append(Finding("error", "no-foreground", where, sentence))
    unknown = remap.get(IGNORE) == IGNORE or (scheme is not None and not scheme.white_is_foreground)
    findings += _gray_levels(usable, remap, unknown=unknown)
    if any(finding.severity == "error" for finding in findings):
        scheme = None
    return scheme, findings


def class_names(number: int) -> tuple[str, ...]:
    """Return names for classes that nobody has named.

    Example:
        >>> class_names(2), class_names(3)
        (('background', 'foreground'), ('background', 'class 1', 'class 2'))
    """
    if number == 2:
        return ("background", "foreground")
    return ("background", *(f"class {label}" for label in range(1, number)))


def _thresholded(facts: MaskFacts, remap: Mapping[int, int]) -> bool:
    """Return whether a mask's soft edges are cut: not where the remap speaks of values in between."""
    return facts.soft and not any(0 < level < IGNORE and level in remap for level in facts.levels)


def _is_object(facts: MaskFacts, remap: Mapping[int, int]) -> bool:
    """Return whether white can be an object only: it has soft edges, or the format would blur any other number."""
    return _thresholded(facts, remap) or facts.lossy


def _levels(facts: MaskFacts, remap: Mapping[int, int]) -> tuple[int, ...]:
    """Return the values of a mask, once its soft edges are cut."""
    return (0, IGNORE) if _thresholded(facts, remap) else facts.levels


def _black_and_white(facts: MaskFacts, remap: Mapping[int, int]) -> bool:
    """Return whether 255 is the only class in a mask and the remap leaves open what it is."""
    if _is_object(facts, remap):
        return remap.get(IGNORE, IGNORE) == IGNORE and IGNORE in _levels(facts, remap)
    if IGNORE in remap:
        return False
    known = {level for level in facts.levels if remap.get(level) != IGNORE}
    return IGNORE in known and known <= {0, IGNORE}


def _hopeless(facts: MaskFacts, remap: Mapping[int, int]) -> bool:
    if _thresholded(facts, remap):
        return False
    damaged = facts.lossy and any(0 < level < IGNORE and level not in remap for level in facts.levels)
    return damaged or len(facts.levels) > MOST_LEVELS


def _not_labels(facts: MaskFacts) -> Finding:
    if facts.lossy:
        what = "JPEG has blurred its class numbers: save it as PNG"
    else:
        what = f"over {MOST_LEVELS} different values are no class numbers: save a mask, not a probability map"
    return Finding("error", "mask-not-labels", facts.where, f"{facts.where}: {what}")


def _unexpected(
    numbered: Sequence[MaskFacts], used: set[int], remap: Mapping[int, int], classes: int | None
) -> list[Finding]:
    """Return an error for every mask that holds a value which is no class number."""
    known = (classes or 1) - 1
    if classes is None:
        while known + 1 in used and known + 1 < IGNORE:
            known += 1
    wrong = sorted(value for value in used if not 0 <= value <= known and value != IGNORE)
    if not wrong:
        return []
    if known == 0 and IGNORE in used and IGNORE not in remap:
        wrong.append(IGNORE)  # 128 and 255: both are codes
    outside, codes = [value for value in wrong if value < 0], [value for value in wrong if value >= 0]
    meant = dict.fromkeys(outside, 0)  # what was resampled is filled with the lowest value of a scanner
    meant |= {value: known + 1 + number for number, value in enumerate(codes)}
    if classes is not None:
        meant = dict.fromkeys(wrong, 0)
    stored = sorted({level for entry in numbered for level in _levels(entry, remap)})
    anew = {level: meant[remap.get(level, level)] for level in stored if remap.get(level, level) in meant}
    way = f"try {typed_remap({**remap, **anew})}"
    if outside:
        unknown = ",".join(str(value) for value in outside)
        way = f"below 0 is mostly fill (else --ignore={unknown}), {way}"
    advice = f"class numbers run from 0 on without gaps (255 = ignored), {way}"
    if len(wrong) > _MOST_SUGGESTED:
        advice = "class numbers run from 0 on without gaps (255 = ignored): save a mask of class numbers"
    findings = []
    for entry in numbered:
        held = [level for level in _levels(entry, remap) if remap.get(level, level) in wrong]
        if held and held != [IGNORE]:
            values = listed(held, 8)
            noun = "value" if len(held) == 1 else "values"
            sentence = f"{entry.where} holds the unexpected {noun} {values}: {advice}"
            findings.append(Finding("error", "label-unexpected", entry.where, sentence))
    return findings


def _ambiguous(
    white: Sequence[MaskFacts], numbered: Sequence[MaskFacts], scheme: LabelScheme
) -> list[Finding]:
    """Return an error for every black and white mask beside masks with several classes or ignored pixels.

    One with soft edges, or a JPEG, shows an object: beside one class it is that one, whatever 255 is elsewhere. A remap
    is suggested only where it leaves the other masks as they are.
    """
    if scheme.classes == 2:
        white = [entry for entry in white if not _is_object(entry, scheme.remap)]
        white = [] if scheme.white_is_foreground else white
    other = next((entry for entry in numbered if IGNORE in entry.levels), None)
    findings = []
    for entry in white:
        if _is_object(entry, scheme.remap):
            advice = "save it as PNG with the number of its class"
        elif other is None:
            foreground, unknown = (typed_remap({**scheme.remap, IGNORE: label}) for label in (1, IGNORE))
            advice = f"pass {foreground} if it is foreground, {unknown} if it is ignored"
        else:
            unknown = typed_remap({**scheme.remap, IGNORE: IGNORE})
            ignored = f"pass {unknown} if it is ignored, as in {other.where}"
            advice = f"{ignored}; if it is foreground, save it with class numbers"
        sentence = (
            f"{entry.where} is black and white (0, 255) while other masks hold class numbers, too: {advice}"
        )
        findings.append(Finding("error", "label-ambiguous", entry.where, sentence))
    return findings


def _gray_levels(usable: Sequence[MaskFacts], remap: Mapping[int, int], *, unknown: bool) -> list[Finding]:
    soft = [entry for entry in usable if _thresholded(entry, remap)]
    if not soft:
        return []
    count = f"{plural(len(soft), 'mask')} with gray levels between black and white (JPEG or resampled)"
    sentence = (
        f"{count}, such as {soft[0].where} with {len(soft[0].levels)} levels: thresholded at {THRESHOLD}"
    )
    if unknown and remap.get(IGNORE, IGNORE) == IGNORE:
        sentence += "; their white is class 1, while 255 is unknown in other masks"
    return [Finding("note", "mask-gray-levels", soft[0].where, sentence)]
