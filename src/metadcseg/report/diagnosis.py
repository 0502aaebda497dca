"""The page of ``metadcseg diagnose``: what pairs of masks show, in sentences, numbers and pictures.

Self-contained as all pages are. Its two figures are drawn as vectors in the page itself: they follow the colors of the
page, and nobody waits for a plotting library.
"""

from collections.abc import Sequence
from importlib import resources
from math import ceil, floor
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from metadcseg.bounding_box import box_of
from metadcseg.colors import GIVEN, VERIFIED, Color, class_color
from metadcseg.constants import IGNORE
from metadcseg.pairs.advice import Advice
from metadcseg.pairs.curves import REACH, DistanceCurve, distance_curves
from metadcseg.pairs.found import FoundPairs, View, view
from metadcseg.pairs.intervals import Interval
from metadcseg.pairs.sentences import sentences
from metadcseg.pairs.statistics import Diagnosis, Measured, Summary
from metadcseg.report.gallery import Picture
from metadcseg.report.output import as_bytes, write_output
from metadcseg.report.pictures import outlined

PAGE = "diagnosis.html"
"""The file that is written."""

LEFT, RIGHT, TOP, BOTTOM = 44.0, 546.0, 14.0, 214.0
"""Edges of the axes within a figure of 560 x 260 units, in which the template draws it."""

_MOST_BINS = 15
_LEAST_MARGIN = 10  # pixels shown about the objects of a pair
_UNKNOWN = "–"


def write_diagnosis(
    found: FoundPairs,
    diagnosis: Diagnosis,
    advice: Advice,
    folder: Path,
    title: str,
    commands: Sequence[str] = (),
) -> Path:
    """Write the page.

    Args:
        found: the pairs.
        diagnosis: what they show.
        advice: what to do.
        folder: where the page goes; an earlier one is replaced.
        title: heading of the page.
        commands: what to type to get the same again, one command each.

    Returns:
        The file.

    Raises:
        InputError: where an image of the worst pairs cannot be read, or the page cannot be written.
    """
    context = {
        "title": title,
        "sentences": sentences(diagnosis),
        "advice": advice.sentence,
        "notes": found.notes,
        "facts": _facts(diagnosis.total),
        "rows": _rows(diagnosis),
        "in_mm": diagnosis.total.offset_mm is not None,
        "curves": _curves(found, diagnosis.total),
        "histogram": _histogram(diagnosis.total),
        "worst": [pair_picture(found, entry) for entry in diagnosis.worst()],
        "colors": {"given": _css(GIVEN), "verified": _css(VERIFIED)},
        "frame": {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        "commands": list(commands),
    }
    template = resources.files("metadcseg.report").joinpath("diagnosis.html.jinja").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    write_output(folder, PAGE, as_bytes(environment.from_string(template).render(context)))
    return folder / PAGE


def _css(color: Color) -> str:
    return "rgb({}, {}, {})".format(*color)


def _facts(total: Summary) -> list[tuple[str, str]]:
    """Return the few large figures under the heading."""
    facts = [(str(total.pairs), "pairs")]
    if total.dsc.mean is not None:
        facts.append((f"{total.dsc.mean:.2f}", "DSC of the masks replaced"))
    if total.offset_px.mean is not None:
        facts.append((f"{_signed(total.offset_px.mean)} px", "offset of their outlines"))
    return [*facts, (f"{total.missing} / {total.invented}", "objects missing / invented")]


def _rows(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return one row for all pairs, one for each class where there are several, one for each annotator."""
    parts = [("all", diagnosis.total)]
    if len(diagnosis.classes) > 1:
        parts += list(diagnosis.classes.items())
    parts += [(f"annotator {name}", part) for name, part in diagnosis.annotators.items()]
    return [
        {
            "name": name,
            "pairs": part.pairs,
            "dsc": _cell(part.dsc, 2, signed=False),
            "offset_px": _cell(part.offset_px, 1),
            "offset_mm": (_UNKNOWN, "") if part.offset_mm is None else _cell(part.offset_mm, 1),
            "counts": [part.too_large, part.too_small, part.missing, part.invented],
        }
        for name, part in parts
    ]


def _cell(found: Interval, digits: int, *, signed: bool = True) -> tuple[str, str]:
    """Return a mean and its interval as text."""
    if found.mean is None:
        return _UNKNOWN, ""
    write = _signed if signed else format
    text = write(found.mean, f".{digits}f")
    if found.low is None or found.high is None:
        return text, ""
    return text, f"[{write(found.low, f'.{digits}f')}, {write(found.high, f'.{digits}f')}]"


def _signed(value: float, form: str = ".1f") -> str:
    return format(value, f"+{form}") if abs(value) >= 0.05 else format(0.0, form)


def curves_of(found: FoundPairs, total: Summary) -> list[DistanceCurve]:
    """Return P(verified | signed distance to the given outline) of every class, as far as outlines lie off."""
    farthest = max(
        (abs(entry.offset_px) for entry in total.members if entry.offset_px is not None), default=0.0
    )
    return list(distance_curves(found.pairs, found.classes, max(1, ceil(1.5 * farthest / REACH))))


def _curves(found: FoundPairs, total: Summary) -> dict[str, Any] | None:
    """Return the lines of these curves, in units of the figure, and the ticks of its axes."""
    curves = curves_of(found, total)
    if not curves:
        return None
    centers = curves[0].centers
    reach = centers[-1] + (centers[1] - centers[0]) / 2
    foreground = len(found.classes) - 1
    lines = []
    for curve in curves:
        tint = VERIFIED if foreground == 1 else class_color(found.classes.index(curve.name), foreground)
        lines.append({"name": curve.name, "color": _css(tint), **_line(curve, reach)})
    ticks = [
        (_across(share * reach, -reach, reach), f"{share * reach:.3g}") for share in (-1, -0.5, 0, 0.5, 1)
    ]
    levels = [(_up(level, 1.0), f"{level:g}") for level in (0, 0.25, 0.5, 0.75, 1)]
    return {
        "unit": curves[0].unit,
        "lines": lines,
        "several": foreground > 1,
        "zero": _across(0.0, -reach, reach),
        "ticks": ticks,
        "levels": levels,
    }


def _line(curve: DistanceCurve, reach: float) -> dict[str, str]:
    """Return the points of a line, and those of the band of one standard deviation about it."""
    known = [
        (_across(center, -reach, reach), share, spread)
        for center, share, spread in zip(curve.centers, curve.shares, curve.spreads, strict=True)
        if share is not None
    ]
    upper = [(x, _up(min(1.0, share + spread), 1.0)) for x, share, spread in known]
    lower = [(x, _up(max(0.0, share - spread), 1.0)) for x, share, spread in known]
    return {
        "points": _points([(x, _up(share, 1.0)) for x, share, _ in known]),
        "band": _points(upper + lower[::-1]),
    }


def _histogram(total: Summary) -> dict[str, Any] | None:
    """Return the bars of the offsets of all pairs; the middle one holds what is equal within half a step."""
    in_mm = total.offset_mm is not None
    offsets = [entry.offset_mm if in_mm else entry.offset_px for entry in total.members]
    known = [offset for offset in offsets if offset is not None]
    if not known:
        return None
    step = _step(max(abs(offset) for offset in known))
    counts: dict[int, int] = {}
    for offset in known:
        place = floor(offset / step + 0.5)
        counts[place] = counts.get(place, 0) + 1
    most, reach = max(counts.values()), max(3, *(abs(place) for place in counts)) + 0.5
    bars = [
        {
            "x": _across(place - 0.5, -reach, reach) + 1,
            "width": _across(place + 0.5, -reach, reach) - _across(place - 0.5, -reach, reach) - 2,
            "y": _up(count, most),
            "height": BOTTOM - _up(count, most),
            "says": f"{count} at {place * step:g}",
        }
        for place, count in sorted(counts.items())
    ]
    every = max(1, ceil(reach / 4))
    ticks = [
        (_across(place, -reach, reach), f"{place * step:g}")
        for place in range(-floor(reach), floor(reach) + 1)
        if place % every == 0
    ]
    levels = [(_up(level, most), str(level)) for level in sorted({0, most // 2, most})]
    unit = "mm" if in_mm else "px"
    return {"unit": unit, "bars": bars, "zero": _across(0, -reach, reach), "ticks": ticks, "levels": levels}


def _step(largest: float) -> float:
    """Return a width of bins, 1, 2 or 5 times a power of ten, that needs at most ``_MOST_BINS``; at least 0.1."""
    for power in range(-1, 9):
        for digit in (1, 2, 5):
            if 2 * largest / (digit * 10.0**power) <= _MOST_BINS:
                return digit * 10.0**power
    return 1e9


def _across(value: float, low: float, high: float) -> float:
    return round(LEFT + (value - low) / (high - low) * (RIGHT - LEFT), 2)


def _up(value: float, most: float) -> float:
    return round(BOTTOM - value / most * (BOTTOM - TOP), 2)


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def _near(whole: View) -> View:
    """Return what lies about the objects of both masks, with half as much again on every side."""
    objects = ((whole.given > 0) & (whole.given != IGNORE)) | (
        (whole.verified > 0) & (whole.verified != IGNORE)
    )
    if not objects.any():
        return whole
    held = box_of(objects)
    box = box_of(objects, max(_LEAST_MARGIN, max(side.stop - side.start for side in held) // 2))
    return View(whole.image[box], whole.given[box], whole.verified[box])


def pair_picture(found: FoundPairs, entry: Measured) -> Picture:
    """Return the picture of a pair and what stands below it.

    Raises:
        InputError: where its image cannot be read.
    """
    shown = _near(view(found, entry.pair))
    notes = [f"DSC {entry.dsc:.2f}"]
    if entry.offset_px is not None:
        notes.append(f"offset {_signed(entry.offset_px)} px")
    notes += [
        f"{number} {what}"
        for number, what in ((entry.missing, "missing"), (entry.invented, "invented"))
        if number
    ]
    if entry.pair.annotator is not None:
        notes.append(f"annotator {entry.pair.annotator}")
    return Picture(
        outlined(shown.image, [(shown.given, GIVEN), (shown.verified, VERIFIED)]),
        f"{entry.pair.id}: outlines of the given and of the verified mask",
        entry.pair.id,
        ", ".join(notes),
    )
