"""The files of one case: read, compared with each other, and brought to one grid.

An image is a volume of one slice: (H, W) becomes (H, W, 1) on a grid that nobody knows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.formats import volumes as volume_files
from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid, Volume
from metadcseg.data.formats.images import Picture, read_image, read_mask
from metadcseg.data.formats.orientation import said_of_turn
from metadcseg.data.sources.case import RawCase
from metadcseg.data.sources.label_confidence import as_label_confidence
from metadcseg.errors import InputError

MOST_LOST = 0.1
"""Of the foreground of a mask so much may be lost by resampling, in mm3."""


class OtherGrid(InputError):
    """A mask does not lie on the grid of its image.

    Args:
        sentence: that says so.
        elsewhere: whether it has the same size and lies elsewhere.
    """

    def __init__(self, sentence: str, elsewhere: bool = False) -> None:
        super().__init__(sentence)
        self.elsewhere = elsewhere


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
            f"for each of {_sides(volume.grid)}: export it on that grid"
        )
    return as_label_confidence(values[..., 0], str(held))


def on_grid(
    labels: Volume,
    grid: Grid,
    names: tuple[str, str],
    *,
    resample: bool,
    adopt: bool = False,
    crop: bool = False,
    remap: Mapping[int, int] | None = None,
    orientation: int = 1,
) -> Volume:
    """Return a mask on the grid of its image.

    Args:
        labels: as stored.
        grid: of the image.
        names: what sentences call mask and image.
        resample: whether a mask on another grid is resampled to it (nearest) rather than refused.
        adopt: whether a mask of the image's shape that does not say where it lies takes the image's place.
        crop: whether a mask that is resampled may reach beyond its image, which shows only a part of it.
        remap: value in a mask file -> class number: what of a mask is foreground.
        orientation: what the orientation tag of the image says.

    Raises:
        OtherGrid: where it lies on another one, or resampling would lose more than a tenth of its foreground.
    """
    mask, image = names
    if lies_on(labels.grid, grid):
        return labels
    if labels.grid.shape == grid.shape and labels.grid.bare:
        if adopt:
            note = f"{mask} does not say where it lies and took the place of its image {image}"
            return replace(labels, grid=grid, notes=(*labels.notes, note))
        raise OtherGrid(
            f"{mask} has the shape of its image {image}, but its header does not say where it lies (no origin, no "
            "rotation): pass --adopt-grid to give it the place of its image, or export it with the image's header",
            True,
        )
    placed = labels.grid.is_placed and grid.is_placed and (grid.bare or not labels.grid.bare)
    if resample and placed:
        array = resample_labels(labels.array, labels.grid, grid)
        cut_off = _cut_off(labels, array, grid, names, crop=crop, remap=remap or {})
        note = f"{mask} lies on another grid than {image} and was resampled to it{cut_off}"
        return replace(labels, array=array, grid=grid, notes=(*labels.notes, note))
    advice = "export it at the size of the image"
    if grid.known:
        advice = "export it on the grid of the image" + (", or pass --resample-labels" if placed else "")
    if labels.grid.shape != grid.shape:
        turn = said_of_turn(orientation, labels.orientation)
        if grid.known and not placed:
            whose = "the image" if labels.grid.is_placed and not labels.grid.bare else "its header"
            turn += f", and {whose} does not say where it lies, so it cannot be resampled"
        raise OtherGrid(
            f"{mask} has {size_of(labels.grid)}, its image {image} {_sides(grid)}{turn}: {advice}"
        )
    far, voxels = grid.apart(labels.grid)
    raise OtherGrid(
        f"{mask} lies elsewhere than its image {image} (by {voxels:.2g} voxels), up to {far:.3g} mm apart: {advice}",
        True,
    )


def _cut_off(
    labels: Volume,
    array: NDArray[Any],
    grid: Grid,
    names: tuple[str, str],
    *,
    crop: bool,
    remap: Mapping[int, int],
) -> str:
    """Refuse what resampling has lost, more than a tenth of the foreground in mm3; return what to say of the rest.

    Foreground is what the remap says; where it says nothing, all above 0, and 255 beside classes is ignored.
    """
    meant = foreground_values(np.unique(labels.array).tolist(), remap)
    shown, kept = np.isin(labels.array, meant), np.isin(array, meant)
    voxel, pixel = (abs(float(np.linalg.det(np.array(each.affine)[:3, :3]))) for each in (labels.grid, grid))
    before, after = voxel * np.count_nonzero(shown), pixel * np.count_nonzero(kept)
    if after >= (1 - MOST_LOST) * before:
        return ""
    within = voxel * _count_within(shown, labels.grid, grid)
    told = f"{names[0]} shows {before:.4g} mm3 of foreground and would keep {after:.4g} mm3 on the grid of its image"
    if after == 0 or after < (1 - MOST_LOST) * within:
        raise OtherGrid(
            f"{told} {names[1]}: the rest lies outside of it or between its voxels; export it on the grid of the image",
            True,
        )
    if not crop:
        raise OtherGrid(
            f"{told} {names[1]}: the rest lies outside of it; pass --crop-labels if the image shows only a part, else "
            "export the mask on its grid",
            True,
        )
    return f"; {1 - within / before:.0%} of its foreground lies outside and was cut off"


def foreground_values(held: Sequence[int], remap: Mapping[int, int]) -> list[int]:
    """Return which of the values of a mask are a class, before the meaning of all masks is settled.

    Example:
        >>> foreground_values((0, 1, 255), {}), foreground_values((0, 255), {}), foreground_values((0, 7, 9), {9: 255})
        ([1], [255], [7])
    """
    classes = [value for value in held if remap.get(value, value) > 0 and remap.get(value, value) != IGNORE]
    white = IGNORE in held and IGNORE not in remap and not classes
    return [IGNORE] if white else classes


def _count_within(shown: NDArray[np.bool_], source: Grid, target: Grid) -> int:
    """Return how many of the voxels that are shown have their center on another grid."""
    to_target = np.linalg.inv(np.array(target.affine)) @ np.array(source.affine)
    count = 0
    for x, plane in enumerate(shown):
        y, z = np.nonzero(plane)
        places = np.stack([np.full(y.shape, x), y, z, np.ones(y.shape)], axis=-1) @ to_target[:3].T
        index = np.floor(places + 0.5)
        count += int(((index >= 0) & (index < np.array(target.shape))).all(axis=-1).sum())
    return count


def lies_on(held: Grid, grid: Grid) -> bool:
    """Return whether two grids agree, in shape alone where the world of one is not known."""
    return held.same(grid) or (held.shape == grid.shape and not (held.known and grid.known))


def size_of(grid: Grid) -> str:
    """Return the size of a grid in words.

    Example:
        >>> size_of(Grid((20, 24, 1), UNKNOWN_AFFINE, known=False)), size_of(Grid((4, 5, 6), UNKNOWN_AFFINE))
        ('20 x 24 pixels (rows x columns)', '4 x 5 x 6 voxels')
    """
    unit = "pixels (rows x columns)" if _is_flat(grid) else "voxels"
    return f"{_sides(grid)} {unit}"


def _sides(grid: Grid) -> str:
    return " x ".join(str(side) for side in grid.shape[: 2 if _is_flat(grid) else 3])


def _is_flat(grid: Grid) -> bool:
    return grid.shape[2] == 1 and not grid.known


def resample_labels(labels: NDArray[Any], source: Grid, target: Grid) -> NDArray[Any]:
    """Return labels on another grid: each voxel takes the label nearest to its center in the world.

    Args:
        labels: (X, Y, Z) on ``source``.
        source: where they lie.
        target: where they are wanted.

    Returns:
        of the shape of ``target``; 0 outside of ``source``.
    """
    to_source = np.linalg.inv(np.array(source.affine)) @ np.array(target.affine)
    out = np.zeros(target.shape, labels.dtype)
    y, z = np.meshgrid(np.arange(target.shape[1]), np.arange(target.shape[2]), indexing="ij")
    for x in range(target.shape[0]):  # a plane at a time: coordinates take 24 times the memory of labels
        places = np.stack([np.full(y.shape, x), y, z, np.ones(y.shape)], axis=-1) @ to_source[:3].T
        index = np.floor(places + 0.5).astype(np.int64)
        inside = ((index >= 0) & (index < np.array(source.shape))).all(axis=-1)
        held = index[inside]
        out[x][inside] = labels[held[:, 0], held[:, 1], held[:, 2]]
    return out


def foreground(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a class other than the background is known."""
    held: NDArray[np.bool_] = (labels != 0) & (labels != IGNORE)
    return held


def _one_slice(picture: Picture) -> Volume:
    height, width = picture.array.shape[:2]
    grid = Grid((height, width, 1), UNKNOWN_AFFINE, known=False)
    names = {index: str(color) for index, color in picture.colors.items()}
    array = np.expand_dims(picture.array, 2)
    return Volume(array, grid, picture.notes, picture.lossy, names, picture.orientation)
