"""A corrected folder for a set that came from elsewhere: ``images/``, ``masks/``, ``gold/`` and ``splits.csv``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from metadcseg.audit.native import Change, Labels, write_image_mask, write_volume_mask
from metadcseg.audit.originals import Originals
from metadcseg.audit.plan import GOLD, IMAGES, MASKS, SPLITS, Plan, Reviews, Twins, Write, splits_text
from metadcseg.data.findings import listed, plural
from metadcseg.data.formats.volumes import VOLUME_SUFFIXES
from metadcseg.data.prepare.labels import class_names
from metadcseg.data.splits.roles import SplitRow
from metadcseg.data.store.reader import Case, StoredVolume
from metadcseg.errors import InputError
from metadcseg.files import safe_names

_DETACHED = (".mhd", ".nhdr")  # their voxels lie in a second file


def plain_layout(originals: Originals, reviews: Reviews, twins: Twins) -> Plan:
    """Return what a corrected folder holds: every case of the set, its image as it was, or as the set has it.

    Args:
        originals: the files of the set; of images none are needed.
        reviews: what became of the cases.
        twins: masks of pairs that are corrected, too.

    Raises:
        InputError: where the image of a case is several files, or holds its label as well.
    """
    plan, prepared = Plan(), originals.prepared
    units: list[Case | StoredVolume] = list(prepared.volumes or prepared.cases)
    names = safe_names(unit.id for unit in units)
    for name, unit in zip(names, units, strict=True):
        _image(plan, originals, unit, name)
        found = reviews.get(unit.id)
        given: Write | Path | None
        gold, given = _masks(originals, unit)
        if found is not None and found.outcome.verified:
            gold = found.mask.write
        elif found is not None and found.outcome.changed:
            given = found.mask.write
        elif given is not None:
            given = _file(originals, unit) or given
        if unit.id in twins:
            given = twins[unit.id].write
        suffix = originals.suffix(unit.id)
        if gold is not None:
            plan.writes[Path(GOLD) / f"{name}{suffix}"] = gold
        if isinstance(given, Path):
            plan.copies[Path(MASKS) / f"{name}{_suffix(given)}"] = given
        elif given is not None:
            plan.writes[Path(MASKS) / f"{name}{suffix}"] = given
        role = "gold" if unit.role == "train" and gold is not None else unit.role
        plan.rows[name] = SplitRow(role, unit.group or name)
    plan.writes[Path(SPLITS)] = lambda out: out.write_bytes(splits_text(plan.rows))
    if renamed := sum(name != unit.id for name, unit in zip(names, units, strict=True)):
        plan.left.append(
            f"{plural(renamed, 'case')} with a name that no file can have: called otherwise in the folder"
        )
    if beside := sum(case.has_truth for case in prepared.select("train")):
        plan.left.append(
            f"{plural(beside, 'training image')} with a reference beside the mask: it stays behind, no reviewer gave it"
        )
    if prepared.classes != class_names(len(prepared.classes)):
        plan.left.append(
            f"the names of classes ({listed(prepared.classes[1:], 5)}): masks in a folder hold values only"
        )
    return plan


def _masks(originals: Originals, unit: Case | StoredVolume) -> tuple[Write | None, Write | None]:
    """Return what writes the verified mask of a case, and the one as given; None where there is none."""
    prepared = originals.prepared
    if isinstance(unit, StoredVolume):
        whole = partial(_write_volume, originals, unit)
        if not unit.verified or unit.role == "train":
            return None, whole
        paired = (
            any(case.has_given for case in prepared.slices_of(unit)) and _file(originals, unit) is not None
        )
        return whole, whole if paired else None
    label, given = (
        partial(_write_image, originals, partial(read, unit)) for read in (prepared.label, prepared.given)
    )
    if unit.role == "train" or not (unit.role == "gold" or unit.has_truth):
        return None, label
    truth = partial(_write_image, originals, partial(prepared.truth, unit)) if unit.has_truth else label
    if unit.has_given:
        return truth, given
    alone = not unit.has_truth or np.array_equal(prepared.truth(unit), prepared.label(unit))
    return truth, None if alone else label


def _write_image(originals: Originals, read: Callable[[], Labels], out: Path) -> None:
    labels = read()
    write_image_mask(out, Change(labels, labels), originals.values, None)


def _write_volume(originals: Originals, unit: StoredVolume, out: Path) -> None:
    labels: Labels = originals.prepared.reference(unit)
    write_volume_mask(out, Change(labels, labels), unit.placement.grid, originals.values, None)


def _file(originals: Originals, unit: Case | StoredVolume) -> Path | None:
    """Return the file of the mask as given that can be taken over as it is."""
    files = originals.files(unit.id)
    alone = files is not None and files.mask is not None and files.mask not in files.images
    return files.mask if files and alone and _suffix(files.mask) not in _DETACHED else None


def _suffix(path: Path | None) -> str:
    if path is None or path.is_dir():
        return ""
    known = sorted((".seg.nrrd", *VOLUME_SUFFIXES), key=len, reverse=True)
    return next((end for end in known if path.name.lower().endswith(end)), path.suffix)


def _image(plan: Plan, originals: Originals, unit: Case | StoredVolume, name: str) -> None:
    """Take over an image, or write what the set has of it."""
    files = originals.files(unit.id)
    if files is None and isinstance(unit, Case):
        image: NDArray[Any] = originals.prepared.image(unit)
        plain = image.dtype == np.uint8 and image.shape[2] in (1, 3)
        plan.writes[Path(IMAGES) / f"{name}{'.png' if plain else '.tif'}"] = partial(_save, originals, unit)
        return
    if files is None or len(files.images) != 1 or _suffix(files.images[0]) in _DETACHED:
        held = "no file" if files is None else f"{files.images[0].name} and others"
        raise InputError(
            f"the image of case '{unit.id}' is not one file ({held}), which a folder takes: save it as one, prepare, "
            "train and audit again, or take the masks from corrected/ of the audit yourself"
        )
    if files.mask in files.images:
        raise InputError(
            f"{files.mask} holds image and label: a folder for them is laid out from one with images/ only, so move "
            "them there, prepare, train and audit again"
        )
    place = Path(IMAGES) / f"{name}{_suffix(files.images[0])}"
    plan.copies[place] = files.images[0]
    plan.links.add(place)


def _save(originals: Originals, unit: Case, out: Path) -> None:
    image = originals.prepared.image(unit)
    array = image[:, :, 0] if image.shape[2] == 1 else image
    if out.suffix == ".png":
        Image.fromarray(array).save(out)
    else:
        tifffile.imwrite(out, array, compression="zlib")
