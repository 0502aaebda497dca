"""Masks and probabilities as files: as the given mask was, or as this package writes masks."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metadcseg.audit.originals import Original, Originals
from metadcseg.audit.units import Labels, Unit
from metadcseg.constants import IGNORE
from metadcseg.data.formats.volumes import read_label_volume, write_label_volume
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.slicing.resampling import nearest_index
from metadcseg.evaluation.overlays import mask_values
from metadcseg.files import write_bytes


class MaskWriter:
    """Writes masks of one set.

    Args:
        classes: names, background first.
        originals: where the given ones are.
    """

    def __init__(self, classes: Sequence[str], originals: Originals) -> None:
        self._steps = list(mask_values(classes).values())
        self._originals = originals

    def write(
        self, stem: Path, unit: Unit, mask: Labels, given: Labels, original: Original | None
    ) -> tuple[Path, bool]:
        """Write a corrected mask, whole or not at all.

        Args:
            stem: of the file, to which the suffix comes.
            unit: an image or a volume.
            mask: (Z, H, W) uint8 class numbers, or ``IGNORE``.
            given: likewise, the mask that it replaces.
            original: the file of the given one; where there is none, the mask has the values of
                :func:`~metadcseg.evaluation.overlays.mask_values`, and 255 where it is unknown (of two classes 128).

        Returns:
            The file, and whether it is as the given one was.
        """
        if original is not None and (values := self._changes(original, mask, given)) is not None:
            file = stem.with_name(f"{stem.name}{original.suffix}")
            if unit.volume is None:
                write_bytes(file, _repainted(original.path, mask[0], given[0], values))
            else:
                whole = read_label_volume(original.path).array.astype(np.uint8)
                plain = {label: value[0] for label, value in values.items()}
                placed(whole, unit.volume.placement, unit.slices, _as_values(mask, plain), mask != given)
                write_label_volume(file, whole, unit.volume.placement.grid, original.path)
            return file, True
        ignored = 128 if len(self._steps) == 2 else IGNORE
        values = dict(enumerate(self._steps)) | {IGNORE: ignored}
        if unit.volume is None:
            file = stem.with_name(f"{stem.name}.png")
            write_bytes(file, _png(_as_values(mask[0], values)))
            return file, False
        file = stem.with_name(f"{stem.name}.nii.gz")
        numbers = {label: label for label in values}  # class numbers: a volume has no viewer that shows gray
        placement = unit.volume.placement
        whole = np.zeros(placement.grid.shape, np.uint8)
        placed(whole, placement, unit.slices, _as_values(mask, numbers))
        write_label_volume(file, whole, placement.grid)
        return file, False

    def _changes(self, original: Original, mask: Labels, given: Labels) -> dict[int, tuple[int, ...]] | None:
        """Return class -> value of all classes that the mask puts in the place of others; None where one is unknown."""
        found = {}
        for label in np.unique(mask[mask != given]).tolist():
            value = self._originals.value(original, label)
            if value is None:
                return None
            found[label] = value
        return found


def write_wrong(stem: Path, unit: Unit, wrong: NDArray[np.float32]) -> Path:
    """Write 255 times P(wrong): of an image as PNG, of a volume as NIfTI on the grid of its file."""
    levels = np.rint(wrong * 255).astype(np.uint8)
    if unit.volume is None:
        file = stem.with_name(f"{stem.name}.png")
        write_bytes(file, _png(levels[0]))
        return file
    file, placement = stem.with_name(f"{stem.name}.nii.gz"), unit.volume.placement
    whole = np.zeros(placement.grid.shape, np.uint8)
    placed(whole, placement, unit.slices, levels)
    write_label_volume(file, whole, placement.grid)
    return file


def placed(
    whole: NDArray[np.uint8],
    placement: SliceGeometry,
    slices: NDArray[np.int32],
    stack: NDArray[np.uint8],
    where: NDArray[np.bool_] | None = None,
) -> None:
    """Put slices back into their volume, each voxel taking the nearest pixel.

    Args:
        whole: (X, Y, Z), changed in place.
        placement: where slices lie.
        slices: (D,) numbers of the slices in the complete stack.
        stack: (D, H, W).
        where: (D, H, W) which pixels to put; None: all.
    """
    rows = nearest_index(placement.height, placement.native[0])
    columns = nearest_index(placement.width, placement.native[1])
    inner = placement.stack(whole)
    for number, plane, chosen in zip(slices, stack, stack if where is None else where, strict=True):
        wide = plane[rows][:, columns]
        if where is None:
            inner[number] = wide
        else:
            np.copyto(inner[number], wide, where=chosen[rows][:, columns].astype(bool))


def _repainted(path: Path, mask: Labels, given: Labels, values: dict[int, tuple[int, ...]]) -> bytes:
    """Return an image file with other values where a mask was changed, all else as it was."""
    with Image.open(path) as image:
        stored = np.array(image)
        for label, value in values.items():
            stored[(mask == label) & (mask != given)] = value if stored.ndim == 3 else value[0]
        again = Image.fromarray(stored)
        if image.mode == "P":
            again = again.convert("L") if again.mode != "L" else again
            again.putpalette(image.getpalette("RGB") or [])
        kept: dict[str, Any] = {
            name: image.info[name] for name in ("dpi", "transparency", "compression") if name in image.info
        }
        if image.format == "TIFF" and kept.get("compression") in ("jpeg", "webp"):
            kept["compression"] = "tiff_lzw"
        buffer = io.BytesIO()
        again.save(buffer, format=image.format, **kept)
    return buffer.getvalue()


def _as_values(mask: Labels, values: dict[int, int]) -> NDArray[np.uint8]:
    """Return what stands for every class; 0 where nothing is known."""
    table = np.zeros(IGNORE + 1, np.uint8)
    for label, value in values.items():
        table[label] = value
    found: NDArray[np.uint8] = table[mask]
    return found


def _png(values: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()
