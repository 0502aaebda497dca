"""Label noise as hurried people make it: outlines too large on average, unsteady, and some objects overlooked."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metadcseg.noise.base import Draw, Prepared
from metadcseg.noise.objects import GOLDEN
from metadcseg.noise.paper import Mask, Region
from metadcseg.noise.systematic import EIGHT


@dataclass(frozen=True)
class Careless:
    r"""Outlines drawn in a hurry: every mask leans outwards as a whole, more or less, and its outline sways.

    With d(x) the signed distance in pixels to the outline of a class (negative inside, the outline half-way between
    pixels), r the radius of a disc of the mean area of its objects, and strength s, the class becomes

        d(x) <= s r (lean + sway / sqrt(2 K) * sum_k sin(2 pi (x . u_k) / (l_k r) + p_k))

    where lean is drawn for the mask, u_k is a drawn direction, l_k r a drawn wavelength, p_k a drawn phase. The sum is
    scaled so that its root mean square is ``sway / 2``. Lengths are relative to the objects, so that a strength means
    the same at any resolution. Object k (from 0, in the order of its first pixel) is overlooked where its number,
    ``first + k * GOLDEN`` modulo 1, is below ``overlooked`` times the strength.

    Args:
        leans: bounds of the lean, uniform: masks are too large on average where their middle is above 0.
        sway: how unsteady the outline is.
        waves: K, how many waves an outline has.
        lengths: bounds of l, uniform.
        overlooked: share of the objects that are left out at strength 1, above 0.
    """

    leans: tuple[float, float] = (0.0, 2.0)
    sway: float = 1.0
    waves: int = 3
    lengths: tuple[float, float] = (1.5, 4.0)
    overlooked: float = 0.25
    name: ClassVar[str] = "careless"
    knob: ClassVar[str] = "mean offset over the radius of the objects"
    preset: ClassVar[str] = "careless"

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return ``lean`` and ``first``, and of wave k ``direction_k`` (degrees), ``length_k`` and ``phase_k``."""
        return [self._draw(generator) for _ in range(1, classes)]

    def _draw(self, generator: np.random.Generator) -> Draw:
        lean, first, *rest = generator.random(2 + 3 * self.waves).tolist()
        drawn = {"lean": _between(self.leans, lean), "first": first}
        for wave in range(self.waves):
            direction, length, phase = rest[3 * wave : 3 * wave + 3]
            drawn[f"direction_{wave}"] = 360.0 * direction
            drawn[f"length_{wave}"] = _between(self.lengths, length)
            drawn[f"phase_{wave}"] = 360.0 * phase
        return drawn

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return d(x) (float32, infinite without an object), the offset at strength 1, and x's object's number."""
        region = mask == value
        objects, count = ndimage.label(region, EIGHT)
        if not count:
            far = np.full(region.shape, np.inf, np.float32)
            return far, np.zeros_like(far), np.ones_like(far)
        away, nearest = ndimage.distance_transform_edt(~region, return_indices=True)
        depth = ndimage.distance_transform_edt(region) if not region.all() else np.full(region.shape, np.inf)
        signed = np.where(region, 0.5 - depth, away - 0.5)
        numbers = (one["first"] + GOLDEN * np.arange(count)) % 1.0
        radius = math.sqrt(np.count_nonzero(region) / (math.pi * count))
        offsets = radius * (one["lean"] + self._sway(region.shape, radius, one))
        return (
            signed.astype(np.float32),
            offsets.astype(np.float32),
            numbers[objects[tuple(nearest)] - 1].astype(np.float32),
        )

    def _sway(self, shape: tuple[int, ...], radius: float, one: Draw) -> NDArray[np.float64]:
        """Return how far the outline sways at every pixel, in units of the radius."""
        rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
        total = np.zeros(shape)
        for wave in range(self.waves):
            direction, phase = (math.radians(one[f"{name}_{wave}"]) for name in ("direction", "phase"))
            along = columns * math.cos(direction) - rows * math.sin(direction)
            total += np.sin(2.0 * math.pi * along / (one[f"length_{wave}"] * radius) + phase)
        return self.sway / math.sqrt(2.0 * self.waves) * total

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return the objects that are not overlooked, with their outlines as drawn."""
        signed, offsets, numbers = prepared
        drawn: Region = (signed <= strength * offsets) & (numbers >= strength * self.overlooked)
        return drawn

    def step(self, one: Draw, strength: float) -> float:
        """Return the strength itself."""
        return strength

    def limit(self, side: int) -> float:
        """Return the strength at which all objects are overlooked."""
        return 1.0 / self.overlooked


def _between(bounds: tuple[float, float], share: float) -> float:
    low, high = bounds
    return low + (high - low) * share
