"""Pixels in Pillow's hands: 16 bits a color without loss, orientation, and the colors and transparency of masks."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

Color = tuple[int, int, int]
_NATIVE = "L" if sys.byteorder == "little" else "B"


def orientation_of(image: Image.Image) -> int:
    """Return what the orientation tag of an opened file says, 1 to 8; 1 is upright, also where it is missing."""
    turned = image.getexif().get(ExifTags.Base.Orientation, 1)
    return turned if turned in range(1, 9) else 1


def is_gray(image: Image.Image) -> bool:
    """Return whether an opened file holds gray, a palette of gray included."""
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def deep_colors(image: Image.Image) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None] | None:
    """Return an opened file of 16 bits a color with all of them, not turned yet; None of any other file.

    Pillow keeps one byte of each number, so the file is decoded twice: for the high bytes, and for the low ones.

    Args:
        image: as it was opened, nothing decoded yet.

    Returns:
        (H, W, 1 or 3) uint16, and alpha (H, W) uint8 or None.
    """
    tiles = getattr(image, "tile", [])  # how the file will be unpacked: (codec, extents, offset, raw mode)
    held = tiles[0].args if tiles else ""
    mode = str(held[0] if isinstance(held, tuple) else held)
    if (
        mode == "LA;16B" and image.format == "PNG"
    ):  # four bytes a pixel: gray, high and low, then alpha likewise
        _unpack_as(image, "RGBA")
        four = np.array(image)
        gray = np.asarray((four[:, :, :1].astype(np.uint16) << 8) | four[:, :, 1:2], np.uint16)
        return gray, np.ascontiguousarray(four[:, :, 2])
    kind, _, order = mode.partition(";16")
    if kind not in ("RGB", "RGBA", "RGBX") or order not in ("B", "L", "N"):
        return None
    order = _NATIVE if order == "N" else order
    with Image.open(image.filename, formats=(str(image.format),)) as other:  # type: ignore[attr-defined]
        _unpack_as(other, f"{kind};16{'L' if order == 'B' else 'B'}")
        high, low = np.array(image), np.array(other)[:, :, :3].astype(np.uint16)
    alpha = np.ascontiguousarray(high[:, :, 3]) if kind == "RGBA" else None
    return np.asarray((high[:, :, :3].astype(np.uint16) << 8) | low, np.uint16), alpha


def mask_pixels(
    shown: Image.Image,
) -> tuple[NDArray[Any], NDArray[np.uint8] | None, dict[int, Color]]:
    """Return what an opened mask holds.

    Args:
        shown: upright.

    Returns:
        (H, W) or (H, W, 3) numbers; alpha (H, W) where it may count, else None; index -> color of a palette in
        color, of the indices that occur.
    """
    if shown.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        whole = np.array(shown.convert("RGBA"))
        return whole[:, :, 0] if is_gray(shown) else whole[:, :, :3], whole[:, :, 3], {}
    if shown.mode == "CMYK":
        return np.array(shown.convert("RGB")), None, {}
    if shown.mode != "P":
        return np.array(shown.convert("L") if shown.mode == "1" else shown), None, {}
    array, whole = np.array(shown), np.array(shown.convert("RGBA"))
    if (whole[:, :, :3] == whole[:1, :1, :3]).all() and (whole[:, :, 3] != whole[0, 0, 3]).any():
        return whole[:, :, :3], whole[:, :, 3], {}
    if is_gray(shown):
        return np.array(shown.convert("L")), None, {}
    palette = np.array(shown.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    palette = np.concatenate([palette, np.zeros((256 - len(palette), 3), palette.dtype)])
    named = {int(index): _color(palette[index]) for index in np.unique(array)}
    return array, None, named


def eight_bits(alpha: NDArray[Any]) -> NDArray[np.uint8]:
    """Return alpha of any depth as 0 to 255."""
    top = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    return np.asarray(np.rint(alpha / top * 255), np.uint8)


def _unpack_as(image: Image.Image, mode: str) -> None:
    def changed(held: Any) -> Any:
        return (mode, *held[1:]) if isinstance(held, tuple) else mode

    image.tile = [tile._replace(args=changed(tile.args)) for tile in image.tile]  # type: ignore[attr-defined]


def _color(color: NDArray[Any]) -> Color:
    red, green, blue = (int(value) for value in color)
    return red, green, blue
