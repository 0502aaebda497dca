"""The files that a set was made from, and masks written in their likeness, whatever became of them in the set."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metadcseg.audit.native import (
    Change,
    Labels,
    changed_since,
    labels_on,
    stack_to_file,
    suffix_of,
    write_image_mask,
    write_volume_mask,
)
from metadcseg.constants import IGNORE
from metadcseg.data.formats.geometry import Volume
from metadcseg.data.formats.volumes import read_label_volume, stem_of
from metadcseg.data.slicing.cut import cut_labels
from metadcseg.data.store.origin import CaseOrigin, Origin, read_origin
from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.errors import InputError

_GRAY = {0: 0, 255: 1, 128: IGNORE}
"""Value -> class of masks of two classes, as predictions are written."""


class Originals:
    """Writes masks of a set's cases in format, values, size and place of the files that were given.

    Args:
        prepared: the set.
        folder: where the files that it was made from lie now; None: where they lay when it was prepared.
        known: False: as if nothing said which files they were.

    Attributes:
        origin: its files; None where nothing says so (sets of phantoms, of noise, and of older versions): class
            numbers are written then, as PNG (two classes black and white, 128 is ignored) or NIfTI.
        values: says which value stands for a class.
        volumes: id -> volume, where the set has some.

    Raises:
        InputError: where a folder is given and the set does not know its files, or they lie elsewhere.
    """

    def __init__(self, prepared: PreparedSet, folder: Path | None = None, *, known: bool = True) -> None:
        self.prepared = prepared
        self.origin: Origin | None = read_origin(prepared.path) if known else None
        if folder is not None:
            if self.origin is None:
                raise InputError(
                    f"{prepared.path} does not say which files it was made from: leave --folder out, or prepare it "
                    "again"
                )
            self.origin = self.origin.moved(folder)
        drawn = _GRAY if len(prepared.classes) == 2 and not prepared.volumes else {0: 0}
        self.values = self.origin or Origin(Path(), {"": CaseOrigin((), None, drawn)})
        self.volumes: dict[str, StoredVolume] = {volume.id: volume for volume in prepared.volumes}
        self._cases: dict[str, Case] = {case.id: case for case in prepared.cases if case.volume is None}

    def missing(self) -> Path | None:
        """Return the first file that is not where it should be; None where all are there."""
        if self.origin is None:
            return None
        files = (
            path
            for case in self.origin.cases.values()
            for path in (*case.images, *([] if case.mask is None else [case.mask]))
        )
        return next((path for path in files if not path.exists()), None)

    def unit(self, id: str) -> Case | StoredVolume:
        """Return the image or volume of an id.

        Raises:
            InputError: where the set has none.
        """
        found: Case | StoredVolume | None = self.volumes.get(id) or self._cases.get(id)
        if found is None:
            raise InputError(f"{self.prepared.path} has no case '{id}': was the audit made of another set?")
        return found

    def files(self, id: str) -> CaseOrigin | None:
        """Return the files of an image or volume; None where they are not known."""
        return None if self.origin is None else self.origin.cases.get(id)

    def suffix(self, id: str) -> str:
        """Return the suffix of the mask of an image or volume."""
        files = self.files(id)
        return suffix_of(None if files is None else files.mask, flat=isinstance(self.unit(id), Case))

    def write(self, out: Path, id: str, given: Labels, wanted: Labels, slices: NDArray[np.int32]) -> None:
        """Write a mask.

        Args:
            out: the file, with the suffix that `suffix` says.
            id: of the image or volume.
            given: (Z, H, W) class numbers, 255 is ignored: as it was audited.
            wanted: likewise: as it shall be.
            slices: number of every slice in the complete stack of its volume, (Z,).

        Raises:
            InputError: where the file that was given is another one now, or cannot hold a class.
        """
        unit, change = self.unit(id), self.change(id, given, wanted, slices)
        if isinstance(unit, Case):
            write_image_mask(out, change, self.values, self.files(id))
            return
        files = self._there(id) if self._is_other(unit) else self.files(id)
        write_volume_mask(out, change, unit.placement.grid, self.values, files)

    def write_class(
        self, out: Path, id: str, label: int, given: Labels, wanted: Labels, slices: NDArray[np.int32]
    ) -> None:
        """Write the pixels of one class, 255 on 0 of an image and 1 on 0 of a volume.

        Args:
            out: the file, with the suffix that `suffix` says.
            id: as for `write`.
            label: class number, or 255.
            given: as for `write`, and so all that follow.
            wanted: as it shall be.
            slices: their numbers.
        """
        unit, change = self.unit(id), self.change(id, given, wanted, slices)
        shown = (change.wanted == label).astype(np.uint8)
        if isinstance(unit, Case):
            write_image_mask(out, Change(shown, shown), _part(255), None)
        else:
            write_volume_mask(out, Change(shown, shown), unit.placement.grid, _part(1), None)

    def change(self, id: str, given: Labels, wanted: Labels, slices: NDArray[np.int32]) -> Change:
        """Return what a mask was and shall be on the grid of the image's file.

        Args:
            id: as for `write`, and so all that follow.
            given: as it was audited.
            wanted: as it shall be.
            slices: their numbers.
        """
        unit = self.unit(id)
        if isinstance(unit, Case):
            return Change(given[0], wanted[0])
        reference = self.prepared.reference(unit)
        if self._is_other(unit) and (held := self._held(unit)) is not None:
            reference = held  # the set has no more of it than its slices
            shown = cut_labels(Volume(held, unit.placement.grid), unit.placement)[slices]
            if ((shown != given) & (given != IGNORE)).any():
                raise changed_since(self.values.cases[id].mask)
        elif self._is_other(unit):
            everywhere = Change(given + np.uint8(1), given)  # no pixel is as it was
            reference = stack_to_file(unit.placement, reference, slices, everywhere).wanted
        return stack_to_file(unit.placement, reference, slices, Change(given, wanted))

    def stem(self, id: str) -> str | None:
        """Return the name of the image of a case, without suffix; None where its file is not known."""
        files = self.files(id)
        if files is None:
            return None
        return stem_of(files.images[0]) if id in self.volumes else files.images[0].stem

    def _held(self, unit: StoredVolume) -> Labels | None:
        """Return the mask in the file of a volume, (X, Y, Z) on the grid of its image; None where no file is there."""
        files = self._there(unit.id)
        if files is None or files.mask is None:
            return None
        return labels_on(read_label_volume(files.mask, key=files.mask_key), unit.placement.grid, files)

    def _there(self, id: str) -> CaseOrigin | None:
        """Return the files of an image or volume; None where its mask is not there."""
        files = self.files(id)
        return files if files is not None and files.mask is not None and files.mask.exists() else None

    def _is_other(self, unit: StoredVolume) -> bool:
        """Return whether the reference of a volume is another mask than the given one."""
        return self.prepared.noise is not None or unit.verified


def _part(white: int) -> Origin:
    """Return what the values of a file of one class are."""
    return Origin(Path(), {"": CaseOrigin((), None, {0: 0, white: 1})})
