"""Exports of drawing tools in ``masks/`` and ``gold/`` of a plain folder, recognized by what they hold.

::

    masks/*.json, masks/annotations/*.json          COCO, Label Studio, VIA: one file for many images
    masks/x.json, or images/x.json without masks/   LabelMe: of images/x.png
    masks/labelmap.txt, masks/SegmentationClass/    CVAT: masks in color, which may also lie beside labelmap.txt
    masks/task-7-annotation-9-by-1-tag-liver-0.png  Label Studio, of an image called 7 or task-7

A name of a class has one number in all files of both folders: background is 0, then come the names in the order of
the files that have one (categories of COCO, lines of ``labelmap.txt``), then all others by name. Where no mask is a
file of pixels, names that no shape has get no number. Shapes called ``ignore`` are unknown pixels.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from metadcseg.constants import IGNORE
from metadcseg.data.annotations import coco, cvat, label_studio, labelme, via
from metadcseg.data.annotations.shapes import Drawn, Entry, Export
from metadcseg.data.annotations.values import read_json
from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.formats.images import image_files
from metadcseg.data.sources.pairing import Mask, by_stem, unmatched
from metadcseg.errors import InputError

BACKGROUND = "background"

_IGNORED = ("ignore", "ignored")
_KNOWN = (
    (coco.is_coco, coco.read),
    (labelme.is_labelme, labelme.read),
    (via.is_via, via.read),
    (label_studio.is_label_studio, label_studio.read),
)
_LISTED = 3
_MOST_LISTED = 12  # so many classes in a sentence


class Drawings:
    """What drawing tools have exported for the images of a folder.

    Args:
        folder: with ``images/``, ``masks/`` and ``gold/``.
        images: of the folder, by stem.

    Raises:
        InputError: where a library is missing, or there are more classes than a set can hold.
    """

    def __init__(self, folder: Path, images: Mapping[str, Path]) -> None:
        self.classes: tuple[str, ...] | None = None
        self.remap: dict[int, int] | None = None
        self.read: set[str] = set()
        self.files: list[Path] = []
        self._folder, self._images = folder, images
        beside = folder / "images" if not (folder / "masks").is_dir() else None
        places = {folder / "masks": beside or folder / "masks", folder / "gold": folder / "gold"}
        self._found = {place: _Place(held, images, pixels=held != beside) for place, held in places.items()}
        for found in self._found.values():
            self.read |= {str(path) for path in found.used}
            self.files += found.drawn_in
        self._number()

    def masks_in(self, place: Path) -> tuple[dict[str, Mask], list[Finding]]:
        """Return the masks of a folder by stem, ascending, and what was found there."""
        found = self._found[place]
        masks = found.pixels | found.colored | found.drawn
        return {stem: masks[stem] for stem in sorted(masks)}, found.findings

    def unmatched(self, labels: Mapping[str, Mask], masks: Path) -> list[Finding]:
        """Return an error for every image without a mask, and a warning for every mask without an image.

        Args:
            labels: stem -> mask.
            masks: the folder in which masks are looked for, for sentences.
        """
        files = self._found[self._folder / "masks"].drawn_in
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
        drawn = [mask for place in places for mask in place.drawn.values()]
        used = {shape.name for mask in drawn for shape in mask.shapes}
        order = list(dict.fromkeys(name for place in places for name in place.order))
        pixels = any(stem in self._images for place in places for stem in place.pixels)
        pixels = pixels or _inside(self._folder)
        kept = {name for place in places if place.colored for name in place.label_map.values()}
        if pixels or not used | kept:
            kept |= set(order)
        left = [name for name in order if name not in used | kept]
        names = [name for name in order if name in used | kept] + sorted(used - set(order))
        numbers = {name: 0 for name in names if _plain(name) == BACKGROUND}
        numbers |= {name: IGNORE for name in names if _plain(name) in _IGNORED}
        classes = [name for name in names if name not in numbers]
        if len(classes) >= IGNORE:
            raise InputError(
                f"{self.files[0]} and others name {len(classes)} classes, at most {IGNORE - 1} fit"
            )
        numbers |= {name: number for number, name in enumerate(classes, start=1)}
        for place in places:
            place.number(numbers)
        if not classes:
            return
        self.classes = (BACKGROUND, *classes)
        if IGNORE in numbers.values():
            self.remap = {IGNORE: IGNORE}
        next(place for place in places if place.drawn_in).findings.append(
            _table(self.files[0], numbers, left)
        )


class _Place:
    """What lies in one of the folders."""

    def __init__(self, folder: Path, images: Mapping[str, Path], *, pixels: bool) -> None:
        self.findings: list[Finding] = []
        self.drawn: dict[str, Drawn] = {}
        self.colored: dict[str, Mask] = {}
        self.used: list[Path] = []
        self.drawn_in: list[Path] = []
        self.label_map: dict[cvat.Color, str] = {}
        self._folder, self._images = folder, images
        files, findings = by_stem(folder) if pixels else ({}, [])
        exports = [export for path in _json(folder) if (export := self._json(path)) is not None]
        named = [path for path in files.values() if label_studio.PNG_NAME.fullmatch(path.name)]
        files = {stem: path for stem, path in files.items() if path not in named}
        self.pixels: dict[str, Mask] = dict(files)
        if (folder / cvat.LABEL_MAP).is_file():
            self._colored(findings)
        if named:
            exports += self._pngs(named, exports)
        entries: dict[str, list[Entry]] = {}
        for export in exports:
            self._matched(export, entries)
        self._drawn(entries)
        files_used = {path for mask in self.drawn.values() for path in mask.files}
        orders = [each.order for each in exports if any(entry.file in files_used for entry in each.entries)]
        self.order = [*self.label_map.values(), *(name for order in orders for name in order)]
        used = {str(path) for path in self.used}
        self.findings += [finding for finding in findings if finding.where not in used]

    def number(self, numbers: Mapping[str, int]) -> None:
        """Give shapes and colors their class numbers."""
        for stem, mask in self.drawn.items():
            shapes = tuple(replace(shape, value=numbers[shape.name]) for shape in mask.shapes)
            self.drawn[stem] = replace(mask, shapes=shapes)
        if not self.label_map:
            return
        table = {(0, 0, 0): 0} | {color: numbers[name] for color, name in self.label_map.items()}
        path = self._folder / cvat.LABEL_MAP
        for stem, file in self.colored.items():
            assert isinstance(file, Path), "it gets its numbers once"  # noqa: S101
            self.colored[stem] = cvat.Colored(file, path, tuple(table), tuple(table.values()))

    def _json(self, path: Path) -> Export | None:
        """Return what a file holds; None where it is none of a drawing tool."""
        self.used += [path, path.parent]
        try:
            content = read_json(path)
            read = next((read for known, read in _KNOWN if known(content)), None)
        except InputError as error:
            self.findings.append(Finding("error", "mask-unreadable", str(path), str(error)))
            return None
        if read is coco.read:
            coco.masks.require()  # once, and not for every file
        try:
            export = None if read is None else read(path, content)
        except InputError as error:
            self.findings.append(Finding("error", "mask-unreadable", str(path), str(error)))
            return None
        if export is None:
            what = "it is no export of COCO, Label Studio, LabelMe or VIA 2"
            self.findings.append(
                Finding(
                    "warning",
                    "file-ignored",
                    str(path),
                    f"{path} is not read ({what}): convert, move or remove it",
                )
            )
            return None
        self.drawn_in.append(path)
        if export.notes:
            self.findings.append(
                Finding("note", "mask-converted", str(path), f"{path}: {'; '.join(export.notes)}")
            )
        return export

    def _colored(self, findings: list[Finding]) -> None:
        """Take masks in color for those that a label map explains."""
        path, inside = self._folder / cvat.LABEL_MAP, self._folder / cvat.CLASSES
        others = [self._folder / name for name in cvat.OTHERS if (self._folder / name).exists()]
        self.used += [path, *others, *([inside] if inside.is_dir() else [])]
        try:
            self.label_map = cvat.read_label_map(path)
        except InputError as error:
            self.findings.append(Finding("error", "mask-unreadable", str(path), str(error)))
            return
        self.drawn_in.append(path)
        if inside.is_dir():
            files, found = by_stem(inside)
            findings += found
            twice = sorted(set(files) & set(self.pixels))
            if twice:
                first, other = files[twice[0]], self.pixels[twice[0]]
                sentence = f"{first} and {other} are masks of one image: remove one of the two"
                self.findings.append(Finding("error", "stem-twice", str(first), sentence))
            self.colored = dict(files)
            self.pixels = {stem: held for stem, held in self.pixels.items() if stem not in files}
        else:
            self.colored, self.pixels = self.pixels, {}
        if others:
            listed = ", ".join(path.name for path in others)
            self.findings.append(
                Finding(
                    "note",
                    "mask-converted",
                    str(path),
                    f"{self._folder}: of CVAT's export {listed} are not needed",
                )
            )

    def _pngs(self, named: list[Path], exports: list[Export]) -> list[Export]:
        """Return what the PNG export of Label Studio says, where its JSON export does not lie beside it."""
        self.used += named
        if any(entry.mask.paint is label_studio.paint for export in exports for entry in export.entries):
            what = f"{plural(len(named), 'file')} such as {named[0].name} are of tasks that a JSON file here draws, too"
            self.findings.append(
                Finding(
                    "note", "mask-converted", str(named[0]), f"{self._folder}: {what}, and are not needed"
                )
            )
            return []
        try:
            export = label_studio.read_pngs(named)
        except InputError as error:
            self.findings.append(Finding("error", "mask-unreadable", str(named[0]), f"{named[0]} {error}"))
            return []
        if not any(stem in self._images for entry in export.entries for stem in entry.stems):
            sentence = (
                f"{self._folder} holds {plural(len(named), 'mask')} such as {named[0].name}, which name tasks of Label "
                "Studio and no images: put its JSON export beside them, or call images after their tasks (task-7.png)"
            )
            self.findings.append(Finding("error", "mask-unreadable", str(named[0]), sentence))
            return []
        self.drawn_in.append(self._folder)
        return [export]

    def _matched(self, export: Export, entries: dict[str, list[Entry]]) -> None:
        """Find the image of every entry."""
        absent = []
        for entry in export.entries:
            known = [stem for stem in entry.stems if stem in self._images]
            if len(known) > 1:
                both = " or ".join(str(self._images[stem]) for stem in known[:2])
                sentence = f"{entry.mask.path} may be drawn on {both}: rename the other image"
                self.findings.append(Finding("error", "stem-twice", str(entry.mask.path), sentence))
            elif known:
                entries.setdefault(known[0], []).append(entry)
            else:
                absent.append(entry)
        if absent:
            named = listed((entry.stems[-1] for entry in absent), _LISTED)
            many = f"{plural(len(absent), 'image')} of {len(export.entries)}"
            file, where = absent[0].file, self._folder.parent / "images"
            sentence = f"{file}: {many} in it, not to be found in {where}, passed over ({named})"
            self.findings.append(Finding("note", "image-absent", str(file), sentence))

    def _drawn(self, entries: Mapping[str, list[Entry]]) -> None:
        """Take one outline for each image, and say where there are more."""
        owned = []
        for stem, held in entries.items():
            first = held[0]
            if stem in self.pixels or stem in self.colored:
                owned.append((stem, first))
            elif len(held) > 1 or first.many:
                what = f"holds {first.many}"
                if len(held) > 1:
                    what = f"and {held[1].mask.path} are two outlines of {self._images[stem]}"
                fault = (
                    f"{what}: one outline of an image is read, so remove the others, or export those of each annotator "
                    "alone"
                )
                self.drawn[stem] = replace(first.mask, fault=fault)
            else:
                self.drawn[stem] = first.mask
        if owned:
            stem, first = owned[0]
            own = self.pixels.get(stem) or self.colored[stem]
            sentence = (
                f"{first.file}: what is drawn of {plural(len(owned), 'image')} is not read, a mask of pixels such as "
                f"{own} counts: remove one of the two"
            )
            self.findings.append(Finding("warning", "file-ignored", str(first.file), sentence))


def _json(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    places = [folder, folder / cvat.COCO] if (folder / cvat.COCO).is_dir() else [folder]
    held = [path for place in places for path in place.iterdir() if path.suffix.lower() == ".json"]
    return sorted(path for path in held if path.is_file() and not path.name.startswith("."))


def _inside(folder: Path) -> bool:
    """Return whether masks of pixels lie in folders of annotators, or of parts."""
    inner = [*folder.glob("masks/*/"), *folder.glob("gold/*/"), *folder.glob("masks_*/")]
    places = [place for place in inner if place.name not in cvat.FOLDERS]
    return any(image_files(place) for place in places if place.is_dir())


def _plain(name: str) -> str:
    return name.strip("_ ").casefold()


def _table(file: Path, numbers: Mapping[str, int], left: Collection[str]) -> Finding:
    """Return the note that tells which number each name has got."""
    table = sorted(numbers.items(), key=lambda each: each[1])
    told = listed((f"{number} {name}" for name, number in table), _MOST_LISTED)
    sentence = f"{file}: the names of shapes decide ({told}); a --remap speaks of these numbers"
    if left:
        sentence += f"; {plural(len(left), 'name')} without any shape left out ({listed(left, _MOST_LISTED)})"
    return Finding("note", "label-table", str(file), sentence)
