"""How a trained network is asked: once over the whole image, or in mirrored views, windows and batches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, TypeVar

from numpy.typing import NDArray

from metadcseg.data.loading.input_grid import Size
from metadcseg.errors import InputError
from metadcseg.training.prediction import OVERLAP

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class InferenceOptions:
    """Test-time options. The defaults are what validation and the published figures use.

    Args:
        flips: average the probabilities over all mirror images (4 of an image, 8 of a volume), as nnU-Net does. It
            takes as many times as long, and suits networks that were trained with flips.
        windows: leave an image larger than the network's grid at its own size, and let windows of the grid slide over
            it, rather than shrink it. The network then sees objects larger than in training.
        overlap: of neighboring windows along every axis, as a share of their side, from 0 to below 1. They are
            averaged with Gaussian weights, as in nnU-Net and MONAI.
        batch_size: slices, images or windows that the network computes together; changes the last digits at most.

    Raises:
        InputError: naming the option that is out of its range.

    Example:
        >>> InferenceOptions(flips=True).said()
        {'flips': True}
    """

    flips: bool = False
    windows: bool = False
    overlap: float = OVERLAP
    batch_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise InputError(f"--overlap must be a share from 0 to below 1, got {self.overlap}")
        if self.batch_size < 1:
            raise InputError(f"--batch-size must be at least 1, got {self.batch_size}")

    def said(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, ready for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value != getattr(DEFAULT, name)}

    def check_slides(self, patch: Sequence[int] | None) -> None:
        """Refuse an overlap where nothing overlaps.

        Args:
            patch: on which the network was trained, None for its whole grid.
        """
        if self.overlap != OVERLAP and not self.windows and patch is None:
            raise InputError(
                "--overlap is of windows, and this network sees its whole grid at once: add --windows, or leave it out"
            )

    def grid_of(self, stack: Sequence[Any] | NDArray[Any], grid: Size) -> Size:
        """Return the grid that a stack is brought to: the network's, with windows none of whose axes shrinks.

        Args:
            stack: slices, (H, W, C).
            grid: of the network.

        Example:
            >>> import numpy as np
            >>> image = np.zeros((48, 20, 1))
            >>> InferenceOptions().grid_of([image], (32, 32)), InferenceOptions(windows=True).grid_of([image], (32, 32))
            ((32, 32), (48, 32))
        """
        if not self.windows:
            return grid
        sides = (len(stack), *stack[0].shape[:2])[-len(grid) :]
        return tuple(max(own, side) for own, side in zip(sides, grid, strict=True))


DEFAULT = InferenceOptions()
"""What happens where nothing is said."""


def in_chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield lists of ``size`` items, the last one of what is left.

    Example:
        >>> list(in_chunks("abcde", 2))
        [['a', 'b'], ['c', 'd'], ['e']]
    """
    waiting = iter(items)
    while chunk := list(islice(waiting, size)):
        yield chunk
