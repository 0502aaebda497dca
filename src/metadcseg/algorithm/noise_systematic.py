"""Label noise that leans to one side: every object too large, or every object too small.

The paper's noise is as often too large as too small, and a network averages that away. Annotators err in one
direction again and again. Here every mask is dilated (or every mask eroded) by a centred square; a mask's
*reach* h, the number of pixels by which its outline moves, is drawn uniformly, and the square's side is 2h + 1.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metadcseg.algorithm.noise import Mask, Region
from metadcseg.algorithm.noise_model import Draw, Prepared

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
        return _sides(self.name, self.reaches)

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return ``reach`` and ``rounding`` for each class."""
        return [draw_reach(generator, self.reaches) for _ in range(1, classes)]

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the distance to the class."""
        return (distance_to(mask == value),)

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return all that is within reach."""
        grown: Region = prepared[0] <= scaled_reach(one, strength)
        return grown

    def step(self, one: Draw, strength: float) -> int:
        """Return the reach in pixels."""
        return scaled_reach(one, strength)

    def limit(self, side: int) -> float:
        """Return the scale from which the smallest reach covers the image."""
        return side / self.reaches[0]


@dataclass(frozen=True)
class Under:
    """Systematic under-segmentation: every class of every mask eroded by a square of a drawn side.

    An object that the square would delete keeps its innermost pixels: who draws too small does not overlook.

    Args:
        reaches: smallest and largest reach at scale 1, in pixels: sides 7, 9, ... 15.
    """

    reaches: tuple[int, int] = (3, 7)
    name: ClassVar[str] = "under"
    knob: ClassVar[str] = "kernel scale"

    @property
    def preset(self) -> str:
        """The sides of the squares."""
        return _sides(self.name, self.reaches)

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return ``reach`` and ``rounding`` for each class."""
        return [draw_reach(generator, self.reaches) for _ in range(1, classes)]

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the reach that removes a pixel."""
        return (last_reach(mask == value),)

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return what the reach does not remove."""
        left: Region = prepared[0] > scaled_reach(one, strength)
        return left

    def step(self, one: Draw, strength: float) -> int:
        """Return the reach in pixels."""
        return scaled_reach(one, strength)

    def limit(self, side: int) -> float:
        """Return the scale from which only innermost pixels are left."""
        return side / self.reaches[0]


def _sides(name: str, reaches: tuple[int, int]) -> str:
    low, high = reaches
    return f"{name}-{2 * low + 1}-{2 * high + 1}"
