"""The files of one case: read, compared with each other, and brought to one grid.

An image is a volume of one slice: (H, W) becomes (H, W, 1) on a grid that nobody knows.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats import volumes as volume_files
from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid, Volume
from metadcseg.data.formats.images import Picture, read_image, read_mask
from metadcseg.data.prepare.placing import lies_on, sides_of, size_of
from metadcseg.data.sources.case import RawCase
from metadcseg.data.sources.label_confidence import as_label_confidence
from metadcseg.errors import InputError


def require_libraries(cases: Iterable[RawCase]) -> None:
    """Make sure that the libraries which read these volumes are installed.

    Raises:
        InputError: naming the first library that is missing, and how to install it.
    """
    named = (
        path
        for case in cases
        if not case.flat
        for path in (*case.files, case.label, case.truth, case.given, case.label_confidence)
    )
    volume_files.require_readers(
        path for held in named for path in ((held,) if isinstance(held, Path) else getattr(held, "files", ()))
    )


def head_of(case: RawCase) -> tuple[Grid, int]:
    """Return the grid of a volume and its number of channels, from headers.

    Raises:
        InputError: naming the file that cannot be read.
    """
    if case.stacked:
        return volume_files.stack_grid(case.files, key=case.image_key or "image"), 1
    heads = [volume_files.read_grid(path, key=case.image_key) for path in case.files]
    return heads[0][0], sum(channels for _, channels in heads)


def grid_of(case: RawCase) -> Grid:
    """Return the grid of the image of a case.

    Raises:
        InputError: naming the file that cannot be read.
    """
    return load_image(case).grid if case.flat else head_of(case)[0]


def load_image(case: RawCase) -> Volume:
    """Return the image of a case, (X, Y, Z, C), from its files or from memory.

    Raises:
        InputError: naming the file that cannot be read.
    """
    if isinstance(case.images, np.ndarray):
        return _one_slice(Picture(case.images))
    if case.flat:
        return _one_slice(read_image(case.images[0]) if len(case.images) == 1 else _of_channels(case.images))
    if case.stacked:
        return volume_files.read_stack(case.images, key=case.image_key or "image")
    paths = case.images[0] if len(case.images) == 1 else case.images
    volume: Volume = volume_files.read_volume(paths, key=case.image_key)
    return volume


def _of_channels(paths: Sequence[Path]) -> Picture:
    """Return an image whose channels are gray files of their own.

    Raises:
        InputError: where one of them is in color, or differs from the first in its size, depth or orientation.
    """
    pictures = [read_image(path) for path in paths]
    first = pictures[0]
    for path, picture in zip(paths, pictures, strict=True):
        if picture.array.shape[2] != 1:
            raise InputError(
                f"{path} is one of {len(paths)} channels and in color: save each channel in gray"
            )
        if (picture.array.shape, picture.array.dtype, picture.orientation) != (
            first.array.shape,
            first.array.dtype,
            first.orientation,
        ):
            sides = " x ".join(str(side) for side in picture.array.shape[:2])
            raise InputError(
                f"{path} has {sides} pixels of {picture.array.dtype}, another channel, {paths[0]}, has "
                f"{' x '.join(map(str, first.array.shape[:2]))} of {first.array.dtype}: save both alike"
            )
    array = np.concatenate([picture.array for picture in pictures], axis=2)
    notes = tuple(note for picture in pictures for note in picture.notes)
    return Picture(array, any(picture.lossy for picture in pictures), notes, first.orientation)


def load_mask(case: RawCase, what: str, image: Grid | None = None) -> Volume | None:
    """Return a mask of a case as stored, (X, Y, Z) integers, from its file or from memory.

    Args:
        case: whose.
        what: a name of :attr:`.RawCase.masks`, such as ``given``: the one that a verified mask replaced.
        image: the grid of its image, where that is known already.

    Returns:
        The mask; None where the case has no such one.

    Raises:
        InputError: naming the file that cannot be read, or the case that has no label.
    """
    held, key = case.mask(what), getattr(case, f"{what.partition('/')[0]}_key")
    if held is None and what == "label":
        raise InputError(f"{case.where} has no label: add one, or remove the volume")
    if held is None:
        return None
    if isinstance(held, np.ndarray):
        return _one_slice(Picture(held))
    if not isinstance(held, Path):
        mask: Volume = held.read(image or grid_of(case))
        return mask
    if case.flat:
        return _one_slice(read_mask(held))
    if not case.stacked:
        return volume_files.read_label_volume(held, key=key)
    stack = volume_files.read_stack(case.files, key=key or "label")
    return volume_files.whole_labels(held, Volume(stack.array[..., 0], stack.grid))


def load_label_confidence(case: RawCase, grid: Grid) -> NDArray[np.uint8] | None:
    """Return how far the label is to be trusted, (X, Y, Z) uint8, 255 is fully; None where nothing is known.

    Raises:
        InputError: where numbers are out of range, or the file cannot be read or lies on another grid.
    """
    held = case.label_confidence
    if held is None:
        return None
    if not isinstance(held, Path):
        return as_label_confidence(np.full(grid.shape, float(held)), case.where)
    volume = (
        _one_slice(read_image(held)) if case.flat else volume_files.read_volume(held, key="label_confidence")
    )
    values = volume.array
    if case.flat and bool((values == values[..., :1]).all()):
        values = values[..., :1]  # gray that was saved in color
    if values.shape[3] != 1 or not lies_on(volume.grid, grid):
        raise InputError(
            f"{held}: trust must be one value for each of the {size_of(grid)} of {case.where}, got {values.shape[3]} "
            f"for each of {sides_of(volume.grid)}: export it on that grid"
        )
    return as_label_confidence(values[..., 0], str(held))


def _one_slice(picture: Picture) -> Volume:
    height, width = picture.array.shape[:2]
    grid = Grid((height, width, 1), UNKNOWN_AFFINE, known=False)
    names = {index: str(color) for index, color in picture.colors.items()}
    array = np.expand_dims(picture.array, 2)
    return Volume(array, grid, picture.notes, picture.lossy, names, picture.orientation)
