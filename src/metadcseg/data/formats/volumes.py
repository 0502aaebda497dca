"""Read and write volumes of any kind: NIfTI, MetaImage, NRRD, HDF5, and DICOM series.

- The order of the axes is that of the file, (X, Y, Z); where a voxel lies is in the grid's affine, in mm, RAS+. What
  comes as LPS (DICOM, MetaImage, NRRD) is turned into RAS+.
- Channels are the fourth axis of a file, or files of their own on the same grid.
- Sizes are read from headers and capped before a voxel is decoded.
- HDF5 files say nothing about the world: their grid is not known, and no number in mm is computed.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats import dicom, hdf5, itk, nifti
from metadcseg.data.formats.geometry import Grid, Volume, check_same_grid, size_of
from metadcseg.errors import InputError
from metadcseg.scratch import scratch_folder

_ENDS = (".seg.nrrd", ".seg.nhdr", ".seg.nii.gz", ".seg.nii")  # as 3D Slicer calls segmentations

VOLUME_SUFFIXES = (*nifti.SUFFIXES, *itk.SUFFIXES, *hdf5.SUFFIXES, dicom.SUFFIX)
"""Ends of the names of files that are read as volumes, in lower case."""

MAX_VALUES = 2**31
"""No file of more numbers is decoded: a few bytes can claim to be a volume that fills the memory."""

_WHOLE = 1e-3  # labels stored as fractions may be off a whole number by so much
_Result = TypeVar("_Result")
Opened = dicom.Series | itk.Header


def is_volume_file(path: Path) -> bool:
    """Return whether a name is one of a volume file; a folder is where it, or one folder in it, holds DICOM slices.

    Example:
        >>> is_volume_file(Path("brain.nii.gz")), is_volume_file(Path("polyp.png"))
        (True, False)
    """
    return path.name.lower().endswith(VOLUME_SUFFIXES) or (path.is_dir() and dicom.is_series(path))


def require_readers(paths: Iterable[Path]) -> None:
    """Make sure that the libraries which read these files are installed, before the files are looked at one by one.

    Raises:
        InputError: naming the first library that is missing, and how to install it.
    """
    for library in dict.fromkeys(_library(path) for path in paths):
        if library is not None:
            library.require()


def _library(path: Path) -> Any:
    name = path.name.lower()
    if name.endswith(nifti.SUFFIXES):
        return nifti.nibabel
    if name.endswith(itk.SUFFIXES):
        return itk.sitk
    if name.endswith(hdf5.SUFFIXES):
        return hdf5.h5py
    return dicom.pydicom if _is_series(path) else None


def _is_series(path: Path) -> bool:
    return path.is_dir() or path.name.lower().endswith(dicom.SUFFIX)


def stem_of(path: Path) -> str:
    """Return the name of a file without the suffix of its format, which may have two dots.

    Example:
        >>> stem_of(Path("images/la_005.nii.gz")), stem_of(Path("a.b.mhd")), stem_of(Path("a.seg.nrrd"))
        ('la_005', 'a.b', 'a')
    """
    return next(
        (path.name[: -len(end)] for end in (*_ENDS, *VOLUME_SUFFIXES) if path.name.lower().endswith(end)),
        path.name,
    )


def read_grid(path: Path, *, key: str | None = None) -> tuple[Grid, int]:
    """Return the grid of a file and its number of channels, from its header.

    Args:
        path: a file, or the folder of a DICOM series.
        key: of the dataset in an HDF5 file, by default ``image``.

    Raises:
        InputError: naming the file, where it cannot be read, is no volume, or is too large.
    """
    return _capped_head(path, key or "image", _opened(path))


def _capped_head(path: Path, key: str, opened: Opened | None) -> tuple[Grid, int]:
    grid, channels = said(path, lambda: _head(path, key, opened))
    return _capped(path, grid, channels), channels


def read_stack(paths: Sequence[Path], *, key: str) -> Volume:
    """Read slices that lie in HDF5 files of their own, one channel.

    Args:
        paths: of the slices, in their order along z.
        key: of the two-dimensional dataset in each.

    Returns:
        The volume, (X, Y, Z, 1), integers as stored or float32, on a grid that is not known.

    Raises:
        InputError: naming the file that cannot be read, holds NaN or infinite values, or has another size.
    """
    grid = stack_grid(paths, key=key)
    return Volume(_finite(paths[0], _plain(said(paths[0], lambda: hdf5.stack_voxels(paths, key)))), grid)


def stack_grid(paths: Sequence[Path], *, key: str) -> Grid:
    """Return the grid of such slices, from their headers.

    Raises:
        InputError: naming the file that is missing, cannot be read or has another size.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
    return _capped(paths[0], said(paths[0], lambda: hdf5.stack_head(paths, key))[0], 1)


def read_volume(paths: Path | Sequence[Path], *, key: str | None = None) -> Volume:
    """Read an image.

    Args:
        paths: a file (its fourth axis holds the channels), a DICOM folder, or several, all on one grid: the channels.
        key: of the dataset in an HDF5 file, by default ``image``.

    Returns:
        The volume, (X, Y, Z, C), integers as stored or float32.

    Raises:
        InputError: naming the file that cannot be read, holds NaN or infinite values, or lies on another grid.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    parts: list[NDArray[Any]] = []
    grids: list[Grid] = []
    notes: tuple[str, ...] = ()
    for file in files:
        opened = _opened(file)
        grids.append(_capped_head(file, key or "image", opened)[0])
        check_same_grid(grids[-1], grids[0], file, files[0])
        parts.append(_finite(file, _plain(_voxels(file, key or "image", opened))))
        notes += _notes(file, grids[0], opened)
    return Volume(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=3), grids[0], notes)


def read_label_volume(path: Path, *, key: str | None = None) -> Volume:
    """Read labels as they are stored; what their values mean is decided elsewhere.

    Args:
        path: a file with one channel.
        key: of the dataset in an HDF5 file, by default ``label``.

    Returns:
        The volume, (X, Y, Z) integers. Fractions within 0.001 of whole numbers are rounded, and that is noted.

    Raises:
        InputError: naming the file that cannot be read or holds anything but one whole number per voxel.
    """
    opened = _opened(path)
    grid, channels = _capped_head(path, key or "label", opened)
    names = opened.segments() if isinstance(opened, itk.Header) else []
    if channels > 1 and len({segment.layer for segment in names}) == channels:
        merged, note = itk.merged(path, names, _voxels(path, "label", opened))
        return Volume(merged, grid, (note,), names={n: one.name for n, one in enumerate(names, start=1)})
    if channels != 1:
        raise InputError(
            f"{path} holds {channels} channels, labels are one class number per voxel: merge them"
        )
    whole = whole_labels(path, Volume(_finite(path, _voxels(path, key or "label", opened))[..., 0], grid))
    notes = (*_notes(path, grid, opened), *whole.notes)
    return replace(whole, notes=notes, names={segment.value: segment.name for segment in names})


def whole_labels(path: Path, stored: Volume) -> Volume:
    """Return labels, (X, Y, Z) of any type, as integers; what was rounded is noted.

    Raises:
        InputError: naming the file where they are no whole numbers.
    """
    array, grid = stored.array, stored.grid
    notes: tuple[str, ...] = ()
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind == "f":
        whole = np.rint(array)
        off = float(np.abs(array - whole).max())
        if off > _WHOLE or np.abs(whole).max() > np.iinfo(np.int32).max:
            raise InputError(
                f"{path}: labels are whole class numbers, got fractions: threshold it and save it again"
            )
        if off:
            notes = (f"{path}: its labels are rounded to whole numbers, which they miss by up to {off:.1g}",)
        array = whole.astype(np.int32)
    return Volume(array, grid, notes)


def write_label_volume(path: Path, labels: NDArray[np.integer], grid: Grid, like: Path | None = None) -> None:
    """Write labels on a grid, whole or not at all.

    Args:
        path: ends in .nii, .nii.gz, .mha or .nrrd.
        labels: (X, Y, Z) integers, written in their own type.
        grid: where they lie; a place that is not known is not written.
        like: the image; where it has the format of ``path``, its place in the world is taken to the last bit.

    Raises:
        InputError: where the shape is another, the format cannot be written, or the disk refuses.
    """
    if labels.shape != grid.shape:
        raise InputError(f"{path}: labels of {labels.shape} do not fit the grid of {size_of(grid)}")
    end = next((end for end in (".nii.gz", ".nii", ".mha", ".nrrd") if path.name.lower().endswith(end)), None)
    if end is None:
        raise InputError(f"{path}: labels are written as .nii, .nii.gz, .mha or .nrrd: choose another name")
    write = nifti.write if end.startswith(".nii") else itk.write
    try:
        with scratch_folder(path.parent) as scratch:
            written = scratch / f"labels{end}"
            write(written, labels, grid, like)
            os.replace(written, path)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be written ({_reason(error)}): make room or choose another place"
        ) from error


def output_suffix(path: Path) -> str:
    """Return the suffix of labels for an image: its own format in one file, else NIfTI.

    Example:
        >>> [output_suffix(Path(name)) for name in ("a.nii.gz", "b.mhd", "c.nrrd", "d.h5")]
        ['.nii.gz', '.mha', '.nrrd', '.nii.gz']
    """
    name = path.name.lower()
    ends = {
        ".nii.gz": ".nii.gz",
        ".nii": ".nii",
        ".mhd": ".mha",
        ".mha": ".mha",
        ".nrrd": ".nrrd",
        ".nhdr": ".nrrd",
    }
    return next((ends[end] for end in ends if name.endswith(end)), ".nii.gz")


def _capped(path: Path, grid: Grid, channels: int) -> Grid:
    if min(*grid.shape, channels) < 1 or int(np.prod(grid.shape, dtype=object)) * channels > MAX_VALUES:
        raise InputError(
            f"{path}: a volume holds 1 to {MAX_VALUES} numbers, its header says {grid.shape} x {channels}: crop it"
        )
    return grid


def _opened(path: Path) -> Opened | None:
    """Return what has headers that are read once: a DICOM series, MetaImage and NRRD; None of any other file."""
    if _is_series(path):
        return said(path, lambda: dicom.Series(path))
    if path.name.lower().endswith(itk.SUFFIXES) and path.is_file():
        return said(path, lambda: itk.Header(path))
    return None


def _head(path: Path, key: str, opened: Opened | None) -> tuple[Grid, int]:
    name = path.name.lower()
    if opened is not None:
        return opened.head()
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if name.endswith(nifti.SUFFIXES):
        return nifti.head(path)
    if name.endswith(hdf5.SUFFIXES):
        return hdf5.head(path, key)
    raise InputError(
        f"{path} is no volume: {', '.join(VOLUME_SUFFIXES)} and folders of DICOM slices are read"
    )


def _voxels(path: Path, key: str, opened: Opened | None) -> NDArray[Any]:
    if opened is not None:
        return said(path, opened.voxels)
    if path.name.lower().endswith(nifti.SUFFIXES):
        return said(path, lambda: nifti.voxels(path))
    return said(path, lambda: hdf5.voxels(path, key))


def _notes(path: Path, grid: Grid, opened: Opened | None) -> tuple[str, ...]:
    """Return what is easily overlooked in a file."""
    told: tuple[str, ...] = ()
    if opened is not None:
        told = said(path, opened.notes)
    elif path.name.lower().endswith(nifti.SUFFIXES):
        told = said(path, lambda: nifti.notes(path))
    if grid.sheared:
        tilt = f"{path}: its axes miss right angles by {grid.sheared:.2g} degrees (a tilted gantry)"
        told = (*told, f"{tilt}, slices are cut along them and nothing is resampled")
    return told


def said(path: Path, read: Callable[[], _Result]) -> _Result:
    """Read; whatever a library raises on a damaged file becomes one sentence that names it."""
    try:
        return read()
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory: crop it") from error
    except InputError as error:
        named = str(path) in str(error) or path.parent.name in str(error)
        raise error if named else InputError(f"{path}: {error}") from error
    except Exception as error:  # decoders raise anything on hostile files
        raise InputError(
            f"{path} is damaged or of another format ({_reason(error)}): export it again"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".")


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype.kind == "f" or array.dtype.itemsize > 4 else array


def _finite(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise InputError(
            f"{path}: {bad} of {array.size} voxels are NaN or infinite: replace them and save it again"
        )
    return array
