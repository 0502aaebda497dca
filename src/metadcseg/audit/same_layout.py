"""A corrected folder laid out as the one that a set was prepared from."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from metadcseg.audit.exchange.items import Palette
from metadcseg.audit.exchange.slicer import END, name_segments
from metadcseg.audit.originals import Originals
from metadcseg.audit.part_layout import named_parts, names_of_classes, places_of, put_parts
from metadcseg.audit.plan import CORRECTIONS, GOLD, IMAGES, SPLITS, Plan, Reviews, Twins, Write, splits_text
from metadcseg.constants import IGNORE
from metadcseg.data.findings import listed, plural
from metadcseg.data.formats.volumes import stem_of
from metadcseg.data.prepare.labels import class_names
from metadcseg.data.sources import scan_folder
from metadcseg.data.sources.by_class import CLASSES
from metadcseg.data.sources.case import Outlines, RawCase
from metadcseg.data.sources.dicom_mask import DicomMask
from metadcseg.data.splits.folds import unit_id
from metadcseg.data.splits.roles import SplitRow, limit_training
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError

_TAKEN = ("masks", GOLD, "gold.txt", "annotators.csv", "label_confidence", "label_confidence.csv")
_OF_ANNOTATORS = "masks_"


def folder_of(originals: Originals) -> Path | None:
    """Return the folder that a set was prepared from, where it holds ``images/`` (`metadcseg.data.sources.folder`).

    Args:
        originals: of the set.
    """
    source = str(originals.prepared.source.get("source", ""))
    if originals.origin is None or not source.startswith("folder"):
        return None
    parents = {path.parent for case in originals.origin.cases.values() for path in case.images}
    if len(parents) != 1 or (held := parents.pop()).name != IMAGES:
        return None
    return held.parent


def same_layout(originals: Originals, folder: Path, reviews: Reviews, twins: Twins) -> Plan:
    """Return what a corrected folder holds: all that preparing reads, and the masks that were reviewed.

    A verified mask goes to ``gold/``, and the one that it replaces stays in ``masks/``. A mask that is corrected in
    part and not verified takes the place of the given one, and so does a corrected one of a pair. ``splits.csv`` keeps
    the roles of the set.

    Args:
        originals: the files of the set.
        folder: that it was prepared from.
        reviews: what became of the cases.
        twins: masks of pairs that are corrected, too.

    Raises:
        InputError: where the folder is gone or another one now.
    """
    plan = Plan()
    _take(plan, folder)
    cases = _cases_of(originals, folder)
    roles = {unit_id(case): case.role for case in originals.prepared.cases}
    for case in cases:
        verified = case.verified or (case.id in reviews and reviews[case.id].outcome.verified)
        role = roles.get(case.id, "train")
        plan.rows[case.id] = SplitRow("gold" if role == "train" and verified else role, case.group)
    plan.writes[Path(SPLITS)] = lambda out: out.write_bytes(splits_text(plan.rows))
    # prepare leaves the unknown ones out by itself
    known = {*roles, *(originals.origin.unknown if originals.origin else ())}
    if outside := [case.id for case in cases if case.id not in known]:
        _leave_out(plan, outside, originals.prepared.source)
    _put_reviewed(plan, originals, folder, reviews, cases)
    for id, twin in twins.items():
        if (given := given_file(originals, id)) is not None:
            _replace(plan, originals, id, given.relative_to(folder), twin.write)
    return plan


def _cases_of(originals: Originals, folder: Path) -> Sequence[RawCase]:
    """Read the folder as it was read when the set was prepared, and refuse one that is another now."""
    known = originals.origin.cases if originals.origin else {}
    first = next(iter(known.values()), None)
    image_key, label_key = (None, None) if first is None else (first.image_key, first.mask_key)
    subfolders = originals.prepared.source.get("subfolders")
    scan = scan_folder(
        folder, val=0.0, test=0.0, image_key=image_key, label_key=label_key, subfolders=subfolders
    )
    outlined = any(isinstance(mask, Outlines) for case in scan.cases for mask in (case.label, case.given))
    if outlined and not originals.prepared.annotators:  # an earlier version kept no --subfolders
        raise InputError(
            f"{originals.prepared.path} does not say what the folders in {folder / 'masks'} are: prepare it again"
        )
    if gone := sorted(set(known) - {case.id for case in scan.cases}):
        raise InputError(
            f"{folder} no longer holds the case '{gone[0]}' with its mask ({plural(len(gone), 'such case')}): put "
            "it back, or prepare, train and audit again"
        )
    if scan.unused_names:  # they would get a number as soon as a mask of pixels lies there
        raise InputError(
            f"{folder} names classes that no shape has ({listed(scan.unused_names, 3)}), and with a mask of pixels "
            "beside the drawings all classes would be numbered anew: take these names out of the export, then prepare, "
            "train and audit again"
        )
    return scan.cases


def _put_reviewed(
    plan: Plan, originals: Originals, folder: Path, reviews: Reviews, cases: Sequence[RawCase]
) -> None:
    """Write verified masks into ``gold/``, and those that are corrected in part in the place of the given ones.

    Args:
        plan: that they join.
        originals: the files of the set.
        folder: that it was prepared from.
        reviews: what became of the cases.
        cases: of the folder.
    """
    parts, segmented = named_parts(cases), _named_dicom(cases, originals.prepared)
    by_class = originals.prepared.source.get("subfolders") == CLASSES
    wanted = any(reviewed.outcome.verified and id in parts for id, reviewed in reviews.items())
    names = names_of_classes(parts.values(), originals.prepared) if wanted else {}
    kept = 0
    for id, reviewed in reviews.items():
        suffix = originals.suffix(id)
        if originals.files(id) is None:
            raise InputError(
                f"{originals.prepared.path} does not say which files '{id}' was made from: prepare it again"
            )
        if reviewed.outcome.verified and id in parts:
            about = (names, parts[id], originals.stem(id) or id, suffix)
            put_parts(plan, id, reviewed, names, places_of(*about, by_class=by_class))
        elif reviewed.outcome.verified and id in segmented:
            ignores = bool((reviewed.mask.read() == IGNORE).any())
            write = partial(_named, reviewed.mask.write, Palette(originals.prepared.classes, ignores))
            plan.put(Path(GOLD) / f"{originals.stem(id)}{END}", write)
        elif reviewed.outcome.verified:
            plan.put(Path(GOLD) / f"{originals.stem(id)}{suffix}", reviewed.mask.write)
        elif reviewed.outcome.changed and (given := given_file(originals, id)) is not None:
            _replace(plan, originals, id, given.relative_to(folder), reviewed.mask.write)
        else:
            kept += reviewed.outcome.changed > 0
    if kept:
        plan.left.append(
            f"{plural(kept, 'case')} decided in part: what was accepted is not written, as no file of its own holds "
            "the mask: decide on the other regions, too"
        )


def _named_dicom(cases: Sequence[RawCase], prepared: PreparedSet) -> set[str]:
    """Return the ids of cases whose masks as given are segments or contours of DICOM, which name their classes."""
    if prepared.classes == class_names(len(prepared.classes)):
        return set()
    held = {case.id: case.label if case.given is None else case.given for case in cases}
    return {id for id, mask in held.items() if isinstance(mask, DicomMask)}


def _named(write: Write, palette: Palette, out: Path) -> None:
    """Write a mask that names its classes, as those beside it are numbered by their names."""
    write(out)
    name_segments(out, palette)


def given_file(originals: Originals, id: str) -> Path | None:
    """Return the file of a mask as given; None where no file of its own holds it, so that none can replace it."""
    files = originals.files(id)
    return None if files is None or files.mask in files.images else files.mask


def _leave_out(plan: Plan, outside: Sequence[str], source: Mapping[str, Any]) -> None:
    """Let the set that is prepared next have no cases that the audited one had not, where ``--limit`` can say so."""
    roles = {id: str(row.role) for id, row in plan.rows.items()}
    inside = roles.keys() - set(outside)
    count = sum(roles[id] == "train" for id in inside)
    drawn = (source.get(name) for name in ("fuse_seed", "split_seed"))
    seed = next((held for held in drawn if held is not None), 0)
    if count and limit_training(roles, count, seed=seed).keys() == inside:
        plan.limit = (count, seed)
        became = "--limit of the next command leaves them out again"
    else:
        became = f"{SPLITS} makes them training cases, so take their images out where they shall not be"
    plan.left.append(
        f"{plural(len(outside), 'case')} of the folder that the set does not have ({listed(outside, 3)}): {became}"
    )


def _replace(plan: Plan, originals: Originals, id: str, given: Path, write: Write) -> None:
    """Write a mask in the place of the given one."""
    name = stem_of(given) if id in originals.volumes else given.stem
    place = given.parent / f"{name}{originals.suffix(id)}"
    if place != given:
        plan.removes.add(given)
        plan.copies.pop(given, None)
    plan.put(place, write)


def _take(plan: Plan, folder: Path) -> None:
    """Take over all that preparing reads."""
    others = []
    for name in sorted(os.listdir(folder)):
        if name == IMAGES:
            images = [path for path in sorted((folder / name).iterdir()) if not path.name.startswith(".")]
            plan.copies |= {path.relative_to(folder): path for path in images}
            plan.links |= {path.relative_to(folder) for path in images}
        elif name in _TAKEN or (name.startswith(_OF_ANNOTATORS) and (folder / name).is_dir()):
            files = [folder / name] if (folder / name).is_file() else _files(folder / name)
            plan.copies |= {path.relative_to(folder): path for path in files}
        elif not name.startswith(".") and name not in (SPLITS, CORRECTIONS):
            others.append(name)
    if others:
        plan.left.append(f"not taken over from {folder}, as preparing does not read it: {listed(others, 3)}")


def _files(folder: Path) -> list[Path]:
    return [
        Path(place) / name
        for place, _, names in os.walk(folder, followlinks=True)
        for name in sorted(names)
        if not name.startswith(".")
    ]
