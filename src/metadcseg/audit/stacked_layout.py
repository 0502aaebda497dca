"""A corrected folder for volumes whose files nobody knows, as after label noise: the slices of the set, stacked anew.

Images are normalized already, and slices that were left out stay so: the stack has no gap where they were.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.native import Labels
from metadcseg.audit.plan import GOLD, IMAGES, MASKS, SPLITS, Plan, Reviews, Twins, splits_text
from metadcseg.data.export.nnunet import stored_affine
from metadcseg.data.findings import plural
from metadcseg.data.formats.geometry import Grid, as_affine
from metadcseg.data.formats.nifti import nibabel
from metadcseg.data.formats.volumes import write_label_volume
from metadcseg.data.splits.roles import SplitRow
from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.files import safe_names

_END = ".nii.gz"


def stacked_layout(prepared: PreparedSet, reviews: Reviews, twins: Twins) -> Plan:
    """Return what a corrected folder holds: an image and a mask of every volume of a set, in NIfTI.

    Args:
        prepared: of volumes.
        reviews: what became of them.
        twins: masks of pairs that are corrected, too.
    """
    plan = Plan()
    for name, unit in zip(
        safe_names(volume.id for volume in prepared.volumes), prepared.volumes, strict=True
    ):
        cases = prepared.slices_of(unit)
        if not cases:
            continue
        plan.writes[Path(IMAGES) / f"{name}{_END}"] = partial(_image, prepared, unit, cases)
        reviewed = reviews.get(unit.id)
        gold, given = _masks(prepared, unit, cases)
        if reviewed is not None and reviewed.outcome.verified:
            gold = reviewed.mask.read
        elif reviewed is not None and reviewed.outcome.changed:
            given = reviewed.mask.read
        if unit.id in twins:
            given = twins[unit.id].read
        for place, read in ((GOLD, gold), (MASKS, given)):
            if read is not None:
                plan.writes[Path(place) / f"{name}{_END}"] = partial(_mask, unit, read)
        role = "gold" if unit.role == "train" and gold is not None else unit.role
        plan.rows[name] = SplitRow(role, unit.group or name)
    plan.writes[Path(SPLITS)] = lambda out: out.write_bytes(splits_text(plan.rows))
    whole = sum(len(prepared.slices_of(unit)) == unit.placement.slices for unit in prepared.volumes)
    plan.left.append(
        f"the files of {plural(len(prepared.volumes), 'volume')} are not known: images are slices as the set has them, "
        f"normalized; {len(prepared.volumes) - whole} without slices that were left out"
    )
    return plan


def _masks(
    prepared: PreparedSet, unit: StoredVolume, cases: Sequence[Case]
) -> tuple[Callable[[], Labels] | None, Callable[[], Labels] | None]:
    """Return what reads the verified mask, and the one as given; None where there is none."""

    def stacked(read: Callable[[Case], NDArray[np.uint8]]) -> Callable[[], Labels]:
        return lambda: np.stack([read(case) for case in cases])

    truth = all(case.has_truth for case in cases)
    if unit.role == "train" or not (unit.role == "gold" or truth):
        return None, stacked(prepared.label)
    best = stacked(prepared.truth if truth else prepared.label)
    if all(case.has_given for case in cases):
        return best, stacked(prepared.given)
    label = stacked(prepared.label)
    return best, None if np.array_equal(best(), label()) else label


def _image(prepared: PreparedSet, unit: StoredVolume, cases: Sequence[Case], out: Path) -> None:
    planes = np.stack([prepared.image(case) for case in cases]).astype(np.float32)
    channels = [unit.placement.unstack(planes[..., channel]) for channel in range(prepared.channels)]
    array = channels[0] if len(channels) == 1 else np.stack(channels, axis=-1)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array), stored_affine(unit.placement)), out)


def _mask(unit: StoredVolume, read: Callable[[], Labels], out: Path) -> None:
    labels: Labels = np.ascontiguousarray(unit.placement.unstack(read()))
    x, y, z = labels.shape
    write_label_volume(out, labels, Grid((x, y, z), as_affine(stored_affine(unit.placement))))
