"""One label of the outlines that several annotators drew on one image.

==========  ==================================================================================================
``vote``    the class that most of them gave; where two have as many votes nobody knows it: 255 (ignored)
``staple``  STAPLE: the most probable class, with each annotator weighted by how he agrees with the others
``draw``    the outline of one annotator, drawn by chance for each image
==========  ==================================================================================================

A pixel that some annotators ignore (255) is decided by the others' votes, and one that all ignore stays ignored; STAPLE
learns from the pixels that all decided. Of two annotators neither vote nor STAPLE knows whom to follow. STAPLE expects
background where nearly all is background, so it believes whoever draws anything else: of five or seven annotators of
discs 16 pixels wide in 256 x 256 its labels are 30 to 40 % too large, and the majority is better.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import Finding, plural
from metadcseg.data.sources.case import RawCase
from metadcseg.errors import InputError, unknown_name
from metadcseg.extras import Extra

sitk: Any = Extra("SimpleITK", "volumes", "labels by STAPLE")

FUSIONS = ("vote", "staple", "draw")

AGREEMENT = "agreement"
"""What the confidence in a fused label can be: the share of its annotators who gave it."""

Labels = NDArray[np.uint8]

_BY = {
    "vote": "is the majority of its outlines",
    "staple": "is fused from its outlines by STAPLE",
    "draw": "is one of its outlines, drawn by seed {}",
}


@dataclass(frozen=True)
class Doubt:
    """How sure the outlines of one image leave its label.

    Args:
        drawn: how many pixels anybody gave a class other than the background.
        tied: how many pixels are ignored though somebody decided them.
        emptied: whether outlines show foreground, and what was fused from them none.
    """

    drawn: int
    tied: int
    emptied: bool


@dataclass(frozen=True)
class Fused:
    """What became of the outlines of one image.

    Args:
        label: uint8 of their shape.
        annotator: whose outline it is, where it is one.
        doubt: what it leaves open.
    """

    label: Labels
    annotator: str | None
    doubt: Doubt


@dataclass(frozen=True)
class Fusion:
    """Makes one label of several outlines, in any process.

    Args:
        how: one of ``FUSIONS``.
        seed: of the annotators drawn.
        agreement: whether the share of annotators who gave a label is how far it is to be trusted.

    Raises:
        InputError: for a way that nobody knows, or where a library for it is not installed.

    Example:
        >>> outlines = {name: np.array(row, np.uint8) for name, row in zip("abc", ([0, 1, 1], [0, 0, 1], [0, 1, 2]))}
        >>> Fusion("vote")("case_01", outlines).label.tolist()
        [0, 1, 1]
    """

    how: str = "vote"
    seed: int = 0
    agreement: bool = False

    def __post_init__(self) -> None:
        if self.how not in FUSIONS:
            raise unknown_name("--fuse", self.how, FUSIONS)
        if self.how == "staple":
            sitk.require()

    def facts(self) -> dict[str, Any]:
        """Return what a set keeps of it."""
        chance = {"fuse_seed": self.seed} if self.how == "draw" else {}
        return {"fuse": self.how, **chance, **({"confidence": AGREEMENT} if self.agreement else {})}

    def __call__(self, id: str, outlines: Mapping[str, Labels]) -> Fused:
        """Return the label of one image.

        Args:
            id: of its case, by which an annotator is drawn.
            outlines: annotator -> class numbers, or 255 where unknown, all of one shape.
        """
        stack = np.stack(list(outlines.values()))
        annotator = None
        if self.how == "draw":
            chance = hashlib.sha256(f"{self.seed} {id}".encode()).digest()
            annotator = sorted(outlines)[int.from_bytes(chance[:8]) % len(outlines)]
            label = outlines[annotator]
        else:
            label = vote(stack) if self.how == "vote" else staple(stack)
        drawn = int(np.count_nonzero(_foreground(stack).any(axis=0)))
        if annotator is not None:
            return Fused(label, annotator, Doubt(drawn, 0, False))
        tied = int(np.count_nonzero((label == IGNORE) & (stack != IGNORE).any(axis=0)))
        return Fused(label, None, Doubt(drawn, tied, drawn > 0 and not bool(_foreground(label).any())))


def vote(outlines: Labels) -> Labels:
    """Return the class that most annotators gave to each pixel, 255 where two have as many votes or nobody has one.

    Args:
        outlines: (annotators, ...) uint8, class numbers, or 255 where unknown.

    Example:
        >>> vote(np.array([[0, 1, 1, 255], [1, 1, 2, 2], [1, 0, 0, 255]], np.uint8)).tolist()
        [1, 1, 255, 2]
    """
    label: Labels = outlines[0].copy()
    apart = (outlines != label).any(axis=0)  # of most pixels there is no doubt
    cast = outlines[:, apart]
    winner = np.full(cast.shape[1], IGNORE, np.uint8)
    most = np.zeros(cast.shape[1], np.uint16)
    for value in np.flatnonzero(np.bincount(cast.ravel(), minlength=IGNORE + 1)[:IGNORE]):
        votes = (cast == value).sum(axis=0, dtype=np.uint16)
        winner[(votes == most) & (votes > 0)] = IGNORE
        winner[votes > most] = value
        np.maximum(most, votes, out=most)
    label[apart] = winner
    return label


def staple(outlines: Labels) -> Labels:
    """Return the most probable class of each pixel by STAPLE, 255 where two are as probable or nobody decided.

    By SimpleITK's ``MultiLabelSTAPLE``: T. Rohlfing, D. B. Russakoff, C. R. Maurer, *Performance-based classifier
    combination in atlas-based image segmentation using expectation-maximization parameter estimation*, IEEE TMI 23(8),
    2004; of two classes that of S. K. Warfield et al., IEEE TMI 23(7), 2004. Place plays no part in it.

    Args:
        outlines: (annotators, ...) uint8, class numbers, or 255 where unknown.

    Raises:
        InputError: where SimpleITK is not installed.

    Example:
        >>> staple(np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1]], np.uint8)).tolist()
        [0, 0, 1, 1]
    """
    label = vote(outlines)
    decided = (outlines != IGNORE).all(axis=0)
    known = outlines[:, decided]
    if (known == known[:1]).all():
        return label
    combine = sitk.MultiLabelSTAPLEImageFilter()
    combine.SetLabelForUndecidedPixels(IGNORE)
    combine.SetNumberOfThreads(1)  # sums come in one order: the same bits on any machine
    combined = combine.Execute([sitk.GetImageFromArray(row[None]) for row in known])
    label[decided] = sitk.GetArrayViewFromImage(combined)[0]
    return label


def agreement(outlines: Labels, label: Labels) -> Labels:
    """Return 255 times the share of annotators who gave the label, of those who decided a pixel; 0 where it is unknown.

    Args:
        outlines: (annotators, ...) uint8, class numbers, or 255 where unknown.
        label: (...) uint8, likewise.

    Example:
        >>> agreement(np.array([[0, 1, 2], [0, 1, 1], [0, 0, 255]], np.uint8), np.array([0, 1, 1], np.uint8)).tolist()
        [255, 170, 128]
    """
    given = (outlines == label).sum(axis=0)
    decided = (outlines != IGNORE).sum(axis=0)
    share: Labels = np.rint(255.0 * given / np.maximum(decided, 1)).astype(np.uint8)
    share[label == IGNORE] = 0
    return share


def fusion_of(cases: Sequence[RawCase], how: str | None, confidence: str | None, seed: int) -> Fusion:
    """Return what was asked for; by default a vote.

    Args:
        cases: of the set.
        how: one of ``FUSIONS``; None is a vote.
        confidence: ``AGREEMENT``, or None.
        seed: of the annotators drawn.

    Raises:
        InputError: for a way that nobody knows; where no image has more than one outline; or where confidence is given
            by files, too.
    """
    if confidence not in (None, AGREEMENT):
        raise unknown_name("--confidence", str(confidence), (AGREEMENT,))
    fusion = Fusion(how or FUSIONS[0], seed, confidence is not None)
    asked = f"--fuse {how}" if how else f"--confidence {confidence}"
    if (how or confidence) and not _outlined(cases):
        raise InputError(
            f"{asked} needs images with more than one outline, masks/NAME/ for each annotator: leave it out"
        )
    if confidence and (held := next((case for case in cases if case.label_confidence is not None), None)):
        raise InputError(
            f"--confidence {confidence}, and the data has a label confidence of its own (of {held.where}): "
            "leave one of the two out"
        )
    return fusion


def outlines_findings(cases: Sequence[RawCase]) -> list[Finding]:
    """Say what `prepare` makes of several outlines where it is not told otherwise, before anything is decoded."""
    held = [case.outlines for case in cases if case.outlines]
    counts = Counter(len(each.by) for each in held)
    if not held:
        return []
    told = f"{plural(counts.total(), 'image')} with more than one outline: prepare makes their majority the label"
    sentence = f"{told}, --fuse staple or --fuse draw another one{_of_two(counts)}"
    return [Finding("note", "outlines-fused", str(held[0].path), sentence)]


def fused_findings(fusion: Fusion, done: Iterable[tuple[RawCase, Doubt]]) -> list[Finding]:
    """Say what became of the outlines of all images, and name images of which the label lost all foreground."""
    held = [(case, case.outlines, doubt) for case, doubt in done if case.outlines]
    if not held:
        return []
    counts = Counter(len(outlines.by) for _, outlines, _ in held)
    drawn, tied = (sum(getattr(doubt, what) for _, _, doubt in held) for what in ("drawn", "tied"))
    others = ", ".join(f"--fuse {how}" for how in FUSIONS if how != fusion.how)
    told = f"of {plural(counts.total(), 'image')} the label {_BY[fusion.how].format(fusion.seed)}"
    if tied:
        told += f"; tied are {tied} of {drawn} pixels that anybody drew, they count nowhere"
    two = "" if fusion.how == "draw" else _of_two(counts)
    note = Finding("note", "outlines-fused", str(held[0][1].path), f"{told} (others: {others}){two}")
    return [note, *(_emptied(case.where) for case, _, doubt in held if doubt.emptied)]


def _foreground(labels: Labels) -> NDArray[np.bool_]:
    shown: NDArray[np.bool_] = (labels != 0) & (labels != IGNORE)
    return shown


def _outlined(cases: Iterable[RawCase]) -> bool:
    return any(case.outlines is not None for case in cases)


def _of_two(counts: Mapping[int, int]) -> str:
    if not counts[2]:
        return ""
    return f"; of two annotators ({plural(counts[2], 'image')}) it is no more than what both drew"


def _emptied(where: str) -> Finding:
    sentence = (
        f"{where}: its outlines show foreground, and its fused label none: look at them, or pass --fuse draw"
    )
    return Finding("warning", "outlines-apart", where, sentence)
