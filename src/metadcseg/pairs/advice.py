"""What to do about the masks, from their pairs: every rule is here, and each is one sentence.

The unit is the group (the image, where each is its own). In this order:

==============  ======================================================  ===============================
kind            where                                                   says
==============  ======================================================  ===============================
``no-pairs``    no verified mask has the mask that it replaced          keep the careless ones
``unlike``      the two masks of a pair hardly overlap                  look whether they belong together
``few``         fewer than 6 pairs or 3 units; or fewer than 10 units   verify more, up to 10
                without a direction
``annotator``   annotators differ in direction                          whose masks are wrong
``direction``   the offset has a direction, over all or of a class      calibrated training is worth it
``both``        a fifth of the outlines too large or too small, or      compare with plain training
                outlines half a pixel off on average
``objects``     a tenth of the masks lacks or invents objects           have masks looked through
``hidden``      no outline can be compared, and masks differ            keep masks whose outlines are drawn
``right``       all else                                                plain training is as good
==============  ======================================================  ===============================

An offset *has a direction* where its mean is half a pixel or more and its interval leaves out 0; or where at least
three outlines and a fifth of all are off, nine of ten to the same side. Either way at least a third of the distance
without sign must be left in it: a mask that was only moved has none. Objects are told after another kind, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.pairs.intervals import rarest
from metadcseg.pairs.sentences import lengths, where
from metadcseg.pairs.statistics import EQUAL_PX, Diagnosis, Summary

ENOUGH = 10
"""So many units settle the matter one way or the other."""

FEWEST_PAIRS, FEWEST_UNITS = 6, 3
"""Fewer than these never do."""

_SOME, _ALL = 0.2, 0.9  # share of outlines that are off; of these, on one side
_ONE_SIDED = 1 / 3  # of the distance of outlines, what must be left after sides have cancelled
_LEAST = 3  # outlines that are off, before sides are counted
_WITH_OBJECTS = 0.1  # share of masks that lack or invent an object
_UNLIKE = 0.2  # median DSC of masks that both show something; below, they may be of different images
_WORDS = {1: "too large", -1: "too small"}


@dataclass(frozen=True)
class Advice:
    """What to do.

    Args:
        kind: which rule, as in the table above; stable, for scripts.
        sentence: in words.
    """

    kind: str
    sentence: str


def advise(found: Diagnosis) -> Advice:
    """Return what to do about the masks.

    Example:
        >>> from metadcseg.pairs.statistics import diagnose
        >>> advise(diagnose([])).kind
        'no-pairs'
    """
    total = found.total
    if unlike := _unlike(total):
        return unlike
    if not total.pairs:
        return Advice(
            "no-pairs",
            f"Verify {ENOUGH} masks: copy each from masks/ to gold/ under the same name, correct it there, and keep "
            "the careless one in masks/.",
        )
    side, by_annotator = direction(total), _leaning(found.annotators)
    by_class = _leaning(found.classes) if len(found.classes) > 1 else {}
    told = bool(side or by_annotator or by_class)
    if total.pairs < FEWEST_PAIRS or total.units < FEWEST_UNITS or (total.units < ENOUGH and not told):
        return _few(total)
    objects = _objects(total)
    if by_annotator and (len(by_annotator) < len(found.annotators) or len(set(by_annotator.values())) > 1):
        return _by_annotator(found, by_annotator, objects)
    if told:
        by_part = by_class or {f"annotator {name}": way for name, way in by_annotator.items()}
        return Advice(
            "direction",
            f"Wrong in one direction ({_direction(total, side, by_part)}): calibrated training is worth it.{objects}",
        )
    off = total.too_large + total.too_small
    if off >= _SOME * total.outlined > 0 or (total.distance_px.mean or 0.0) >= EQUAL_PX:
        return Advice(
            "both",
            f"Wrong in both directions ({total.too_large} too large, {total.too_small} too small, outlines "
            f"{total.distance_px.mean:.1f} px off on average): calibrated training may help less than where errors "
            f"lean to one side, compare it with plain training.{objects}",
        )
    if objects:
        first = "The outlines are right" if total.outlined else "Outlines cannot be compared"
        return Advice("objects", f"{first}, the objects are {'not' if total.outlined else 'wrong'}.{objects}")
    if not total.outlined and total.identical < total.pairs:
        return Advice(
            "hidden",
            f"No outline of {total.pairs} pairs can be compared, and their masks differ: look at the worst.",
        )
    return _right(total)


def _unlike(total: Summary) -> Advice | None:
    """Return the advice for masks that were exchanged between images, turned or moved; None where they overlap."""
    both = [
        entry.dsc
        for entry in total.members
        if entry.dsc is not None and _shows(entry.pair.given) and _shows(entry.pair.verified)
    ]
    if len(both) < _LEAST or median(both) >= _UNLIKE:
        return None
    return Advice(
        "unlike",
        f"The masks of a pair hardly overlap (median DSC {median(both):.2f} of {len(both)} pairs): look at the worst. "
        "Are both masks of the same image, at the same place? Correct the names before anything is trained.",
    )


def _shows(labels: NDArray[np.uint8]) -> bool:
    return bool(np.any((labels != 0) & (labels != IGNORE)))


def direction(total: Summary) -> int:
    """Return to which side the given outlines are wrong: 1 too large, -1 too small, 0 none that can be told."""
    mean, distance = total.offset_px.mean, total.distance_px.mean
    if mean is None or distance is None or abs(mean) < _ONE_SIDED * distance:
        return 0
    side = 1 if mean > 0 else -1
    if abs(mean) >= EQUAL_PX and total.offset_px.excludes(0.0):
        return side
    off, same = total.too_large + total.too_small, (total.too_large if side > 0 else total.too_small)
    return side if off >= max(_LEAST, _SOME * total.outlined) and same >= _ALL * off else 0


def _few(total: Summary) -> Advice:
    more = ENOUGH - total.units
    many = "1 pair" if total.pairs == 1 else f"{total.pairs} pairs"
    of = "" if total.units == total.pairs else f" of {total.units} group{'' if total.units == 1 else 's'}"
    what = "more" if total.units == total.pairs else f"of {more} more group{'' if more == 1 else 's'}"
    if total.identical == total.pairs:
        so_far = "no error found so far"
    elif not total.outlined:
        so_far = "no outline can be compared so far"
    else:
        so_far = f"so far {total.too_large} too large, {total.too_small} too small"
    number = f"{more} {what}" if total.units == total.pairs else f"masks {what}"
    return Advice("few", f"{many}{of}: too few to say ({so_far}), verify {number}.")


def _leaning(parts: Mapping[str, Summary]) -> dict[str, int]:
    return {name: side for name, part in parts.items() if (side := direction(part))}


def _by_annotator(found: Diagnosis, leaning: Mapping[str, int], objects: str) -> Advice:
    wrong = " and ".join(f"annotator {name} draws {_WORDS[side]}" for name, side in leaning.items())
    others = [name for name in found.annotators if name not in leaning]
    right = f", {' and '.join(others)} {'does' if len(others) == 1 else 'do'} not" if others else ""
    return Advice(
        "annotator",
        f"Wrong in one direction by annotator ({wrong}{right}): calibrated training is worth it, and so is to have "
        f"masks of {' and '.join(leaning)} redrawn.{objects}",
    )


def _direction(total: Summary, side: int, by_part: Mapping[str, int]) -> str:
    """Return the direction of all, or of each class or annotator that has one, where all have none or differ."""
    if by_part and (not side or set(by_part.values()) != {side}):
        return ", ".join(f"{name} {_WORDS[way]}" for name, way in by_part.items())
    return f"{_WORDS[side]}, {lengths(total, within=False)} {where(total)}"


def _objects(total: Summary) -> str:
    """Return a sentence on objects, empty where they are rare."""
    wrong = sum(bool(entry.missing or entry.invented) for entry in total.members)
    if not wrong or wrong < _WITH_OBJECTS * total.pairs:
        return ""
    share = f"{wrong} of {total.pairs} masks"
    return f" Objects are missing or invented in {share}: have all masks looked through for that."


def _right(total: Summary) -> Advice:
    many = f"{total.pairs} verified masks"
    if total.identical == total.pairs:
        most = f"at 95 % at most {100 * rarest(total.units):.0f} % of all masks are wrong"
        return Advice("right", f"No error found in {many} ({most}): plain training is as good.")
    return Advice(
        "right",
        f"No error found in {many} beyond half a pixel of the outline: plain training is as good.",
    )
