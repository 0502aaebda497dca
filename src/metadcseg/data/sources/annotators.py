"""Who drew which mask: folders of several annotators, or a table of one for each mask.

::

    FOLDER/masks/NAME/CASE.png      what NAME drew; likewise FOLDER/masks_NAME/CASE.png. Not everybody need have drawn
                                    every image
    FOLDER/annotators.csv           id,annotator: who drew the one mask of a case
"""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metadcseg.data.annotations import cvat
from metadcseg.data.annotations.shapes import EXPORTS
from metadcseg.data.case_names import Meant, case_called, one_form
from metadcseg.data.findings import Finding, listed, plural
from metadcseg.data.formats.images import SUFFIXES
from metadcseg.data.formats.volumes import is_volume_file, stem_of
from metadcseg.data.sources.case import Outlines
from metadcseg.data.sources.pairing import Mask, MasksIn, mask_without_image, owner, place_of
from metadcseg.data.tables import read_table
from metadcseg.errors import InputError

TABLE = "annotators.csv"

_BESIDE = "masks_"  # begins the names of folders of annotators that lie beside masks/
_VERIFIED = "gold"  # is no name of an annotator
_LISTED = 12  # so many are named in a sentence


@dataclass(frozen=True)
class Given:
    """The masks as given, and who drew them.

    Args:
        files: stem -> its mask, or the first of its outlines: what sentences about the case name.
        outlines: stem -> all of them, where there is more than one.
        annotator: stem -> who drew its mask, where it is one person and known.
        folders: name -> folder of an annotator.
    """

    files: dict[str, Mask]
    outlines: dict[str, Outlines] = field(default_factory=dict)
    annotator: dict[str, str] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)

    def mask(self, stem: str) -> Mask | Outlines:
        """Return what a case was given."""
        return self.outlines.get(stem) or self.files[stem]


def given_masks(
    folder: Path,
    images: Mapping[str, Path],
    direct: Mapping[str, Mask],
    verified: Mapping[str, Mask],
    folders: Sequence[Path],
    masks_in: MasksIn,
    drawn_by: Mapping[str, str],
    *,
    certain: bool = False,
) -> tuple[Given, list[Finding]]:
    """Find out who drew the masks of a folder.

    Args:
        folder: of the data set.
        images: stem -> image file.
        direct: stem -> what lies directly in ``masks/``.
        verified: stem -> verified mask; an outline that is the same file counts as verified only.
        folders: that may be those of annotators (`folders_inside`).
        masks_in: finds the masks of an annotator's folder.
        drawn_by: stem -> who drew it, as the exports in ``masks/`` say; the table is believed before.
        certain: whether somebody said that folders in ``masks/`` are annotators'.

    Returns:
        The masks as given, and what was found. Of ``direct``, folders of annotators are left out.
    """
    held = {path: masks_in(path) for path in folders}
    folders = [path for path, (files, _) in held.items() if files.keys() & images.keys()]
    direct = {stem: mask for stem, mask in direct.items() if place_of(mask) not in folders}
    findings: list[Finding] = []
    if direct:
        beside = [path for path in folders if path.parent == folder]
        findings += [_not_read(path, folder) for path in beside]
        folders = [path for path in folders if path not in beside]
    if not folders:
        known = {stem: name for stem, name in drawn_by.items() if stem in direct}
        given = Given(dict(direct), annotator=known | _table(folder, direct, images, findings))
    else:
        findings += _contradictions(folder, direct, folders)
        named = {name_of(path): path for path in folders}
        given = _joined(folder, named, held, images, direct, verified, findings, certain=certain)
    counts = Counter(given.annotator.values())
    counts.update(name for each in given.outlines.values() for name in each.by)
    if counts:
        told = f"{folder}: {said_of_annotators(counts, len(images))}"
        told += "; if they are classes, --subfolders classes" if folders and not certain else ""
        findings.append(Finding("note", "annotators", str(folder), told))
    return given, findings


def said_of_annotators(counts: Mapping[str, int], images: int) -> str:
    """Return who drew how many.

    Args:
        counts: annotator -> number of masks.
        images: how many there are.

    Example:
        >>> said_of_annotators({"ben": 7, "anna": 12}, 12)
        'masks of 2 annotators; of 12 images anna drew 12, ben 7'
        >>> said_of_annotators({"Ben": 1, "ben": 2}, 3).split("; ")[2]
        "'Ben' and 'ben' count as two: give one person one spelling"
    """
    names = sorted(counts)
    each = [f"{name} {'drew ' if name == names[0] else ''}{counts[name]}" for name in names[:_LISTED]]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    told = f"masks of {plural(len(names), 'annotator')}; of {plural(images, 'image')} {', '.join(each)}{more}"
    spellings: dict[str, str] = {}
    for name in names:
        if (other := spellings.setdefault(name.casefold(), name)) != name:
            told += f"; '{other}' and '{name}' count as two: give one person one spelling"
    return told


def folders_of_parts(place: Path, images: Collection[str]) -> list[Path]:
    """Return the folders in a place that belong to one image each, whose stem is their name; others are annotators'.

    An annotator may be called like an image (1, 2, 3): a folder with masks of other images, or with an export of a
    drawing tool, is an annotator's. Beside such a folder one that holds nothing but a mask called like it is, too.

    Args:
        place: ``masks/`` or ``gold/``.
        images: stems of all images.
    """
    inside = [folder for folder in _inside(place) if folder.name not in cvat.FOLDERS]
    held = {folder: _images_in(folder, images) for folder in inside}
    others = {folder for folder, stems in held.items() if stems - {one_form(folder.name)}}
    return [
        folder
        for folder, stems in held.items()
        if one_form(folder.name) in images and folder not in others and not (others and stems)
    ]


def folders_inside(folder: Path, images: Collection[str]) -> list[Path]:
    """Return the folders that may be annotators', or of classes: those in ``masks/``, and those beside it.

    Args:
        folder: of the data set.
        images: stems of all images.
    """
    beside = [entry for entry in _inside(folder) if entry.name.startswith(_BESIDE) and name_of(entry)]
    held = [entry for entry in beside if _images_in(entry, images)]
    return folders_of_images(folder / "masks", images) + held


def folders_of_images(place: Path, images: Collection[str]) -> list[Path]:
    """Return the folders in a place that hold files called like images, but for those that belong to one image."""
    parts = {*folders_of_parts(place, images)}
    inside = [entry for entry in _inside(place) if entry.name not in cvat.FOLDERS and entry not in parts]
    return [entry for entry in inside if _images_in(entry, images)]


def _inside(place: Path) -> list[Path]:
    """Return the folders in a folder; hidden ones are passed over."""
    if not place.is_dir():
        return []
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return [place / name for name in sorted(names)]


def _images_in(folder: Path, images: Collection[str]) -> set[str]:
    """Return the stems of images that files of a folder are called by; an export alone may be of any image."""
    found: set[str] = set()
    exported = others = False
    for path in folder.iterdir():
        exported |= path.name in (cvat.LABEL_MAP, *cvat.FOLDERS) or path.suffix.lower() in EXPORTS
        others |= path.suffix.lower() in SUFFIXES or is_volume_file(path)
        others |= path.is_dir() and path.name not in cvat.FOLDERS
        for stem in {one_form(path.stem), one_form(stem_of(path))}:
            if stem in images:
                found.add(stem)
            elif owned := owner(stem, images):
                found.add(owned[0])
    return {""} if exported and not others else found


def read_annotators(path: Path, ids: Collection[str]) -> dict[str, str]:
    """Read who drew which mask.

    Args:
        path: CSV in UTF-8 with the columns ``id`` and ``annotator``.
        ids: the cases that exist; a file name with suffix is taken for its stem.

    Returns:
        id -> annotator, of lines that name one.

    Raises:
        InputError: where the table cannot be read, lacks a column, or names a case twice or one that does not exist.
    """
    header, rows = read_table(path)
    if not {"id", "annotator"} <= set(header):
        got = ", ".join(header) or "nothing"
        raise InputError(f"{path}: the first line names the columns id,annotator, got '{got}': correct it")
    table: dict[str, str] = {}
    for number, row in rows:
        name, who = (row.get(column, "") for column in ("id", "annotator"))
        case = case_called(name, ids)
        if case is None:
            hint = Meant(ids).hint(name, "take the file name without suffix")
            raise InputError(f"{path}, line {number}: there is no case '{name}': {hint}")
        if case in table:
            raise InputError(f"{path}, line {number}: '{case}' stands twice: remove one line")
        if who:
            table[case] = who
    return table


def name_of(path: Path) -> str:
    """Return whose folder it is."""
    return one_form(path.name.removeprefix(_BESIDE)).strip()


def _joined(
    folder: Path,
    folders: Mapping[str, Path],
    held: Mapping[Path, tuple[Mapping[str, Mask], list[Finding]]],
    images: Mapping[str, Path],
    direct: Mapping[str, Mask],
    verified: Mapping[str, Mask],
    findings: list[Finding],
    *,
    certain: bool,
) -> Given:
    """Return the masks of all annotators by image."""
    by: dict[str, dict[str, Mask]] = {}
    for name in sorted(folders):
        files, found = held[folders[name]]
        findings += found
        for stem, mask in files.items():
            if stem in verified and place_of(mask).resolve() == place_of(verified[stem]).resolve():
                continue
            if stem not in images and stem in by:  # of the first it is said with the other files
                findings.append(mask_without_image(place_of(mask)))
            by.setdefault(stem, {})[name] = mask
    first = {stem: next(iter(drawn.values())) for stem, drawn in by.items()}
    known = {stem: drawn for stem, drawn in by.items() if stem in images}
    place = folder / "masks" if (folder / "masks").is_dir() else folder
    return Given(
        {**direct, **first},
        {stem: Outlines(place, drawn, certain) for stem, drawn in known.items() if len(drawn) > 1},
        {stem: next(iter(drawn)) for stem, drawn in known.items() if len(drawn) == 1},
        dict(sorted(folders.items())),
    )


def _contradictions(folder: Path, direct: Mapping[str, Mask], folders: Sequence[Path]) -> list[Finding]:
    """Find what leaves open who drew what."""
    masks = folder / "masks"
    names = [name_of(path) for path in folders]
    found = []
    if direct:
        first = place_of(next(iter(direct.values()))).name
        found.append(
            f"{masks} holds {plural(len(direct), 'mask')} (such as {first}) beside the folders of annotators "
            f"({listed(sorted(names), _LISTED)}): move them into a folder of their annotator, {masks / 'NAME'}, or "
            "remove them"
        )
    for name in sorted({name for name in names if names.count(name) > 1}):
        twice = " and ".join(str(path) for path in folders if name_of(path) == name)
        found.append(f"{twice} are both of annotator {name}: rename or remove one of the two")
    real = [path.resolve() for path in folders]
    for place in sorted({place for place in real if real.count(place) > 1}):
        held = " and ".join(str(path) for path, other in zip(folders, real, strict=True) if other == place)
        found.append(f"{held} are one folder, by a link: nobody counts twice, remove one of the two")
    if _VERIFIED in names:
        found.append(
            f"{folders[names.index(_VERIFIED)]} would be masks of an annotator called {_VERIFIED}: verified masks "
            f"belong into {folder / _VERIFIED}, move it there or rename it"
        )
    if (folder / TABLE).exists():
        found.append(
            f"{folder / TABLE} tells who drew the one mask of an image, and here annotators have folders of their own "
            f"({listed(sorted(names), _LISTED)}): remove it"
        )
    return [Finding("error", "annotators", str(masks), sentence) for sentence in found]


def _not_read(path: Path, folder: Path) -> Finding:
    name = path.name.removeprefix(_BESIDE)
    masks = folder / "masks"
    way_out = f"rename masks/ to {_BESIDE}NAME after who drew those" if masks.is_dir() else "take those out"
    sentence = (
        f"{path} is not read, {masks if masks.is_dir() else 'files of images'} hold masks already: if {name} is an "
        f"annotator, {way_out}; else rename it so that it does not begin with {_BESIDE}"
    )
    return Finding("warning", "file-ignored", str(path), sentence)


def _table(
    folder: Path, direct: Mapping[str, Mask], images: Collection[str], findings: list[Finding]
) -> dict[str, str]:
    """Return who drew the masks that lie directly in their folder, as the table says."""
    if not (folder / TABLE).exists():
        return {}
    try:
        names = read_annotators(folder / TABLE, images)
    except InputError as error:
        findings.append(Finding("error", "annotators", str(folder / TABLE), str(error)))
        return {}
    return {stem: name for stem, name in names.items() if stem in direct}
