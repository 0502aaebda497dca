"""What an audit says of a case: facts that are written down, and the arrays that pictures and files are made of."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.store.layout import Side
from metadcseg.errors import InputError

Kind = Literal["too large", "too small", "missing", "invented", "shifted", "other"]
"""What is wrong in a region: a rim drawn outside or inside the truth, an object left out or made up, ..."""

Level = Literal["sure", "balanced", "network"]
"""How far a corrected mask goes: regions of high probability, those more probable than not, all the network's own."""

Class = Annotated[int, Meta(ge=0, le=IGNORE)]

LEVELS: tuple[Level, ...] = get_args(Level)
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Region:
    """Connected pixels of one given and one proposed class whose given label is probably wrong.

    Args:
        number: of the region in its case, from 1 in falling order of ``expected_wrong``; ``Arrays.regions`` holds it.
        kind: what is wrong, one of ``KINDS``.
        given: the class that they were given.
        proposed: the class that is more probable.
        pixels: how many, or voxels.
        size: their area in mm2, or volume in mm3; None where the spacing is not known.
        probability: mean probability that the given label is wrong, from 0 to 1.
        expected_wrong: sum of that probability, in pixels.
        box: first and one past the last index along (Z, H, W); an image has Z = 1.
    """

    number: Annotated[int, Meta(ge=1)]
    kind: Kind
    given: Class
    proposed: Class
    pixels: Annotated[int, Meta(ge=1)]
    size: float | None
    probability: Annotated[float, Meta(ge=0, le=1)]
    expected_wrong: float
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class AuditedCase:
    """One case of an audit, without its pixels.

    Args:
        id: of the case in its set.
        name: of its files, without a suffix; safe on every file system.
        split: its role in the set.
        shape: (Z, H, W) in pixels; an image has Z = 1.
        spacing: in mm along (Z, H, W); None where it is not known.
        dsc: the expected DSC of the given mask with the truth, mean over the foreground classes.
        dsc_interval: its lower and upper limit at 95 %.
        regions: in the order of their numbers.
        annotator: who drew the given mask, where that is known.
        group: such as the patient, where that is known.
        true_dsc: DSC of the given mask with the truth, where there is truth.
        corrected_dsc: the same of the corrected masks, by level.
    """

    id: str
    name: str
    split: str
    shape: tuple[Side, Side, Side]
    spacing: tuple[float, float, float] | None
    dsc: float
    dsc_interval: tuple[float, float]
    regions: tuple[Region, ...]
    annotator: str | None = None
    group: str | None = None
    true_dsc: float | None = None
    corrected_dsc: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrays:
    """The pixels of an audited case, all of one shape (Z, H, W); an image has Z = 1.

    Args:
        image: (Z, H, W, C) as it is stored.
        given: uint8 class numbers, 255 is ignored.
        wrong: float32, P(the given label is wrong), from 0 to 1; 0 where ignored.
        regions: int32 number of the region, 0 where none is.
        corrected: uint8 class numbers of every level, 255 is ignored.

    Raises:
        InputError: for arrays of other shapes.

    Example:
        >>> mask = np.zeros((1, 2, 2), np.uint8)
        >>> levels = {level: mask for level in LEVELS}
        >>> Arrays(np.zeros((1, 2, 2, 3), np.uint8), mask, mask * 0.5, mask.astype(np.int32), levels).shape
        (1, 2, 2)
    """

    image: NDArray[Any]
    given: NDArray[np.uint8]
    wrong: NDArray[np.float32]
    regions: NDArray[np.int32]
    corrected: dict[Level, NDArray[np.uint8]]

    def __post_init__(self) -> None:
        if self.given.ndim != 3 or self.image.ndim != 4 or self.image.shape[:3] != self.given.shape:
            raise InputError(
                f"given must be (Z, H, W) and image (Z, H, W, C), got {self.given.shape} and {self.image.shape}"
            )
        others: list[tuple[str, NDArray[Any]]] = [("wrong", self.wrong), ("regions", self.regions)]
        others += [(level, mask) for level, mask in self.corrected.items()]
        for name, array in others:
            if array.shape != self.given.shape:
                raise InputError(
                    f"{name} must have the shape of given, {self.given.shape}, got {array.shape}"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (Z, H, W)."""
        return self.given.shape
