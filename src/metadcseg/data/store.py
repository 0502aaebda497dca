"""Read a prepared set: checksummed arrays and one table of cases (the layout is in ``store_layout``)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from metadcseg.data.store_layout import (
    ARRAY_NAME,
    ARRAYS,
    CHECKSUMS,
    FORMAT,
    IMAGE_DTYPES,
    KINDS,
    MANIFEST,
    MAX_SIDE,
    MAX_VALUES,
    NOISE,
    ROLES,
    TABLE,
    VERSION,
    Array,
    array_digest,
    chunk_file,
    digest,
)
from metadcseg.data.store_writer import SetWriter, refuse_occupied
from metadcseg.errors import InputError, unknown_name

__all__ = ["ROLES", "Case", "PreparedSet", "SetWriter", "refuse_occupied"]

_AGAIN = "prepare the set again"
_LACKING = {
    "truth": "reference mask (truth); prepare the set from data that has one",
    "edges": "edges; prepare the set again without --edges none",
}


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
        spacing: (row, column) distance of pixel centres in mm, or None where unknown.
        has_truth: a reference mask is stored beside the label given.
        has_edges: the probability of edges is stored.
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


@dataclass(frozen=True)
class _Place:
    """Where one array of a case lies, and the sha256 of its dtype, shape and values."""

    array: str
    index: int
    sha256: str


class PreparedSet:
    """A prepared set on disk, opened for reading; every array is checked whenever it is read.

    Attributes:
        path: the folder.
        name: what the set is called in reports.
        classes: names of the L classes, ``"background"`` first.
        channels: C of every image.
        noise: how the labels were corrupted, or None when they are as given.
        source: where the data come from and under which licence.
        edge_detector: what made the edges (``detector``, ``sha256`` of its weights), or None where there are none.
        fingerprint: sha256 of the manifest; equal for sets with equal content, notes and order.
        cases: all cases in the order of the table.

    Example:
        ``prepared = PreparedSet.open("sets/kvasir")`` and
        ``image = prepared.image(prepared.select("train")[0])``.
    """

    def __init__(
        self,
        path: Path,
        manifest: dict[str, Any],
        noise: dict[str, Any] | None,
        table: list[tuple[Case, dict[str, _Place], str]],
        sums: dict[str, str],
    ) -> None:
        self.path = path
        self.name: str = manifest["name"]
        self.classes: tuple[str, ...] = tuple(manifest["classes"])
        self.channels: int = manifest["channels"]
        self.source: dict[str, Any] = manifest["source"]
        self.edge_detector: dict[str, Any] | None = manifest.get("edges")
        self.noise = noise
        self.fingerprint = sums[MANIFEST]
        self.cases = tuple(case for case, _, _ in table)
        self._places = [places for _, places, _ in table]
        self._dtypes = [dtype for _, _, dtype in table]
        self._sums = sums
        self._opened: dict[str, Any] = {}

    @classmethod
    def open(cls, path: Path | str) -> "PreparedSet":
        """Open a set; manifest, table and noise file are compared with their checksums.

        Raises:
            InputError: naming the file that is missing, damaged or not of this format.
        """
        folder = Path(path)
        if not (folder / MANIFEST).is_file():
            raise InputError(
                f"{folder} is not a prepared set (it has no {MANIFEST}); run 'metadcseg prepare'"
            )
        sums = _read_sums(folder / CHECKSUMS)
        manifest_file = folder / MANIFEST
        manifest = _manifest(manifest_file, _checked(manifest_file, sums.get(MANIFEST)))
        named = manifest["sha256"]
        if any(sums.get(name) != value for name, value in named.items()):
            raise InputError(
                f"{folder / CHECKSUMS} contradicts {MANIFEST}; it was damaged or edited, {_AGAIN}"
            )
        lines = _checked(folder / TABLE, named.get(TABLE)).splitlines()
        table = [_row(folder / TABLE, number, line, manifest) for number, line in enumerate(lines)]
        if len(table) != manifest["cases"]:
            raise InputError(f"{folder / TABLE} holds {len(table)} of {manifest['cases']} cases; {_AGAIN}")
        noise = None
        if NOISE in named:
            noise = _json(folder / NOISE, _checked(folder / NOISE, named[NOISE]))
        return cls(folder, manifest, noise, table, sums)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.select(role))} {role}" for role in ROLES)
        noise = "as given" if self.noise is None else "corrupted"
        return (
            f"PreparedSet({self.name!r} at {str(self.path)!r}: {counts}; {self.channels} channels, "
            f"classes {', '.join(self.classes)}; labels {noise})"
        )

    def select(self, role: str) -> tuple[Case, ...]:
        """Return the cases of one role in the order of the table.

        Raises:
            InputError: for a role that is not in ``ROLES``.
        """
        if role not in ROLES:
            raise unknown_name("role", role, ROLES)
        return tuple(case for case in self.cases if case.role == role)

    def image(self, case: Case) -> Array:
        """Return (H, W, C) uint8, uint16 or float32 in native size.

        Raises:
            InputError: naming case and file where the stored bytes are damaged.
        """
        return self._read(case, "image")

    def label(self, case: Case) -> Array:
        """Return the mask that was given, (H, W) uint8: class number, or 255 where unknown.

        Raises:
            InputError: naming case and file where the stored bytes are damaged.
        """
        return self._read(case, "label")

    def truth(self, case: Case) -> Array:
        """Return the reference mask, (H, W) uint8; for simulation and evaluation only.

        Raises:
            InputError: where the case has none, or naming case and file where the bytes are damaged.
        """
        return self._read(case, "truth")

    def edges(self, case: Case) -> Array:
        """Return 255 times the probability that each pixel is on an edge (eq. 8), (H, W) uint8.

        Raises:
            InputError: where the set has none, or naming case and file where the bytes are damaged.
        """
        return self._read(case, "edges")

    def image_hash(self, case: Case) -> str:
        """Return the sha256 of the image as the table has it: equal for images of equal content."""
        return self._place(case, "image").sha256

    def verify(self) -> list[str]:
        """Read every array; return one sentence for each that is damaged, none when all is well."""
        sentences = []
        for case in self.cases:
            for kind in self._places[case.row]:
                try:
                    self._read(case, kind)
                except InputError as error:
                    sentences.append(str(error))
        return sentences

    def _place(self, case: Case, kind: str) -> _Place:
        if not 0 <= case.row < len(self.cases) or self.cases[case.row] != case:
            raise InputError(f"case {case.id!r} is not of {self.path}; take cases from this set's own .cases")
        places = self._places[case.row]
        if kind not in places:
            raise InputError(f"{self.path}: case {case.id!r} has no {_LACKING[kind]}")
        return places[kind]

    def _read(self, case: Case, kind: str) -> Array:
        place = self._place(case, kind)
        size = (case.height, case.width)
        shape, dtype = (
            ((*size, self.channels), self._dtypes[case.row]) if kind == "image" else (size, "uint8")
        )
        file = chunk_file(self.path, place.array, place.index)
        try:
            values: Array = np.asarray(self._array(place.array, shape, dtype)[place.index])
        except InputError as error:
            raise InputError(f"case {case.id!r}: {error}") from error
        except Exception as error:  # whatever a codec raises when its bytes are not what it wrote
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            raise InputError(
                f"{file}: the {kind} of case {case.id!r} cannot be read ({reason}); {_AGAIN}"
            ) from error
        if not file.is_file() or array_digest(values) != place.sha256:
            raise InputError(f"{file}: the {kind} of case {case.id!r} does not match its checksum; {_AGAIN}")
        return values

    def _array(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        """Open a zarr array once; its size is compared with the table before any value is read."""
        if name not in self._opened:
            folder = self.path / ARRAYS / name
            _checked(folder / "zarr.json", self._sums.get(f"{ARRAYS}/{name}/zarr.json"))
            self._opened[name] = zarr.open_array(store=LocalStore(folder, read_only=True), mode="r")
        array = self._opened[name]
        if array.shape[1:] != shape or array.chunks != (1, *shape) or array.dtype.name != dtype:
            raise InputError(
                f"{self.path / ARRAYS / name} holds {array.dtype.name} of {array.shape[1:]} where the table "
                f"says {dtype} of {shape}; {_AGAIN}"
            )
        return array


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror or error}); {_AGAIN}") from error


def _checked(file: Path, sha256: str | None) -> bytes:
    data = _bytes(file)
    if digest(data) != sha256:
        raise InputError(f"{file} does not match its checksum; it was damaged or edited, {_AGAIN}")
    return data


def _read_sums(file: Path) -> dict[str, str]:
    lines = _bytes(file).decode("ascii", "replace").split("\n")
    pairs = [line.partition("  ") for line in lines]
    return {name: value for value, _, name in pairs}


def _json(file: Path, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON ({error}); {_AGAIN}") from error
    if not isinstance(value, dict):
        raise InputError(f"{file} must hold a JSON object, got {type(value).__name__}; {_AGAIN}")
    return value


def _manifest(file: Path, data: bytes) -> dict[str, Any]:
    manifest = _json(file, data)
    if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
        raise InputError(
            f"{file}: the format must be {FORMAT} {VERSION}, got {manifest.get('format')} "
            f"{manifest.get('version')}; {_AGAIN} with this version of metadcseg"
        )
    wanted = {"name": str, "classes": list, "channels": int, "source": dict, "cases": int, "sha256": dict}
    for key, kind in wanted.items():
        if not isinstance(manifest.get(key), kind):
            raise InputError(
                f"{file}: {key!r} must be a {kind.__name__}, got {manifest.get(key)!r}; {_AGAIN}"
            )
    if not isinstance(manifest.get("edges"), dict | None):
        raise InputError(f"{file}: 'edges' must be a dict or missing, got {manifest['edges']!r}; {_AGAIN}")
    if manifest["channels"] < 1 or not all(isinstance(name, str) for name in manifest["classes"]):
        raise InputError(f"{file}: channels or classes are not what a set can have; {_AGAIN}")
    return manifest


def _row(
    file: Path, number: int, line: bytes, manifest: dict[str, Any]
) -> tuple[Case, dict[str, _Place], str]:
    row = _json(file, line)
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
        )
        places = {kind: _Place(**place) for kind, place in row["arrays"].items()}
        fits = row["row"] == number and case.role in ROLES and row["dtype"] in IMAGE_DTYPES
        fits &= {"image", "label"} <= places.keys() <= set(KINDS)
        fits &= case.has_edges == (manifest.get("edges") is not None)  # every case or none
        fits &= all(ARRAY_NAME.fullmatch(place.array) and place.index >= 0 for place in places.values())
        fits &= min(case.height, case.width) >= 1 and max(case.height, case.width) <= MAX_SIDE
        fits &= case.height * case.width * manifest["channels"] <= MAX_VALUES
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"{file}: line {number + 1} does not describe a case ({error!r}); {_AGAIN}"
        ) from error
    if not fits:
        raise InputError(f"{file}: line {number + 1} holds values that no set can have; {_AGAIN}")
    return case, places, row["dtype"]
