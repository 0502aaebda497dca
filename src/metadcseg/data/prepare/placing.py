"""Bring a mask to the grid of its image, or refuse it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import listed
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.formats.orientation import said_of_turn
from metadcseg.errors import InputError

MOST_LOST = 0.1
"""Of each class of a mask so much may be lost by resampling, in mm3, or what rounding explains where that is more."""


class OtherGrid(InputError):
    """A mask does not lie on the grid of its image.

    Args:
        sentence: that says so.
        elsewhere: whether it has the same size and lies elsewhere.
    """

    def __init__(self, sentence: str, elsewhere: bool = False) -> None:
        super().__init__(sentence)
        self.elsewhere = elsewhere


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
    """Return a mask on the grid of its image, with all of its classes.

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
        OtherGrid: where it lies on another one, or resampling would lose a class, or more of it than rounding can.
    """
    placed = placed_on(labels, grid, names, resample=resample, adopt=adopt, orientation=orientation)
    if placed.array is labels.array:
        return placed
    lost = _lost(labels, placed, names, crop=crop, remap=remap or {})
    return replace(placed, notes=(*placed.notes[:-1], placed.notes[-1] + lost))


def placed_on(
    labels: Volume,
    grid: Grid,
    names: tuple[str, str],
    *,
    resample: bool,
    adopt: bool = False,
    orientation: int = 1,
) -> Volume:
    """Return a mask on the grid of its image, whatever that loses.

    Args:
        labels: as stored.
        grid: of the image.
        names: what sentences call mask and image.
        resample: as for :func:`on_grid`.
        adopt: as for :func:`on_grid`.
        orientation: as for :func:`on_grid`.

    Raises:
        OtherGrid: where it lies on another one.
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
        note = f"{mask} lies on another grid than {image} and was resampled to it"
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
            f"{mask} has {size_of(labels.grid)}, its image {image} {sides_of(grid)}{turn}: {advice}"
        )
    far, voxels = grid.apart(labels.grid)
    raise OtherGrid(
        f"{mask} lies elsewhere than its image {image} (by {voxels:.2g} voxels), up to {far:.3g} mm apart: {advice}",
        True,
    )


def _lost(
    labels: Volume, placed: Volume, names: tuple[str, str], *, crop: bool, remap: Mapping[int, int]
) -> str:
    """Refuse a loss by resampling that rounding does not explain; return what to say of the rest.

    Foreground is what the remap says; where it says nothing, all above 0, and 255 beside classes is ignored.
    """
    before, after = _counts(labels.array), _counts(placed.array)
    classes: defaultdict[int, list[int]] = defaultdict(list)
    for value in foreground_values(sorted(before), remap):
        classes[remap.get(value, value)].append(value)
    voxel, pixel = (
        abs(float(np.linalg.det(np.array(each.grid.affine)[:3, :3]))) for each in (labels, placed)
    )
    had = {label: voxel * sum(before[value] for value in held) for label, held in classes.items()}
    kept = {label: pixel * sum(after[value] for value in held) for label, held in classes.items()}
    least = 1 - MOST_LOST
    short = [label for label in classes if kept[label] < least * had[label]]
    if not short:
        return ""
    inside = _inside(
        labels.array, [value for label in short for value in classes[label]], labels.grid, placed.grid
    )
    counts = _counts(labels.array[inside])
    cut_off, rounded = [], []
    for label in short:
        held = classes[label]
        within = voxel * sum(counts[value] for value in held)
        shown = inside & np.isin(labels.array, held)
        explained = kept[label] >= within - voxel * _rounding(shown, labels.grid, placed.grid)
        whole = within >= least * had[label]
        of_many = f"value{'s' * (len(held) > 1)} {' and '.join(map(str, held))}"
        what = "foreground" if len(classes) == 1 else of_many
        told = f"{names[0]} shows {had[label]:.4g} mm3 of {what} and would keep {kept[label]:.4g} mm3 on the grid of "
        gone = not any(kept.values()) or (whole and not kept[label])
        if gone or (kept[label] < least * within and not explained):
            raise OtherGrid(
                f"{told}its image {names[1]}: the rest lies outside of it or between its voxels; export it on the grid "
                "of the image",
                True,
            )
        if whole and explained:
            rounded.append(f"{1 - kept[label] / had[label]:.0%} of its {what}")
            continue
        if not crop:
            raise OtherGrid(
                f"{told}its image {names[1]}: the rest lies outside of it; pass --crop-labels if the image shows only "
                "a part, else export the mask on its grid",
                True,
            )
        cut_off.append(f"{1 - within / had[label]:.0%} of its {what}")
    return "".join(
        f"; {listed(parts, 5)} {how}"
        for parts, how in ((cut_off, "lies outside and was cut off"), (rounded, "is lost by rounding"))
        if parts
    )


def _inside(array: NDArray[Any], values: Sequence[int], source: Grid, target: Grid) -> NDArray[np.bool_]:
    """Return which voxels hold one of some values and have their center on another grid."""
    to_target = np.linalg.inv(np.array(target.affine)) @ np.array(source.affine)
    found = np.isin(array, values)
    for x, plane in enumerate(found):
        y, z = np.nonzero(plane)
        places = np.stack([np.full(y.shape, x), y, z, np.ones(y.shape)], axis=-1) @ to_target[:3].T
        index = np.floor(places + 0.5)
        plane[y, z] = ((index >= 0) & (index < np.array(target.shape))).all(axis=-1)
    return found


def _rounding(shown: NDArray[np.bool_], source: Grid, target: Grid) -> float:
    """Return how many voxels of an object another grid may miss by chance: two standard errors.

    A grid meets a line through the object too often or too seldom by less than one of its voxels, so the standard
    error is half a voxel at most. Lines err alike where faces are flat: along an axis it is half a layer, as thick as
    a voxel of the other grid. The errors of the three axes are independent.
    """
    to_source = np.linalg.inv(np.array(source.affine)) @ np.array(target.affine)
    thick = np.abs(to_source[:3, :3]).sum(axis=1)
    layers = [thick[axis] * np.count_nonzero(shown.any(axis=axis)) for axis in range(3)]
    return float(np.linalg.norm(layers))


def foreground_values(held: Sequence[int], remap: Mapping[int, int]) -> list[int]:
    """Return which of the values of a mask are a class, before the meaning of all masks is settled.

    Example:
        >>> foreground_values((0, 1, 255), {}), foreground_values((0, 255), {}), foreground_values((0, 7, 9), {9: 255})
        ([1], [255], [7])
    """
    classes = [value for value in held if remap.get(value, value) > 0 and remap.get(value, value) != IGNORE]
    white = IGNORE in held and IGNORE not in remap and not classes
    return [IGNORE] if white else classes


def _counts(array: NDArray[Any]) -> Counter[int]:
    """Return how often a value occurs."""
    values, counts = np.unique(array, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def lies_on(held: Grid, grid: Grid) -> bool:
    """Return whether two grids agree, in shape alone where the world of one is not known."""
    return held.same(grid) or (held.shape == grid.shape and not (held.known and grid.known))


def size_of(grid: Grid) -> str:
    """Return the size of a grid in words.

    Example:
        >>> from metadcseg.data.formats.geometry import UNKNOWN_AFFINE
        >>> size_of(Grid((20, 24, 1), UNKNOWN_AFFINE, known=False)), size_of(Grid((4, 5, 6), UNKNOWN_AFFINE))
        ('20 x 24 pixels (rows x columns)', '4 x 5 x 6 voxels')
    """
    unit = "pixels (rows x columns)" if _is_flat(grid) else "voxels"
    return f"{sides_of(grid)} {unit}"


def sides_of(grid: Grid) -> str:
    """Return the sides of a grid in words, of an image two."""
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
