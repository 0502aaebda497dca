"""A plain folder of volumes of the reader's own.

::

    FOLDER/images/      NIfTI, MetaImage, NRRD or HDF5 files, or one folder of DICOM slices for each case
    FOLDER/masks/       label volumes of the same stems: images/x.nii.gz belongs to masks/x.mha. May be missing where
                        every image is an HDF5 file that holds its label as well
    FOLDER/gold/, FOLDER/gold.txt, FOLDER/splits.csv, FOLDER/label_confidence/, FOLDER/label_confidence.csv     as in
    a folder of 2D images
"""

from collections.abc import Mapping
from pathlib import Path

from metadcseg.data.findings import Finding
from metadcseg.data.formats import hdf5
from metadcseg.data.formats.images import SUFFIXES
from metadcseg.data.formats.volumes import is_volume_file, stem_of
from metadcseg.data.sources.case import RawVolume, VolumeScan
from metadcseg.data.sources.folder import gold_of, roles_of
from metadcseg.data.sources.label_confidence import label_confidence_of
from metadcseg.data.sources.pairing import one_form, replaced, unmatched
from metadcseg.data.splits.roles import SplitRow, read_splits
from metadcseg.errors import InputError

_PARTNERS = (".raw", ".zraw", ".gz")
"""Ends of files that hold the voxels for a header beside them."""


def holds_volumes(folder: Path) -> bool:
    """Return whether the images of a folder are volumes.

    Raises:
        InputError: where some are and some are 2D images.
    """
    if not (folder / "images").is_dir():
        return False
    entries = [entry for entry in sorted((folder / "images").iterdir()) if not entry.name.startswith(".")]
    volumes = [entry for entry in entries if is_volume_file(entry)]
    flat = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    if volumes and flat:
        raise InputError(
            f"{folder / 'images'} holds volumes ({volumes[0].name}) and 2D images ({flat[0].name}): keep them in two "
            "folders and prepare two sets"
        )
    return bool(volumes)


def scan_volume_folder(
    folder: Path,
    *,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    image_key: str | None = None,
    label_key: str | None = None,
) -> VolumeScan:
    """Find the cases of a folder of volumes, without decoding a voxel.

    Args:
        folder: laid out as above.
        seed: of the split.
        val: share held out for validation where ``splits.csv`` names no roles.
        test: share held out for the test likewise.
        image_key: of the image in HDF5 files; ``image`` by default.
        label_key: of the label in HDF5 files; ``label`` by default.

    Returns:
        The volumes and everything that is wrong so far.

    Raises:
        InputError: where the folder has no ``images/``.
    """
    if not (folder / "images").is_dir():
        raise InputError(f"{folder} holds no folder images/: a folder holds images/ and masks/")
    images, findings = volumes_by_stem(folder / "images")
    if (folder / "masks").is_dir():
        given, found = volumes_by_stem(folder / "masks")
        findings += found
    else:
        given = {stem: path for stem, path in images.items() if _holds_label(path, label_key or "label")}
    verified, gold, found = gold_of(folder, images, volumes_by_stem)
    labels, twins = given | verified, replaced(given, verified)
    findings += found + unmatched(images, labels, folder / "masks")
    usable = [stem for stem in images if stem in labels]
    rows: dict[str, SplitRow] = {}
    if (folder / "splits.csv").exists():
        rows, found = read_splits(folder / "splits.csv", set(images))
        findings += found
    groups = {stem: (rows[stem].group if stem in rows else None) or stem for stem in usable}
    roles, found = roles_of(folder, groups, rows, gold, (seed, val, test))
    findings += found
    label_confidence, found = label_confidence_of(folder, images, volumes_by_stem)
    findings += found
    volumes = tuple(
        RawVolume(
            id=stem,
            role=roles[stem],
            group=groups[stem],
            images=(images[stem],),
            label=labels[stem],
            image_key=image_key,
            label_key=label_key,
            verified=stem in gold or roles[stem] == "gold",
            label_confidence=label_confidence.get(stem),
            given=twins.get(stem),
            given_key=label_key,
        )
        for stem in usable
    )
    source = {"source": "folder of volumes", "folder": folder.resolve().name, **_origin(rows, seed)}
    return VolumeScan(volumes, tuple(findings), source)


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
            if path.suffix.lower() not in _PARTNERS:
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


def _holds_label(path: Path, key: str) -> bool:
    """Return whether an HDF5 file holds its label; a damaged one is named when it is read."""
    if not path.name.lower().endswith(hdf5.SUFFIXES):
        return False
    try:
        return hdf5.has(path, key)
    except OSError:
        return True


def _origin(rows: Mapping[str, SplitRow], seed: int) -> dict[str, object]:
    if any(row.role for row in rows.values()):
        return {"roles": "splits.csv", "split_seed": None}
    return {"roles": "drawn", "split_seed": seed}
