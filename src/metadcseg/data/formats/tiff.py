"""TIFF as scientists write it, by tifffile: any sample type, BigTIFF, planes apart, 16 bits a color.

Pillow reads the common kinds; `is_odd` says of which it would change or refuse the numbers. Numbers come back as they
are stored: what zero means where zero is white is decided in `metadcseg.data.formats.tones`.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from metadcseg.errors import InputError

logging.getLogger("tifffile").setLevel(
    logging.CRITICAL
)  # what it logs of a damaged file is raised here as well

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _SOFTWARE = 258, 259, 262, 277, 305
_ORIENTATION, _PLANAR, _EXTRA, _FORMAT = 274, 284, 338, 339
_TONES = (0, 1, 2)  # white is zero, black is zero, RGB
_CODECS = (1, 8, 32773, 32946, 34925)  # those that tifffile decodes without further libraries


@dataclass(frozen=True)
class Frame:
    """What a TIFF holds.

    Args:
        array: (H, W) or (H, W, 3), numbers as stored, upright; 1 bit is 0 and 255.
        alpha: (H, W) or None.
        white_zero: whether zero is white.
        numbers: whether it is known to hold numbers all the same (`holds_numbers`).
        orientation: what its tag says, 1 to 8.
    """

    array: NDArray[Any]
    alpha: NDArray[Any] | None
    white_zero: bool
    numbers: bool
    orientation: int


def is_tiff(path: Path) -> bool:
    """Return whether a file begins as TIFF or BigTIFF of either byte order do."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def is_odd(image: Image.Image) -> bool:
    """Return whether Pillow would not give the numbers of an opened TIFF as they are stored."""
    if image.format != "TIFF":
        return False
    tags = _tags(image)
    samples, bits = int(tags.get(_SAMPLES, 1)), set(tags.get(_BITS, (1,)))
    kinds = set(tags.get(_FORMAT, (1,)))
    if tags.get(_PHOTOMETRIC) not in _TONES:
        return False
    whole = kinds == {1} and (bits <= {1, 8} or bits == {16})
    real = kinds == {3} and bits == {32} and samples == 1
    if not (whole or real):
        return True
    extra = samples in (2, 4) and tags.get(_EXTRA, (0,))[0] not in (1, 2)
    apart = samples > 1 and (tags.get(_PLANAR, 1) == 2 or bits == {16})
    aside = tags.get(_ORIENTATION, 1) in (5, 6, 7, 8)  # Pillow 13 scrambles the rows of those
    return (apart or extra or aside) and tags.get(_COMPRESSION, 1) in _CODECS


def is_white_zero(image: Image.Image) -> bool:
    """Return whether an opened file is a TIFF of which zero is white."""
    return image.format == "TIFF" and _tags(image).get(_PHOTOMETRIC) == 0


def holds_numbers(image: Image.Image) -> bool:
    """Return whether tifffile wrote an opened TIFF of 1 bit: it says of every bool array that zero is white."""
    return is_white_zero(image) and image.mode == "1" and _by_tifffile(_tags(image).get(_SOFTWARE))


def several_frames(path: Path, frames: int) -> InputError:
    """Return the refusal of a file of several frames."""
    return InputError(
        f"{path} holds {frames} frames, a single one is allowed: save each as a file of its own"
    )


def too_large(path: Path, most: int, got: str) -> InputError:
    """Return the refusal of a file of too many pixels."""
    return InputError(f"{path}: at most {most // 10**6} megapixels are read, got {got}: tile or shrink it")


def _by_tifffile(software: object) -> bool:
    return str(software).startswith("tifffile")


def _tags(image: Image.Image) -> Any:
    return image.tag_v2  # type: ignore[attr-defined]


def read(path: Path, most: int) -> Frame:
    """Read the only frame of a TIFF.

    Args:
        path: the file.
        most: pixels that are decoded at most.

    Raises:
        InputError: where it holds several frames, too many pixels, or channels that are neither gray nor color.
    """
    with tifffile.TiffFile(path) as file:
        frames = len(file.pages)
        page: Any = file.pages[0]
        if frames != 1:
            raise several_frames(path, frames)
        height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
        if not 0 < height * width <= most:
            raise too_large(path, most, f"{height} x {width}")
        if not page.dataoffsets or not all(page.databytecounts):  # tifffile would fill in zeros
            raise InputError(
                f"{path} is damaged, a part of its pixels is missing: restore or export it again"
            )
        alphas = sum(int(kind) in (1, 2) for kind in page.extrasamples)
        if samples - alphas not in (1, 3) or alphas > 1:
            raise InputError(
                f"{path} holds {samples} channels, an image has 1 (gray) or 3 (color): save those that are wanted"
            )
        try:
            array: NDArray[Any] = np.asarray(page.asarray())
        except (ValueError, ModuleNotFoundError) as error:
            if int(page.compression) in _CODECS:
                raise
            raise InputError(
                f"{path}: {page.dtype} numbers compressed as {page.compression.name} are not read: save it again "
                "without compression"
            ) from error
        if samples > 1:
            array = np.moveaxis(array, 0, 2) if int(page.planarconfig) == 2 else array
        tag = page.tags.get(_ORIENTATION)
        turned = int(tag.value) if tag is not None else 1
        white_zero = int(page.photometric) == 0
        writer = page.tags.get(_SOFTWARE)
        numbers = array.dtype == bool and _by_tifffile(writer and writer.value)
    if array.dtype.kind not in "buif" or array.shape[:2] != (height, width):
        raise InputError(
            f"{path} holds {array.dtype} of {array.shape}, an image holds plain numbers: save it as such"
        )
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    array = upright(array, turned)
    array = array.astype(array.dtype.newbyteorder("="))
    alpha = array[:, :, -1] if alphas else None
    colors = array[:, :, : samples - alphas] if samples > 1 else array
    if colors.ndim == 3 and colors.shape[2] == 1:
        colors = colors[:, :, 0]
    return Frame(colors, alpha, white_zero, numbers, turned)


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an array (H, W, ...) as an orientation tag, 1 to 8, says that it is to be shown.

    Example:
        >>> upright(np.array([[1, 2], [3, 4]]), 6).tolist()
        [[3, 1], [4, 2]]
    """
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
