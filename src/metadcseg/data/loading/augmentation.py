"""Draw the paper's augmentation (section 4.1): flips, a small rotation, and a zoom by a few pixels.

Drawing is all that happens here: the result is one affine map, which ``metadcseg.warp.Warp`` applies to the
image (filled with 0, the mean of a normalized image) and to the label (filled with ``IGNORE``), and inverts
for the per-pixel weights.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from metadcseg.errors import InputError
from metadcseg.validation import check_types


@dataclass(frozen=True)
class AugmentOptions:
    """How far a training image may be moved.

    Args:
        flip: mirror left-right and top-bottom, each with probability one half.
        rotation: largest angle in degrees, 0 to 180; drawn evenly from -rotation to rotation.
        zoom: least and largest change of the grid's side in pixels; drawn evenly, in or out by a fair coin.
            Less than half of the side is used whatever is asked for.
        intensity: also change noise, blur, brightness, contrast and gamma (:func:`.change_intensity`).

    Raises:
        InputError: naming the option that is out of its range.
    """

    flip: bool = True
    rotation: float = 10.0
    zoom: tuple[int, int] = (4, 30)
    intensity: bool = False

    def __post_init__(self) -> None:
        check_types(self, "augment")
        if not 0 <= self.rotation <= 180:
            raise InputError(
                f"augment.rotation must be 0 to 180 degrees, got {self.rotation}; choose a smaller angle"
            )
        if not 0 <= self.zoom[0] <= self.zoom[1]:
            raise InputError(
                f"augment.zoom must be two pixel counts, the lower first, got {tuple(self.zoom)}; "
                "write for example [4, 30]"
            )


def draw_warp(options: AugmentOptions, size: int, generator: Generator) -> Tensor:
    """Draw one affine map about the image center, from output to input coordinates.

    Zooming in by z pixels shows the image as if its side were size + z, zooming out as if it were size - z.
    Every option draws its numbers even when it is off, so switching one off leaves the others as they were.

    Args:
        options: how far the image may be moved.
        size: side of the square input grid in pixels.
        generator: the only source of randomness.

    Returns:
        (2, 3) float32 in the coordinates of :class:`metadcseg.warp.Warp`; always invertible.

    Example:
        >>> still = AugmentOptions(flip=False, rotation=0.0, zoom=(0, 0))
        >>> draw_warp(still, 64, torch.Generator()).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    mirror_x, mirror_y, turn, change, inwards = torch.rand(
        5, generator=generator, dtype=torch.float64
    ).tolist()
    flip_x = -1.0 if options.flip and mirror_x < 0.5 else 1.0
    flip_y = -1.0 if options.flip and mirror_y < 0.5 else 1.0
    angle = math.radians((2 * turn - 1) * options.rotation)
    pixels = _zoom_pixels(options.zoom, size, change)
    shrink = size / (size + pixels if inwards < 0.5 else size - pixels)
    cosine, sine = shrink * math.cos(angle), shrink * math.sin(angle)
    return torch.tensor(
        [[flip_x * cosine, -flip_x * sine + 0.0, 0.0], [flip_y * sine + 0.0, flip_y * cosine, 0.0]],
        dtype=torch.float32,
    )


def _zoom_pixels(zoom: tuple[int, int], size: int, change: float) -> int:
    """Return an integer of the range, evenly; ``change`` is uniform on [0, 1)."""
    most = (size - 1) // 2
    low, high = min(zoom[0], most), min(zoom[1], most)
    return low + int(change * (high - low + 1))
