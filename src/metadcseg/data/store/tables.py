"""The tables of a prepared set, read from bytes that nobody has vouched for."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.store.layout import (
    ARRAY_NAME,
    FORMAT,
    IMAGE_DTYPES,
    KINDS,
    MAX_SIDE,
    MAX_VALUES,
    REFERENCE,
    ROLES,
    TABLE,
    VERSION,
    VOLUMES,
    VOLUMES_VERSION,
    digest,
)
from metadcseg.data.store.values import fitting_annotators
from metadcseg.errors import InputError

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


@dataclass(frozen=True)
class Place:
    """Where one array of a case lies, and the sha256 of its dtype, shape and values."""

    array: str
    index: int
    sha256: str


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror or error}); {AGAIN}") from error


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


def read_json(file: Path, data: bytes) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON ({error}); {AGAIN}") from error
    if not isinstance(value, dict):
        raise InputError(f"{file} must hold a JSON object, got {type(value).__name__}; {AGAIN}")
    return value


def read_manifest(file: Path, data: bytes) -> dict[str, Any]:
    """Return the manifest, its values of the types that a set has."""
    manifest = read_json(file, data)
    if manifest.get("format") != FORMAT or manifest.get("version") not in (VERSION, VOLUMES_VERSION):
        raise InputError(
            f"{file}: the format must be {FORMAT} {VERSION} or {VOLUMES_VERSION}, got {manifest.get('format')} "
            f"{manifest.get('version')}; {AGAIN} with this version of metadcseg"
        )
    if (manifest["version"] == VOLUMES_VERSION) != ("preprocessing" in manifest):
        raise InputError(f"{file}: version and 'preprocessing' contradict each other; {AGAIN}")
    wanted = {"name": str, "classes": list, "channels": int, "source": dict, "cases": int, "sha256": dict}
    for key, kind in wanted.items():
        if not isinstance(manifest.get(key), kind):
            raise InputError(f"{file}: {key!r} must be a {kind.__name__}, got {manifest.get(key)!r}; {AGAIN}")
    if not isinstance(manifest.get("edges"), dict | None):
        raise InputError(f"{file}: 'edges' must be a dict or missing, got {manifest['edges']!r}; {AGAIN}")
    for key in ("preprocessing", "regions"):
        if not isinstance(manifest.get(key), dict | None):
            raise InputError(f"{file}: {key!r} must be a dict or missing, got {manifest[key]!r}; {AGAIN}")
    held = manifest.get("annotators", [])
    if not isinstance(held, list) or not all(isinstance(name, str) for name in held):
        raise InputError(f"{file}: 'annotators' must be a list of names or missing, got {held!r}; {AGAIN}")
    if manifest["channels"] < 1 or not all(isinstance(name, str) for name in manifest["classes"]):
        raise InputError(f"{file}: channels or classes are not what a set can have; {AGAIN}")
    return manifest


def read_case(
    file: Path, number: int, line: bytes, manifest: dict[str, Any]
) -> tuple[Case, dict[str, Place], str]:
    """Return one case of the table, where its arrays lie, and the dtype of its image."""
    row = read_json(file, line)
    try:
        case = Case(
            row=number,
            id=str(row["id"]),
            role=row["role"],
            group=str(row["group"]),
            height=int(row["height"]),
            width=int(row["width"]),
            spacing=None if row["spacing"] is None else (float(row["spacing"][0]), float(row["spacing"][1])),
            has_truth="truth" in row["arrays"],
            has_edges="edges" in row["arrays"],
            has_label_confidence="trust" in row["arrays"],
            has_given="given" in row["arrays"],
            volume=None if row.get("volume") is None else str(row["volume"]),
            slice=None if row.get("slice") is None else int(row["slice"]),
            annotators=tuple(str(name) for name in row.get("annotators", ())),
            annotator=None if row.get("annotator") is None else str(row["annotator"]),
        )
        places = {kind: Place(**place) for kind, place in row["arrays"].items()}
        fits = row["row"] == number and case.role in ROLES and row["dtype"] in IMAGE_DTYPES
        fits &= {"image", "label"} <= places.keys() <= set(KINDS)
        fits &= not case.has_given or case.role == "gold" or case.has_truth  # replaced by a verified mask
        fits &= case.has_edges == (manifest.get("edges") is not None)  # every case or none
        fits &= all(ARRAY_NAME.fullmatch(place.array) and place.index >= 0 for place in places.values())
        fits &= min(case.height, case.width) >= 1 and max(case.height, case.width) <= MAX_SIDE
        fits &= case.height * case.width * max(manifest["channels"], len(case.annotators)) <= MAX_VALUES
        names = row.get("annotators", [])
        fits &= isinstance(names, list) and all(isinstance(name, str) for name in names)
        count = len(case.annotators) if "outlines" in places else 0
        fits &= fitting_annotators(count, case.annotators, case.annotator)
        fits &= set(case.annotators) <= set(manifest.get("annotators", ()))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"{file}: line {number + 1} does not describe a case ({error!r}); {AGAIN}"
        ) from error
    if not fits:
        raise InputError(f"{file}: line {number + 1} holds values that no set can have; {AGAIN}")
    return case, places, row["dtype"]


def read_stored_volume(file: Path, number: int, line: bytes) -> tuple[StoredVolume, Place]:
    """Return one volume of the table, and where its reference lies."""
    row = read_json(file, line)
    try:
        volume = StoredVolume(
            row=number,
            id=str(row["id"]),
            role=row["role"],
            group=str(row["group"]),
            placement=SliceGeometry.from_dict(row["placement"]),
            verified=bool(row["verified"]),
        )
        place = Place(**row["arrays"][REFERENCE])
        x, y, z = volume.placement.grid.shape
        fits = row["row"] == number and volume.role in ROLES and x * y * z <= MAX_VALUES
        fits &= (
            bool(ARRAY_NAME.fullmatch(place.array)) and place.array.startswith(REFERENCE) and place.index >= 0
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file}: line {number + 1} does not describe a volume ({error!r}); {AGAIN}"
        ) from error
    if not fits:
        raise InputError(f"{file}: line {number + 1} holds values that no set can have; {AGAIN}")
    return volume, place


def refuse_strays(
    folder: Path, cases: list[Case], volumes: list[StoredVolume], manifest: dict[str, Any]
) -> None:
    """Refuse slices that do not lie in a volume of the set, or twice in the same place."""
    known = {volume.id: volume for volume in volumes}
    whole = len(known) == len(volumes) == manifest.get("volumes", 0)
    taken = {(case.volume, case.slice) for case in cases if case.volume is not None}
    whole &= len(taken) == (len(cases) if "preprocessing" in manifest else 0)
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
