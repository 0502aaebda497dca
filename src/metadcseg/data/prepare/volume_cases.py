"""The files of one raw volume: read, compared with each other, and brought to one grid."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.formats import volumes as volume_files
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.sources.case import RawVolume
from metadcseg.data.sources.label_confidence import as_label_confidence
from metadcseg.errors import InputError


@dataclass(frozen=True)
class LoadedLabels:
    """What belongs to an image volume, on its grid.

    Args:
        label: (X, Y, Z) integers as in the file.
        truth: likewise, or None.
        notes: what was converted.
    """

    label: Volume
    truth: Volume | None
    notes: tuple[str, ...] = ()


def require_libraries(volumes: Iterable[RawVolume]) -> None:
    """Make sure that the libraries which read these volumes are installed.

    Raises:
        InputError: naming the first library that is missing, and how to install it.
    """
    named = (
        path
        for raw in volumes
        for path in (*raw.images, raw.label, raw.truth, raw.given, raw.label_confidence)
    )
    volume_files.require_readers(path for path in named if isinstance(path, Path))


def head_of(raw: RawVolume) -> tuple[Grid, int]:
    """Return the grid of the image and its number of channels, from headers.

    Raises:
        InputError: naming the file that cannot be read.
    """
    if raw.stacked:
        return volume_files.stack_grid(raw.images, key=raw.image_key or "image"), 1
    heads = [volume_files.read_grid(path, key=raw.image_key) for path in raw.images]
    return heads[0][0], sum(channels for _, channels in heads)


def load_image_volume(raw: RawVolume) -> Volume:
    """Return the image, (X, Y, Z, C).

    Raises:
        InputError: naming the file that cannot be read.
    """
    if raw.stacked:
        return volume_files.read_stack(raw.images, key=raw.image_key or "image")
    paths = raw.images[0] if len(raw.images) == 1 else raw.images
    volume: Volume = volume_files.read_volume(paths, key=raw.image_key)
    return volume


def load_label_volumes(raw: RawVolume, grid: Grid, *, resample: bool) -> LoadedLabels:
    """Return label and truth of a volume on the grid of its image.

    Args:
        raw: whose.
        grid: of the image.
        resample: whether labels on another grid are resampled to it (nearest) rather than refused.

    Raises:
        InputError: naming the file that is missing, cannot be read, or lies on another grid.
    """
    if raw.label is None:
        raise InputError(f"{raw.where} has no label: add one, or remove the volume")
    label = _on_grid(raw.label, _labels(raw, raw.label, raw.label_key), raw, grid, resample)
    truth = None
    if raw.truth is not None:
        truth = _on_grid(raw.truth, _labels(raw, raw.truth, raw.truth_key), raw, grid, resample)
    return LoadedLabels(label, truth, label.notes + (truth.notes if truth else ()))


def load_given_volume(raw: RawVolume, grid: Grid, label: Volume, *, resample: bool) -> Volume | None:
    """Return the label that the verified one replaced, (X, Y, Z) on the grid of its image; None where there is none.

    Args:
        raw: whose.
        grid: of the image.
        label: as `load_label_volumes` returned it; it is returned where it is itself what was replaced.
        resample: as for `load_label_volumes`.

    Raises:
        InputError: naming the file that cannot be read or lies on another grid.
    """
    if raw.given is None:
        return None
    if (raw.given, raw.given_key) == (raw.label, raw.label_key):
        return label
    return _on_grid(raw.given, _labels(raw, raw.given, raw.given_key), raw, grid, resample)


def _labels(raw: RawVolume, path: Path, key: str | None) -> Volume:
    if not raw.stacked:
        return volume_files.read_label_volume(path, key=key)
    stack = volume_files.read_stack(raw.images, key=key or "label")
    return volume_files.whole_labels(path, Volume(stack.array[..., 0], stack.grid))


def load_label_confidence(raw: RawVolume, grid: Grid) -> NDArray[np.uint8] | None:
    """Return how far the label is to be trusted, (X, Y, Z) uint8, or None where nothing is known.

    Raises:
        InputError: where numbers are out of range or the file lies on another grid.
    """
    if raw.label_confidence is None:
        return None
    if isinstance(raw.label_confidence, int | float):
        values, where = np.full(grid.shape, float(raw.label_confidence)), raw.where
    else:
        volume, where = (
            volume_files.read_volume(raw.label_confidence, key="label_confidence"),
            str(raw.label_confidence),
        )
        if volume.array.shape[3] != 1 or not _lies_on(volume.grid, grid):
            raise InputError(
                f"{where}: trust must be one channel on the grid of {raw.where}: export it again"
            )
        values = volume.array[..., 0]
    return as_label_confidence(values, where)


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


def _on_grid(path: Path, labels: Volume, raw: RawVolume, grid: Grid, resample: bool) -> Volume:
    if _lies_on(labels.grid, grid):
        return labels
    if resample and labels.grid.known and grid.known:
        note = f"{path} lies on another grid than {raw.where} and was resampled to it"
        return replace(
            labels,
            array=resample_labels(labels.array, labels.grid, grid),
            grid=grid,
            notes=(*labels.notes, note),
        )
    if labels.grid.shape != grid.shape:
        what = f"has {_size(labels.grid)} voxels, its image {raw.where} {_size(grid)}"
    else:
        far, voxels = grid.apart(labels.grid)
        what = f"lies elsewhere than its image {raw.where} (by {voxels:.2g} voxels), up to {far:.3g} mm apart"
    advice = "export it on the grid of the image, or pass --resample-labels"
    raise InputError(f"{path} {what}: {advice}")


def _lies_on(held: Grid, grid: Grid) -> bool:
    """Return whether two grids agree, in shape alone where the world of one is not known."""
    return held.same(grid) or (held.shape == grid.shape and not (held.known and grid.known))


def _size(grid: Grid) -> str:
    return " x ".join(str(side) for side in grid.shape)


def foreground(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a class other than the background is known."""
    held: NDArray[np.bool_] = (labels != 0) & (labels != IGNORE)
    return held
