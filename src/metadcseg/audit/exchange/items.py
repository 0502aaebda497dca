"""What is handed to a drawing tool: the masks of audited cases on the grid of their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metadcseg.colors import Color, class_color
from metadcseg.data.formats.geometry import Grid
from metadcseg.data.names import IGNORED

GOLDEN = 0x9E3779
"""Odd: numbers times it, modulo 2^24, are colors that all differ."""

_BLACK: Color = (0, 0, 0)
_WHITE: Color = (255, 255, 255)


@dataclass(frozen=True)
class Item:
    """One case.

    Args:
        name: of its files, without suffix: that of its image, where it is known.
        image: its file; None where it is not known.
        labels: (H, W) of an image, (X, Y, Z) of a volume in the order of the file: uint8 class numbers, 255 is ignored.
        wrong: likewise: 255 times the probability that the given label is wrong.
        grid: of a volume; None of an image.
    """

    name: str
    image: Path | None
    labels: NDArray[np.uint8]
    wrong: NDArray[np.uint8]
    grid: Grid | None = None


@dataclass(frozen=True)
class Palette:
    """Names and colors of the values in exported masks.

    Args:
        classes: of the set, background first.
        ignored: whether some pixels are ignored: they get a class of their own then, ``ignore``.
    """

    classes: Sequence[str]
    ignored: bool = False

    @property
    def entries(self) -> tuple[tuple[int, str, Color], ...]:
        """Label, name and color of every class that is drawn; the ignored one has the label 255, and is white.

        All colors differ, also from the black of the background, so that they say which class is meant.

        Example:
            >>> Palette(("background", "polyp"), ignored=True).entries
            ((1, 'polyp', (86, 180, 233)), (255, 'ignore', (255, 255, 255)))
            >>> len({color for _, _, color in Palette([f"class {n}" for n in range(255)]).entries})
            254
        """
        foreground = self.classes[1:]
        colors = [_BLACK, _WHITE]
        for number, _ in enumerate(foreground, start=1):
            color, step = class_color(number, len(foreground)), number
            while color in colors:
                code = step * GOLDEN & 0xFFFFFF
                color, step = (code >> 16, code >> 8 & 255, code & 255), step + 1
            colors.append(color)
        drawn = zip(range(1, 256), foreground, colors[2:], strict=False)
        return (*drawn, *([(255, IGNORED, _WHITE)] if self.ignored else []))


class Writer(Protocol):
    """Writes cases one after the other, and what belongs to all of them at the end."""

    def __init__(self, out: Path, palette: Palette) -> None:
        """Write into a folder that is there and empty."""

    def add(self, item: Item) -> None:
        """Write a case."""

    def close(self) -> dict[str, Any]:
        """Write the rest; return facts for a script."""
