"""What is audited: the images of a split, or its volumes, put together from the slices that a set holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.records import AuditedCase
from metadcseg.constants import IGNORE
from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.errors import InputError
from metadcseg.evaluation import scored_split
from metadcseg.files import safe_names

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Unit:
    """An image, or a volume with the slices that a set holds of it.

    Args:
        name: of its files, without a suffix.
        cases: the image, or the slices in their order.
        volume: None of an image.
    """

    name: str
    cases: tuple[Case, ...]
    volume: StoredVolume | None = None

    @property
    def id(self) -> str:
        """The user's name for it."""
        return self.cases[0].id if self.volume is None else self.volume.id

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, H, W) of the slices that are stored."""
        return len(self.cases), self.cases[0].height, self.cases[0].width

    @property
    def slices(self) -> NDArray[np.int32]:
        """The number of every slice in the complete stack, (Z,)."""
        return np.array([case.slice or 0 for case in self.cases], np.int32)

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Distance of pixel centers in mm along (Z, H, W); 1 along Z of an image; None where it is not known.

        Along Z of a sheared volume (a tilted gantry) it is the distance of the slices, so that sizes in mm3 are right.
        """
        if self.volume is None:
            within = self.cases[0].spacing
            return None if within is None else (1.0, *within)
        placement = self.volume.placement
        sides = placement.slice_spacing
        if sides is None:
            return None
        spacing, across = placement.grid.spacing(), placement.axis
        if not placement.grid.sheared:
            return (spacing[across], *sides)
        voxel = abs(float(np.linalg.det(np.array(placement.grid.affine)[:3, :3])))
        row, column = placement.plane
        return (voxel / (spacing[row] * spacing[column]), *sides)

    @property
    def group(self) -> str:
        """What it belongs to, such as a patient."""
        return self.cases[0].group

    @property
    def annotator(self) -> str | None:
        """Who drew the mask, where it is one person and known."""
        return self.cases[0].annotator

    @property
    def has_truth(self) -> bool:
        """Whether every slice has a reference mask."""
        return all(case.has_truth or case.has_given for case in self.cases)

    def image(self, prepared: PreparedSet) -> NDArray[Any]:
        """Return (Z, H, W, C) as stored."""
        return np.stack([prepared.image(case) for case in self.cases])

    def given(self, prepared: PreparedSet) -> Labels:
        """Return the label as given, (Z, H, W) uint8, ``IGNORE`` where nobody is to trust it.

        Of a verified case it is the mask that the verified one replaced.
        """
        return np.stack([_trusted(prepared, case) for case in self.cases])

    def truth(self, prepared: PreparedSet) -> Labels:
        """Return the reference, (Z, H, W) uint8: of gold the verified mask."""
        read = [prepared.truth if case.has_truth else prepared.label for case in self.cases]
        return np.stack([of(case) for of, case in zip(read, self.cases, strict=True)])


def units_of(prepared: PreparedSet, split: str) -> tuple[Unit, ...]:
    """Return the images of a split, or its volumes where the set has some, in the order of the set.

    Raises:
        InputError: where the split has none.
    """
    found: list[tuple[tuple[Case, ...], StoredVolume | None]] = [
        ((unit,), None) if isinstance(unit, Case) else (prepared.slices_of(unit), unit)
        for unit in scored_split.units_of(prepared, split)
    ]
    found = [(cases, volume) for cases, volume in found if cases]
    names = safe_names((volume or cases[0]).id for cases, volume in found)
    return tuple(Unit(name, *held) for name, held in zip(names, found, strict=True))


def paired_units(prepared: PreparedSet) -> tuple[Unit, ...]:
    """Return the gold images and volumes of which the mask that was replaced is known, of volumes by slice."""
    gold = units_of(prepared, "gold") if prepared.select("gold") else ()
    return tuple(unit for unit in gold if any(case.has_given for case in unit.cases))


def is_verified(prepared: PreparedSet, unit: Case | StoredVolume) -> bool:
    """Return whether the mask of an image or volume is verified: it is gold, or the mask that it replaced is known.

    Args:
        prepared: the set.
        unit: of it.
    """
    held = (unit,) if isinstance(unit, Case) else prepared.slices_of(unit)
    return unit.role == "gold" or any(case.has_given for case in held)


def judged_units(prepared: PreparedSet, split: str) -> tuple[Unit, ...]:
    """Return what there is to judge in a split: of gold only cases with the mask that the verified one replaced.

    Raises:
        InputError: where there is nothing.
    """
    units = units_of(prepared, split)
    if split != "gold":
        return units
    units = tuple(unit for unit in units if all(case.has_given for case in unit.cases))
    if not units:
        raise InputError(
            f"{prepared.path}: its gold masks are verified, and none has the mask that it replaced, so there is "
            "nothing to judge: choose another --split"
        )
    return units


def refuse_incomplete(units: Sequence[Unit], grid: tuple[int, ...]) -> None:
    """Refuse volumes with slices left out, for a network that sees volumes whole.

    Raises:
        InputError: naming the first.
    """
    for unit in units if len(grid) == 3 else ():
        if unit.volume is not None and len(unit.cases) != unit.volume.placement.slices:
            raise InputError(
                f"volume '{unit.id}' holds {len(unit.cases)} of its {unit.volume.placement.slices} slices, and a "
                "network of volumes needs all: prepare the set with --empty keep"
            )


def _trusted(prepared: PreparedSet, case: Case) -> Labels:
    label = prepared.given(case) if case.has_given else prepared.label(case)
    if not case.has_label_confidence:
        return label
    kept: Labels = np.where(prepared.label_confidence(case) == 0, IGNORE, label).astype(np.uint8)
    return kept


def check_sizes(cases: Sequence[AuditedCase], prepared: PreparedSet) -> None:
    """Refuse audited cases that are not in the set, or of another size, before any mask of theirs is decoded.

    Raises:
        InputError: naming the first.
    """
    sizes = {case.id: (1, case.height, case.width) for case in prepared.cases if case.volume is None}
    for volume in prepared.volumes:
        held = prepared.slices_of(volume)
        if held:
            sizes[volume.id] = (len(held), held[0].height, held[0].width)
    for case in cases:
        if case.shape != sizes.get(case.id):
            told = "is not in it" if case.id not in sizes else f"has {sizes[case.id]} there"
            raise InputError(
                f"the audit holds case {case.id!r} of {case.shape}, which {told}: {prepared.path} is another set, "
                "or the audit was changed"
            )
