"""CVAT's "Segmentation mask 1.1" (Pascal VOC): masks in color, and ``labelmap.txt`` that says which color is what."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metadcseg.data.annotations.values import class_name
from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid, Volume
from metadcseg.data.formats.images import read_image
from metadcseg.errors import InputError, shown
from metadcseg.reading import read_text

LABEL_MAP = "labelmap.txt"
CLASSES = "SegmentationClass"
"""The folder of the masks, where they do not lie beside ``labelmap.txt``."""

OTHERS = ("SegmentationObject", "ImageSets", "JPEGImages")
"""Folders of the export that hold no masks of classes."""

COCO = "annotations"
"""Folder of files of COCO, in its other exports."""

FOLDERS = (CLASSES, *OTHERS, COCO)
"""None of them belongs to an annotator."""

_LINE = re.compile(r"(.*?):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?::.*)?")
_MOST_BYTES = 2**20

Color = tuple[int, int, int]


def read_label_map(path: Path) -> dict[Color, str]:
    """Return color -> name, in the order of the file: ``name:red,green,blue:parts:actions``.

    Raises:
        InputError: where a line is not understood, or a color or name stands twice.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path} is larger than {_MOST_BYTES >> 20} MiB: export it again")
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no text in UTF-8: export it again") from error
    names: dict[Color, str] = {}
    for place, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or any(int(part) > 255 for part in found.groups()[1:]):
            raise InputError(
                f"{path}, line {place}: 'name:red,green,blue:parts:actions' is read, got {shown(line)}"
            )
        red, green, blue = (int(part) for part in found.groups()[1:])
        try:
            name = class_name(found[1])
        except InputError as error:
            raise InputError(f"{path}, line {place} {error}") from error
        if (red, green, blue) in names or name in names.values():
            raise InputError(
                f"{path}, line {place}: the name or color of {shown(line)} stands twice: correct it"
            )
        names[red, green, blue] = name
    if not names:
        raise InputError(f"{path} lists no color: export it again, or remove it")
    return names


@dataclass(frozen=True)
class Colored:
    """A mask in color.

    Args:
        path: PNG or TIFF file.
        label_map: that explains its colors.
        colors: that it lists.
        values: class number of each.
    """

    path: Path
    label_map: Path
    colors: Sequence[Color]
    values: Sequence[int]

    @property
    def files(self) -> tuple[Path, ...]:
        """The mask and what explains it."""
        return self.path, self.label_map

    def read(self, image: Grid) -> Volume:
        """Return the class numbers, (H, W, 1) uint8, at the size of the file.

        Raises:
            InputError: where the file cannot be read, changes colors (JPEG), or holds a color that is not listed.
        """
        picture = read_image(self.path)
        if picture.lossy or picture.array.dtype != np.uint8:
            kind = "JPEG, which changes colors" if picture.lossy else "not of 8 bits a color"
            raise InputError(f"{self.path} is {kind}: export it as PNG")
        height, width, channels = picture.array.shape
        pixels = picture.array.astype(np.int32)
        codes = pixels[..., 0] * 0x010101 if channels == 1 else pixels @ np.array([65536, 256, 1], np.int32)
        listed = np.array([red << 16 | green << 8 | blue for red, green, blue in self.colors], np.int32)
        order = np.argsort(listed)
        found = np.minimum(np.searchsorted(listed[order], codes), len(listed) - 1)
        strange = listed[order][found] != codes
        if strange.any():
            code = int(codes[strange][0])
            color = ",".join(str(code >> shift & 255) for shift in (16, 8, 0))
            number = int(np.count_nonzero(strange))
            raise InputError(
                f"{self.path} holds the color {color} ({number} pixels), which {self.label_map} does not list: add it "
                "there, or remove that file if values are class numbers"
            )
        labels = np.array(self.values, np.uint8)[order][found]
        grid = Grid((height, width, 1), UNKNOWN_AFFINE, known=False)
        return Volume(labels[..., None], grid, picture.notes, orientation=picture.orientation)
