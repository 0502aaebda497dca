"""Label noise that leans to one side: objects too large, too small, by one annotator only, or moved.

The paper's noise is as often too large as too small, and a network averages that away. Annotators err in one
direction again and again. Here every mask is dilated (or every mask eroded) by a centered square; a mask's
*reach* h, the number of pixels by which its outline moves, is drawn uniformly, and the square's side is 2h + 1.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metadcseg.noise.base import Draw, Prepared
from metadcseg.noise.paper import Mask, Region

NEVER = np.iinfo(np.uint16).max
"""A distance that no reach comes to."""

EIGHT = np.ones((3, 3), bool)
"""Pixels that touch at a corner belong to one object."""


def distance_to(region: Region) -> NDArray[np.uint16]:
    """Return the chessboard distance in pixels to the nearest pixel of a region; ``NEVER`` where it is empty.

    Example:
        >>> distance_to(np.array([[1, 0, 0], [0, 0, 0]], bool)).tolist()
        [[0, 1, 2], [1, 1, 2]]
    """
    if not region.any():
        return np.full(region.shape, NEVER, np.uint16)
    distance: NDArray[np.int32] = ndimage.distance_transform_cdt(~region, metric="chessboard")
    return distance.astype(np.uint16)


def last_reach(region: Region) -> NDArray[np.uint16]:
    """Return for every pixel the reach of the first erosion that removes it, 0 outside the region.

    The innermost pixels of every object are never removed: ``NEVER``. The image's edge does not erode.

    Example:
        >>> last_reach(np.array([[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1]], bool))[1].tolist() == [0] + 5 * [NEVER]
        True
    """
    depth = distance_to(~region)
    objects, count = ndimage.label(region, EIGHT)
    deepest = ndimage.maximum(depth, objects, np.arange(count + 1)).astype(np.uint16)
    return np.where(region & (depth == deepest[objects]), np.uint16(NEVER), depth)


def draw_reach(generator: np.random.Generator, reaches: tuple[int, int]) -> Draw:
    """Draw a reach between two bounds (inclusive), and what rounds it: always two uniform numbers."""
    pick, rounding = generator.random(2).tolist()
    low, high = reaches
    return {"reach": low + math.floor(pick * (high - low + 1)), "rounding": rounding}


def scaled_reach(one: Draw, scale: float) -> int:
    """Return the reach in pixels at a kernel scale: rounding is drawn, so that the mean follows the scale.

    Example:
        >>> scaled_reach({"reach": 5, "rounding": 0.4}, 1.0), scaled_reach({"reach": 5, "rounding": 0.6}, 0.5)
        (5, 3)
    """
    return min(math.floor(one["reach"] * scale + one["rounding"]), NEVER - 1)


@dataclass(frozen=True)
class Over:
    """Systematic over-segmentation: every class of every mask dilated by a square of a drawn side.

    Args:
        reaches: smallest and largest reach at scale 1, in pixels: sides 11, 13, ... 25.
    """

    reaches: tuple[int, int] = (5, 12)
    name: ClassVar[str] = "over"
    knob: ClassVar[str] = "kernel scale"

    @property
    def preset(self) -> str:
        """The sides of the squares."""
        low, high = self.reaches
        return f"{self.name}-{2 * low + 1}-{2 * high + 1}"

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return ``reach`` and ``rounding`` for each class."""
        return [draw_reach(generator, self.reaches) for _ in range(1, classes)]

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the distance to the class."""
        return (distance_to(mask == value),)

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return all that is within reach."""
        grown: Region = prepared[0] <= self.step(one, strength)
        return grown

    def step(self, one: Draw, strength: float) -> int:
        """Return the reach in pixels."""
        return scaled_reach(one, strength)

    def limit(self, side: int) -> float:
        """Return the scale from which the smallest reach covers the image."""
        return side / self.reaches[0]


@dataclass(frozen=True)
class Under(Over):
    """Systematic under-segmentation: every class of every mask eroded by a square of a drawn side.

    An object that the square would delete keeps its innermost pixels: who draws too small does not overlook. They are
    all that is left from the scale of :meth:`Over.limit` on.

    Args:
        reaches: smallest and largest reach at scale 1, in pixels: sides 7, 9, ... 15.
    """

    reaches: tuple[int, int] = (3, 7)
    name: ClassVar[str] = "under"

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the reach that removes a pixel."""
        return (last_reach(mask == value),)

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return what the reach does not remove."""
        left: Region = prepared[0] > self.step(one, strength)
        return left


@dataclass(frozen=True)
class Annotator(Over):
    """Several annotators, one of them bad: annotator 0 draws everything too large, the others are right.

    Args:
        reaches: of the bad one, as in :class:`Over`.
        annotators: how many there are; a mask's is drawn, each as likely.
    """

    annotators: int = 4
    name: ClassVar[str] = "annotator"
    knob: ClassVar[str] = "kernel scale of the bad annotator"

    @property
    def preset(self) -> str:
        """How many annotators, and the sides of the bad one's squares."""
        return super().preset.replace(self.name, f"{self.name}-1-of-{self.annotators}")

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return ``annotator`` (the same for all classes of a mask), ``reach`` and ``rounding``."""
        who = {"annotator": int(generator.integers(self.annotators))}
        return [who | one for one in super().draw(generator, classes)]

    def step(self, one: Draw, strength: float) -> int:
        """Return the reach in pixels, 0 of a good annotator."""
        return 0 if one["annotator"] else super().step(one, strength)


@dataclass(frozen=True)
class Shift:
    """Every mask moved in a drawn direction, all of its classes together; what leaves the image is lost.

    Args:
        lengths: bounds of the factor on the strength, a mask's distance over the mean one.
    """

    lengths: tuple[float, float] = (0.5, 1.5)
    name: ClassVar[str] = "shift"
    knob: ClassVar[str] = "distance in pixels"
    preset: ClassVar[str] = "shift"

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return ``direction`` (degrees, anticlockwise from the right), ``length`` and two numbers that round."""
        turn, length, down, right = generator.random(4).tolist()
        low, high = self.lengths
        one = {"direction": 360.0 * turn, "length": low + (high - low) * length, "down": down, "right": right}
        return [dict(one) for _ in range(1, classes)]

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the class."""
        return (mask == value,)

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return the class, moved."""
        (region,) = prepared
        moved = np.zeros_like(region)
        down, right = self.step(one, strength)
        to_rows, from_rows = _overlap(region.shape[0], down)
        to_columns, from_columns = _overlap(region.shape[1], right)
        moved[to_rows, to_columns] = region[from_rows, from_columns]
        return moved

    def step(self, one: Draw, strength: float) -> tuple[int, int]:
        """Return how many rows down and columns to the right; rounding is drawn, so the mean is exact."""
        distance, direction = strength * one["length"], math.radians(one["direction"])
        return (
            math.floor(-distance * math.sin(direction) + one["down"]),
            math.floor(distance * math.cos(direction) + one["right"]),
        )

    def limit(self, side: int) -> float:
        """Return the strength that moves every object out of the image, even along its diagonal."""
        return 1.5 * (side + 1) / self.lengths[0]


def _overlap(size: int, offset: int) -> tuple[slice, slice]:
    """Return where something moved by an offset lands on an axis, and what of it lands there."""
    offset = max(-size, min(size, offset))
    return slice(max(0, offset), size + min(0, offset)), slice(max(0, -offset), size - max(0, offset))
