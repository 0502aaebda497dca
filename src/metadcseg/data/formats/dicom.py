"""A DICOM series: a folder with one file for each slice, by pydicom."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats.geometry import Grid, as_affine
from metadcseg.errors import InputError
from metadcseg.extras import Extra

pydicom: Any = Extra("pydicom", "volumes", "DICOM series")

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_MOST_FILES = 10_000
_EVEN = 0.01  # gaps between slices may differ by so much of a gap


def is_series(folder: Path) -> bool:
    """Return whether a folder holds a DICOM file directly."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from error
    files = (entry for entry in entries if entry.is_file() and not entry.name.startswith("."))
    return any(_has_preamble(file) for file in files)


def head(folder: Path) -> tuple[Grid, int]:
    """Return the grid, and one channel; every header is read, no voxel decoded."""
    return _grid(folder, _sorted(folder)), 1


def voxels(folder: Path) -> NDArray[Any]:
    """Return (X, Y, Z, 1), rescaled by slope and intercept."""
    planes = []
    for file, _ in _sorted(folder):
        try:
            slice_ = pydicom.dcmread(file)
            plane = slice_.pixel_array
        except Exception as error:  # decoders raise anything on damaged bytes
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            raise InputError(f"{file}: this slice cannot be read ({reason}): export it again") from error
        slope, shift = float(slice_.get("RescaleSlope", 1)), float(slice_.get("RescaleIntercept", 0))
        planes.append(plane if (slope, shift) == (1.0, 0.0) else (plane * slope + shift).astype(np.float32))
    return np.stack(planes).transpose(2, 1, 0)[..., None]


def _sorted(folder: Path) -> list[tuple[Path, Any]]:
    """Return files and headers in the order in which the slices lie, all of one series on one grid."""
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    files = [file for file in files if file.name.upper() != "DICOMDIR"]
    if len(files) > _MOST_FILES:
        raise InputError(f"{folder} holds {len(files)} files, at most {_MOST_FILES} make a series: split it")
    headers = [(file, _read_header(file)) for file in files]
    if not headers:
        raise InputError(f"{folder} holds no DICOM slice")
    first_file, first = headers[0]
    for file, header in headers[1:]:
        for name in ("SeriesInstanceUID", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
            one, other = first.get(name), header.get(name)
            alike = (
                np.allclose(one, other, atol=1e-4) if name.startswith(("Pixel", "Image")) else one == other
            )
            if not alike:
                raise InputError(
                    f"{file} and {first_file} differ in {name} ({other} and {one}), a folder holds one series: "
                    "sort them into folders"
                )
    normal = np.cross(_floats(first.ImageOrientationPatient)[:3], _floats(first.ImageOrientationPatient)[3:])
    return sorted(headers, key=lambda pair: float(normal @ _floats(pair[1].ImagePositionPatient)))


def _read_header(file: Path) -> Any:
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True)
    except Exception as error:  # see above
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{file}: this slice cannot be read ({reason}): export it again") from error
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"):
        if header.get(name) is None:
            raise InputError(
                f"{file} does not say its {name}: export the series with it, or convert it to NIfTI"
            )
    if header.get("SamplesPerPixel", 1) != 1 or int(header.get("NumberOfFrames", 1)) != 1:
        raise InputError(f"{file} must hold one gray slice: export the series slice by slice")
    return header


def _grid(folder: Path, headers: list[tuple[Path, Any]]) -> Grid:
    first, positions = (
        headers[0][1],
        np.array([_floats(header.ImagePositionPatient) for _, header in headers]),
    )
    row, column = _floats(first.ImageOrientationPatient)[:3], _floats(first.ImageOrientationPatient)[3:]
    step = np.cross(row, column) * float(first.get("SliceThickness") or 1)
    if len(positions) > 1:
        gaps = np.diff(positions, axis=0)
        step = (positions[-1] - positions[0]) / len(gaps)
        if np.abs(gaps - step).max() > _EVEN * np.linalg.norm(step) or np.linalg.norm(step) == 0:
            raise InputError(
                f"{folder}: its slices are not evenly spaced, one is missing or there twice: complete it"
            )
    down, right = _floats(first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS @ np.stack([row * right, column * down, step], axis=1)
    affine[:3, 3] = _LPS_TO_RAS @ positions[0]
    return Grid((int(first.Columns), int(first.Rows), len(headers)), as_affine(affine))


def _floats(values: Any) -> NDArray[np.float64]:
    return np.array([float(value) for value in values])


def _has_preamble(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}): change its permissions, or remove it")
