"""MetaImage (.mha, .mhd with its data file) and NRRD (.nrrd, .nhdr), by SimpleITK.

A header names the file that holds the voxels. It must lie beside the header and hold as many bytes as the header says:
both are looked at before anything is decoded.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.formats.geometry import Grid, as_affine
from metadcseg.data.formats.itk_header import HEADER_BYTES, check_header
from metadcseg.errors import InputError, shown
from metadcseg.extras import Extra
from metadcseg.reading import check_claim

sitk: Any = Extra("SimpleITK", "volumes", "MetaImage and NRRD files")

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_DATA_FILE = re.compile(r"^\s*(?:ElementDataFile\s*[=:]|data ?file:=?)\s*(.+?)\s*$", re.I | re.M)
_SPACE_UNITS = re.compile(r"^\s*(?:space units|units|DistanceUnits)\s*[:=]\s*(.+?)\s*$", re.I | re.M)
_SEGMENT = re.compile(r"^Segment(\d+)_(Name|LabelValue|Layer):=(.*)$", re.M)
_MILLIMETERS = {"m": 1e3, "meter": 1e3, "meters": 1e3, "cm": 10.0, "um": 1e-3, "µm": 1e-3, "μm": 1e-3}
_MILLIMETERS |= {"micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "micrometers": 1e-3, "nm": 1e-6}
_LONGEST = 9  # digits of a value or layer
_META = (".mha", ".mhd")
_DETACHED = (".mhd", ".nhdr")
_BYTES = {
    "Int8": 1,
    "UInt8": 1,
    "Int16": 2,
    "UInt16": 2,
    "Int32": 4,
    "UInt32": 4,
    "Int64": 8,
    "UInt64": 8,
    "Float32": 4,
}
_BYTES |= {"Float64": 8}
_NO_VECTORS = ("Int64", "UInt64")


@dataclass(frozen=True)
class Segment:
    """A segment of 3D Slicer.

    Args:
        name: as it was given.
        value: of its voxels.
        layer: number of the channel that holds it; segments that overlap lie in different ones.
    """

    name: str
    value: int
    layer: int


class Header:
    """The header of a file, looked at once and read by SimpleITK; no voxel is decoded before :meth:`voxels`.

    Args:
        path: of the header.

    Raises:
        InputError: naming the field that cannot be, or the file of voxels that is not beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = _beside(path)
        self._packed = check_header(path)
        self._reader = _reader(path)
        self._text = _text(path)

    def head(self) -> tuple[Grid, int]:
        """Return grid and number of channels."""
        size, scale = self._reader.GetSize(), self.scale
        turned = self.direction * np.array(self._reader.GetSpacing()[:3]) * scale
        affine = np.eye(4)
        affine[:3, :3] = _LPS_TO_RAS @ turned
        affine[:3, 3] = _LPS_TO_RAS @ np.array(self._reader.GetOrigin()[:3]) * scale
        channels = self._reader.GetNumberOfComponents() * (size[3] if len(size) == 4 else 1)
        return Grid((size[0], size[1], size[2]), as_affine(affine)), channels

    def voxels(self) -> NDArray[Any]:
        """Return (X, Y, Z, C) as stored."""
        reader, shape = self._reader, self._reader.GetSize()
        values = int(np.prod(shape, dtype=object)) * reader.GetNumberOfComponents()
        wanted = values * _bytes()[reader.GetPixelIDValue()]
        check_claim(self._data or self._path, wanted, packed=self._packed)
        if self._data is not None and self._path.suffix.lower() in _META:
            self._check_data(self._data, wanted)
        array = sitk.GetArrayFromImage(reader.Execute())  # (Z, Y, X), (Z, Y, X, C) or (T, Z, Y, X)
        if reader.GetDimension() == 4:
            array = np.moveaxis(array, 0, -1)
        ordered: NDArray[Any] = array.reshape(*array.shape[:3], -1).transpose(2, 1, 0, 3)
        return ordered

    def place(self, image: Any) -> None:
        """Put an image of SimpleITK where this one lies, to the last bit."""
        scale = self.scale
        image.SetSpacing([side * scale for side in self._reader.GetSpacing()[:3]])
        image.SetOrigin([side * scale for side in self._reader.GetOrigin()[:3]])
        image.SetDirection(self.direction.flatten().tolist())

    def notes(self) -> tuple[str, ...]:
        """Return what it says that is easily overlooked."""
        scale = self.scale
        if scale == 1:
            return ()
        return (f"{self._path}: its header counts in units of {scale:g} mm, turned into mm",)

    def segments(self) -> list[Segment]:
        """Return the segments that 3D Slicer names in the header of a NRRD file, in their order; none of others."""
        if self._path.suffix.lower() in _META:
            return []
        found: dict[int, dict[str, str]] = {}
        for number, field, value in _SEGMENT.findall(self._text):
            found.setdefault(int(number), {})[field] = value.strip()
        return [
            Segment(
                fields.get("Name", f"segment {number}"),
                int(fields["LabelValue"]),
                self._layer(fields.get("Layer", "0")),
            )
            for number, fields in sorted(found.items())
            if fields.get("LabelValue", "").isdecimal() and len(fields["LabelValue"]) <= _LONGEST
        ]

    def _layer(self, text: str) -> int:
        if not text.isdecimal() or len(text) > _LONGEST:
            raise InputError(
                f"{self._path}: the layer of a segment is no number ({text[:20]!r}): save it again"
            )
        return int(text)

    @property
    def direction(self) -> NDArray[np.float64]:
        """The directions of the axes, (3, 3), LPS."""
        dimensions = self._reader.GetDimension()
        turned: NDArray[np.float64] = np.array(self._reader.GetDirection()).reshape(dimensions, dimensions)
        return turned[:3, :3]

    @property
    def scale(self) -> float:
        """How many mm a unit of it is."""
        named = [name for line in _SPACE_UNITS.findall(self._text) for name in re.findall(r"[^\s\"]+", line)]
        units = {_MILLIMETERS.get(name.lower(), 1.0) for name in named if name != "???"}
        if len(units) > 1:
            raise InputError(
                f"{self._path} counts its axes in different units ({', '.join(named)}): export it in mm"
            )
        return units.pop() if units else 1.0

    def _check_data(self, data: Path, wanted: int) -> None:
        """Compare the bytes of a data file of MetaImage with what the header says; ITK's readers do not always."""
        got = _inflated(data, wanted) if self._packed else data.stat().st_size
        if got < wanted or (self._packed and got != wanted):
            raise InputError(
                f"{data} must hold {wanted} bytes of voxels for {self._path.name}, got {got}: copy it again"
            )


def write(path: Path, labels: NDArray[np.integer], grid: Grid, like: Path | None) -> None:
    """Write labels on a grid, taken to the last bit from ``like`` where that is such a file."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(labels.transpose(2, 1, 0)))
    if like is not None and like.suffix.lower() in SUFFIXES:
        Header(like).place(image)
    else:
        affine = np.array(grid.affine)
        spacing = grid.spacing()
        image.SetSpacing(spacing)
        if grid.is_placed:
            direction = _LPS_TO_RAS @ affine[:3, :3] / np.array(spacing)
            image.SetOrigin((_LPS_TO_RAS @ affine[:3, 3]).tolist())
            image.SetDirection(direction.flatten().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def merged(path: Path, segments: Sequence[Segment], layers: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """Return segments that may overlap as class numbers from 1 in their order, and what was decided where they do.

    Args:
        path: the file, for the note.
        segments: as `segments` found them.
        layers: (X, Y, Z, number of layers).

    Returns:
        (X, Y, Z); where two overlap, the smaller one. And a note with the count.

    Raises:
        InputError: where there are more than labels can tell, or one lies in a layer that is not there.
    """
    if len(segments) >= IGNORE:
        raise InputError(f"{path} holds {len(segments)} segments, at most {IGNORE - 1} fit: leave some out")
    if lost := [each.name for each in segments if each.layer >= layers.shape[3]]:
        raise InputError(f"{path}: the segment '{lost[0]}' lies in a layer that is not there: save it again")
    labels = np.zeros(layers.shape[:3], np.uint8)
    sizes = [int(np.count_nonzero(layers[..., each.layer] == each.value)) for each in segments]
    twice = 0
    for index in sorted(range(len(segments)), key=lambda index: -sizes[index]):
        inside = layers[..., segments[index].layer] == segments[index].value
        twice += int(np.count_nonzero(labels[inside]))
        labels[inside] = index + 1
    order = ", ".join(f"{number} {segment.name}" for number, segment in enumerate(segments, start=1))
    return (
        labels,
        f"{path}: {twice} voxels lie in two of its segments ({order}), the smaller one counts there",
    )


def _text(path: Path) -> str:
    """Return the header: up to the empty line of NRRD, or to the line that names the voxels of MetaImage."""
    with path.open("rb") as file:
        held = file.read(HEADER_BYTES)
    ends = [at for mark in (b"\n\n", b"\r\n\r\n") if (at := held.find(mark)) >= 0]
    if (data := re.search(rb"ElementDataFile", held)) is not None:
        ends.append(data.start())
    return held[: min(ends, default=len(held))].decode("utf-8", "replace")


def _reader(path: Path) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetDimension() not in (3, 4):
        raise InputError(
            f"{path} has {reader.GetDimension()} dimensions, a volume has 3 (or 4, with channels)"
        )
    if reader.GetPixelIDValue() not in _bytes():
        raise InputError(f"{path} holds {reader.GetPixelID()} voxels: export it as plain numbers")
    return reader


@cache
def _bytes() -> dict[int, int]:
    """Return how many bytes a number takes, by SimpleITK's number of its kind."""
    plain = {getattr(sitk, f"sitk{name}"): size for name, size in _BYTES.items()}
    vectors = {name: size for name, size in _BYTES.items() if name not in _NO_VECTORS}
    return plain | {getattr(sitk, f"sitkVector{name}"): size for name, size in vectors.items()}


def _beside(path: Path) -> Path | None:
    """Return the file that a header names for its voxels, None where they follow the header itself."""
    with path.open("rb") as file:
        text = file.read(HEADER_BYTES).decode("latin-1")
    named = _DATA_FILE.findall(text)
    if path.suffix.lower() in _DETACHED and len(named) != 1:
        raise InputError(
            f"{path} must name one file for its voxels in its first 64 KiB, got {len(named)}: export it again"
        )
    if not named or named[0].upper() == "LOCAL":
        return None
    name = named[0]
    if (
        Path(name).name != name
        or not name.isprintable()
        or len(name) > 255
        or name.upper().startswith("LIST")
        or "%" in name
    ):
        raise InputError(
            f"{path} names {shown(name)} for its voxels, which must be one file beside it: export it again"
        )
    data = path.with_name(name)
    if not data.is_file():
        raise InputError(f"{path} needs {name} beside it, which holds its voxels: copy that file as well")
    return data


def _inflated(data: Path, most: int) -> int:
    """Return how many bytes a zlib stream holds; stops soon after more than ``most``."""
    stream, count = zlib.decompressobj(), 0
    with data.open("rb") as file:
        while count <= most and (piece := file.read(2**20)):
            while piece and count <= most:
                count += len(stream.decompress(piece, 2**24))
                piece = stream.unconsumed_tail
    return count
