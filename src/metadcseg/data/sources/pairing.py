"""Match images and masks by the stem of their names."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from metadcseg.data.case_names import Meant, one_form
from metadcseg.data.findings import Finding
from metadcseg.data.formats.images import SUFFIXES, image_files
from metadcseg.data.formats.volumes import stem_of
from metadcseg.data.sources.case import ComposedMask
from metadcseg.data.sources.kinds import nothing_of

_ENDS = re.compile(
    r"(.+?)([ _.-](?:masks?|seg|segmentation|labels?|gt|rtstruct))(?:[ _.-]?(\d{1,6}))?", re.IGNORECASE
)


def owner(stem: str, images: Collection[str]) -> tuple[str, str] | None:
    """Return the image that a mask with a longer name belongs to, and by what the name is longer; None of others.

    Example:
        >>> owner("benign (1)_mask_2", ["benign (1)"]), owner("b_mask", ["a"])
        (('benign (1)', '_mask'), None)
    """
    match = _ENDS.fullmatch(stem)
    return (match[1], match[2].lower()) if match and match[1] in images else None


def by_stem(folder: Path) -> tuple[dict[str, Path], list[Finding]]:
    """Return the image files of a folder by stem.

    Returns:
        stem -> file, ascending, and what is wrong: two files of one stem (an error), files of another kind
        (a warning). A folder that does not exist is empty.
    """
    if not folder.is_dir():
        return {}, []
    files: dict[str, Path] = {}
    findings = []
    for path in image_files(folder):
        stem = one_form(path.stem)
        if stem in files:
            names = f"{files[stem].name} and {path.name}"
            sentence = (
                f"{folder} holds {names}, one stem stands for one case: rename or remove one of the two"
            )
            findings.append(Finding("error", "stem-twice", str(path), sentence))
        files.setdefault(stem, path)
    others = (name for name in os.listdir(folder) if not name.startswith("."))
    for name in sorted(name for name in others if not name.lower().endswith(SUFFIXES)):
        kinds = "PNG, JPEG and TIFF files"
        sentence = f"{folder / name} is not read ({kinds} directly in {folder.name}/ are): convert, move or remove it"
        findings.append(Finding("warning", "file-ignored", str(folder / name), sentence))
    return files, findings


Mask = Path | ComposedMask

MasksIn = Callable[[Path], tuple[Mapping[str, Mask], list[Finding]]]
"""Finds the masks of a folder by stem, and what is wrong there."""


def replaced(given: Mapping[str, Mask], verified: Mapping[str, Mask]) -> dict[str, Mask]:
    """Return stem -> the mask that a verified one replaced; none where both are one file.

    Args:
        given: stem -> mask as given.
        verified: stem -> verified mask.
    """
    twins = {stem: mask for stem, mask in given.items() if stem in verified}
    return {
        stem: mask
        for stem, mask in twins.items()
        if place_of(mask).resolve() != place_of(verified[stem]).resolve()
    }


def place_of(mask: Mask) -> Path:
    """Return the file or folder that sentences call a mask by."""
    return mask if isinstance(mask, Path) else mask.path


def unmatched(
    images: Mapping[str, Path], masks: Mapping[str, Mask], folder: Path, ending: str | None = None
) -> list[Finding]:
    """Return an error for every image without a mask, and a warning for every mask without an image.

    Args:
        images: stem -> image file.
        masks: stem -> mask file.
        folder: where masks are looked for, for sentences.
        ending: by what the names of masks are longer where they lie beside their images; None in folders of their own.
    """
    if not images or not masks:
        pictures = folder.parent / "images"
        what, where, partners = ("mask", folder, pictures) if images else ("image", pictures, folder)
        return [Finding("error", f"no-{what}s", str(where), nothing_of(what, where, partners))]
    extra = [stem for stem in masks if stem not in images]
    findings = []
    advise = _Advice(folder, masks, extra)
    for stem, path in images.items():
        if stem not in masks:
            advice = advise(stem)
            if ending is not None:
                advice = f"add {path.with_name(stem + ending)}.png (black where nothing is there) or remove the image"
            sentence = f"{path} has no mask: {advice}"
            findings.append(Finding("error", "mask-missing", str(path), sentence))
    return findings + [mask_without_image(place_of(masks[stem])) for stem in extra]


class _Advice:
    """Says which file was probably meant, x_mask.png for x.png, or which one to add."""

    def __init__(self, folder: Path, masks: Mapping[str, Mask], extra: Collection[str]) -> None:
        self._folder, self._masks, self._meant = folder, masks, Meant(extra, 0.8)
        self._longer: dict[str, str] = {}
        for other in extra:
            for match in re.finditer(r"[\W_]", other):
                self._longer.setdefault(other[: match.start()], other)
        ends = Counter(_ending(mask) for mask in masks.values() if isinstance(mask, Path))
        self._usual = ends.most_common(1)[0][0] if ends else ".png"

    def __call__(self, stem: str) -> str:
        near = self._longer.get(stem) or self._meant.near(stem)
        if near is None:
            return f"add {self._folder / stem}{self._usual} or remove the image"
        other = place_of(self._masks[near])
        return f"is it {other}? Then rename it to {stem}{_ending(other)}, image and mask share their stem"


def _ending(path: Path) -> str:
    """Return by what the name of a file is longer than its stem; ``.nii.gz`` is one ending."""
    return path.name.removeprefix(stem_of(path)) or path.suffix


def mask_without_image(path: Path) -> Finding:
    """Return the warning for a mask that no image has the stem of."""
    sentence = f"{path} has no image of the same stem and is not used: rename, complete or remove it"
    return Finding("warning", "mask-extra", str(path), sentence)
