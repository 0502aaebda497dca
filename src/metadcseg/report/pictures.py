"""Pictures for a page: images with outlines drawn on them, small enough to travel inside the page."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metadcseg.colors import Color
from metadcseg.errors import InputError

Labels = NDArray[np.uint8]

_SIDE = 264  # pixels of the longer side as shown, about; twice what a narrow column needs


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """Return a file as a link that carries it.

    Example:
        >>> data_uri(b"abc")
        'data:image/png;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def read_mask(file: Path, shape: tuple[int, int], classes: int) -> Labels:
    """Read a predicted mask as class numbers; with two classes every value above 0 is the foreground.

    Raises:
        InputError: where it cannot be read or has another size than its image.
    """
    try:
        with Image.open(file, formats=["PNG"]) as picture:
            values = np.array(picture.convert("L"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{file} cannot be read ({error}); evaluate the run again") from error
    if values.shape != shape:
        raise InputError(f"{file} must be {shape} like its image, got {values.shape}; evaluate the run again")
    return (values > 0).astype(np.uint8) if classes == 2 else values


def outlined(image: NDArray[Any], outlines: Sequence[tuple[Labels, Color]] = ()) -> str:
    """Draw the borders between the classes of masks on an image.

    Args:
        image: (H, W, C) uint8, uint16 or float32; three channels are shown in color, else the first in gray.
        outlines: masks (H, W) with the color of their border, the later over the earlier.

    Returns:
        A link that carries the picture as JPEG.
    """
    height, width = image.shape[:2]
    factor = _SIDE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    canvas = np.array(Image.fromarray(_gray_levels(image)).resize(size, Image.Resampling.BICUBIC))
    for labels, color in outlines:
        canvas[_border(np.array(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)))] = color
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, format="JPEG", quality=88, subsampling=0)
    return data_uri(file.getvalue(), "image/jpeg")


def _gray_levels(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8, deeper images stretched between their 1st and 99th percentile."""
    shown = image if image.shape[2] == 3 else np.repeat(image[:, :, :1], 3, axis=2)
    if shown.dtype == np.uint8:
        return np.asarray(shown, np.uint8)
    low, high = np.percentile(shown, (1, 99))
    return np.asarray(((shown - low) / max(float(high - low), 1e-12)).clip(0, 1) * 255, np.uint8)


def _border(labels: Labels) -> NDArray[np.bool_]:
    """Return the pixels, (H, W) bool, on either side of a change of class: a line of two pixels."""
    border = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    return border
