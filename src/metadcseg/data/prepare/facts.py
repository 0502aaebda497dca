"""What is known of a case once its files were decoded: all that is judged about it later is judged from this alone.

`look.LookAt` gathers it, once per case and in any process. Whatever shall be said about masks (a foreground that
is too large, a class that nobody has) needs no second look at a file: it is a function of `CaseFacts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.findings import Finding
from metadcseg.data.formats.geometry import Volume
from metadcseg.data.formats.soft import has_soft_edges
from metadcseg.data.prepare.outlines import Overlap
from metadcseg.data.prepare.tiny import Objects

MOST_LEVELS = 256
"""A mask with more different values is no mask."""


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What is in one mask file.

    Args:
        where: the file or case.
        levels: the different values in it, ascending (cut off where there are too many); by the table of
            `metadcseg.data.prepare.meanings` where there is one.
        soft: whether it is black and white with soft edges.
        lossy: whether the format changes values (JPEG).
        counts: how many pixels hold each of the levels.
        border: how many pixels on the rim of the slices do.
        shape: (X, Y, Z) of a volume, (H, W, 1) of an image.
        names: what the file calls its values (:attr:`.Volume.names`).
        orientation: what the orientation tag of its file says.
        stored: the levels as the file holds them, where a table says other ones.
        objects: how large the connected parts of each value are, where that was asked for.
    """

    where: str
    levels: tuple[int, ...]
    soft: bool = False
    lossy: bool = False
    counts: tuple[int, ...] = ()
    border: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    orientation: int = 1
    objects: Objects | None = None
    stored: tuple[int, ...] | None = None

    @property
    def in_file(self) -> tuple[int, ...]:
        """The levels as the file holds them."""
        return self.levels if self.stored is None else self.stored


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What one case is like.

    Args:
        findings: what is wrong with it by itself.
        content: digest of what its image shows, equal for equal ones; None where it cannot be read.
        channels: of the image; 0 where it cannot be read.
        masks: what is in its masks (:attr:`.RawCase.masks`), as far as they can be read.
        beside: name of a mask that the verified one replaced -> the values that both hold in one place: two rows, a
            column for every combination.
        orientation: what the orientation tag of its image says, 1 is upright.
        overlaps: what its outlines have in common, where several annotators drew it.
    """

    findings: tuple[Finding, ...]
    content: str | None = None
    channels: int = 0
    masks: Mapping[str, MaskFacts] = field(default_factory=dict)
    beside: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    orientation: int = 1
    overlaps: tuple[Overlap, ...] = ()

    @property
    def best(self) -> str:
        """The kind of mask that evaluation compares with: its ``truth``, or else its ``label``."""
        return "truth" if "truth" in self.masks else "label"


def mask_facts(where: str, mask: Volume, axis: int = 2) -> MaskFacts:
    """Look at what is in a mask.

    Args:
        where: the file or case, for sentences.
        mask: (X, Y, Z) integers, of an image (H, W, 1).
        axis: along which the slices lie whose rim is counted.

    Example:
        >>> from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid
        >>> array = np.array([[0, 0, 0], [0, 255, 0], [0, 255, 255]])[:, :, None]
        >>> found = mask_facts("a.png", Volume(array, Grid(array.shape, UNKNOWN_AFFINE, known=False)))
        >>> found.levels, found.counts, found.border
        ((0, 255), (6, 3), (6, 2))
    """
    array = mask.array
    levels, counts = _counted(array)
    planes = array.transpose(axis, *(other for other in range(3) if other != axis))
    rim = dict(zip(*_counted(rim_of(planes)), strict=True))
    known = tuple(levels[: MOST_LEVELS + 1])
    return MaskFacts(
        where,
        known,
        array.shape[2] == 1 and has_soft_edges(array[:, :, 0], levels, lossy=mask.lossy),
        mask.lossy,
        tuple(counts[: len(known)]),
        tuple(rim.get(level, 0) for level in known),
        array.shape,
        mask.names,
        mask.orientation,
    )


def rim_of(planes: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels on the rim of each of the planes, (D, H, W), in a row.

    Example:
        >>> rim_of(np.arange(12).reshape(1, 3, 4)).tolist()
        [0, 1, 2, 3, 8, 9, 10, 11, 4, 7]
    """
    if min(planes.shape[1:]) < 3:
        return planes.ravel()
    ends = (0, -1)
    return np.concatenate([planes[:, ends].ravel(), planes[:, 1:-1, ends].ravel()])


def values_beside(verified: NDArray[np.integer], given: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the values that two masks of one shape hold in one place.

    Returns:
        (2, N): a column for every combination that occurs.

    Example:
        >>> values_beside(np.array([0, 1, 1, 1]), np.array([0, 0, 7, 7])).tolist()
        [[0, 1, 1], [0, 0, 7]]
    """
    first, places = np.unique(verified, return_inverse=True)
    second, others = np.unique(given, return_inverse=True)
    both = np.unique(places.ravel().astype(np.int64) * len(second) + others.ravel())
    return np.stack([first[both // len(second)], second[both % len(second)]]).astype(np.int64)


def _counted(array: NDArray[np.integer]) -> tuple[list[int], list[int]]:
    """Return the different values, ascending, and how often each occurs."""
    if array.dtype == np.uint8:  # several times as fast as sorting
        every = np.bincount(array.ravel(), minlength=256)
        held = np.flatnonzero(every)
        return held.tolist(), every[held].tolist()
    values, counts = np.unique(array, return_counts=True)
    return values.tolist(), counts.tolist()
