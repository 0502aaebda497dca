"""Exports of drawing tools in ``masks/`` and ``gold/`` of a plain folder, recognized by what they hold.

::

    masks/*.json, masks/annotations/*.json          COCO, Label Studio, VIA: one file for many images
    masks/x.json, or images/x.json without masks/   LabelMe: of images/x.png
    masks/labelmap.txt, masks/SegmentationClass/    CVAT: masks in color, which may also lie beside labelmap.txt
    masks/task-7-annotation-9-by-1-tag-liver-0.png  Label Studio, of an image called 7 or task-7

Folders of annotators (``masks/NAME/``) may hold the same. A name of a class has one number in all files of all folders:
background is 0, then come the names in the order of the files that have one (categories of COCO, lines of
``labelmap.txt``), then all others by name. Names that differ in case alone are one, unless a file has both. Where no
mask is a file of pixels, names that no shape has get no number. Shapes called ``ignore`` are unknown pixels.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from metadcseg.constants import IGNORE
from metadcseg.data.annotations import cvat
from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.formats.images import image_files
from metadcseg.data.names import BACKGROUND, IGNORED, name_key, spelt_apart
from metadcseg.data.sources.exported import Exported
from metadcseg.data.sources.pairing import Mask, by_stem, unmatched
from metadcseg.errors import InputError

_LISTED = 3
_MOST_LISTED = 12  # so many classes in a sentence


class Drawings:
    """What drawing tools have exported for the images of a folder.

    Args:
        folder: with ``images/``, ``masks/`` and ``gold/``.
        images: of the folder, by stem.
        annotators: folders that may be those of annotators, each with exports of its own.

    Raises:
        InputError: where a library is missing, or there are more classes than a set can hold.
    """

    def __init__(self, folder: Path, images: Mapping[str, Path], annotators: Sequence[Path] = ()) -> None:
        self.classes: tuple[str, ...] | None = None
        self.remap: dict[int, int] | None = None
        self.unused_names: tuple[str, ...] = ()
        self.read: set[str] = set()
        self.files: list[Path] = []
        self._folder, self._images = folder, images
        beside = folder / "images" if not (folder / "masks").is_dir() else None
        places = {folder / "masks": beside or folder / "masks", folder / "gold": folder / "gold"}
        if _holds_files(folder / "masks"):  # then folders beside it are not read
            annotators = [place for place in annotators if place.parent != folder]
        places |= {place: place for place in annotators}
        self._found = {place: Exported(held, images, pixels=held != beside) for place, held in places.items()}
        for found in self._found.values():
            self.read |= {str(path) for path in found.used}
            self.files += found.drawn_in
        self._number()

    def masks_in(self, place: Path) -> tuple[Mapping[str, Mask], list[Finding]]:
        """Return the masks of a folder by stem, ascending, and what was found there."""
        if place not in self._found:
            return by_stem(place)
        found = self._found[place]
        masks = found.pixels | found.colored | found.drawn
        return {stem: masks[stem] for stem in sorted(masks)}, found.findings

    @property
    def drawn_by(self) -> dict[str, str]:
        """Who drew the masks in ``masks/``, as its exports say: stem -> name, where they name more than one."""
        return self._found[self._folder / "masks"].drawn_by

    def unmatched(self, labels: Mapping[str, Mask], masks: Path) -> list[Finding]:
        """Return an error for every image without a mask, and a warning for every mask without an image.

        Args:
            labels: stem -> mask.
            masks: the folder in which masks are looked for, for sentences.
        """
        gold = self._found[self._folder / "gold"].drawn_in
        files = [path for path in self.files if path not in gold]
        if not files or not self._images:
            return unmatched(self._images, labels, masks)
        lacking = [path for stem, path in self._images.items() if stem not in labels]
        findings = [
            Finding(
                "error",
                "mask-missing",
                str(path),
                f"{path} has no mask, and {listed(files, _LISTED)} say nothing of it: add it there, without shapes "
                "if nothing is to be seen, or remove the image",
            )
            for path in lacking
        ]
        known = {stem: path for stem, path in self._images.items() if stem in labels}
        return findings + (unmatched(known, labels, masks) if known else [])

    def _number(self) -> None:
        """Give every name its class number."""
        places = self._found.values()
        names = _Names.of([*places])
        pixels = any(stem in self._images for place in places for stem in place.pixels)
        keys, left = names.numbered(keep_all=pixels or _inside(self._folder))
        numbers = {key: 0 for key in keys if key == BACKGROUND}
        numbers |= {key: IGNORE for key in keys if key == IGNORED}
        classes = [key for key in keys if key not in numbers]
        if len(classes) >= IGNORE:
            raise InputError(
                f"{self.files[0]} and others name {len(classes)} classes, at most {IGNORE - 1} fit"
            )
        numbers |= {key: number for number, key in enumerate(classes, start=1)}
        for place in places:
            place.number(lambda name: numbers[name_key(name, names.exact)])
        if not classes:
            return
        self.classes = (BACKGROUND, *(names.shown[key] for key in classes))
        if IGNORE in numbers.values():
            self.remap = {IGNORE: IGNORE}
        self.unused_names = tuple(left)
        told = {names.shown[key]: number for key, number in numbers.items()}
        next(place for place in places if place.drawn_in).findings.append(_table(self.files[0], told, left))


@dataclass(frozen=True)
class _Names:
    """The names of classes in all exports of a folder, by the key that is one for all spellings.

    Args:
        exact: whether names that differ in case alone are two.
        shown: key -> name as it is told.
        order: keys in the order of the files that have one.
        used: keys of the names that a shape has.
        colored: keys of the names of masks in color.
    """

    exact: bool
    shown: Mapping[str, str]
    order: Sequence[str]
    used: frozenset[str]
    colored: frozenset[str]

    @classmethod
    def of(cls, places: Sequence[Exported]) -> "_Names":
        """Collect the names of some exports."""
        orders = [place.order for place in places]
        shapes = [[shape.name for shape in mask.shapes] for place in places for mask in place.drawn.values()]
        exact = any(spelt_apart(names) for names in shapes + orders)
        shown: dict[str, str] = {}
        for name in (*chain(*orders), *sorted(chain(*shapes))):
            shown.setdefault(name_key(name, exact), name)
        colored = [name for place in places if place.colored for name in place.label_map.values()]
        return cls(
            exact,
            shown,
            list(dict.fromkeys(name_key(name, exact) for name in chain(*orders))),
            frozenset(name_key(name, exact) for name in chain(*shapes)),
            frozenset(name_key(name, exact) for name in colored),
        )

    def numbered(self, *, keep_all: bool) -> tuple[list[str], list[str]]:
        """Return the keys that get a number, in its order, and the names left out as no shape has them.

        Args:
            keep_all: whether names without a shape get one, too.
        """
        kept = self.used | self.colored
        if keep_all or not kept:
            kept |= frozenset(self.order)
        left = [self.shown[key] for key in self.order if key not in kept]
        return [key for key in self.order if key in kept] + sorted(self.used - set(self.order)), left


def _holds_files(place: Path) -> bool:
    if not place.is_dir():
        return False
    with os.scandir(place) as entries:
        return any(entry.is_file() and not entry.name.startswith(".") for entry in entries)


def _inside(folder: Path) -> bool:
    """Return whether masks of pixels lie in folders of annotators, or of parts."""
    inner = [*folder.glob("masks/*/"), *folder.glob("gold/*/"), *folder.glob("masks_*/")]
    places = [place for place in inner if place.name not in cvat.FOLDERS]
    return any(image_files(place) for place in places if place.is_dir())


def _table(file: Path, numbers: Mapping[str, int], left: Collection[str]) -> Finding:
    """Return the note that tells which number each name has got."""
    table = sorted(numbers.items(), key=lambda each: each[1])
    told = listed((f"{number} {name}" for name, number in table), _MOST_LISTED)
    sentence = f"{file}: the names of shapes decide ({told}); a --remap speaks of these numbers"
    if left:
        sentence += f"; {plural(len(left), 'name')} without any shape left out ({listed(left, _MOST_LISTED)})"
    return Finding("note", "label-table", str(file), sentence)
