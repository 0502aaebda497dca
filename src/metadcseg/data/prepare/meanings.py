"""Where files name their values (segments of volumes, colors of palettes), names decide what a value is.

Programs number segments and colors as they come. One table for all masks gives a name one number; a value that
one file calls otherwise than another is read by its name. Where one of the files names nothing, no table can be made,
unless the names are those that this program exports of classes without names (`class_names`): these are numbers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from metadcseg.constants import IGNORE
from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.names import BACKGROUND, IGNORED, name_key, spelt_apart
from metadcseg.data.prepare.facts import MaskFacts
from metadcseg.data.prepare.labels import class_names, typed_remap

_COLOR = re.compile(r"\(\d+, \d+, \d+\)")  # as reading.py calls colors
_BLACK = "(0, 0, 0)"
_UNNAMED = re.compile(r"(segment[ _]?\d*)?", re.I)  # what 3 Slicer calls a segment that nobody has named
_MOST_NAMED = 12  # so many names in a sentence


@dataclass(frozen=True)
class Meanings:
    """What the values of all masks are, by their names.

    Args:
        numbers: name, as names are compared -> class number; empty where values stand for themselves.
        classes: names of the classes, background first, where every mask names its segments.
        findings: contradictions (errors), or the table (a note).
        exact: whether names that differ in case alone are different.
        called: value, by the table where there is one -> name of its class.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()
    exact: bool = False
    called: Mapping[int, str] = field(default_factory=dict)

    def of(self, mask: MaskFacts) -> MaskFacts:
        """Return what is in a mask, its levels by the table; ``stored`` keeps those of the file."""
        if not self.numbers or not mask.names:
            return mask
        table = {value: self.numbers[name_key(name, self.exact)] for value, name in mask.names.items()}
        levels = tuple(table.get(level, level) for level in mask.levels)
        return replace(mask, levels=levels, stored=mask.levels, soft=False)

    def number(self, remap: Mapping[int, int]) -> int | None:
        """Return how many classes the names make, some of which no mask may show; None where there are no names."""
        if self.classes is None:
            return None
        meant = {remap.get(value, value) for value in range(len(self.classes))} - {IGNORE}
        return max(meant, default=0) + 1

    def names(self, remap: Mapping[int, int], count: int) -> tuple[str, ...] | None:
        """Return the names of so many classes after a remap; None where one has no name, or several.

        Example:
            >>> Meanings(called={0: "background", 1: "liver", 2: "tumor"}).names({2: 0}, 2)
            ('background', 'liver')
        """
        held = [(remap.get(value, value), name) for value, name in self.called.items()]
        found = [[name for label, name in held if label == wanted] for wanted in range(1, count)]
        if not held or any(len(names) != 1 for names in found):
            return None
        return (self.called.get(0, BACKGROUND), *(names[0] for names in found))


def meanings(
    masks: Sequence[MaskFacts], *, declared: bool = False, remap: Mapping[int, int] | None = None
) -> Meanings:
    """Find what the values of all masks are called, and make one table where files number their names differently.

    Args:
        masks: of all cases, as given ones included.
        declared: whether the source says what values mean: a contradiction is then an error.
        remap: value in a mask file -> class number: one that says what black is settles what is the background.

    Returns:
        The table; values stand for themselves where names and values agree in all files.

    Example:
        >>> one = MaskFacts("a.nrrd", (0, 1, 2), names={1: "liver", 2: "tumor"})
        >>> other = MaskFacts("b.nrrd", (0, 1), names={1: "Tumor"})
        >>> found = meanings([one, other])
        >>> found.classes, found.of(other).levels
        (('background', 'liver', 'tumor'), (0, 2))
    """
    named = [mask for mask in masks if mask.names]
    blank = next((mask for mask in masks if _is_blank(mask)), None)
    colors = any(_COLOR.fullmatch(name) for mask in named for name in mask.names.values())
    exact = any(spelt_apart(mask.names.values()) for mask in named)
    if blank is not None and (numbers := _own_numbers(masks, remap or {})) is not None:
        return Meanings(numbers, findings=(_numbered(named[0]),))
    clash = _clash(named, "palette" if colors else "header", exact)
    if clash is None and (blank is not None or declared or not named):
        return Meanings(findings=_hidden_black(named if colors else (), remap or {}))
    if clash is not None and (blank is not None or declared):
        return Meanings(findings=(_contradiction(clash, colors, blank),))
    if colors:
        return _by_color(named, clash, remap or {})
    return _by_name(named, clash, exact, remap or {})


def _own_numbers(masks: Sequence[MaskFacts], remap: Mapping[int, int]) -> dict[str, int] | None:
    """Return the value of each name where all names are those of `class_names`; None where one is another.

    Values are those that a remap makes the class of. White alone may be any class, so it says nothing beside
    "foreground".
    """
    named = [mask for mask in masks if mask.names]
    keys = {name_key(name) for mask in named for name in mask.names.values()} - {BACKGROUND}
    classes = keys - {IGNORED}
    own = {name: number for number, name in enumerate(class_names(IGNORE)) if number} | {"foreground": 1}
    if not classes <= own.keys() or any(_is_blank(mask) for mask in named):
        return None
    if "foreground" in classes:
        white = any(not mask.names and mask.levels and mask.levels[-1] == IGNORE for mask in masks)
        if len(classes) > 1 or IGNORED not in keys or (white and IGNORE not in remap):
            return None
    numbers = {BACKGROUND: 0}
    for key in keys:
        wanted = IGNORE if key == IGNORED else own[key]
        values = [wanted, *remap]
        held = next((value for value in values if remap.get(value, value) == wanted), None)
        if held is None:
            return None
        numbers[key] = held
    return numbers if classes else None


def _numbered(first: MaskFacts) -> Finding:
    """Return the note that names are taken for numbers."""
    sentence = (
        f"{first.where}: its names, such as {listed(first.names.values(), 3)}, are those of this program for classes "
        "without names, and stand for their numbers"
    )
    return Finding("note", "label-table", first.where, sentence)


def _by_name(
    named: Sequence[MaskFacts], clash: "_Clash | None", exact: bool, remap: Mapping[int, int]
) -> Meanings:
    """Return the table of segments that all have names."""
    shown: dict[str, str] = {BACKGROUND: BACKGROUND}
    values: dict[str, set[int]] = {}
    keys = [{name_key(name, exact) for name in mask.names.values()} for mask in named]
    for mask in named:
        for value, name in mask.names.items():
            shown.setdefault(name_key(name, exact), " ".join(name.split()))
            values.setdefault(name_key(name, exact), set()).add(value)
    if not any(0 in held for held in values.values()):
        values.setdefault(BACKGROUND, set()).add(0)
    ignored = values.pop(IGNORED, {IGNORE})
    straight = clash is None and ignored == {IGNORE}
    straight &= sorted(values.values(), key=min) == [{number} for number in range(len(values))]
    stored = {value: shown[key] for key, held in values.items() for value in held}
    if clash is None and not straight and not remap.keys().isdisjoint(set(stored) - {0}):
        return Meanings(called=stored)  # the remap decides, of values as they are stored
    order = (
        sorted(values, key=lambda key: min(values[key]))
        if straight
        else [BACKGROUND, *sorted({*values} - {BACKGROUND})]
    )
    if len(order) > IGNORE:
        sentence = (
            f"{named[0].where} and others name {len(order)} classes, a set holds {IGNORE}: leave some out"
        )
        return Meanings(findings=(Finding("error", "label-meaning", named[0].where, sentence),))
    findings = (
        [] if straight else [_table(named[0], clash, [(n, shown[key]) for n, key in enumerate(order)][1:])]
    )
    lacking = [
        (mask, {*order[1:]} - held) for mask, held in zip(named, keys, strict=True) if {*order[1:]} - held
    ]
    if lacking:
        first, absent = lacking[0]
        sentence = (
            f"{len(lacking)} of {plural(len(named), 'mask')} do not have all classes, such as {first.where} without "
            f"'{shown[min(absent)]}': background there"
        )
        findings.append(Finding("note", "label-absent", first.where, sentence))
    numbers = {} if straight else {key: number for number, key in enumerate(order)} | {IGNORED: IGNORE}
    classes = tuple(shown[key] for key in order)
    return Meanings(numbers, classes, tuple(findings), exact, dict(enumerate(classes)))


def _by_color(named: Sequence[MaskFacts], clash: "_Clash | None", remap: Mapping[int, int]) -> Meanings:
    """Return the table of palettes: black, or the color 0 of all of them, is background."""
    swapped = _hidden_black(named, remap)
    if clash is None and not swapped:
        return Meanings()
    first = {mask.names[0] for mask in named if 0 in mask.names}
    if _BLACK not in first and clash is None:
        return Meanings(findings=swapped)
    background = _BLACK if _BLACK in first else next(iter(first), "")
    known = {name for mask in named if background in mask.names.values() for name in mask.names.values()}
    for mask in named:
        alone = background not in mask.names.values() and not known.issuperset(mask.names.values())
        if alone or (len(first) > 1 and background != _BLACK):
            sentence = (
                f"{mask.where} and {named[0].where} differ in their palettes, and which color is the background is "
                "open: save both with black as color 0, or as gray PNG of class numbers"
            )
            return Meanings(findings=(Finding("error", "label-meaning", mask.where, sentence),))
    least: dict[str, int] = {}
    for mask in named:
        usual = mask.names.get(0) == background  # orders of quantizers say nothing
        for value, name in mask.names.items():
            least[name] = min(value if usual else IGNORE, least.get(name, IGNORE))
    order = sorted({*least} - {background}, key=lambda name: (least[name], name))
    table = [(number, name) for number, name in enumerate(order, start=1)]
    numbers = {name_key(name, True): number for number, name in ((0, background), *table)}
    return Meanings(numbers, None, (_table(named[0], clash, [(0, background), *table]),), exact=True)


_Clash = tuple[str, str, str]
"""File, the file before it that says otherwise, and what."""


def _clash(named: Sequence[MaskFacts], what: str, exact: bool) -> _Clash | None:
    """Return the first contradiction between two files."""
    by_value: dict[int, tuple[str, str]] = {}
    by_name: dict[str, tuple[int, str]] = {}
    for mask in named:
        keys = [name_key(name, exact) for name in mask.names.values()]
        for (value, name), key in zip(mask.names.items(), keys, strict=True):
            before, first = by_value.setdefault(value, (name, mask.where))
            if name_key(before, exact) != key:
                return (
                    mask.where,
                    first,
                    f"{value} is {name} in the {what} of the first and {before} in the second",
                )
            if keys.count(key) == 1:
                held, first = by_name.setdefault(key, (value, mask.where))
                if held != value:
                    return (
                        mask.where,
                        first,
                        f"{name} is {value} in the {what} of the first and {held} in the second",
                    )
    return None


def _contradiction(clash: _Clash, colors: bool, blank: MaskFacts | None) -> Finding:
    where, first, said = clash
    kind = "colors, or as gray PNG of class numbers" if colors else "values for the segments"
    way = f"save both with the same {kind}"
    if blank is not None:
        lack = "has no palette" if colors else "does not name its values"
        way = f"{blank.where} {lack}, so names cannot decide: {way}, or name the values of all masks"
    return Finding("error", "label-meaning", where, f"{where} and {first} disagree: {said}; {way}")


def _hidden_black(named: Sequence[MaskFacts], remap: Mapping[int, int]) -> tuple[Finding, ...]:
    """Return an error where a palette in color has black elsewhere than first, and no remap says what it is."""
    for mask in named:
        black = next((value for value, name in sorted(mask.names.items()) if name == _BLACK), None)
        if black and black not in remap:
            others = sorted({value for each in named for value in each.names} - {black})
            way = typed_remap({black: 0} | {value: number for number, value in enumerate(others, start=1)})
            sentence = (
                f"{mask.where}: black is color {black} of its palette and not color 0, so which is the background is "
                f"open: pass {way} if black is, {typed_remap({black: black})} if it is a class"
            )
            return (Finding("error", "label-meaning", mask.where, sentence),)
    return ()


def _table(first: MaskFacts, clash: _Clash | None, table: Sequence[tuple[int, str]]) -> Finding:
    """Return the note that tells which number each name has got."""
    told = listed((f"{number} {name}" for number, name in table), _MOST_NAMED)
    where = first.where if clash is None else clash[0]
    why = (
        f"{where}: its values are not 1, 2, ... without gaps"
        if clash is None
        else f"{where} and {clash[1]} differ"
    )
    sentence = f"{why}, the names in the masks decide: {told}; a --remap speaks of these numbers"
    return Finding("note", "label-table", where, sentence)


def _is_blank(mask: MaskFacts) -> bool:
    """Return whether a mask holds a value that it does not name."""
    return any(
        _UNNAMED.fullmatch(mask.names.get(level, "").strip())
        for level in mask.levels
        if level or level in mask.names
    )
