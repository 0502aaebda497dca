"""Images and masks that lie beside each other, without ``images/`` and ``masks/``.

::

    FOLDER/x.png, x_mask.png, x_mask_1.png ...            or in folders of FOLDER, one for each finding, like BUSI
    FOLDER/CASE/ct.nii.gz, CASE/segmentations/*.nii.gz    TotalSegmentator: a file for each organ

``gold/``, ``gold.txt`` and ``splits.csv`` lie in FOLDER as usual.
"""

from collections import Counter
from pathlib import Path

from metadcseg.data.case_names import one_form
from metadcseg.data.findings import Finding, plural
from metadcseg.data.formats.images import image_files
from metadcseg.data.sources.pairing import Mask, by_stem, owner
from metadcseg.data.sources.parts import in_folders, joined, part_files
from metadcseg.data.sources.volume_folder import SEGMENTATIONS, cases_with_segmentations

Together = tuple[dict[str, Path], dict[str, Mask], list[Finding], str]
"""Images and masks by case, what was found, and by what the names of masks are longer."""

_OTHERS = ("gold", "masks", "label_confidence", SEGMENTATIONS)


def _is_other(place: Path) -> bool:
    return place.name in _OTHERS or place.name.startswith("masks_")  # of an annotator


def beside(folder: Path) -> Together | None:
    """Find images and masks that lie beside each other; None where there are none.

    Args:
        folder: without ``images/``.
    """
    if not folder.is_dir():
        return None
    return _segmentations(folder) or _images(folder)


def _segmentations(folder: Path) -> Together | None:
    found = cases_with_segmentations(folder)
    if not found:
        return None
    parts = {place: part_files(place, volumes=True) for _, place in found.values()}
    parts = {place: files for place, files in parts.items() if files}
    names = {place: case for case, (_, place) in found.items()}
    masks, findings = in_folders(folder, parts, names)
    return {case: image for case, (image, _) in found.items()}, dict(masks), findings, f"/{SEGMENTATIONS}"


def _images(folder: Path) -> Together | None:
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    places = [place for place in (folder, *inside) if place == folder or not _is_other(place)]
    stems = {place: [one_form(path.stem) for path in image_files(place)] for place in places}
    counts = Counter(stem for held in stems.values() for stem in held)
    images: dict[str, Path] = {}
    masks: dict[str, Mask] = {}
    findings: list[Finding] = []
    ends: list[str] = []
    for place, held in stems.items():
        among = set(held)
        owned = {stem: end for stem in held if (end := owner(stem, among)) is not None}
        if not owned:
            continue
        ends += [suffix for _, suffix in owned.values()]
        files, found = by_stem(place)
        findings += [each for each in found if each.code != "file-ignored" or place != folder]
        pictures = {stem: path for stem, path in files.items() if stem not in owned}
        longer = {stem: path for stem, path in files.items() if stem in owned}
        given, more = joined(place, longer, pictures)
        findings += more
        for stem, path in pictures.items():
            name = stem if counts[stem] == 1 else f"{place.name}_{stem}"
            while name in images:  # as in normal/benign_1.png beside benign/1.png
                name = f"{place.name}_{name}"
            images[name] = path
            if stem in given:
                masks[name] = given[stem]
    if not images:
        return None
    used = len({path.parent for path in images.values()})
    where = plural(used, "folder")
    sentence = f"{folder}: {plural(len(images), 'image')} and their masks lie beside each other in {where}"
    findings.append(Finding("note", "mask-joined", str(folder), sentence))
    return images, masks, findings, ends[0]
