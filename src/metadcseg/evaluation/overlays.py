"""Pictures of predictions: masks as PNG files, and images with the outlines drawn on them."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metadcseg.colours import class_colour
from metadcseg.evaluation.metrics import boundary
from metadcseg.tensors import IGNORE

Labels = NDArray[np.uint8]
Picture = NDArray[np.uint8]

_REFERENCE = (255, 255, 255)
_FILL = 0.3
_WIDTH = 200  # the outline is one pixel wide for every so many pixels of the shorter side


def mask_values(classes: Sequence[str]) -> dict[str, int]:
    """Return the grey value of each class in the masks that this package writes.

    Two classes are written as 0 and 255, which every viewer shows; more as their class numbers, which look
    black in a viewer (overlays show them) but are what every tool reads back as labels.

    Example:
        >>> mask_values(["background", "polyp"])
        {'background': 0, 'polyp': 255}
        >>> mask_values(["background", "organ", "core"])
        {'background': 0, 'organ': 1, 'core': 2}
    """
    step = 255 if len(classes) == 2 else 1
    return {name: number * step for number, name in enumerate(classes)}


def encode_mask(labels: Labels, classes: Sequence[str]) -> bytes:
    """Return (H, W) uint8 class numbers as a grey PNG file with the values of :func:`mask_values`."""
    step = 255 if len(classes) == 2 else 1
    return _png(labels * np.uint8(step))


def overlay(image: NDArray[Any], prediction: Labels, reference: Labels | None = None) -> Picture:
    """Draw masks on their image: a tint with an outline for each class, a white outline for the reference.

    Args:
        image: (H, W, C) uint8, uint16 or float32; three channels are shown in colour, else the first in grey.
        prediction: (H, W) class numbers.
        reference: (H, W) class numbers; values that no class has (ignored pixels) are not drawn.

    Returns:
        (H, W, 3) uint8.

    Example:
        >>> mask = np.zeros((8, 8), np.uint8)
        >>> mask[2:6, 2:6] = 1
        >>> overlay(np.zeros((8, 8, 1), np.uint8), mask)[2, 2].tolist()
        [0, 158, 115]
    """
    canvas = display(image).astype(np.float32)
    width = max(1, min(prediction.shape) // _WIDTH)
    numbers = [int(number) for number in np.unique(prediction) if number > 0]
    for number in numbers:
        colour = np.array(class_colour(number))
        inside = prediction == number
        canvas[inside] = (1 - _FILL) * canvas[inside] + _FILL * colour
        canvas[_outline(inside, width)] = colour
    if reference is not None:
        for number in range(1, int(reference[reference != IGNORE].max(initial=0)) + 1):
            canvas[_outline(reference == number, width)] = _REFERENCE
    return canvas.round().astype(np.uint8)


def encode_picture(picture: Picture) -> bytes:
    """Return an (H, W, 3) uint8 picture as a PNG file."""
    return _png(picture)


def display(image: NDArray[Any]) -> Picture:
    """Return an image as (H, W, 3) uint8, deeper than 8 bits stretched between its 1st and 99th percentile.

    Example:
        >>> display(np.arange(4, dtype=np.uint8).reshape(2, 2, 1))[1, 1].tolist()
        [3, 3, 3]
    """
    shown = image if image.shape[2] == 3 else np.repeat(image[:, :, :1], 3, axis=2)
    if shown.dtype == np.uint8:
        return shown
    low, high = np.percentile(shown, (1, 99))
    stretched = (shown.astype(np.float32) - low) / max(float(high - low), 1e-12)
    picture: Picture = (stretched.clip(0, 1) * 255).round().astype(np.uint8)
    return picture


def _outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the outermost ``width`` pixels of a mask."""
    inner = mask
    for _ in range(width):
        inner = inner & ~boundary(inner)
    return mask & ~inner


def _png(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG")
    return file.getvalue()
