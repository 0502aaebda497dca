"""Shapes as pixels, and the mask that they make on one image.

Pixel (row, column) covers the square from (row, column) to (row + 1, column + 1), as tools count places in an image.
It belongs to a shape where its center lies inside: of a polygon by the even-odd rule, so that a second ring is a hole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.findings import plural
from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid, Volume
from metadcseg.errors import InputError

EXPORTS = (".json", ".xml")
"""Ends of the names of files that drawing tools write."""

Size = tuple[int, int]
"""(H, W) of an image in pixels."""

_CROSSINGS = 4_000_000  # looked at together
_NO_RADIUS = 1e-6  # pixels
_RIM = 1.0  # pixels beyond the image that a click at its rim may lie


class Patch(NamedTuple):
    """The pixels of one shape.

    Args:
        top: first row.
        left: first column.
        inside: (h, w) bool, from there on; within the image.
        cut: whether the shape reaches beyond the image.
    """

    top: int
    left: int
    inside: NDArray[np.bool_]
    cut: bool = False


NOTHING = Patch(0, 0, np.zeros((0, 0), bool))
"""A shape without area."""


def polygon(rings: Sequence[Sequence[tuple[float, float]]], size: Size) -> Patch:
    """Return the pixels whose centers lie in a polygon, by the even-odd rule.

    Args:
        rings: (x, y) in pixels; of fewer than three points a ring has no area.
        size: (H, W) of the image.

    Example:
        >>> patch = polygon([[(1, 1), (4, 1), (4, 3), (1, 3)]], (5, 6))
        >>> patch.top, patch.left, patch.inside.shape, bool(patch.inside.all())
        (1, 1, (2, 3), True)
    """
    rings = [ring for ring in rings if len(ring) > 2]
    if not rings:
        return NOTHING
    starts = np.concatenate([np.array(ring, np.float64) for ring in rings])
    ends = np.concatenate([np.roll(np.array(ring, np.float64), -1, axis=0) for ring in rings])
    top, left, bottom, right, cut = _box(starts.min(axis=0), starts.max(axis=0), size)
    if bottom <= top or right <= left:
        return NOTHING._replace(cut=cut)
    flips = np.zeros((bottom - top, right - left + 1), np.uint8)
    down = starts[:, 1] < ends[:, 1]
    upper = np.where(down[:, None], starts, ends)
    lower = np.where(down[:, None], ends, starts)
    # rows whose centers an edge crosses: upper <= center < lower
    first = np.clip(np.ceil(upper[:, 1] - 0.5), top, bottom).astype(np.int64)
    stop = np.clip(np.ceil(lower[:, 1] - 0.5), top, bottom).astype(np.int64)
    at_once = max(1, _CROSSINGS // (bottom - top))
    for begin in range(0, len(starts), at_once):
        part = slice(begin, begin + at_once)
        counts = stop[part] - first[part]
        edge = np.repeat(np.arange(len(starts))[part], counts)
        rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
        (x0, y0), (x1, y1) = upper[edge].T, lower[edge].T
        x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        columns = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64)
        np.bitwise_xor.at(flips, (rows - top, columns - left), np.uint8(1))
    inside = np.bitwise_xor.accumulate(flips, axis=1)[:, :-1].astype(bool)
    return Patch(top, left, inside, cut)


def ellipse(center: tuple[float, float], radii: tuple[float, float], size: Size, angle: float = 0.0) -> Patch:
    """Return the pixels whose centers lie in an ellipse, or a circle.

    Args:
        center: (x, y) in pixels.
        radii: along the first and the second axis, in pixels.
        size: (H, W) of the image.
        angle: by which the first axis is turned from x towards y, in radians.
    """
    if min(radii) < _NO_RADIUS:
        return NOTHING
    cosine, sine = np.cos(angle), np.sin(angle)
    reach = np.hypot([radii[0] * cosine, radii[0] * sine], [radii[1] * sine, radii[1] * cosine])
    top, left, bottom, right, cut = _box(np.array(center) - reach, np.array(center) + reach, size)
    if bottom <= top or right <= left:
        return NOTHING._replace(cut=cut)
    y = np.arange(top, bottom)[:, None] + 0.5 - center[1]
    x = np.arange(left, right)[None] + 0.5 - center[0]
    along, across = (x * cosine + y * sine) / radii[0], (y * cosine - x * sine) / radii[1]
    return Patch(top, left, along**2 + across**2 <= 1, cut)


def box(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    """Return the corners of a rectangle."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def pasted(top: int, left: int, inside: NDArray[np.bool_], size: Size) -> Patch:
    """Return a bitmap at a place, cut to the image."""
    rows, columns = slice(max(0, -top), max(0, size[0] - top)), slice(max(0, -left), max(0, size[1] - left))
    kept = inside[rows, columns]
    return Patch(max(0, top), max(0, left), kept, kept.shape != inside.shape)


def _box(low: NDArray[Any], high: NDArray[Any], size: Size) -> tuple[int, int, int, int, bool]:
    """Return the rows and columns of the image that a shape may touch, and whether it reaches beyond."""
    height, width = size
    top, left = (int(np.clip(np.floor(low[axis]), 0, side)) for axis, side in ((1, height), (0, width)))
    bottom, right = (int(np.clip(np.ceil(high[axis]), 0, side)) for axis, side in ((1, height), (0, width)))
    return (
        top,
        left,
        bottom,
        right,
        bool((low < -_RIM).any() or (high > np.array([width, height]) + _RIM).any()),
    )


@dataclass(frozen=True)
class Shape:
    """One shape of a file, not looked at yet.

    Args:
        name: of its class.
        said: what sentences call it, such as ``shape 3 ('liver')``.
        held: what the file says about it.
        value: its class number, once all names are known.
    """

    name: str
    said: str
    held: Any
    value: int = 0


Painter = Callable[[Any, Size], Patch]
"""Returns the pixels of what a file says about a shape; an `InputError` of it goes on after the name of the shape."""


@dataclass(frozen=True)
class Drawn:
    """The mask of one image that shapes make, in their order; where shapes of two classes overlap, the later one.

    Args:
        path: the file, or file and image, as sentences call it.
        files: that are read for it.
        size: (H, W) as the file states it; None where it does not, then it is drawn at the size of the image.
        shapes: in the order of the file.
        paint: of its format; a function of a module, so that other processes find it.
        notes: what was passed over.
        fault: why it cannot be drawn, and what to do: the rest of a sentence that begins with ``path``.
    """

    path: Path
    files: tuple[Path, ...]
    size: Size | None
    shapes: tuple[Shape, ...]
    paint: Painter
    notes: tuple[str, ...] = ()
    fault: str = ""

    def read(self, image: Grid) -> Volume:
        """Return the class numbers, (H, W, 1) uint8.

        Raises:
            InputError: naming file, image and shape.
        """
        if self.fault:
            raise InputError(f"{self.path} {self.fault}")
        size = self.size or image.shape[:2]
        labels = np.zeros((*size, 1), np.uint8)
        cut = bare = covered = 0
        for shape in self.shapes:
            try:
                patch = self.paint(shape.held, size)
            except InputError as error:
                raise InputError(f"{self.path}: {shape.said} {error}: correct or delete it") from error
            cut += patch.cut
            bare += not patch.inside.any()
            height, width = patch.inside.shape
            under = labels[patch.top : patch.top + height, patch.left : patch.left + width, 0]
            covered += int(np.count_nonzero(patch.inside & (under != 0) & (under != shape.value)))
            under[patch.inside] = shape.value
        notes = [*self.notes]
        if cut:
            notes.append(f"{plural(cut, 'shape')} beyond the image, cut there")
        if bare:
            notes.append(f"{plural(bare, 'shape')} without area, of which nothing is drawn")
        if covered:
            notes.append(f"{plural(covered, 'pixel')} in shapes of two classes, where the later drawn counts")
        told = (f"{self.path}: {'; '.join(notes)}",) if notes else ()
        return Volume(labels, Grid((*size, 1), UNKNOWN_AFFINE, known=False), told)


@dataclass(frozen=True)
class Entry:
    """What a file says about one image.

    Args:
        file: which says it.
        stems: what the stem of the image may be, the likeliest first.
        mask: what is drawn.
        many: how many outlines of the image the file holds; of two or more none is taken.
        by: who drew it, where the file says so.
    """

    file: Path
    stems: tuple[str, ...]
    mask: Drawn
    many: str = ""
    by: str | None = None


@dataclass(frozen=True)
class Export:
    """What one file holds.

    Args:
        entries: one for every image.
        order: names of classes in the order of the file; empty where it has none.
        notes: what was passed over in the file as a whole.
    """

    entries: tuple[Entry, ...]
    order: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
