"""The tables of a prepared set, read from bytes that nobody has vouched for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.store.layout import (
    FORMAT,
    MAX_VALUES,
    NOISE,
    REFERENCE,
    TABLE,
    VERSION,
    VOLUMES,
    VOLUMES_VERSION,
    digest,
)
from metadcseg.data.store.schema import (
    CODECS,
    ArrayFile,
    CaseRow,
    Manifest,
    NoiseFile,
    Place,
    Version,
    VolumeRow,
)
from metadcseg.data.store.values import fitting_annotators
from metadcseg.errors import InputError
from metadcseg.reading import read_regular, unreadable
from metadcseg.schemas import decoded, fitting

AGAIN = "prepare the set again"


@dataclass(frozen=True)
class Case:
    """One image with its masks, as the table describes it.

    Args:
        row: the case's number within the set, from 0.
        id: the user's name for it: any text, never a path.
        role: one of ``ROLES``.
        group: what must not be split across roles, such as the patient.
        height: native H in pixels.
        width: native W in pixels.
        spacing: (row, column) distance of pixel centers in mm, or None where unknown.
        has_truth: a reference mask is stored beside the label given.
        has_edges: the probability of edges is stored.
        has_label_confidence: how far the given label is to be trusted is stored.
        has_given: the mask that the verified one replaced is stored beside it.
        volume: id of the volume of which this is a slice, None for a plain image.
        slice: its number in the complete stack of slices, from 0.
        annotators: whose outlines are stored, in their order; of one that is known the only one.
        annotator: who drew the mask as given, where it is one person and known; None of a label that was fused.
    """

    row: int
    id: str
    role: str
    group: str
    height: int
    width: int
    spacing: tuple[float, float] | None
    has_truth: bool
    has_edges: bool = False
    has_label_confidence: bool = False
    has_given: bool = False
    volume: str | None = None
    slice: int | None = None
    annotators: tuple[str, ...] = ()
    annotator: str | None = None


@dataclass(frozen=True)
class StoredVolume:
    """One volume of which the slices are cases.

    Args:
        row: its number among the volumes of the set, from 0.
        id: the user's name for it: any text, never a path.
        role: one of ``ROLES``, that of all of its slices.
        group: what must not be split across roles, such as the patient.
        placement: where its slices lie, and how predictions go back to the grid of the file.
        verified: whether its reference is beyond doubt.
    """

    row: int
    id: str
    role: str
    group: str
    placement: SliceGeometry
    verified: bool


def _bytes(file: Path) -> bytes:
    try:
        return read_regular(file)
    except OSError as error:
        raise unreadable(file, error, AGAIN) from error


def checked(file: Path, sha256: str | None) -> bytes:
    """Return the bytes of a file that match their checksum."""
    data = _bytes(file)
    if digest(data) != sha256:
        raise InputError(f"{file} does not match its checksum; it was damaged or edited, {AGAIN}")
    return data


def read_sums(file: Path) -> dict[str, str]:
    """Return file name -> sha256 as ``SHA256SUMS`` has them."""
    lines = _bytes(file).decode("ascii", "replace").split("\n")
    pairs = [line.partition("  ") for line in lines]
    return {name: value for value, _, name in pairs}


def read_noise(folder: Path, sha256: str) -> dict[str, Any]:
    """Return what ``noise.json`` of a set says."""
    file = folder / NOISE
    told: dict[str, Any] = decoded(checked(file, sha256), dict[str, Any], str(file), AGAIN)
    fitting(told, NoiseFile, str(file), AGAIN)
    return told


def check_packing(file: Path, sha256: str | None) -> None:
    """Refuse an array whose chunks are not packed as the writer packs them."""
    told: ArrayFile = decoded(checked(file, sha256), ArrayFile, str(file), AGAIN)
    if (packed := tuple(codec.name for codec in told.codecs)) != CODECS:
        raise InputError(
            f"{file}: chunks must be packed by {', '.join(CODECS)}, got {', '.join(packed)}; {AGAIN}"
        )


def read_manifest(file: Path, data: bytes) -> Manifest:
    """Return the manifest of a set, of a format that is known."""
    where = str(file)
    said: Version = decoded(data, Version, where, AGAIN)
    if said.format != FORMAT or said.version not in (VERSION, VOLUMES_VERSION):
        raise InputError(
            f"{file}: the format must be {FORMAT} {VERSION} or {VOLUMES_VERSION}, got {said.format!s:.40} "
            f"{said.version!s:.40}; {AGAIN} with this version of metadcseg"
        )
    manifest: Manifest = decoded(data, Manifest, where, AGAIN)
    if (manifest.version == VOLUMES_VERSION) != (manifest.preprocessing is not None):
        raise InputError(f"{file}: version and 'preprocessing' contradict each other; {AGAIN}")
    return manifest


def read_case(file: Path, number: int, line: bytes, manifest: Manifest) -> tuple[Case, dict[str, Place], str]:
    """Return one case of the table, where its arrays lie, and the dtype of its image."""
    where = f"{file}: line {number + 1}"
    row: CaseRow = decoded(line, CaseRow, where, AGAIN)
    case = Case(
        row=number,
        id=row.id,
        role=row.role,
        group=row.group,
        height=row.height,
        width=row.width,
        spacing=row.spacing,
        has_truth="truth" in row.arrays,
        has_edges="edges" in row.arrays,
        has_label_confidence="trust" in row.arrays,
        has_given="given" in row.arrays,
        volume=row.volume,
        slice=row.slice,
        annotators=tuple(row.annotators),
        annotator=row.annotator,
    )
    fits = row.row == number and {"image", "label"} <= row.arrays.keys()
    fits &= not case.has_given or case.role == "gold" or case.has_truth  # replaced by a verified mask
    fits &= case.has_edges == (manifest.edges is not None)  # every case or none
    fits &= case.height * case.width * max(manifest.channels, len(case.annotators)) <= MAX_VALUES
    outlines = len(case.annotators) if "outlines" in row.arrays else 0
    fits &= fitting_annotators(outlines, case.annotators, case.annotator)
    fits &= set(case.annotators) <= set(manifest.annotators)
    if not fits:
        raise InputError(f"{where} holds values that no set can have; {AGAIN}")
    places: dict[str, Place] = {str(kind): place for kind, place in row.arrays.items()}
    return case, places, row.dtype


def read_stored_volume(file: Path, number: int, line: bytes) -> tuple[StoredVolume, Place]:
    """Return one volume of the table, and where its reference lies."""
    where = f"{file}: line {number + 1}"
    row: VolumeRow = decoded(line, VolumeRow, where, AGAIN)
    try:
        placement = SliceGeometry.from_dict(row.placement)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    volume = StoredVolume(number, row.id, row.role, row.group, placement, row.verified)
    place = row.arrays.get(REFERENCE)
    x, y, z = placement.grid.shape
    if row.row != number or x * y * z > MAX_VALUES or place is None or not place.array.startswith(REFERENCE):
        raise InputError(f"{where} holds values that no set can have; {AGAIN}")
    return volume, place


def refuse_strays(folder: Path, cases: list[Case], volumes: list[StoredVolume], manifest: Manifest) -> None:
    """Refuse slices that do not lie in a volume of the set, or twice in the same place."""
    known = {volume.id: volume for volume in volumes}
    whole = len(known) == len(volumes) == manifest.volumes
    taken = {(case.volume, case.slice) for case in cases if case.volume is not None}
    whole &= len(taken) == (len(cases) if manifest.preprocessing is not None else 0)
    for case in cases if whole else ():
        if case.volume is None:
            continue
        held = known.get(case.volume)
        whole &= (
            held is not None
            and case.slice is not None
            and 0 <= case.slice < held.placement.slices
            and (case.height, case.width) == (held.placement.height, held.placement.width)
            and (case.role, case.group) == (held.role, held.group)
        )
    if not whole:
        raise InputError(f"{folder / TABLE} and {VOLUMES} do not belong together; {AGAIN}")
