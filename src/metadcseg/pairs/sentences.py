"""What pairs show, in sentences: short, with numbers and their intervals."""

from itertools import pairwise

from metadcseg.data.findings import listed
from metadcseg.pairs.intervals import Interval
from metadcseg.pairs.statistics import EQUAL_PX, Diagnosis, Summary

_LISTED = 3
_SHOWN = 0.05  # nearer to 0 a length is shown as 0.0, and has no side


def sentences(found: Diagnosis) -> list[str]:
    """Return what the pairs show, without advice.

    Args:
        found: of :func:`metadcseg.pairs.statistics.diagnose`.

    Returns:
        One sentence a line, the most important first: agreement, outlines, objects, then classes where there are
        several, annotators where they are known, and what should be looked at.

    Example:
        >>> import numpy as np
        >>> from metadcseg.pairs.statistics import Pair, diagnose
        >>> true, large = np.zeros((2, 20, 20), np.uint8)
        >>> true[8:12, 8:12] = large[7:13, 7:13] = 1
        >>> found = diagnose([Pair(id, id, large, true) for id in "abc"])
        >>> print(*sentences(found), sep=chr(10))
        3 verified masks: the masks they replaced reach DSC 0.62, all the same.
        3 of 3 are too large, 0 too small; the given outline lies 1.1 px outside the verified one, all the same.
        No object is missing, none is invented.
    """
    total = found.total
    if not total.pairs:
        return [_no_pairs(found.verified)]
    lines = [_agreement(total), _outline(total), _objects(total)]
    if total.identical:
        lines.append(_identical(total))
    if found.verified > total.pairs:
        rest, noun = (
            found.verified - total.pairs,
            "mask is" if found.verified - total.pairs == 1 else "masks are",
        )
        lines.append(f"{rest} more verified {noun} without the mask replaced and say nothing here.")
    lines += _empty(total)
    if len(found.classes) > 1:
        lines += [_part(name, entry) for name, entry in found.classes.items()]
    lines += [_part(f"annotator {name}", entry) for name, entry in found.annotators.items()]
    return lines + _compared(found)


def lengths(total: Summary, *, within: bool = True) -> str:
    """Return how far the given outline lies from the verified one: ``2.1 px [1.4, 2.9] (1.0 mm [0.7, 1.4])``.

    Positive lengths lie to the side that :func:`where` names; where it names none, outside.

    Args:
        total: with an offset.
        within: say the interval, too.
    """
    side = where(total) == "inside"
    text = _length(total.offset_px, "px", flip=side, within=within)
    if total.offset_mm is not None and total.offset_mm.mean is not None:
        in_mm = _length(total.offset_mm, "mm", flip=side, within=within)
        text += f" ({in_mm})" if within else f" = {in_mm}"
    return text


def where(total: Summary) -> str:
    """Return ``outside`` or ``inside``, where the given outline lies on average; nothing where it lies on it."""
    mean = total.offset_px.mean or 0.0
    return "" if abs(mean) < _SHOWN else "inside" if mean < 0 else "outside"


def _no_pairs(verified: int) -> str:
    if not verified:
        return "No mask is verified, so nothing is known of how the masks are wrong."
    masks = "verified mask has" if verified == 1 else "verified masks has"
    return f"None of {verified} {masks} the mask that it replaced, so nothing is known of how the masks are wrong."


def _agreement(total: Summary) -> str:
    groups = f" of {total.units} groups" if 1 < total.units < total.pairs else ""
    groups = " of one group" if total.units == 1 < total.pairs else groups
    many = "1 verified mask" if total.pairs == 1 else f"{total.pairs} verified masks"
    replaced = "the mask it replaced reaches" if total.pairs == 1 else "the masks they replaced reach"
    if total.dsc.mean is None:
        neither = (
            "neither it nor the mask it replaced shows"
            if total.pairs == 1
            else "neither these nor those show"
        )
        return f"{many}{groups}: {neither} anything."
    return f"{many}{groups}: {replaced} DSC {_number(total.dsc, 2)}."


def _outline(total: Summary) -> str:
    if total.offset_px.mean is None:
        if any(entry.dsc for entry in total.members):
            return "Unknown pixels or the frame lie along all outlines, so outlines cannot be compared."
        return "No object is in both masks of a pair, so outlines cannot be compared."
    first = f"{total.too_large} of {total.outlined} are too large, {total.too_small} too small"
    same = ", all the same" if _constant(total.offset_px) else ""
    if not where(total):
        if not total.too_large and not total.too_small:
            return f"{first}; the given outlines lie on the verified ones."
        return f"{first}; on average the given outline lies on the verified one: {lengths(total)}{same}."
    return f"{first}; the given outline lies {lengths(total)} {where(total)} the verified one{same}."


def _objects(total: Summary) -> str:
    if not total.missing and not total.invented:
        return "No object is missing, none is invented."
    verb = "object is" if total.missing == 1 else "objects are"
    return f"{total.missing} {verb} missing, {total.invented} invented."


def _identical(total: Summary) -> str:
    if total.identical == total.pairs:
        subject = "The pair is" if total.pairs == 1 else f"All {total.pairs} are"
        return f"{subject} identical to the mask replaced: was anything verified?"
    return f"{total.identical} of {total.pairs} are identical to the mask they replaced."


def _empty(total: Summary) -> list[str]:
    """Return what to look at: verified masks that show nothing where the mask replaced does."""
    emptied = [entry.pair.id for entry in total.members if entry.invented and not entry.pair.verified.any()]
    if not emptied:
        return []
    names = listed(emptied, _LISTED)
    right = "right if nothing is there, otherwise draw it"
    if len(emptied) == 1:
        return [f"The verified mask of {names} is empty, the mask replaced is not: {right}."]
    return [f"{len(emptied)} verified masks are empty, the masks replaced are not ({names}): {right}."]


def _part(name: str, part: Summary) -> str:
    """Return one line about a class or an annotator."""
    if not part.pairs:
        return f"{name}: shown in no pair."
    many = "1 pair" if part.pairs == 1 else f"{part.pairs} pairs"
    parts = [f"DSC {_number(part.dsc, 2)}"] if part.dsc.mean is not None else []
    if part.offset_px.mean is not None:
        parts.append(f"outline {lengths(part)} {where(part)}".rstrip())
    parts.append(f"{part.too_large} too large, {part.too_small} too small")
    parts.append(f"{part.missing} missing, {part.invented} invented")
    return f"{name} ({many}): {'; '.join(parts)}."


def _compared(found: Diagnosis) -> list[str]:
    """Return who draws larger than whom, where their intervals do not meet."""
    known = [
        (name, entry.offset_px) for name, entry in found.annotators.items() if entry.offset_px.low is not None
    ]
    known.sort(key=lambda entry: -(entry[1].mean or 0.0))
    lines = []
    for (larger, first), (smaller, second) in pairwise(known):
        if (first.low or 0.0) > (second.high or 0.0) and (first.mean or 0) - (second.mean or 0) >= EQUAL_PX:
            lines.append(f"Annotator {larger} draws larger than {smaller}.")
    return lines


def _constant(found: Interval) -> bool:
    return found.units > 1 and found.low == found.high


def _number(found: Interval, digits: int) -> str:
    if found.units > 1 and found.low == found.high:
        return f"{found.mean:.{digits}f}, all the same"
    if found.low is None or found.high is None:
        return f"{found.mean:.{digits}f} (no interval from one)"
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _length(found: Interval, unit: str, *, flip: bool, within: bool) -> str:
    """Return a length with its interval, turned so that the mean is positive."""
    ends = [found.low, found.high]
    if flip:
        ends = [None if end is None else -end for end in reversed(ends)]
    text = f"{abs(found.mean or 0.0):.1f} {unit}"
    low, high = ends
    if not within or low is None or high is None or low == high:
        return text
    return f"{text} [{low + 0.0:.1f}, {high + 0.0:.1f}]"
