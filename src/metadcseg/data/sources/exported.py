"""What drawing tools have exported into one folder, by image."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from metadcseg.data.annotations import coco, cvat, cvat_xml, label_studio, labelme, via, via3
from metadcseg.data.annotations.shapes import EXPORTS, Drawn, Entry, Export
from metadcseg.data.annotations.values import read_json
from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.sources.pairing import Mask, by_stem
from metadcseg.errors import InputError

_KNOWN: tuple[tuple[Callable[[Any], bool], Callable[[Path, Any], Export]], ...] = (
    (coco.is_coco, coco.read),
    (labelme.is_labelme, labelme.read),
    (via.is_via, via.read),
    (via3.is_via3, via3.read),
    (label_studio.is_label_studio, label_studio.read),
    (cvat_xml.is_cvat, cvat_xml.read),
)
_LISTED = 3


class Exported:
    """Masks of one folder: those that drawing tools have exported, and files of pixels.

    Args:
        folder: where they lie.
        images: of the data set, by stem.
        pixels: whether files of pixels there are masks.
    """

    def __init__(self, folder: Path, images: Mapping[str, Path], *, pixels: bool) -> None:
        self.findings: list[Finding] = []
        self.drawn: dict[str, Drawn] = {}
        self.colored: dict[str, Mask] = {}
        self.used: list[Path] = []
        self.drawn_in: list[Path] = []
        self.label_map: dict[cvat.Color, str] = {}
        self.drawn_by: dict[str, str] = {}
        self._folder, self._images = folder, images
        files, findings = by_stem(folder) if pixels else ({}, [])
        exports = [export for path in _files(folder) if (export := self._read(path)) is not None]
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
        names = {entry.by for held in entries.values() for entry in held if entry.by}
        self.drawn_by = {stem: held[0].by for stem, held in entries.items() if held[0].by and len(names) > 1}
        files_used = {path for mask in self.drawn.values() for path in mask.files}
        orders = [each.order for each in exports if any(entry.file in files_used for entry in each.entries)]
        self.order = [*self.label_map.values(), *(name for order in orders for name in order)]
        used = {str(path) for path in self.used}
        self.findings += [finding for finding in findings if finding.where not in used]

    def number(self, numbered: Callable[[str], int]) -> None:
        """Give shapes and colors their class numbers."""
        for stem, mask in self.drawn.items():
            shapes = tuple(replace(shape, value=numbered(shape.name)) for shape in mask.shapes)
            self.drawn[stem] = replace(mask, shapes=shapes)
        if not self.colored:
            return
        table = {(0, 0, 0): 0} | {color: numbered(name) for color, name in self.label_map.items()}
        path = self._folder / cvat.LABEL_MAP
        for stem, file in self.colored.items():
            assert isinstance(file, Path), "it gets its numbers once"  # noqa: S101
            self.colored[stem] = cvat.Colored(file, path, tuple(table), tuple(table.values()))

    def _read(self, path: Path) -> Export | None:
        """Return what a file holds; None where it is none of a drawing tool."""
        self.used += [path, path.parent]
        try:
            content = cvat_xml.read_xml(path) if path.suffix.lower() == ".xml" else read_json(path)
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
            what = "it is no export of COCO, CVAT, Label Studio, LabelMe or VIA"
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
                    f"{what}: one outline of an image is read, so remove the others, or put an export of what each "
                    "annotator drew into a folder of his own in masks/"
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


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    places = [folder, folder / cvat.COCO] if (folder / cvat.COCO).is_dir() else [folder]
    named = [
        (place, name) for place in places for name in os.listdir(place) if name.lower().endswith(EXPORTS)
    ]
    return sorted(
        place / name for place, name in named if not name.startswith(".") and (place / name).is_file()
    )
