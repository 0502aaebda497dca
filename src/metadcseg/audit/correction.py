"""Probabilities of an audit as files that any viewer shows."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metadcseg.audit.units import Unit
from metadcseg.data.formats.volumes import write_label_volume
from metadcseg.data.slicing.resampling import nearest_index
from metadcseg.files import write_bytes


def write_wrong(folder: Path, unit: Unit, wrong: NDArray[np.float32]) -> Path:
    """Write 255 times P(the given label is wrong): of an image as PNG, of a volume as NIfTI on the grid of its file.

    Args:
        folder: that takes the file.
        unit: an image or a volume.
        wrong: (Z, H, W) from 0 to 1, of the slices that the set holds.

    Returns:
        The file, named as the unit is.

    Raises:
        InputError: where the disk refuses.
    """
    levels = np.rint(wrong * 255).astype(np.uint8)
    if unit.volume is None:
        buffer, file = io.BytesIO(), folder / f"{unit.name}.png"
        Image.fromarray(levels[0]).save(buffer, format="PNG")
        write_bytes(file, buffer.getvalue())
        return file
    file, placement = folder / f"{unit.name}.nii.gz", unit.volume.placement
    whole = np.zeros(placement.grid.shape, np.uint8)
    inner = placement.stack(whole)
    rows = nearest_index(placement.height, placement.native[0])
    columns = nearest_index(placement.width, placement.native[1])
    for number, plane in zip(unit.slices, levels, strict=True):
        inner[number] = plane[rows][:, columns]
    write_label_volume(file, whole, placement.grid)
    return file
