"""Match images and masks by the stem of their names."""

import os
import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from unicodedata import normalize

from metadcseg.data.findings import Finding
from metadcseg.data.formats.images import SUFFIXES, image_files
from metadcseg.data.sources.case import ComposedMask
from metadcseg.data.sources.kinds import nothing_of

_ENDS = re.compile(
    r"(.+?)([ _.-](?:masks?|seg|segmentation|labels?|gt|rtstruct))(?:[ _.-]?(\d{1,6}))?", re.IGNORECASE
)


def one_form(name: str) -> str:
    """Return a name in the one form in which names are compared: systems write the same umlaut in two (NFC, NFD).

    Example:
        >>> one_form("Mu\u0308ller") == one_form("M\u00fcller")
        True
    """
    return normalize("NFC", name)


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
    for stem, path in images.items():
        if stem not in masks:
            advice = _advice(stem, path, extra, masks, folder)
            if ending is not None:
                advice = f"add {path.with_name(stem + ending)}.png (black where nothing is there) or remove the image"
            sentence = f"{path} has no mask: {advice}"
            findings.append(Finding("error", "mask-missing", str(path), sentence))
    return findings + [mask_without_image(place_of(masks[stem])) for stem in extra]


def mask_without_image(path: Path) -> Finding:
    """Return the warning for a mask that no image has the stem of."""
    sentence = f"{path} has no image of the same stem and is not used: rename, complete or remove it"
    return Finding("warning", "mask-extra", str(path), sentence)


def _advice(stem: str, path: Path, extra: Collection[str], masks: Mapping[str, Mask], folder: Path) -> str:
    """Say which file was probably meant: x_mask.png for x.png."""
    longer = [other for other in extra if other.startswith(stem) and not other[len(stem)].isalnum()]
    near = longer[:1] or get_close_matches(stem, extra, n=1, cutoff=0.8)
    if near:
        other = place_of(masks[near[0]])
        return f"is it {other}? Then rename it to {stem}{other.suffix}, image and mask share their stem"
    return f"add {folder / stem}.png or remove the image"
