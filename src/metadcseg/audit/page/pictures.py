"""Images of a case as 8 bit planes that a browser can show, and the small picture of the gallery."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metadcseg.audit.records import Arrays
from metadcseg.colors import GIVEN, PREDICTED
from metadcseg.constants import IGNORE

Bytes = NDArray[np.uint8]

WRONG = (255, 45, 110)
"""The heat of P(wrong): crimson, told apart from the colors of roles and of classes."""

_TAILS = (0.5, 99.5)  # percentiles between which deeper images are stretched
_MOST_VALUES = 1 << 22  # of a case that the percentiles are taken of, evenly spread
_SIDE = 256  # pixels of the longer side of a small picture
_LEAST_SHARE = 0.45  # of the image that a small picture shows
_MARGIN = 0.35  # about the objects, of their own size
_HEAT = 0.6  # of the picture that it covers where a label is certainly wrong


def planes(image: NDArray[Any]) -> list[Bytes]:
    """Return an image as 8 bit planes, each stretched over the whole case.

    Args:
        image: (Z, H, W, C) as it is stored. Three channels are one plane in color, others a gray plane each.

    Returns:
        Planes of (Z, H, W) or (Z, H, W, 3) uint8. Eight bits stay as they are; deeper images are stretched between
        their percentiles 0.5 and 99.5, values that are no numbers left aside.

    Example:
        >>> [plane.shape for plane in planes(np.zeros((1, 4, 6, 2), np.uint16))]
        [(1, 4, 6), (1, 4, 6)]
        >>> planes(np.linspace(-1, 1, 201).reshape(1, 1, 201, 1))[0][0, 0, [0, 100, 200]].tolist()
        [0, 128, 255]
    """
    if image.shape[3] == 3:
        return [_eight_bits(image)]
    return [_eight_bits(image[..., channel]) for channel in range(image.shape[3])]


def _eight_bits(values: NDArray[Any]) -> Bytes:
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    some = values.ravel()[:: 1 + values.size // _MOST_VALUES].astype(np.float32)
    known = some[np.isfinite(some)]
    low, high = np.percentile(known, _TAILS) if known.size else (0.0, 1.0)
    shown = np.empty(values.shape, np.uint8)
    for number, found in enumerate(values):
        stretched = (np.nan_to_num(found.astype(np.float32), nan=low) - low) / max(float(high - low), 1e-12)
        shown[number] = (stretched.clip(0, 1) * 255).round()
    return shown


def in_base64(picture: Bytes) -> str:
    """Return a picture as a link that carries it: gray without loss as PNG, color as JPEG of quality 92.

    Args:
        picture: (H, W) or (H, W, 3).

    Example:
        >>> in_base64(np.zeros((2, 2), np.uint8))[:22], in_base64(np.zeros((2, 2, 3), np.uint8))[:23]
        ('data:image/png;base64,', 'data:image/jpeg;base64,')
    """
    file = io.BytesIO()
    if picture.ndim == 2:
        Image.fromarray(picture).save(file, format="PNG")
        kind = "png"
    else:
        Image.fromarray(picture).save(file, format="JPEG", quality=92, subsampling=0)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def worst_slice(wrong: NDArray[np.float32]) -> int:
    """Return the number of the slice whose expected wrong area is largest.

    Args:
        wrong: (Z, H, W), P(the given label is wrong).
    """
    return int(wrong.sum(axis=(1, 2), dtype=np.float64).argmax())


def thumbnail(plane: Bytes, arrays: Arrays, spacing: tuple[float, float, float] | None) -> bytes:
    """Return the small picture of a case: its worst slice about its objects, the heat and both outlines.

    Args:
        plane: (Z, H, W) or (Z, H, W, 3), the first of :func:`planes`.
        arrays: of the case.
        spacing: in mm along (Z, H, W); pixels that are not square are drawn as long as they are.

    Returns:
        A JPEG file whose longer side has 256 pixels.
    """
    number = worst_slice(arrays.wrong)
    given, proposed = arrays.given[number], arrays.corrected["balanced"][number]
    box = _box(_objects(given) | _objects(proposed) | (arrays.regions[number] > 0))
    height, width = (side.stop - side.start for side in box)
    tall, wide = (height * spacing[1], width * spacing[2]) if spacing else (height, width)
    factor = _SIDE / max(tall, wide)
    size = max(1, round(wide * factor)), max(1, round(tall * factor))
    base = Image.fromarray(plane[number][box]).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    canvas = np.asarray(base, np.float32)
    heat = Image.fromarray(arrays.wrong[number][box].astype(np.float32)).resize(
        size, Image.Resampling.BILINEAR
    )
    share = np.asarray(heat, np.float32)[:, :, None] * np.float32(_HEAT)
    canvas = canvas + (np.array(WRONG, np.float32) - canvas) * share
    drawn = canvas.round().clip(0, 255).astype(np.uint8)
    for mask, color, wider in ((given, GIVEN, True), (proposed, PREDICTED, False)):
        resized = np.asarray(Image.fromarray(mask[box]).resize(size, Image.Resampling.NEAREST))
        drawn[_line(resized, wider)] = color
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, format="JPEG", quality=85, subsampling=0)
    return file.getvalue()


def _objects(mask: Bytes) -> NDArray[np.bool_]:
    objects: NDArray[np.bool_] = (mask > 0) & (mask != IGNORE)
    return objects


def _box(shown: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return what of a slice is drawn: its objects with a margin, or all of it."""
    if not shown.any():
        return slice(0, shown.shape[0]), slice(0, shown.shape[1])
    ends = [np.flatnonzero(shown.any(axis=other)) for other in (1, 0)]
    spans = [(int(found[0]), int(found[-1]) + 1) for found in ends]
    side = max(stop - start for start, stop in spans) * (1 + 2 * _MARGIN)
    side = max(side, _LEAST_SHARE * max(shown.shape))
    rows, columns = (
        _about((start + stop) / 2, round(side), length)
        for (start, stop), length in zip(spans, shown.shape, strict=True)
    )
    return rows, columns


def _about(center: float, side: int, length: int) -> slice:
    side = min(side, length)
    start = min(max(0, round(center - side / 2)), length - side)
    return slice(start, start + side)


def _line(mask: Bytes, wider: bool) -> NDArray[np.bool_]:
    """Return the pixels on either side of a change of class; a wider line has two on either side."""
    line = np.zeros(mask.shape, bool)
    for step in (1, 2) if wider else (1,):
        down, right = mask[step:] != mask[:-step], mask[:, step:] != mask[:, :-step]
        line[step:] |= down
        line[:-step] |= down
        line[:, step:] |= right
        line[:, :-step] |= right
    return line
