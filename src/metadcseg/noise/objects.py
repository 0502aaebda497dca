"""Label noise of whole objects: left out, invented, or drawn with a few clicks.

An object is a connected component of one class; pixels that touch at a corner belong together, except that a
polygon goes round each of them.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from metadcseg.constants import IGNORE
from metadcseg.noise.base import Draw, Prepared
from metadcseg.noise.paper import Mask, Region, morph
from metadcseg.noise.polygon import fill, outlines
from metadcseg.noise.systematic import EIGHT

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
"""Steps of this size, modulo 1, spread evenly, however many there are."""


@dataclass(frozen=True)
class Missing:
    """Objects left out, whole: object k (from 0, in the order of its first pixel) goes where its number is low.

    The number is ``first + k * GOLDEN`` modulo 1: evenly distributed, and spread over the objects of one mask.
    """

    name: ClassVar[str] = "missing"
    knob: ClassVar[str] = "share of objects"
    preset: ClassVar[str] = "missing"

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return ``first``, the number of the first object of each class, in [0, 1)."""
        return [{"first": float(generator.random())} for _ in range(1, classes)]

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return for every pixel which object it belongs to, from 1; 0 outside."""
        objects, count = ndimage.label(mask == value, EIGHT)
        return (objects.astype(np.min_scalar_type(count)),)

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return the objects whose number is at least the share to be left out."""
        (objects,) = prepared
        numbers = (one["first"] + GOLDEN * np.arange(int(objects.max(initial=0)))) % 1.0
        kept: Region = np.concatenate([[False], numbers >= strength])[objects]
        return kept

    def step(self, one: Draw, strength: float) -> float:
        """Return the share itself: which objects go depends on how many there are."""
        return strength

    def limit(self, side: int) -> float:
        """Return the share that leaves nothing."""
        return 1.0


@dataclass(frozen=True)
class Invented:
    """A false object for every class that a mask holds: an ellipse of drawn place, shape and size.

    Its area is the strength times that of the true objects of its class, by a drawn factor about 1. It lies
    on background only and keeps a pixel away from every true object, so what was there stays as it was;
    where background ends, the ellipse ends.

    Args:
        sizes: bounds of the factor on the area.
        stretch: the longer axis is at most this many times the shorter.
    """

    sizes: tuple[float, float] = (0.5, 1.5)
    stretch: float = 2.0
    name: ClassVar[str] = "invented"
    knob: ClassVar[str] = "area over that of the true objects"
    preset: ClassVar[str] = "invented"

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return ``place`` (in [0, 1), over the free pixels), ``stretch``, ``angle`` (degrees) and ``size``."""
        drawn: list[Draw] = []
        for _ in range(1, classes):
            place, stretch, angle, size = generator.random(4).tolist()
            low, high = self.sizes
            drawn.append(
                {
                    "place": place,
                    "stretch": self.stretch**stretch,
                    "angle": 180.0 * angle,
                    "size": low + (high - low) * size,
                }
            )
        return drawn

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the class, the pixels where a false object may lie, and its center (none without such a pixel)."""
        region = mask == value
        free = (mask == 0) & ~morph((mask != 0) & (mask != IGNORE), 3, erode=False)
        places = np.flatnonzero(free) if region.any() else np.zeros(0, np.intp)
        center = places[math.floor(one["place"] * len(places))] if len(places) else -1
        return region, free, np.array(center)

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return the class with an ellipse of the area that the strength gives it."""
        region, free, center = prepared
        grown: Region = region.copy()
        if center < 0 or strength == 0.0:
            return grown
        row, column = divmod(int(center), region.shape[1])
        squared = strength * one["size"] * np.count_nonzero(region) / math.pi  # of the disc of the same area
        reach = math.ceil(math.sqrt(squared * one["stretch"]))
        rows = slice(max(0, row - reach), row + reach + 1)
        columns = slice(max(0, column - reach), column + reach + 1)
        down = np.arange(region.shape[0])[rows, None] - row
        right = np.arange(region.shape[1])[None, columns] - column
        cosine, sine = math.cos(math.radians(one["angle"])), math.sin(math.radians(one["angle"]))
        along, across = right * cosine - down * sine, right * sine + down * cosine
        inside = along**2 / one["stretch"] + across**2 * one["stretch"] <= squared
        grown[rows, columns] |= inside & free[rows, columns]
        return grown

    def step(self, one: Draw, strength: float) -> float:
        """Return the strength itself."""
        return strength

    def limit(self, side: int) -> float:
        """Return the strength at which a pixel's false object covers the image from everywhere."""
        return 2.0 * math.pi * side**2 * self.stretch / self.sizes[0]


@dataclass(frozen=True)
class Polygon:
    """Coarse polygons: the outline of every object kept at a few of its points, joined by straight lines.

    Points are left out by the rule of Ramer, Douglas and Peucker: no point left out lies further from its side
    of the polygon than the tolerance, which is the strength times a drawn factor about 1. Three points always stay.
    Holes are filled: who clicks an outline draws none.

    Args:
        carelessness: bounds of the factor on the tolerance.
    """

    carelessness: tuple[float, float] = (0.5, 1.5)
    name: ClassVar[str] = "polygon"
    knob: ClassVar[str] = "tolerance in pixels"
    preset: ClassVar[str] = "polygon"

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return ``start`` (in [0, 1), where on its outline the polygon starts) and ``carelessness``."""
        drawn: list[Draw] = []
        for _ in range(1, classes):
            start, care = generator.random(2).tolist()
            low, high = self.carelessness
            drawn.append({"start": start, "carelessness": low + (high - low) * care})
        return drawn

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the points of all outlines with the tolerance that drops each, and the shape of the mask."""
        return outlines(mask == value, one["start"]), np.array(mask.shape)

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return the polygons through the points that the tolerance leaves, filled."""
        points, (height, width) = prepared
        points = points[points[:, 3] > strength * one["carelessness"]]
        filled = np.zeros((int(height), int(width)), bool)
        for corners in np.split(points, np.flatnonzero(np.diff(points[:, 0])) + 1) if len(points) else []:
            fill(filled, corners[:, 1:3])
        return filled

    def step(self, one: Draw, strength: float) -> float:
        """Return the tolerance in pixels."""
        return strength * one["carelessness"]

    def limit(self, side: int) -> float:
        """Return the strength whose smallest tolerance is longer than the image's diagonal."""
        return 1.5 * side / self.carelessness[0]
