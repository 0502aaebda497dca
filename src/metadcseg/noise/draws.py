"""What chance decides about label noise: the levels of table 9 and the draws behind eq. 15-18.

A draw is a few plain values that can be stored as JSON and replayed. It never depends on the kernel scale, so
solving for the scale (:mod:`metadcseg.noise.calibration`) replays the same noise, and it depends on
nothing but the seed and the image's id.

Where the paper is silent: the columns of table 9 are swapped back and the 60 % level is added; one of erosion
and dilation always happens (``p_morph`` is the chance of erosion); kernel j is the first whose cumulative
threshold reaches a uniform draw; the 300 pixels of eq. 18 guard only the ellipse.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from metadcseg.errors import InputError


@dataclass(frozen=True)
class NoiseLevel:
    """How strong the noise is: one column of table 9 and the constants of eq. 15-18.

    Args:
        name: how reports call this level.
        kernels: edge lengths of the square structuring elements, in pixels at ``scale`` 1.
        thresholds: cumulative probabilities of the kernels, rising to 1 (p_ero and p_dil of table 9).
        rotation: largest rotation to either side, in degrees (eq. 15).
        p_morph: chance of erosion; otherwise the mask is dilated (eq. 16-17).
        p_ellipse: chance of the replacement by an ellipse (eq. 18).
        ellipse_min_pixels: only a mask of more pixels than this becomes an ellipse (eq. 18).
        scale: factor on ``kernels``; calibration solves for it.
        omit_below: a class of at most this many pixels is left out altogether; 0 switches that off. (L2B's
            script does so at 300 pixels.)

    Raises:
        InputError: naming the value that is out of its range.
    """

    name: str
    kernels: tuple[int, ...]
    thresholds: tuple[float, ...]
    rotation: float = 20.0
    p_morph: float = 0.5
    p_ellipse: float = 0.5
    ellipse_min_pixels: int = 300
    scale: float = 1.0
    omit_below: int = 0

    def __post_init__(self) -> None:
        rising = all(low <= high for low, high in zip((0.0, *self.thresholds), self.thresholds, strict=False))
        if not self.thresholds or not rising or self.thresholds[-1] != 1.0:
            raise InputError(f"noise thresholds must rise from 0 to exactly 1, got {self.thresholds}")
        if len(self.kernels) != len(self.thresholds) or min(self.kernels) < 1:
            raise InputError(
                f"noise kernels must be {len(self.thresholds)} sizes of at least 1, one per threshold, "
                f"got {self.kernels}"
            )
        for field, value in (("p_morph", self.p_morph), ("p_ellipse", self.p_ellipse)):
            if not 0.0 <= value <= 1.0:
                raise InputError(f"noise {field} must lie between 0 and 1, got {value}")
        if not (math.isfinite(self.scale) and self.scale >= 0.0):
            raise InputError(f"noise scale must be a number of at least 0, got {self.scale}")


PRESETS: dict[float, NoiseLevel] = {
    0.2: NoiseLevel("table-9-20", (7, 11, 13, 17, 21), (0.4, 0.6, 0.8, 0.9, 1.0)),
    0.4: NoiseLevel("table-9-40", (7, 14, 21, 28, 35), (0.1, 0.2, 0.5, 0.7, 1.0)),
    0.6: NoiseLevel("table-9-60", (7, 14, 21, 49, 63), (0.05, 0.1, 0.2, 0.6, 1.0)),
}
"""Table 9 by corruption rate, its columns put right (the paper prints them swapped), and L2B's 60 % level."""


def nearest_preset(rate: float) -> NoiseLevel:
    """Return the preset whose nominal corruption rate is nearest to ``rate``.

    Example:
        >>> nearest_preset(0.35).name
        'table-9-40'
    """
    return PRESETS[min(PRESETS, key=lambda nominal: abs(nominal - rate))]


@dataclass(frozen=True)
class NoiseDraw:
    """What chance decided for one class of one mask; plain values, to be stored as JSON and replayed.

    Args:
        angle: rotation in degrees (theta of eq. 15).
        erode: True for erosion (eq. 16), False for dilation (eq. 17).
        kernel: edge length j of the structuring element in pixels, before scaling.
        rounding: in [0, 1), decides which of the two nearest integers a scaled kernel becomes.
        r: in [0, 1), the coin of eq. 18.

    Example:
        >>> from dataclasses import asdict
        >>> one = draw(PRESETS[0.4], generator_for(0, "case-1"))
        >>> NoiseDraw(**asdict(one)) == one
        True
    """

    angle: float
    erode: bool
    kernel: int
    rounding: float
    r: float

    def kernel_size(self, scale: float) -> int:
        """Return the edge length in pixels: ``floor(kernel * scale + rounding)``, at least 1.

        Rounding is drawn, not to the nearest, so that the mean size over many masks is ``kernel * scale`` and
        the corruption rate of a set follows the scale in small steps. At scale 1 the size is the table's.

        Example:
            >>> NoiseDraw(angle=0.0, erode=True, kernel=7, rounding=0.4, r=0.0).kernel_size(1.5)
            10
        """
        return max(1, math.floor(self.kernel * scale + self.rounding))


def generator_for(seed: int, image_id: str) -> np.random.Generator:
    """Return the generator of one image's noise: the same for the same seed and id, on every machine.

    Example:
        >>> generator_for(0, "a").random() == generator_for(0, "a").random() != generator_for(1, "a").random()
        True
    """
    digest = hashlib.sha256(f"label noise\0{seed}\0{image_id}".encode("utf-8", "surrogateescape")).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(digest, "big"))))


def draw(level: NoiseLevel, generator: np.random.Generator) -> NoiseDraw:
    """Draw the noise of one class: always five uniform numbers, and ``level.scale`` plays no part."""
    turn, coin, category, rounding, r = generator.random(5).tolist()
    first_reached = next(j for j, threshold in enumerate(level.thresholds) if threshold >= category)
    return NoiseDraw(
        angle=level.rotation * (2.0 * turn - 1.0),
        erode=coin < level.p_morph,
        kernel=level.kernels[first_reached],
        rounding=rounding,
        r=r,
    )
