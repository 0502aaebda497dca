"""What the writer and the reader of a prepared set agree on: file names, checksums, and allowed values.

A prepared set is a folder::

    SET/set.json        the manifest: format, name, classes, channels, source, sha256 of the other tables
    SET/cases.jsonl     one case per line: id, role, group, native size, spacing, where its arrays lie
    SET/volumes.jsonl   one volume per line (only where the cases are slices of volumes; the version is 2 then)
    SET/noise.json      how the labels were corrupted (only where they were)
    SET/SHA256SUMS      sha256 of the files above and of every array's metadata; ``sha256sum -c`` reads it
    SET/arrays/KIND-NUMBER/   zarr 3 arrays of the cases that share kind, size and dtype; one chunk per case

Ids come from users and are never used as paths. Arrays of one size share a zarr array because creating one
costs five times as much as writing into one, and thousands of folders are slow on shared file systems.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

Role = Literal["train", "gold", "val", "test"]
"""What a case is for: imperfect labels, verified labels, model choice, final evaluation."""

ROLES: tuple[str, ...] = get_args(Role)

FORMAT = "metadcseg-set"
VERSION = 1
VOLUMES_VERSION = 2
"""Of a set of slices: older programs refuse it with a sentence about versions."""

MANIFEST = "set.json"
TABLE = "cases.jsonl"
VOLUMES = "volumes.jsonl"
NOISE = "noise.json"
CHECKSUMS = "SHA256SUMS"
ARRAYS = "arrays"

Kind = Literal["image", "label", "truth", "given", "edges", "trust", "outlines"]
"""The kinds of array that a case has."""

REFERENCE = "reference"
"""The kind of array that a volume has, beside those of its slices: (X, Y, Z)."""

_OF_THREE_AXES = ("image", "outlines", REFERENCE)

ImageDtype = Literal["uint8", "uint16", "float16", "float32"]
IMAGE_DTYPES: tuple[str, ...] = get_args(ImageDtype)

MAX_SIDE = 65_536
Side = Annotated[int, Meta(ge=1, le=MAX_SIDE)]
"""Of an array: of an image, or how many channels it has."""

MAX_VALUES = 2**29
"""Largest number of values of one array; a manifest that asks for more is damaged or hostile."""

Array = NDArray[Any]


def digest(data: bytes) -> str:
    """Return the sha256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype, such as ``uint8``: NumPy puts it together anew each time."""
    return dtype.name


def array_digest(array: Array) -> str:
    """Return the sha256 of an array's dtype, shape and values: equal for equal arrays only.

    Example:
        >>> array_digest(np.zeros((2, 3))) == array_digest(np.zeros((3, 2)))
        False
    """
    state = hashlib.sha256(f"{dtype_name(array.dtype)} {array.shape}".encode())
    state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


def chunk_file(folder: Path, name: str, index: int) -> Path:
    """Return the file that holds one case's values in the array called ``name``."""
    return folder / ARRAYS / name / chunk_name(index, 3 if name.startswith(_OF_THREE_AXES) else 2)


def chunk_name(index: int, axes: int) -> str:
    """Return the name of the file that holds one case's values in an array of (cases, ...).

    Args:
        index: of the case.
        axes: how many axes the values have.

    Example:
        >>> chunk_name(7, 2)
        'c.7.0.0'
    """
    return f"c.{index}" + ".0" * axes
