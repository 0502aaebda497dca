"""What the header of a MetaImage or NRRD file may say, looked at before SimpleITK reads it.

SimpleITK trusts headers: a number of dimensions of 1e+308 ends the interpreter, and a malformed vector keeps it busy
for ever. So every field that it computes with must be as the formats define it.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path

from metadcseg.errors import InputError, shown

HEADER_BYTES = 65_536
"""A header ends within so many bytes."""

_MOST_AXES = 5
_MOST_SIDE = 2**31
_MOST_CHANNELS = 65_536
_SHOWN = 40
_LARGEST = 1e30  # beyond 1e200 SimpleITK takes for ever over some of them
_VECTOR = re.compile(r"\s*(?:none|\(([^()]*)\))", re.I)

_META_LINE = re.compile(r"^[ \t]*(\w+)[ \t]*[=:][ \t]*(.*?)\s*$", re.M)
_META_NUMBERS = ("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
_META_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_META_SINGLE = ("ElementMin", "ElementMax", "CompressedDataSize", "HeaderSize", "CompressionLevel")

_META_LONGEST = 1000
_META_KEY = 80

_AXIS_WORDS = rf"(?:[\w?-]{{1,32}}(?:\s+|$)){{0,{_MOST_AXES}}}"
_NRRD_LINE = re.compile(r"([\w ]+?):(?!=)[ \t]*(.*?)\s*")
_NRRD_WORDS = {
    "type": r"[\w ]{1,24}",
    "encoding": r"raw|txt|text|ascii|hex|gz|gzip|bz2|bzip2",
    "endian": r"little|big",
    "space": r"[\w-]{1,48}",
    "kinds": _AXIS_WORDS,
    "centers": _AXIS_WORDS,
    "centerings": _AXIS_WORDS,
    "labels": r".{1,500}",
    "units": r".{1,500}",
    "space units": r".{1,500}",
    "sample units": r".{1,500}",
    "content": r".{0,500}",
    "number": r"\d{1,12}",
    "data file": r".{1,500}",
    "datafile": r".{1,500}",
}
_NRRD_NUMBERS = ("spacings", "thicknesses", "axis mins", "axis maxs")
_NRRD_SINGLE = (
    *("line skip", "byte skip", "lineskip", "byteskip", "block size", "blocksize"),
    *("old min", "old max", "oldmin", "oldmax", "min", "max"),
)
_NRRD_OTHERS = (
    "dimension",
    "sizes",
    "space dimension",
    "space directions",
    "space origin",
    "measurement frame",
)


def check_header(path: Path) -> bool:
    """Raise unless a header can be given to SimpleITK.

    Args:
        path: a file whose name ends in .mha, .mhd, .nrrd or .nhdr.

    Returns:
        Whether it says that the voxels are compressed.

    Raises:
        InputError: naming the field.
    """
    with path.open("rb") as file:
        text = file.read(HEADER_BYTES)
    is_meta = path.suffix.lower() in (".mha", ".mhd")
    try:
        return _check_meta(text) if is_meta else _check_nrrd(text)
    except ValueError as error:
        raise InputError(f"{path}: its header says {error}: export it again") from error


def _check_meta(held: bytes) -> bool:
    found = re.search(rb"^[ \t]*ElementDataFile[^\n]*", held, re.M)
    if found is None:
        raise ValueError("nowhere which file holds the voxels (ElementDataFile)")
    text = held[: found.end()].decode("latin-1")
    fields: dict[str, str] = dict(_META_LINE.findall(text))
    if long := [
        line for line in text.splitlines() if len(line) > _META_LONGEST or len(line.split("=")[0]) > _META_KEY
    ]:
        raise ValueError(f"{shown(long[0], _SHOWN)}, a line that is too long")
    if not re.fullmatch(r"MET_\w{1,32}", fields.get("ElementType", "")):
        raise ValueError(
            f"{shown(fields.get('ElementType', ''), _SHOWN)} for ElementType, which must begin with MET_"
        )
    axes = _whole("NDims", fields.get("NDims", ""), 1, _MOST_AXES)
    _sizes("DimSize", fields.get("DimSize", ""), axes)
    for name in _META_NUMBERS:
        _numbers(name, fields, lambda count: count == axes)
    for name in _META_MATRICES:
        _numbers(name, fields, lambda count: count == axes**2)
    for name in _META_SINGLE:
        _numbers(name, fields, lambda count: count >= 1)
    if "ElementNumberOfChannels" in fields:
        _whole("ElementNumberOfChannels", fields["ElementNumberOfChannels"], 1, _MOST_CHANNELS)
    return fields.get("CompressedData", "").lower() == "true"


def _check_nrrd(held: bytes) -> bool:
    if not held.startswith(b"NRRD"):
        raise ValueError("nowhere that it is a NRRD file")
    ends = [at for mark in (b"\n\n", b"\r\n\r\n") if (at := held.find(mark)) >= 0]
    text = held[: min(ends, default=len(held))].decode("latin-1")
    fields = _nrrd_fields(text)
    axes = _whole("dimension", fields.get("dimension", ""), 1, _MOST_AXES)
    _sizes("sizes", fields.get("sizes", ""), axes)
    for name in _NRRD_NUMBERS:
        _numbers(name, fields, lambda count: count == axes, nan=True)
    for name in _NRRD_SINGLE:
        _numbers(name, fields, lambda count: count == 1, nan=True)
    if "space dimension" in fields:
        _whole("space dimension", fields["space dimension"], 1, _MOST_AXES)
    _vectors("space directions", fields, axes)
    _vectors("space origin", fields, 1)
    _vectors("measurement frame", fields, None)
    return fields.get("encoding", "").lower() not in ("raw", "")


def _nrrd_fields(text: str) -> dict[str, str]:
    """Return field -> value; what is neither a field, a key (:=) nor a comment is refused, as are words too long."""
    fields = {}
    known = (*_NRRD_WORDS, *_NRRD_NUMBERS, *_NRRD_SINGLE, *_NRRD_OTHERS)
    for line in text.splitlines()[1:]:
        if line.startswith("#") or ":=" in line or not line.strip():
            continue
        found = _NRRD_LINE.fullmatch(line)
        name = found[1].lower() if found else ""
        if found is None or name not in known:
            raise ValueError(f"{shown(line, _SHOWN)}, which is no field of NRRD")
        fields[name] = found[2]
        if name in _NRRD_WORDS and not re.fullmatch(_NRRD_WORDS[name], found[2], re.I):
            raise ValueError(f"{shown(found[2], _SHOWN)} for {name}, which cannot be")
    return fields


def _whole(name: str, value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[+-]?\d{1,12}", value) or not least <= int(value) <= most:
        raise ValueError(
            f"{shown(value, _SHOWN)} for {name}, which must be a whole number from {least} to {most}"
        )
    return int(value)


def _sizes(name: str, value: str, axes: int) -> None:
    sides = value.split()
    if len(sides) != axes:
        raise ValueError(f"{shown(value, _SHOWN)} for {name}, which must be {axes} whole numbers")
    for side in sides:
        _whole(name, side, 1, _MOST_SIDE)


def _numbers(name: str, fields: dict[str, str], fits: Callable[[int], bool], *, nan: bool = False) -> None:
    if (value := fields.get(name)) is None:
        return
    parts = value.split()
    if not fits(len(parts)) or not all(_is_number(part, nan) for part in parts):
        raise ValueError(
            f"{shown(value, _SHOWN)} for {name}, which must be a number below 1e30 for each axis"
        )


def _vectors(name: str, fields: dict[str, str], count: int | None) -> None:
    """Check ``(1,0,0) (0,1,0) none``, all vectors of one length."""
    if (value := fields.get(name)) is None:
        return
    found, at = [], 0
    while (hit := _VECTOR.match(value, at)) is not None:
        at = hit.end()
        found.append(None if hit[1] is None else hit[1].split(","))
    vectors = [vector for vector in found if vector is not None]
    fits = not value[at:].strip() and (len(found) == count or (count is None and found))
    fits = fits and len({len(vector) for vector in vectors}) <= 1
    if not fits or not all(_is_number(part, False) for vector in vectors for part in vector):
        raise ValueError(
            f"{shown(value, _SHOWN)} for {name}, which must be vectors of numbers below 1e30, as (1,0,0)"
        )


def _is_number(text: str, nan: bool) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return abs(value) < _LARGEST or (nan and math.isnan(value))
