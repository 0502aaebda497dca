"""Class numbers as TIFF (napari) and NIfTI (ITK-SNAP, napari), with the names of labels as ITK-SNAP reads them."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from metadcseg.audit.exchange.items import Item, Palette
from metadcseg.data.formats.volumes import write_label_volume
from metadcseg.files import write_bytes

SUSPICION = "suspicion"
"""The folder of maps: 255 where a label is certainly wrong."""

LABELS = "labels.txt"


class _Labels:
    """Writes a mask and a map of suspicion for each case, and names and colors of the labels at the end."""

    def __init__(self, out: Path, palette: Palette) -> None:
        self._out, self._palette = out, palette
        (out / SUSPICION).mkdir(exist_ok=True)

    def close(self) -> dict[str, Any]:
        """Write the names of the labels: number, red, green, blue, opacity, two switches, name."""
        rows = [(0, "background", (0, 0, 0)), *self._palette.entries]
        lines = [
            f'{label} {" ".join(map(str, color))} {int(label > 0)} {int(label > 0)} {int(label > 0)} "{name}"'
            for label, name, color in rows
        ]
        write_bytes(self._out / LABELS, "\n".join([*lines, ""]).encode())
        return {}


class TiffWriter(_Labels):
    """Writes ``NAME.tif`` of images.

    Args:
        out: the folder.
        palette: names and colors of the classes.
    """

    def add(self, item: Item) -> None:
        """Write a mask and its map."""
        for place, array in ((self._out, item.labels), (self._out / SUSPICION, item.wrong)):
            tifffile.imwrite(place / f"{item.name}.tif", array, compression="zlib", photometric="minisblack")


class NiftiWriter(_Labels):
    """Writes ``NAME.nii.gz`` of volumes, on the grid of the image.

    Args:
        out: the folder.
        palette: names and colors of the classes.
    """

    def add(self, item: Item) -> None:
        """Write a mask and its map."""
        write_volume(self._out / f"{item.name}.nii.gz", item, item.labels)
        write_volume(self._out / SUSPICION / f"{item.name}.nii.gz", item, item.wrong)


def write_volume(path: Path, item: Item, array: NDArray[np.uint8]) -> None:
    """Write what lies on the grid of a volume."""
    assert item.grid is not None, "it is a volume"  # noqa: S101
    write_label_volume(path, array, item.grid, item.image if item.image and item.image.is_file() else None)
