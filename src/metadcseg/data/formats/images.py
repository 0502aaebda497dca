"""Read 2D images and masks (PNG, JPEG, TIFF, BMP) into arrays, suspicious of every file.

Conventions:

- An image becomes (H, W, 1) where the file is gray and (H, W, 3) where it has color. Transparency is
  dropped, and said. CMYK, YCbCr and colored palettes become RGB; 1-bit becomes 0 and 255; other numbers
  become uint16 where they fit and float32 where they do not. 16 bits a color are kept.
- A mask becomes (H, W) integers as stored: *what they mean* is decided in `metadcseg.data.prepare.labels`. A mask in
  color is refused unless its channels agree. A palette in color stands for its indices, a gray palette for
  its gray levels. Transparency that carries the shape, and zero that is white: `metadcseg.data.formats.tones`.
- An orientation tag (EXIF) is applied to images and masks alike: a mask is drawn on what a viewer shows.
- The size is read from the header and capped before a pixel is decoded. Files of several frames are refused.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from metadcseg.data.formats import tiff
from metadcseg.data.formats.colors import Color, deep_colors, eight_bits, is_gray, mask_pixels, orientation_of
from metadcseg.data.formats.tones import flattened, white_zero_mask
from metadcseg.errors import InputError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
"""Names of files that are read as images, in lower case."""

MAX_PIXELS = 100_000_000
"""No file of more pixels is decoded: a few bytes can claim to be an image that fills the memory."""

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_SEE_THROUGH = ("RGBA", "LA", "La", "PA", "RGBa")
_LOSSY_TOLERANCE = 16  # gray saved as color JPEG: the channels differ by rounding only


@dataclass(frozen=True)
class Picture:
    """A decoded file.

    Args:
        array: (H, W, C) uint8, uint16 or float32 for an image; (H, W) integers for a mask.
        lossy: whether the format changes pixel values (JPEG).
        notes: sentences about what was changed while reading.
        orientation: what its orientation tag says, 1 to 8; 1 is upright. It has been applied.
        colors: index -> color, of the palette in color that a mask uses.
    """

    array: NDArray[Any]
    lossy: bool = False
    notes: tuple[str, ...] = ()
    orientation: int = 1
    colors: Mapping[int, Color] = field(default_factory=dict)


def image_files(folder: Path) -> list[Path]:
    """Return what is named as an image in a folder, by name; hidden files are passed over.

    A folder, a pipe or a broken link of such a name is among them: it is refused when it is read, not left out.

    Raises:
        InputError: where the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in SUFFIXES)


def read_image(path: Path) -> Picture:
    """Read an image.

    Args:
        path: a PNG, JPEG, TIFF or BMP file.

    Returns:
        The picture, (H, W, C) uint8, uint16 or float32 with C = 1 or 3.

    Raises:
        InputError: where the file cannot be read, holds several frames, or NaN or infinite values.
    """
    notes: tuple[str, ...] = ()
    lossy = inverted = False
    with _opened(path) as image:
        if image is None or tiff.is_odd(image):
            frame = tiff.read(path, MAX_PIXELS)
            array, white_zero, turned = frame.array, frame.white_zero, frame.orientation
            see_through = frame.alpha is not None
        else:
            lossy = image.format in ("JPEG", "MPO")
            white_zero = tiff.is_white_zero(image)
            inverted = image.mode in ("1", "L")  # by Pillow, where zero is white
            see_through = image.mode in _SEE_THROUGH or "transparency" in image.info
            deep = deep_colors(image)  # before anything else of the file is decoded
            turned = orientation_of(image)
            if deep is not None:
                array = tiff.upright(deep[0], turned)
            else:
                shown = _upright(image)
                array = np.asarray(
                    shown.convert("L" if is_gray(shown) else "RGB") if _needs_8_bit(shown) else shown
                )
    if see_through:
        notes = (f"{path}: its transparency is dropped",)
    if white_zero and array.dtype.kind == "u":
        array = array if inverted else np.iinfo(array.dtype).max - array
        notes = (*notes, f"{path}: zero is white in it (TIFF); it is read as viewers show it, inverted")
    array = _supported(array)
    if array.dtype == np.float32 and not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise InputError(
            f"{path}: {bad} of {array.size} values are NaN or infinite: replace them and save it again"
        )
    return Picture(np.atleast_3d(array), lossy, notes, orientation=turned)


def read_mask(path: Path) -> Picture:
    """Read a mask as it is stored, without deciding what its values mean.

    Args:
        path: a PNG, JPEG, TIFF or BMP file.

    Returns:
        The picture, (H, W) integers.

    Raises:
        InputError: where the file cannot be read, is in color, holds values that are no integers, or says with its
            transparency something that has two meanings.
    """
    colors: dict[int, Color] = {}
    notes: tuple[str, ...] = ()
    lossy = white_zero = numbers = False
    with _opened(path) as image:
        if image is None or tiff.is_odd(image):
            frame = tiff.read(path, MAX_PIXELS)
            array, white_zero, turned = frame.array, frame.white_zero, frame.orientation
            alpha, numbers = None if frame.alpha is None else eight_bits(frame.alpha), frame.numbers
        elif (deep := deep_colors(image)) is not None:
            turned = orientation_of(image)
            array = tiff.upright(deep[0], turned)
            alpha = None if deep[1] is None else tiff.upright(deep[1], turned)
        else:
            lossy, turned = image.format in ("JPEG", "MPO"), orientation_of(image)
            white_zero, numbers = tiff.is_white_zero(image), tiff.holds_numbers(image)
            array, alpha, colors = mask_pixels(_upright(image))
            if white_zero and array.dtype == np.uint8:
                array = 255 - array  # Pillow has inverted it already
    if white_zero and array.ndim == 2 and array.dtype.kind == "u":
        array, notes = white_zero_mask(path, array, int(np.iinfo(array.dtype).max), numbers)
    if alpha is not None:
        array, notes = flattened(path, array, alpha)
    if colors:
        notes = (f"{path}: a palette in color, its indices are taken as labels",)
    if array.ndim == 3:
        array = _one_channel(path, array[:, :, :3], lossy)
    return Picture(_integers(path, array), lossy, notes, turned, colors)


def with_channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return an image with the set's number of channels: gray is repeated, color stays.

    Args:
        image: (H, W, 1) or (H, W, channels).
        channels: 1 or 3.

    Example:
        >>> with_channels(np.zeros((4, 5, 1), np.uint8), 3).shape
        (4, 5, 3)
    """
    return image if image.shape[2] == channels else np.repeat(image, channels, axis=2)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image | None]:
    """Open a file, or yield None where only tifffile can; whatever a damaged one raises becomes one sentence."""
    if not path.is_file() and path.exists():
        what = "a folder" if path.is_dir() else "no regular file"
        raise InputError(f"{path} is {what}, not an image: move or rename it")
    try:
        # Pillow warns of large and odd files; our own limit and the decoder's errors decide here
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                image = Image.open(path, formats=_FORMATS)
            except UnidentifiedImageError:
                if not tiff.is_tiff(path):
                    raise
                yield None
                return
            with image:
                _check_header(path, image)
                yield image
    except (InputError, KeyboardInterrupt):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except UnidentifiedImageError as error:
        what = (
            "is empty"
            if path.stat().st_size == 0
            else "is not a PNG, JPEG, TIFF or BMP image, or its header is damaged"
        )
        raise InputError(f"{path} {what}: save it again in one of these formats") from error
    except Image.DecompressionBombError as error:
        raise tiff.too_large(path, MAX_PIXELS, "far more") from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory: make it smaller") from error
    except Exception as error:  # decoders raise anything on hostile files
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(
            f"{path} is damaged and cannot be read ({reason}): restore or export it again"
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    """Return an image as its orientation tag turns it; itself where there is nothing to turn."""
    image.load()  # a PNG may tell it behind its pixels
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    return ImageOps.exif_transpose(image) if turned else image


def _check_header(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError(f"{path}: an image of {height} x {width} pixels has no content: export it again")
    if width * height > MAX_PIXELS:
        raise tiff.too_large(path, MAX_PIXELS, f"{height} x {width}")
    frames = getattr(image, "n_frames", 1)
    if (
        frames > 1 and image.format != "MPO"
    ):  # phones add a preview to a JPEG; the first frame is the photograph
        raise tiff.several_frames(path, frames)


def _needs_8_bit(image: Image.Image) -> bool:
    """Return whether Pillow has to convert a mode that is neither gray of full depth nor RGB."""
    return not (image.mode in ("L", "F", "RGB") or image.mode.startswith("I"))


def _supported(array: NDArray[Any]) -> NDArray[Any]:
    """Return an image in one of the three types of a prepared set."""
    if array.dtype == np.uint8 or array.dtype == np.uint16:
        return array
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= np.iinfo(np.uint16).max:
        return array.astype(np.uint16)
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as that
        return array.astype(np.float32)


def _one_channel(path: Path, colors: NDArray[Any], lossy: bool) -> NDArray[Any]:
    """Return the gray of a mask that was saved in color though its channels agree."""
    spread = int(np.ptp(colors.astype(np.int64), axis=2).max())
    if spread > (_LOSSY_TOLERANCE if lossy else 0):
        raise InputError(
            f"{path} is in color, a mask has one channel of class numbers: save it as a gray PNG"
        )
    return np.ascontiguousarray(colors[:, :, colors.shape[2] // 2])


def _integers(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind in "iu":
        native: NDArray[Any] = array.astype(array.dtype.newbyteorder("="))
        return native
    if not np.isfinite(array).all():
        raise InputError(f"{path}: a mask must not hold NaN or infinite values: save class numbers instead")
    array = array.astype(np.float64)
    whole = np.rint(array)
    if (whole != array).any() or np.abs(whole).max() > np.iinfo(np.int32).max:
        raise InputError(
            f"{path}: a mask holds whole class numbers, got fractions: threshold it and save it again"
        )
    return np.asarray(whole, np.int32)
