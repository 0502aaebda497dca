"""Which files of a folder are volumes, and to which case each belongs."""

import os
from pathlib import Path

from metadcseg.data.case_names import one_form
from metadcseg.data.findings import Finding
from metadcseg.data.formats import hdf5
from metadcseg.data.formats.images import SUFFIXES
from metadcseg.data.formats.volumes import is_volume_file, stem_of
from metadcseg.errors import InputError

SEGMENTATIONS = "segmentations"
"""What TotalSegmentator calls the folder of the masks of one case."""

PARTNERS = (".raw", ".zraw", ".gz")
"""Ends of files that hold the voxels for a header beside them."""


def holds_volumes(folder: Path) -> bool:
    """Return whether the images of a folder are volumes.

    Raises:
        InputError: where some are and some are 2D images.
    """
    if not (folder / "images").is_dir():
        return bool(cases_with_segmentations(folder))
    entries = sorted(name for name in os.listdir(folder / "images") if not name.startswith("."))
    flat = [folder / "images" / name for name in entries if name.lower().endswith(SUFFIXES)]
    flat = [entry for entry in flat if entry.is_file()]
    others = (folder / "images" / name for name in entries if not name.lower().endswith(SUFFIXES))
    volumes = [entry for entry in others if is_volume_file(entry)]
    if volumes and flat:
        raise InputError(
            f"{folder / 'images'} holds volumes ({volumes[0].name}) and 2D images ({flat[0].name}): keep them in two "
            "folders and prepare two sets"
        )
    return bool(volumes)


def cases_with_segmentations(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return the cases of TotalSegmentator's layout: ``CASE/ct.nii.gz`` with ``CASE/segmentations/`` beside it.

    Returns:
        case -> its only volume and the folder beside it, of folders that hold both.
    """
    found = {}
    inside = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()] if folder.is_dir() else []
    for case in inside:
        volumes = [entry for entry in sorted(case.iterdir()) if entry.is_file() and is_volume_file(entry)]
        if len(volumes) == 1 and (case / SEGMENTATIONS).is_dir():
            found[one_form(case.name)] = (volumes[0], case / SEGMENTATIONS)
    return found


def volumes_by_stem(folder: Path) -> tuple[dict[str, Path], list[Finding]]:
    """Return the volumes of a folder by stem, and what is wrong; a folder that does not exist is empty."""
    if not folder.is_dir():
        return {}, []
    files: dict[str, Path] = {}
    findings = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not is_volume_file(path):
            if path.suffix.lower() not in PARTNERS:
                sentence = (
                    f"{path} is not read (volumes directly in {folder.name}/ are): convert, move or remove it"
                )
                findings.append(Finding("warning", "file-ignored", str(path), sentence))
            continue
        stem = one_form(stem_of(path))
        if stem in files:
            sentence = (
                f"{folder} holds {files[stem].name} and {path.name}, one stem stands for one case: remove one"
            )
            findings.append(Finding("error", "stem-twice", str(path), sentence))
        files.setdefault(stem, path)
    return files, findings


def holds_label(path: Path, key: str) -> bool:
    """Return whether an HDF5 file holds its label; a damaged one is named when it is read."""
    if not path.name.lower().endswith(hdf5.SUFFIXES):
        return False
    try:
        return hdf5.has(path, key)
    except OSError:
        return True
