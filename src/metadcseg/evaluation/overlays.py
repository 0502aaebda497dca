"""Pictures of predictions: masks as PNG files, and images with the outlines drawn on them."""

import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metadcseg.colors import GIVEN, PREDICTED, VERIFIED, LegendEntry, class_color, with_key
from metadcseg.constants import IGNORE
from metadcseg.data.formats.geometry import Volume
from metadcseg.data.slicing.cut import cut_labels
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.metrics import boundary

Labels = NDArray[np.uint8]
Picture = NDArray[np.uint8]

_FILL = 0.3
_SLICES, _COLUMNS = 9, 3
_WIDTH = 200  # the outline is one pixel wide for every so many pixels of the shorter side


def mask_values(classes: Sequence[str]) -> dict[str, int]:
    """Return the gray value of each class in the masks that this package writes.

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
    """Return (H, W) uint8 class numbers as a gray PNG file with the values of :func:`mask_values`."""
    step = 255 if len(classes) == 2 else 1
    return _png(labels * np.uint8(step))


def overlay(
    image: NDArray[Any],
    prediction: Labels,
    reference: Labels | None = None,
    *,
    verified: bool = True,
    foreground: int = 1,
) -> Picture:
    """Draw masks on their image: predictions outlined in blue and tinted, references outlined.

    Args:
        image: (H, W, C) uint8, uint16 or float32; three channels are shown in color, else the first in gray.
        prediction: (H, W) class numbers.
        reference: (H, W) class numbers; values that no class has (ignored pixels) are not drawn.
        verified: whether the reference is verified (green), or the label as given (orange).
        foreground: classes beside the background; several are tinted in colors of their own.

    Returns:
        (H, W, 3) uint8.

    Example:
        >>> mask = np.zeros((8, 8), np.uint8)
        >>> mask[2:6, 2:6] = 1
        >>> overlay(np.zeros((8, 8, 1), np.uint8), mask)[2, 2].tolist()
        [86, 180, 233]
    """
    canvas = display(image).astype(np.float32)
    width = max(1, min(prediction.shape) // _WIDTH)
    for number in (int(number) for number in np.unique(prediction) if number > 0):
        inside = prediction == number
        tint = np.array(class_color(number, foreground))
        canvas[inside] = (1 - _FILL) * canvas[inside] + _FILL * tint
        canvas[_outline(inside, width)] = PREDICTED
    if reference is not None:
        for number in range(1, int(reference[reference != IGNORE].max(initial=0)) + 1):
            canvas[_outline(reference == number, width)] = VERIFIED if verified else GIVEN
    return canvas.round().astype(np.uint8)


Kind = Literal["verified", "given"]


def kind_of(reference: Labels | None, verified: bool) -> Kind | None:
    """Return what a reference is, None where there is none."""
    return None if reference is None else "verified" if verified else "given"


def with_legend(
    picture: Picture, classes: Sequence[str], *, title: str, reference: Kind | None = None
) -> Picture:
    """Return an overlay with the name of its case and the meaning of its colors below it.

    Args:
        picture: as :func:`overlay` or :func:`montage` drew it.
        classes: names, background first.
        title: name of the case.
        reference: what is outlined beside the prediction.

    Returns:
        (H + lines of text, W or a little more, 3) uint8.
    """
    entries = [LegendEntry("predicted", PREDICTED)]
    if reference is not None:
        entries.append(LegendEntry(reference, VERIFIED if reference == "verified" else GIVEN))
    names = classes[1:]
    if len(names) > 1:
        entries += [
            LegendEntry(name, class_color(number, len(names)), area=True)
            for number, name in enumerate(names, start=1)
        ]
    return with_key(picture, entries, title)


def montage(
    stack: Sequence[NDArray[Any]] | NDArray[Any],
    prediction: Labels,
    reference: Labels | None = None,
    *,
    verified: bool = True,
    foreground: int = 1,
) -> Picture:
    """Draw up to nine slices of a volume side by side, evenly over those that show a mask.

    Args:
        stack: the slices, (H, W, C) each.
        prediction: (slices, H, W) class numbers.
        reference: likewise, or None.
        verified: as for :func:`overlay`.
        foreground: likewise.

    Returns:
        Up to three rows of three slices with their masks, see :func:`overlay`, uint8.

    Example:
        >>> flat = [np.zeros((8, 6, 1), np.float32)] * 5
        >>> montage(flat, np.zeros((5, 8, 6), np.uint8)).shape
        (16, 18, 3)
    """
    masks = (
        prediction
        if reference is None
        else np.maximum(prediction, np.where(reference == IGNORE, 0, reference))
    )
    shown = np.flatnonzero(masks.reshape(len(masks), -1).any(axis=1))
    if not len(shown):
        shown = np.arange(len(masks))
    chosen = shown[np.unique(np.linspace(0, len(shown) - 1, _SLICES).round().astype(int))]
    low, high = np.percentile(np.stack([stack[number] for number in chosen]).astype(np.float32), (1, 99))
    gray = [np.clip((stack[n].astype(np.float32) - low) / max(high - low, 1e-6), 0, 1) * 255 for n in chosen]
    pictures = [
        overlay(
            image.astype(np.uint8),
            prediction[number],
            None if reference is None else reference[number],
            verified=verified,
            foreground=foreground,
        )
        for image, number in zip(gray, chosen, strict=True)
    ]
    columns = min(_COLUMNS, len(pictures))
    blank = [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    cells = [*pictures, *blank]
    rows = [np.concatenate(cells[start : start + columns], axis=1) for start in range(0, len(cells), columns)]
    return np.concatenate(rows, axis=0)


def picture_of(
    stack: Sequence[NDArray[Any]] | NDArray[Any],
    placement: SliceGeometry,
    labels: Labels,
    reference: Labels | None = None,
    *,
    classes: Sequence[str],
    title: str,
    verified: bool = True,
) -> bytes:
    """Return slices of a volume with their outlines and a legend as a PNG file, see :func:`montage`.

    Args:
        stack: every slice in order, (H, W, C).
        placement: where they lie in the volume.
        labels: (X, Y, Z) on the grid of the file.
        reference: likewise, or None.
        classes: names, background first.
        title: name of the case.
        verified: whether the reference is, or is the label as given.
    """
    grid = placement.grid
    found = cut_labels(Volume(labels, grid), placement)
    compared = None if reference is None else cut_labels(Volume(reference, grid), placement)
    picture = montage(stack, found, compared, verified=verified, foreground=len(classes) - 1)
    return encode_picture(with_legend(picture, classes, title=title, reference=kind_of(compared, verified)))


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
