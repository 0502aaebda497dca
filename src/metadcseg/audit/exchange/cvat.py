"""CVAT's "Segmentation mask 1.1": masks in color, and ``labelmap.txt`` that says which color is what."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from metadcseg.audit.exchange.items import GOLDEN, Item, Palette
from metadcseg.data.annotations.cvat import CLASSES, LABEL_MAP
from metadcseg.data.names import BACKGROUND, name_key
from metadcseg.errors import InputError, shown
from metadcseg.files import write_bytes

_OBJECTS, _LISTS = "SegmentationObject", "ImageSets/Segmentation"


class CvatWriter:
    """Writes the folder that CVAT imports as an archive.

    Args:
        out: the folder.
        palette: names and colors of the classes.

    Raises:
        InputError: for a name of a class that a label map does not give back.
    """

    def __init__(self, out: Path, palette: Palette) -> None:
        self._out, self._palette = out, palette
        self._names: list[str] = []
        for _, name, _ in palette.entries:
            is_line = name.isprintable() and ":" not in name and not name.lstrip().startswith("#")
            if not is_line or name_key(name) == BACKGROUND:
                raise InputError(
                    f"the label map of CVAT cannot hold the class {shown(name)}: a name in it has no colon and no line "
                    f"break, and is neither a comment (#) nor {BACKGROUND}; give another --to"
                )
        for place in (CLASSES, _OBJECTS, _LISTS):
            (out / place).mkdir(parents=True, exist_ok=True)

    def add(self, item: Item) -> None:
        """Write the mask of an image, and each of its objects in a color of its own."""
        table = np.zeros((256, 3), np.uint8)
        objects = np.zeros(item.labels.shape, np.uint32)
        for label, _, color in self._palette.entries:
            table[label] = color
            parts, _ = ndimage.label(item.labels == label)
            objects += np.where(parts > 0, parts + objects.max(), 0).astype(np.uint32)
        codes = objects * np.uint32(GOLDEN) & np.uint32(0xFFFFFF)
        several = np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)
        for place, array in ((CLASSES, table[item.labels]), (_OBJECTS, several)):
            Image.fromarray(array).save(self._out / place / f"{item.name}.png")
        self._names.append(item.name)

    def close(self) -> dict[str, Any]:
        """Write the lists."""
        lines = ["# label:color_rgb:parts:actions", f"{BACKGROUND}:0,0,0::"]
        lines += [f"{name}:{','.join(map(str, color))}::" for _, name, color in self._palette.entries]
        write_bytes(self._out / LABEL_MAP, "\n".join([*lines, ""]).encode())
        write_bytes(self._out / _LISTS / "default.txt", "\n".join([*self._names, ""]).encode())
        return {}
