"""The shape of every table of a prepared set: what must be there, of which type, and in which range.

The layout is in :mod:`metadcseg.data.store.layout`; how values must fit each other, in
:mod:`metadcseg.data.store.tables`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, get_args

from msgspec import Meta, Struct

from metadcseg.constants import IGNORE
from metadcseg.data.store.layout import REFERENCE, ImageDtype, Kind, Role, Side

Count = Annotated[int, Meta(ge=0)]
Distance = Annotated[float, Meta(gt=0)]
ArrayName = Annotated[str, Meta(pattern=f"^({'|'.join((*get_args(Kind), REFERENCE))})-[0-9]{{5,9}}$")]
CODECS = ("bytes", "zstd", "crc32c")
"""How a chunk is packed, from the values to the file."""


@dataclass(frozen=True)
class Place:
    """Where one array of a case lies, and the sha256 of its dtype, shape and values."""

    array: ArrayName
    index: Count
    sha256: str


class Version(Struct):
    """What ``set.json`` says of its own format, read before all else."""

    format: Any = None
    version: Any = None


class Manifest(Struct):
    """``set.json``."""

    version: int
    name: str
    classes: Annotated[list[str], Meta(min_length=2, max_length=IGNORE)]
    channels: Side
    source: dict[str, Any]
    cases: Count
    sha256: dict[str, str]
    edges: dict[str, Any] | None = None
    preprocessing: dict[str, Any] | None = None
    regions: dict[str, list[Annotated[int, Meta(ge=0, le=IGNORE)]]] | None = None
    annotators: list[str] = []
    volumes: Count = 0


class CaseRow(Struct):
    """A line of ``cases.jsonl``."""

    row: Count
    id: str
    role: Role
    group: str
    height: Side
    width: Side
    spacing: tuple[Distance, Distance] | None
    dtype: ImageDtype
    arrays: dict[Kind, Place]
    volume: str | None = None
    slice: Count | None = None
    annotators: list[str] = []
    annotator: str | None = None


class VolumeRow(Struct):
    """A line of ``volumes.jsonl``; the placement is read by ``SliceGeometry.from_dict``."""

    row: Count
    id: str
    role: Role
    group: str
    placement: dict[str, Any]
    verified: bool
    arrays: dict[str, Place]


class Codec(Struct):
    """A step of how a chunk is packed."""

    name: str


class ArrayFile(Struct):
    """``arrays/NAME/zarr.json``, of which zarr reads the rest."""

    codecs: list[Codec]


class NoiseFile(Struct):
    """``noise.json``: how labels were corrupted; ``draws`` and the report's figures are shown as they are."""

    target: float | None = None
    rate: float | None = None
    seed: int | None = None
    model: str | None = None
    hash: str | None = None
