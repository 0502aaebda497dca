"""Masks that are one binary file for each organ or lesion, and masks whose names are longer than those of their images.

::

    masks/x_mask.png            of images/x.png, where all such masks end alike: _mask, _seg, _segmentation, _label, _gt
    masks/x_mask_1.png ...      beside it or alone: further parts of the same class, joined
    masks/x/liver.nii.gz ...    a folder with the name of an image: a file for each class, called like the class
    masks/x/lesion_1.png ...    likewise; where all files of all cases differ by a number only, they are one class

All of it serves ``gold/`` as well.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metadcseg.constants import IGNORE
from metadcseg.data.case_names import one_form
from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid, Volume, check_same_grid
from metadcseg.data.formats.images import SUFFIXES, read_mask
from metadcseg.data.formats.overlay import Overlay
from metadcseg.data.formats.soft import THRESHOLD, has_soft_edges
from metadcseg.data.formats.volumes import is_volume_file, read_label_volume, stem_of
from metadcseg.data.sources.annotators import folders_of_parts
from metadcseg.data.sources.dicom_mask import composed
from metadcseg.data.sources.pairing import Mask, MasksIn, owner, place_of
from metadcseg.data.sources.volume_folder import PARTNERS
from metadcseg.errors import InputError

_NUMBER = re.compile(r"[ _.-]*\d{1,6}$")
_LISTED = 8  # so many class names in a sentence


@dataclass(frozen=True)
class Parts:
    """One mask of several binary files.

    Args:
        path: what sentences call it by: its folder, or its first file.
        files: each holds 0 and one other value.
        names: the class of each file; none where all are parts of one class, which keeps its value.
    """

    path: Path
    files: tuple[Path, ...]
    names: tuple[str, ...] = ()

    def read(self, image: Grid) -> Volume:
        """Return the mask, classes numbered from 1 in the order of their names; where two overlap, the smaller one.

        Raises:
            InputError: where a file is not binary, or the files have different sizes or places.
        """
        first = _read(self.files[0], image)
        drawn = Overlay(self.path, first.grid.shape, self.names)
        union, value = np.zeros(first.grid.shape, np.uint8), 0
        notes: tuple[str, ...] = ()
        for number, file in enumerate(self.files):
            part = _read(file, image) if number else first
            check_same_grid(part.grid, first.grid, file, self.files[0])
            own = _value(file, part)
            notes += part.notes
            if self.names:
                drawn.add(self.names[number], part.array != 0)
                continue
            if own and value and own != value:
                raise InputError(
                    f"{file} holds {own} and another part of its mask {value}, so parts or classes is open: "
                    "save all with one value, or a mask of class numbers"
                )
            value = own or value
            union[part.array != 0] = value
        if not self.names:
            return replace(first, array=union, notes=notes, names={})
        array, more = drawn.labels()
        return replace(first, array=array, notes=(*notes, *more), lossy=False, names=drawn.names)


def masks_of(
    folder: Path, images: Collection[str], masks_in: MasksIn, *, volumes: bool
) -> tuple[dict[str, Mask], list[Finding]]:
    """Return the masks of a folder by the stem of their image, of whatever number of files each.

    Args:
        folder: ``masks/`` or ``gold/``.
        images: the stems of all images.
        masks_in: finds the files of a folder by stem, or what drawing tools exported there.
        volumes: whether the images are volumes.

    Returns:
        stem -> mask, ascending; files that belong to no image as they are called. And what was found.
    """
    files, findings = masks_in(folder)
    masks, found = joined(folder, files, images)
    folders = _folders(folder, images, volumes=volumes)
    named, more = in_folders(folder, folders)
    taken = {str(path) for path in folders}
    findings = [*(each for each in findings if each.where not in taken), *found, *more]
    every = _both(masks, named, findings)
    if volumes:
        every = {stem: composed(mask) if isinstance(mask, Path) else mask for stem, mask in every.items()}
    return every, findings


def joined(
    folder: Path, files: Mapping[str, Mask], images: Collection[str]
) -> tuple[dict[str, Mask], list[Finding]]:
    """Return masks by the stem of their image, where their names may be those of the images and one suffix.

    Args:
        folder: for sentences.
        files: masks by their own stem.
        images: the stems of all images.
    """
    extra = {stem: path for stem, path in files.items() if stem not in images and isinstance(path, Path)}
    owned = {stem: found for stem in extra if (found := owner(stem, images)) is not None}
    suffixes = {suffix for _, suffix in owned.values()}
    if len(suffixes) != 1 or len(extra) < len(files):
        twice = {
            image: Parts(extra[stem], (extra[stem],)) for stem, (image, _) in owned.items() if image in files
        }
        findings: list[Finding] = []
        _both(files, twice, findings)
        return dict(files), findings  # what else is missing is said, with the name that the mask should have
    paths: dict[str, list[Path]] = {}
    for stem, (image, _) in owned.items():
        paths.setdefault(image, []).append(extra[stem])
    parts = {image: Parts(held[0], tuple(held)) for image, held in paths.items()}
    several = [part for part in parts.values() if len(part.files) > 1]
    sentence = (
        f"{folder}: {plural(len(owned), 'mask')} end in '{suffixes.pop()}' after the name of their image, which is "
        "taken off"
    )
    if several:
        which = f"{plural(len(several), 'image')} with several, such as {several[0].path.name}"
        sentence += f"; those of {which}, are joined as one class"
    findings = [Finding("note", "mask-joined", str(folder), sentence)]
    return _both({s: path for s, path in files.items() if s not in owned}, parts, findings), findings


def in_folders(
    root: Path, folders: Mapping[Path, Sequence[Path]], names: Mapping[Path, str] | None = None
) -> tuple[dict[str, Parts], list[Finding]]:
    """Return the masks of folders with a file for each part, and what was decided.

    Args:
        root: what sentences call all of them by.
        folders: folder -> its files.
        names: the case of each folder; what it is called by default.
    """
    cases = {folder: one_form((names or {}).get(folder, folder.name)) for folder in folders}
    called = {file: _called(file, cases[folder]) for folder, files in folders.items() for file in files}
    plain = {_NUMBER.sub("", name) for name in called.values()}
    if len(plain) == 1 and (len(set(called.values())) > 1 or not all(plain)):
        called = dict.fromkeys(called, plain.pop())
    masks = {
        cases[folder]: Parts(
            folder, tuple(files), tuple(called[file] for file in files) if any(called.values()) else ()
        )
        for folder, files in folders.items()
    }
    if not masks:
        return {}, []
    classes = sorted(set(called.values()))
    told = listed(classes, _LISTED)
    what = f"classes are {told}" if any(classes) else "they are parts of one class"
    sentence = (
        f"{root}: {plural(len(called), 'file')} in {plural(len(masks), 'folder')} are parts of masks; {what}"
    )
    return masks, [Finding("note", "mask-joined", str(root), sentence), *_others(folders)]


def _others(folders: Mapping[Path, Sequence[Path]]) -> list[Finding]:
    """Warn of what lies beside the parts of a mask and is not read."""
    found = []
    for folder, files in folders.items():
        shown = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        others = [path for path in shown if path not in files and path.suffix.lower() not in PARTNERS]
        if others:
            which = f"{plural(len(others), 'other file')}, such as {others[0].name}"
            sentence = f"{folder} holds {which}, beside the parts of its mask: convert, move or remove what is not read"
            found.append(Finding("warning", "file-ignored", str(folder), sentence))
    return found


def part_files(folder: Path, *, volumes: bool) -> list[Path]:
    """Return the files of a folder that may be parts of a mask, by name; hidden files are passed over."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [path for path in files if (is_volume_file(path) if volumes else path.suffix.lower() in SUFFIXES)]


def _both(masks: Mapping[str, Mask], parts: Mapping[str, Parts], findings: list[Finding]) -> dict[str, Mask]:
    """Return both; an image with a mask in each gets an error."""
    every = dict(masks)
    for stem, part in parts.items():
        if stem in every:
            both = f"{place_of(every[stem])} and {part.path}"
            sentence = f"{both} are both masks of the image '{stem}': remove one of the two"
            findings.append(Finding("error", "stem-twice", str(part.path), sentence))
        else:
            every[stem] = part.files[0] if len(part.files) == 1 and not part.names else part
    return dict(sorted(every.items()))


def _folders(folder: Path, images: Collection[str], *, volumes: bool) -> dict[Path, list[Path]]:
    """Return the folders that are called like an image and hold files for its parts."""
    if not folder.is_dir():
        return {}
    inside = [path for path in folders_of_parts(folder, images) if not is_volume_file(path)]
    held = {path: part_files(path, volumes=volumes) for path in inside}
    return {path: files for path, files in held.items() if files}


def _called(file: Path, case: str) -> str:
    """Return the class that a file is called by: its name, without that of its case before it."""
    name = one_form(stem_of(file) if is_volume_file(file) else file.stem)
    return re.sub(rf"^{re.escape(case)}(?:[ _.-]+|$)", "", name)


def _read(file: Path, image: Grid) -> Volume:
    """Return one part, background 0."""
    if is_volume_file(file):
        mask = composed(file)
        return read_label_volume(mask) if isinstance(mask, Path) else mask.read(image)
    picture = read_mask(file)
    black = next((index for index, color in sorted(picture.colors.items()) if color == (0, 0, 0)), 0)
    if [*picture.colors] == [0] and black == 0 and picture.colors[0] != (0, 0, 0):
        raise InputError(
            f"{file} is of one color, {picture.colors[0]}, so all or nothing of it is meant: save it as black and white"
        )
    pixels = picture.array
    notes = () if picture.colors else picture.notes  # which color is which does not matter here
    levels = np.unique(pixels).tolist()
    if not picture.colors and has_soft_edges(pixels, levels, lossy=picture.lossy):
        pixels = np.where(pixels > THRESHOLD, np.uint8(IGNORE), np.uint8(0))
        gray = f"{file} has {len(levels)} gray levels between black and white (JPEG or resampled), cut at {THRESHOLD}"
        notes = (*notes, gray)
    array = np.where(pixels == black, 0, np.where(pixels == 0, black, pixels))[:, :, None]
    height, width = pixels.shape
    grid = Grid((height, width, 1), UNKNOWN_AFFINE, known=False)
    return Volume(array, grid, notes, picture.lossy, orientation=picture.orientation)


def _value(file: Path, part: Volume) -> int:
    """Return the value of the foreground of one part, 0 where it has none.

    Raises:
        InputError: where it holds other values than 0 and one more.
    """
    levels = np.unique(part.array)
    held = [int(level) for level in levels if level]
    if len(held) > 1 or (held and not 0 < held[0] <= IGNORE):
        raise InputError(
            f"{file} is one of several files of a mask and must hold 0 and one value up to 255, got "
            f"{listed(levels, 6)}: threshold it, or save one mask of class numbers"
        )
    return held[0] if held else 0
