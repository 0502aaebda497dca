"""A DICOM series: a folder with one file for each slice, by pydicom."""

import locale
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.findings import plural
from metadcseg.data.formats.geometry import Grid, as_affine
from metadcseg.errors import InputError
from metadcseg.extras import Extra

pydicom: Any = Extra("pydicom", "volumes", "DICOM series")

sitk: Any = Extra("SimpleITK", "volumes", "compressed DICOM slices")

SUFFIX = ".dcm"
"""End of the name of a file that is a series of one slice, beside folders of slices."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
"""From the patient's coordinates of DICOM to those of NIfTI."""

_MOST_FILES = 10_000
_EVEN = 0.25  # gaps between slices may differ by so much of a gap: archives round positions
_ROUNDED = 0.01  # a smaller share is not worth a note
_PLAIN = {  # (implicit types, little endian) -> how an uncompressed file is written
    (True, True): "1.2.840.10008.1.2",
    (False, True): "1.2.840.10008.1.2.1",
    (False, False): "1.2.840.10008.1.2.2",
}
_NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


def is_series(folder: Path) -> bool:
    """Return whether a folder, or one folder somewhere in it, holds a DICOM file."""
    return _first_slice(folder) is not None


def kinds(path: Path) -> dict[Path, str]:
    """Return the DICOM files of a file or folder and what kind of object each is (SOP class UID, "" where unsaid)."""
    if path.is_file():
        files = [path]
    else:
        first = _first_slice(path)
        files = [] if first is None else [file for file in _entries(first.parent)[0] if _is_dicom(file)]
    if len(files) > _MOST_FILES:
        raise InputError(f"{path} holds {len(files)} files, at most {_MOST_FILES} make a mask: split it")
    return {file: _kind(file) for file in files}


def _kind(file: Path) -> str:
    try:
        held = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=["SOPClassUID"])
    except Exception as error:  # decoders raise anything on damaged bytes
        raise _damaged(file, error) from error
    return str(held.get("SOPClassUID") or "")


class Series:
    """A series of slices, or one file of it, whose headers have been read.

    Args:
        folder: with the slices, or a file.

    Raises:
        InputError: where there is no slice, or the slices are not one series.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slices, self._others = _sorted(folder)

    def head(self) -> tuple[Grid, int]:
        """Return the grid, and one channel."""
        return _grid(self._folder, self._slices), 1

    @property
    def files(self) -> tuple[Path, ...]:
        """The slices in their order along z."""
        return tuple(file for file, _ in self._slices)

    def notes(self) -> tuple[str, ...]:
        """Return what is passed over or turned in it."""
        said = []
        if others := self._others:
            many = plural(len(others), "file")
            said.append(
                f"{self._folder}: {many} that are no DICOM slices, such as {others[0].name}, are passed over"
            )
        if any(_inverted(header) for _, header in self._slices):
            said.append(
                f"{self._folder}: low values are white in it (MONOCHROME1); they are turned, high is white"
            )
        if (off := _unevenness(self._slices)[0]) > _ROUNDED:
            said.append(
                f"{self._folder}: its slices lie up to {off:.0%} of a gap off even spacing (rounded), taken as even"
            )
        return tuple(said)

    def voxels(self) -> NDArray[Any]:
        """Return (X, Y, Z, 1), rescaled by slope and intercept."""
        return np.stack([_plane(file) for file, _ in self._slices]).transpose(2, 1, 0)[..., None]


def _plane(file: Path) -> NDArray[Any]:
    """Return one slice, (Y, X); what pydicom has no decoder for (JPEG lossless and its like) is left to SimpleITK."""
    try:
        slice_ = pydicom.dcmread(file, force=True)
        if "NumberOfFrames" in slice_ and not slice_.NumberOfFrames:
            del slice_.NumberOfFrames  # pydicom would warn of it
        if "TransferSyntaxUID" not in slice_.file_meta:  # no preamble: nothing says it, reading has found out
            implicit, little = slice_.original_encoding
            slice_.file_meta.TransferSyntaxUID = _PLAIN[bool(implicit), bool(little)]
        try:
            plane = slice_.pixel_array
        except Exception:
            if not slice_.file_meta.TransferSyntaxUID.is_compressed:
                raise
            rescaled = _by_simpleitk(file)
            slope, shift = _number(slice_, "RescaleSlope", 1), _number(slice_, "RescaleIntercept", 0)
            whole = (slope, shift) == (1.0, 0.0)
            back = rescaled if whole else (rescaled.astype(np.float64) - shift) / slope
            plane = np.rint(back).astype(np.int32)
    except Exception as error:  # decoders raise anything on damaged bytes
        raise _damaged(file, error) from error
    if _inverted(slice_):
        lowest, highest = _range(slice_)
        plane = (lowest + highest - plane.astype(np.int64)).astype(plane.dtype)
    slope, shift = _number(slice_, "RescaleSlope", 1), _number(slice_, "RescaleIntercept", 0)
    return np.asarray(plane if (slope, shift) == (1.0, 0.0) else (plane * slope + shift).astype(np.float32))


def _by_simpleitk(file: Path) -> NDArray[Any]:
    """Return one slice, rescaled already; its codecs leave the process in another locale, which is put back."""
    held = locale.setlocale(locale.LC_ALL)
    try:
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0])
    finally:
        locale.setlocale(locale.LC_ALL, held)


def _inverted(header: Any) -> bool:
    return str(header.get("PhotometricInterpretation") or "") == "MONOCHROME1"


def _range(header: Any) -> tuple[int, int]:
    """Return the least and the largest number that the bits of a slice can hold."""
    bits = int(_number(header, "BitsStored", _number(header, "BitsAllocated", 16)))
    signed = int(_number(header, "PixelRepresentation", 0)) == 1
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _number(header: Any, name: str, default: float) -> float:
    """Return a number of a header; a tag that is there and empty, as anonymizers leave it, is absent."""
    held = header.get(name)
    return default if held is None or str(held).strip() == "" else float(held)


def _first_slice(folder: Path) -> Path | None:
    """Return a DICOM file of a folder, or of the only folder in it, and so on."""
    if not folder.is_dir():
        return None
    files, folders = _entries(folder)
    found = next((file for file in files if _is_dicom(file)), None)
    return found if found is not None or len(folders) != 1 else _first_slice(folders[0])


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        files = [entry for entry in entries if entry.is_file() and entry.name.upper() != "DICOMDIR"]
        return files, [entry for entry in entries if entry.is_dir()]
    except OSError as error:
        raise _unreadable(folder, error) from error


def _sorted(folder: Path) -> tuple[list[tuple[Path, Any]], list[Path]]:
    """Return files and headers in the order in which the slices lie, all of one series, and the other files."""
    if folder.is_file():
        return [(folder, _read_header(folder))], []
    first_slice = _first_slice(folder)
    if first_slice is None:
        raise InputError(f"{folder} holds no DICOM slice")
    entries, _ = _entries(first_slice.parent)
    if len(entries) > _MOST_FILES:
        raise InputError(
            f"{folder} holds {len(entries)} files, at most {_MOST_FILES} make a series: split it"
        )
    files = [file for file in entries if _is_dicom(file) or file.suffix.lower() == ".dcm"]
    known = set(files)
    others = [file for file in entries if file not in known]
    headers = [(file, _read_header(file)) for file in files]
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
    headers.sort(key=lambda pair: float(normal @ _floats(pair[1].ImagePositionPatient)))
    return headers, others


def _read_header(file: Path) -> Any:
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, force=_is_dicom(file))
    except Exception as error:  # see above
        raise _damaged(file, error) from error
    for name in _NEEDED:
        held = header.get(name)
        if held is None or str(held).strip() in ("", "[]"):
            raise InputError(
                f"{file} does not say its {name}: export the series with it, or convert it to NIfTI"
            )
    if _number(header, "SamplesPerPixel", 1) != 1 or _number(header, "NumberOfFrames", 1) != 1:
        raise InputError(f"{file} must hold one gray slice: export the series slice by slice")
    return header


def _unevenness(headers: list[tuple[Path, Any]]) -> tuple[float, int]:
    """Return by which share of the usual gap one between slices differs most, and the number of that gap."""
    positions = np.array([_floats(header.ImagePositionPatient) for _, header in headers])
    if len(positions) < 3:
        return (0.0 if len(positions) < 2 or (positions[0] != positions[1]).any() else 1.0), 0
    gaps = np.diff(positions, axis=0)
    usual = np.median(gaps, axis=0)
    length = float(np.linalg.norm(usual))
    off = np.linalg.norm(gaps - usual, axis=1) / length if length else np.ones(len(gaps))
    return float(off.max()), int(off.argmax())


def _grid(folder: Path, headers: list[tuple[Path, Any]]) -> Grid:
    first = headers[0][1]
    positions = np.array([_floats(header.ImagePositionPatient) for _, header in headers])
    row, column = _floats(first.ImageOrientationPatient)[:3], _floats(first.ImageOrientationPatient)[3:]
    step = np.cross(row, column) * _number(first, "SliceThickness", 1)
    if len(positions) > 1:
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        off, number = _unevenness(headers)
        if off > _EVEN or np.linalg.norm(step) == 0:
            gap = float(np.linalg.norm(positions[number + 1] - positions[number]))
            names = f"{headers[number][0].name} and {headers[number + 1][0].name}"
            raise InputError(
                f"{folder}: its slices are not evenly spaced, between {names} lie {gap:.3g} mm and mostly "
                f"{float(np.median(np.linalg.norm(np.diff(positions, axis=0), axis=1))):.3g} mm, one is missing or "
                "there twice: complete it"
            )
    down, right = _floats(first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ np.stack([row * right, column * down, step], axis=1)
    affine[:3, 3] = LPS_TO_RAS @ positions[0]
    return Grid((int(first.Columns), int(first.Rows), len(headers)), as_affine(affine))


def _floats(values: Any) -> NDArray[np.float64]:
    return np.array([float(value) for value in values])


def _is_dicom(file: Path) -> bool:
    """Return whether a file is DICOM: by its preamble or, where it has none, by the first tag of an image."""
    try:
        with file.open("rb") as opened:
            start = opened.read(132)
    except OSError as error:
        raise _unreadable(file, error) from error
    return start[128:] == b"DICM" or start[:4] in (
        b"\x08\0\x05\0",
        b"\x08\0\x08\0",
        b"\x08\0\0\0",
        b"\x08\0\x16\0",
    )


def _damaged(file: Path, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return InputError(f"{file}: this slice cannot be read ({reason}): export it again")


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}): change its permissions, or remove it")
