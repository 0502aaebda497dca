"""What lies in a folder of which no case can be made, and the words that read it all the same.

Looks at names alone, of the folder and of folders in it, at most ``_MOST`` of each.
"""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from metadcseg.data.findings import plural
from metadcseg.data.formats.images import SUFFIXES
from metadcseg.data.formats.volumes import VOLUME_SUFFIXES, is_volume_file, stem_of
from metadcseg.data.splits.roles import ROLE_FOLDERS

_MOST = 1000
_KINDS = 3  # so many kinds of file are named
_MASKS = ("mask", "label", "seg", "gt", "truth", "annot", "contour", "outline")
"""Parts of the names of folders that people call the masks' folder."""


def seen(folder: Path) -> str:
    """Return what lies in a folder, in words: counts by the ends of names, with an example each.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     for name in ("a/x.png", "a/y.png", "b.nii.gz"):
        ...         (Path(place) / name).parent.mkdir(exist_ok=True)
        ...         (Path(place) / name).touch()
        ...     seen(Path(place))
        '1 .nii.gz file (b.nii.gz), 2 .png files one folder down (a/x.png)'
    """
    if not folder.is_dir():
        return "no such folder"
    said = _counted(folder, _entries(folder), "")
    inner = (entry for held in _entries(folder) if held.is_dir() for entry in _entries(held))
    said += _counted(folder, inner, " one folder down")
    folders = [entry.name for entry in _entries(folder) if entry.is_dir()]
    return ", ".join(said) or (f"{plural(len(folders), 'folder')} ({folders[0]})" if folders else "nothing")


def other_kind(folder: Path) -> str | None:
    """Return which kind of data the files of a folder are, ``2D images`` or ``volumes``; None of neither or both."""
    entries = list(_entries(folder)) if folder.is_dir() else []
    volumes = any(is_volume_file(entry) for entry in entries)
    flat = any(entry.suffix.lower() in SUFFIXES for entry in entries)
    return None if volumes == flat else "volumes" if volumes else "2D images"


def nothing_of(what: str, where: Path, partners: Path) -> str:
    """Return the sentence about a folder without images, or without masks, that fit those in the other one.

    Args:
        what: ``image`` or ``mask``.
        where: in which folder they were looked for.
        partners: the folder of the others.
    """
    kind, beside = other_kind(where), other_kind(partners)
    if kind and beside and kind != beside:
        return (
            f"{where} holds {kind} ({seen(where)}), {partners} {beside} ({seen(partners)}): export image and mask of "
            "a case as the same kind"
        )
    files = "volumes (NIfTI, MetaImage, NRRD, HDF5 or folders of DICOM slices)"
    if "volumes" not in (kind, beside):
        files = "PNG, JPEG or TIFF files" if beside else f"PNG, JPEG or TIFF files, or {files},"
    typed = way_on(where.parent)
    otherwise = f"; to read them where they are: {typed}" if typed else ""
    put = f"put {files} directly there, named like their partners{otherwise}"
    return f"{where} holds no {what} files ({seen(where)}): {put}"


def way_on(folder: Path) -> str | None:
    """Return the command that reads images and masks which lie in other folders than images/ and masks/, or below them.

    None where no two folders hold files of the same stems.
    """
    folders = [place for place in _entries(folder) if place.is_dir()]
    inner = {place: [each for each in _entries(place) if each.is_dir()] for place in folders}
    beside = {place: _stems(place) for place in folders}
    below = {
        place: {f"{each.name}/{stem}": path for each in inner[place] for stem, path in _stems(each).items()}
        for place in folders
    }
    for held, deep in ((beside, False), (below, True)):
        if found := _pair({place: files for place, files in held.items() if files}):
            patterns = []
            for place, ending in found:
                parts = {stem.rpartition("/")[0] for stem in held[place]}
                group = (f"{parts.pop()}/" if len(parts) == 1 else "{group}/") if deep else ""
                patterns.append(f"{place.name}/{group}{{case}}{ending}")
            return _typed(folder, *patterns)
    return _by_role(folder, [place for place in folders if place.name.lower() in ROLE_FOLDERS])


def _typed(folder: Path, image: str, label: str) -> str:
    words = ("metadcseg", "check", "patterns", "--source", str(folder))
    return shlex.join((*words, "--image", image, "--label", label))


def _by_role(folder: Path, places: Sequence[Path]) -> str | None:
    """Return the command for train/images/, train/masks/, val/images/ and so on, all of them alike."""
    found: set[tuple[str, ...]] = set()
    for place in places:
        inner = {each: _stems(each) for each in _entries(place) if each.is_dir()}
        pair = _pair({each: files for each, files in inner.items() if files})
        if pair is None:
            return None
        found.add(tuple(f"{{role}}/{one.name}/{{case}}{ending}" for one, ending in pair))
    return _typed(folder, *found.pop()) if len(found) == 1 else None


def _pair(held: Mapping[Path, Mapping[str, Path]]) -> tuple[tuple[Path, str], tuple[Path, str]] | None:
    """Return the folders of images and masks, and the one ending of the files in each."""
    masks = [place for place in held if any(part in place.name.lower() for part in _MASKS)]
    images = [place for place in held if place not in masks]
    for one in images:
        for other in masks:
            both = held[one].keys() & held[other].keys()
            endings = [{_ending(held[place][stem]) for stem in both} for place in (one, other)]
            if both and all(len(ends) == 1 for ends in endings):
                return (one, endings[0].pop()), (other, endings[1].pop())
    return None


def _stems(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    files = (path for path in _entries(folder) if path.is_file())
    return {stem_of(path) if is_volume_file(path) else path.stem: path for path in files if _is_read(path)}


def _is_read(path: Path) -> bool:
    return path.name.lower().endswith((*SUFFIXES, *VOLUME_SUFFIXES))


def _entries(folder: Path) -> Iterator[Path]:
    shown = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return islice(shown, _MOST)


def _counted(folder: Path, entries: Iterator[Path], where: str) -> list[str]:
    """Return "4 .png files (x.png)" for every kind of file, the most frequent first."""
    files = [path for path in entries if path.is_file()]
    kinds = Counter(_ending(path) for path in files).most_common()
    said = []
    for ending, count in kinds[:_KINDS]:
        example = next(path for path in files if _ending(path) == ending).relative_to(folder)
        named = f"{ending} file" if ending else "extensionless file"
        said.append(f"{plural(count, named)}{where} ({example})")
    return said + ([f"files of {len(kinds) - _KINDS} other kinds{where}"] if len(kinds) > _KINDS else [])


def _ending(path: Path) -> str:
    known = next((end for end in VOLUME_SUFFIXES if path.name.lower().endswith(end)), None)
    return path.name[-len(known) :] if known else path.suffix
