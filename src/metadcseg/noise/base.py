"""What every kind of label noise offers, and the one path by which a mask is drawn for and corrupted.

A kind of noise is a frozen dataclass. Chance decides once per mask, in plain values that never depend on the
strength; the strength is the one number that calibration solves for
(:mod:`metadcseg.noise.calibration`). The paper's noise is :class:`PaperNoise`, or by another reading
of its eq. 15 :class:`CenteredPaperNoise`; the others are in
:mod:`metadcseg.noise.systematic` and :mod:`metadcseg.noise.objects`, and
:mod:`metadcseg.noise.registry` knows them by name.
"""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from metadcseg.noise.draws import NoiseDraw, NoiseLevel, draw, generator_for
from metadcseg.noise.paper import Mask, Region, check_labels, corrupt_rotated, paint, rotate_class

Draw = dict[str, float]
"""What chance decided for one class of one mask: numbers and truth values by name, to be stored as JSON."""

Prepared = tuple[NDArray[Any], ...]
"""What of one class of one mask can be computed before the strength is known."""


class NoiseModel(Protocol):
    """A kind of label noise: what chance decides, and what a strength makes of it."""

    @property
    def name(self) -> str:
        """How commands call it."""

    @property
    def preset(self) -> str:
        """How reports call its constants."""

    @property
    def knob(self) -> str:
        """What the strength is, in words."""

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return what chance decides for one mask: a draw for each foreground class 1 .. L-1."""

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the part that does not depend on the strength, for class ``value`` of an (H, W) mask."""

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Return the corrupted class, (H, W) bool."""

    def step(self, one: Draw, strength: float) -> Hashable:
        """Return what of the strength matters to one draw: equal steps make equal masks."""

    def limit(self, side: int) -> float:
        """Return a strength from which on nothing changes, for images of at most ``side`` pixels a side."""


@dataclass(frozen=True)
class PaperNoise:
    """The paper's noise, eq. 15-19: rotate, erode or dilate, perhaps replace by an ellipse.

    Args:
        level: a column of table 9; its scale plays no part, as the strength is the scale.
    """

    level: NoiseLevel
    name: ClassVar[str] = "paper"
    knob: ClassVar[str] = "kernel scale"

    @property
    def preset(self) -> str:
        """The name of the level."""
        return self.level.name

    def draw(self, generator: np.random.Generator, classes: int) -> list[Draw]:
        """Return the fields of one :class:`NoiseDraw` per class."""
        return [asdict(draw(self.level, generator)) for _ in range(1, classes)]

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the rotated class (eq. 15)."""
        return (rotate_class(mask == value, _paper_draw(one), self.level),)

    def apply(self, prepared: Prepared, one: Draw, strength: float) -> Region:
        """Apply eq. 16-19 at a kernel scale."""
        return corrupt_rotated(prepared[0], _paper_draw(one), replace(self.level, scale=strength))

    def step(self, one: Draw, strength: float) -> int:
        """Return the edge length of the kernel in pixels."""
        return _paper_draw(one).kernel_size(strength)

    def limit(self, side: int) -> float:
        """Return the scale from which even the smallest kernel covers every image from any of its pixels."""
        return 2.0 * side / min(self.level.kernels)


@dataclass(frozen=True)
class CenteredPaperNoise(PaperNoise):
    """The paper's noise, but every class rotates about the middle of its own bounding box.

    Eq. 15 does not say about which point. About the image's center an object off that center moves, which can
    spoil masks by more than the rate asked for before any kernel is applied.
    """

    name: ClassVar[str] = "paper-centred"

    def prepare(self, mask: Mask, value: int, one: Draw) -> Prepared:
        """Return the class, rotated where it lies."""
        return (rotate_class(mask == value, _paper_draw(one), self.level, about_itself=True),)


def _paper_draw(one: Draw) -> NoiseDraw:
    return NoiseDraw(one["angle"], bool(one["erode"]), int(one["kernel"]), one["rounding"], one["r"])


def draw_mask(model: NoiseModel, seed: int, image_id: str, classes: int) -> list[Draw]:
    """Draw the noise of one mask; order and number of the other masks play no part.

    Args:
        model: the kind of noise.
        seed: of the noise of the whole set.
        image_id: the mask's name.
        classes: L, with the background.

    Example:
        >>> from metadcseg.noise.draws import PRESETS
        >>> model = PaperNoise(PRESETS[0.4])
        >>> draw_mask(model, 0, "a", 2) == draw_mask(model, 0, "a", 3)[:1]
        True
    """
    return model.draw(generator_for(seed, image_id), classes)


def corrupt(mask: Mask, draws: Sequence[Draw], model: NoiseModel, strength: float) -> Mask:
    """Corrupt a mask as drawn: each foreground class by itself, then painted back in class order.

    Args:
        mask: (H, W) integer; class 0 .. L-1 or ``IGNORE``, which is background while classes are corrupted.
        draws: one for each foreground class 1 .. L-1 (see :func:`draw_mask`).
        model: the kind of noise that drew them.
        strength: what calibration found.

    Returns:
        (H, W), a new array with the dtype of ``mask``; ``IGNORE`` pixels stay.

    Raises:
        InputError: where the mask holds a class that has no draw.

    Example:
        >>> from metadcseg.noise.systematic import Over
        >>> mask = np.zeros((24, 24), np.uint8)
        >>> mask[10:12, 10:12] = 1
        >>> int(corrupt(mask, [{"reach": 5, "rounding": 0.0}], Over(), 1.0).sum())  # 2 + 5 + 5 pixels a side
        144
    """
    check_labels(mask, len(draws) + 1)
    return paint(
        [
            model.apply(model.prepare(mask, value, one), one, strength)
            for value, one in enumerate(draws, start=1)
        ],
        mask,
    )
