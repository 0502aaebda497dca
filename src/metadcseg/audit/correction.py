"""Corrected masks and probabilities of an audit as files that any viewer shows."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metadcseg.audit.native import on_file
from metadcseg.audit.originals import Originals
from metadcseg.audit.units import Labels, Unit
from metadcseg.data.formats.volumes import write_label_volume
from metadcseg.data.store.disk import DiskErrors
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.files import output_folder, write_bytes
from metadcseg.scratch import scratch_folder


class MaskWriter:
    """Writes corrected masks, each in the likeness of the file that was given.

    Where that file is not known, is not what it was, or cannot hold a class, the mask is a PNG of gray values
    (:func:`~metadcseg.evaluation.overlays.mask_values`) or NIfTI of class numbers on the grid of the volume.

    Args:
        prepared: the set.
        folder: takes a folder for each level.
    """

    def __init__(self, prepared: PreparedSet, folder: Path) -> None:
        self._folder = folder
        self._given, self._plain = Originals(prepared), Originals(prepared, known=False)

    def write(self, unit: Unit, given: Labels, corrected: Mapping[str, Labels]) -> dict[str, NDArray[Any]]:
        """Write the masks of a case.

        Args:
            unit: an image or a volume.
            given: (Z, H, W) class numbers, or ``IGNORE``.
            corrected: likewise, by level, or other masks by the name of their folder.

        Returns:
            ``written``, the file of the level ``balanced`` beside the audit, and ``like``, whether they are as given.

        Raises:
            InputError: where the disk refuses.
        """
        known = self._given.files(unit.id)
        with DiskErrors(self._folder.parent):
            if known is not None and known.mask is not None and known.mask.exists():
                try:
                    return self._written(self._given, unit, given, corrected, like=True)
                except (
                    InputError
                ):  # another file now, or no value for a class: a sentence at the end counts these
                    for level in corrected:
                        self._file(self._given, unit, level).unlink(missing_ok=True)
            return self._written(self._plain, unit, given, corrected, like=False)

    def _written(
        self,
        originals: Originals,
        unit: Unit,
        given: Labels,
        corrected: Mapping[str, Labels],
        *,
        like: bool,
    ) -> dict[str, NDArray[Any]]:
        for level, mask in corrected.items():
            file = self._file(originals, unit, level)
            with scratch_folder(output_folder(self._folder.parent, self._folder.name, level)) as scratch:
                originals.write(scratch / file.name, unit.id, given, mask, unit.slices)
                os.replace(scratch / file.name, file)
        written = self._file(originals, unit, "balanced").relative_to(self._folder.parent)
        return {"written": np.array(written.as_posix()), "like": np.array(like)}

    def _file(self, originals: Originals, unit: Unit, level: str) -> Path:
        return self._folder / level / f"{unit.name}{originals.suffix(unit.id)}"


def write_wrong(folder: Path, unit: Unit, wrong: NDArray[np.float32]) -> Path:
    """Write 255 times P(the given label is wrong): of an image as PNG, of a volume as NIfTI on the grid of its file.

    Args:
        folder: that takes the file.
        unit: an image or a volume.
        wrong: (Z, H, W) from 0 to 1, of the slices that the set holds; or another probability.

    Returns:
        The file, named as the unit is.

    Raises:
        InputError: where the disk refuses.
    """
    levels, file = np.rint(wrong * 255).astype(np.uint8), wrong_file(folder, unit)
    if unit.volume is None:
        buffer = io.BytesIO()
        Image.fromarray(levels[0]).save(buffer, format="PNG")
        write_bytes(file, buffer.getvalue())
        return file
    placement = unit.volume.placement
    write_label_volume(file, on_file(placement, levels, unit.slices), placement.grid)
    return file


def wrong_file(folder: Path, unit: Unit) -> Path:
    """Return the file that :func:`write_wrong` writes.

    Args:
        folder: that takes it.
        unit: an image or a volume.
    """
    return folder / f"{unit.name}{'.png' if unit.volume is None else '.nii.gz'}"
