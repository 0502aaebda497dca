"""HDF5 files with one dataset for the image and one for the label, by h5py. They say nothing about the world."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid
from metadcseg.errors import InputError, unknown_name
from metadcseg.extras import Extra
from metadcseg.reading import MOST_PACKED

h5py: Any = Extra("h5py", "volumes", "HDF5 files")

SUFFIXES = (".h5", ".hdf5", ".hdf")


def head(path: Path, key: str) -> tuple[Grid, int]:
    """Return the grid, of unknown place, and the number of channels; no voxel decoded."""
    with h5py.File(path, "r") as file:
        shape, channels = _shape(path, key, _dataset(path, file, key))
    return Grid(shape, UNKNOWN_AFFINE, known=False), channels


def voxels(path: Path, key: str) -> NDArray[Any]:
    """Return (X, Y, Z, C) as stored."""
    with h5py.File(path, "r") as file:
        dataset = _dataset(path, file, key)
        shape, channels = _shape(path, key, dataset)
        return np.asarray(dataset[...]).reshape(*shape, channels)


def stack_head(paths: Sequence[Path], key: str) -> tuple[Grid, int]:
    """Return the grid of slices that lie in files of their own, of unknown place, and 1; no voxel decoded.

    Raises:
        InputError: where a slice is not two-dimensional or has another size than the first.
    """
    first: tuple[int, ...] = ()
    for path in paths:
        with h5py.File(path, "r") as file:
            dataset = _dataset(path, file, key)
            shape = tuple(dataset.shape or ())
            if len(shape) != 2 or dataset.dtype.kind not in "iufb" or shape != (first or shape):
                wanted = f"numbers of {first}, as {paths[0].name}" if first else "numbers (X, Y)"
                raise InputError(
                    f"{path}: '{key}' must be {wanted}, got {shape} of {dataset.dtype}: export it again"
                )
            first = shape
    return Grid((first[0], first[1], len(paths)), UNKNOWN_AFFINE, known=False), 1


def stack_voxels(paths: Sequence[Path], key: str) -> NDArray[Any]:
    """Return (X, Y, Z, 1) of slices that lie in files of their own, as stored."""
    planes = []
    for path in paths:
        with h5py.File(path, "r") as file:
            planes.append(np.asarray(_dataset(path, file, key)[...]))
    return np.stack(planes, axis=2)[..., None]


def has(path: Path, key: str) -> bool:
    """Return whether a file holds a dataset of that name."""
    with h5py.File(path, "r") as file:
        return key in file


def _dataset(path: Path, file: Any, key: str) -> Any:
    if key not in file:
        raise unknown_name(f"dataset of {path}", key, list(file))
    link = file.get(key, getlink=True)
    dataset = file[key] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise InputError(
            f"{path}: '{key}' must be an array inside this file, not a group or a link: export it again"
        )
    if dataset.nbytes > dataset.id.get_storage_size() * MOST_PACKED:
        raise InputError(
            f"{path}: '{key}' claims {dataset.nbytes} bytes and holds next to none: export it again"
        )
    return dataset


def _shape(path: Path, key: str, dataset: Any) -> tuple[tuple[int, int, int], int]:
    shape: tuple[int, ...] = tuple(dataset.shape or ())
    if len(shape) not in (3, 4) or dataset.dtype.kind not in "iufb":
        raise InputError(
            f"{path}: '{key}' must be numbers (X, Y, Z) or (X, Y, Z, channels), got {shape} of {dataset.dtype}"
        )
    return (shape[0], shape[1], shape[2]), shape[3] if len(shape) == 4 else 1
