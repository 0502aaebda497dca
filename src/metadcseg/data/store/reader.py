"""Read a prepared set: checksummed arrays and one table of cases (the layout is in ``store_layout``)."""

import json
import math
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metadcseg.data.store.arrays import check_chunk
from metadcseg.data.store.disk import refuse_occupied
from metadcseg.data.store.layout import (
    ARRAYS,
    CHECKSUMS,
    MANIFEST,
    NOISE,
    REFERENCE,
    ROLES,
    TABLE,
    VOLUMES,
    Array,
    array_digest,
    chunk_file,
    digest,
)
from metadcseg.data.store.schema import Manifest, Place
from metadcseg.data.store.tables import (
    AGAIN,
    Case,
    StoredVolume,
    check_packing,
    checked,
    read_case,
    read_manifest,
    read_noise,
    read_stored_volume,
    read_sums,
    refuse_strays,
)
from metadcseg.data.store.writer import SetWriter
from metadcseg.errors import InputError, unknown_name

__all__ = ["ROLES", "Case", "PreparedSet", "SetWriter", "StoredVolume", "refuse_occupied"]

_LACKING = {
    "truth": "reference mask (truth); prepare the set from data that has one",
    "given": "mask that a verified one replaced (given); prepare the set from data that has both",
    "edges": "edges; prepare the set again without --edges none",
    "outlines": "outlines of annotators that are known; prepare the set from data that has them (masks/NAME/)",
    "trust": "trust; prepare the set from data that says how far labels are to be trusted",
}


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
        volumes: the volumes whose slices the cases are; none where they are plain images.
        preprocessing: how volumes became slices (``SliceOptions.to_dict``), None for plain images; the images
            of a set that has it are normalized already.
        regions: named unions of labels that are scored beside the classes, or None.
        annotators: whose outlines the cases have, by name; none where nobody is known.

    Example:
        >>> prepared = PreparedSet.open("my_set")  # doctest: +SKIP
        >>> prepared.image(prepared.select("train")[0]).shape  # doctest: +SKIP
        (48, 64, 3)
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        noise: dict[str, Any] | None,
        table: list[tuple[Case, dict[str, Place], str]],
        sums: dict[str, str],
        volumes: list[tuple[StoredVolume, Place]],
    ) -> None:
        self.path = path
        self.name: str = manifest.name
        self.classes: tuple[str, ...] = tuple(manifest.classes)
        self.channels: int = manifest.channels
        self.source: dict[str, Any] = manifest.source
        self.edge_detector: dict[str, Any] | None = manifest.edges
        self.noise = noise
        self.fingerprint = sums[MANIFEST]
        self.cases = tuple(case for case, _, _ in table)
        self._places = [places for _, places, _ in table]
        self._dtypes = [dtype for _, _, dtype in table]
        self._sums = sums
        self.volumes = tuple(volume for volume, _ in volumes)
        self.preprocessing: dict[str, Any] | None = manifest.preprocessing
        self.regions: dict[str, list[int]] | None = manifest.regions
        self.annotators: tuple[str, ...] = tuple(manifest.annotators)
        self._references = [place for _, place in volumes]
        self._stacks: dict[str, list[Case]] = {volume.id: [] for volume in self.volumes}
        for case in self.cases:
            if case.volume is not None:
                self._stacks[case.volume].append(case)
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
        sums = read_sums(folder / CHECKSUMS)
        manifest_file = folder / MANIFEST
        manifest = read_manifest(manifest_file, checked(manifest_file, sums.get(MANIFEST)))
        named = manifest.sha256
        if any(sums.get(name) != value for name, value in named.items()):
            raise InputError(
                f"{folder / CHECKSUMS} contradicts {MANIFEST}; it was damaged or edited, {AGAIN}"
            )
        lines = checked(folder / TABLE, named.get(TABLE)).splitlines()
        table = [read_case(folder / TABLE, number, line, manifest) for number, line in enumerate(lines)]
        if len(table) != manifest.cases:
            raise InputError(f"{folder / TABLE} holds {len(table)} of {manifest.cases} cases; {AGAIN}")
        lines = checked(folder / VOLUMES, named[VOLUMES]).splitlines() if VOLUMES in named else []
        volumes = [read_stored_volume(folder / VOLUMES, number, line) for number, line in enumerate(lines)]
        refuse_strays(folder, [case for case, _, _ in table], [volume for volume, _ in volumes], manifest)
        noise = read_noise(folder, named[NOISE]) if NOISE in named else None
        return cls(folder, manifest, noise, table, sums, volumes)

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

    def with_roles(self, roles: Mapping[str, str]) -> "PreparedSet":
        """Return the same set, in this process alone, with other roles: on disk nothing is changed.

        Args:
            roles: id of an image, or of a volume -> its role; those that are not named keep theirs.

        Raises:
            InputError: for a role that is not in ``ROLES``.
        """
        for role in roles.values():
            if role not in ROLES:
                raise unknown_name("role", role, ROLES)
        other = copy(self)
        other.cases = tuple(
            replace(case, role=roles.get(case.volume or case.id, case.role)) for case in self.cases
        )
        other.volumes = tuple(replace(each, role=roles.get(each.id, each.role)) for each in self.volumes)
        other._stacks = {volume.id: [] for volume in other.volumes}
        for case in other.cases:
            if case.volume is not None:
                other._stacks[case.volume].append(case)
        told = json.dumps([self.fingerprint, sorted(roles.items())])
        other.fingerprint = digest(told.encode())
        return other

    def image(self, case: Case) -> Array:
        """Return (H, W, C) uint8, uint16 or float32 in native size.

        Raises:
            InputError: naming case and file where the stored bytes are damaged.
        """
        return self._read(case, "image")

    def label(self, case: Case) -> Array:
        """Return the mask to learn from, (H, W) uint8: class number, or 255 where unknown; of gold the verified one.

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

    def given(self, case: Case) -> Array:
        """Return the mask that the verified one replaced, (H, W) uint8: class number, or 255 where unknown.

        Raises:
            InputError: where the case has none (:attr:`Case.has_given`), or naming case and file where the bytes are
                damaged.
        """
        return self._read(case, "given")

    def edges(self, case: Case) -> Array:
        """Return 255 times the probability that each pixel is on an edge (eq. 8), (H, W) uint8.

        Raises:
            InputError: where the set has none, or naming case and file where the bytes are damaged.
        """
        return self._read(case, "edges")

    def label_confidence(self, case: Case) -> Array:
        """Return how far the given label is to be trusted, (H, W) uint8; 255 is fully.

        Raises:
            InputError: where the case has none, or naming case and file where the bytes are damaged.
        """
        return self._read(case, "trust")

    def outlines(self, case: Case) -> dict[str, Array]:
        """Return what each annotator drew, by name: (H, W) uint8 like the label.

        Raises:
            InputError: where nobody is known (:attr:`Case.annotators`), or naming case and file where the bytes are
                damaged.
        """
        return dict(zip(case.annotators, self._read(case, "outlines"), strict=True))

    def slices_of(self, volume: StoredVolume) -> tuple[Case, ...]:
        """Return the slices of a volume in their order; of training and gold volumes some may lack.

        Raises:
            InputError: for a volume of another set.
        """
        self._check_volume(volume)
        return tuple(sorted(self._stacks[volume.id], key=lambda case: case.slice or 0))

    def reference(self, volume: StoredVolume) -> Array:
        """Return the label volume that evaluation compares with, in the order and on the grid of its file.

        Returns:
            (X, Y, Z) uint8: class number, or 255 where unknown.

        Raises:
            InputError: for a volume of another set, or naming volume and file where the bytes are damaged.
        """
        self._check_volume(volume)
        place = self._references[volume.row]
        return self._load(
            place, f"the reference of volume {volume.id!r}", volume.placement.grid.shape, "uint8"
        )

    def checksums(self, of: Case | StoredVolume) -> dict[str, str]:
        """Return kind of array -> sha256 as the table has it, of a case or of a volume: equal for equal arrays only.

        Raises:
            InputError: for a case or a volume of another set.
        """
        if isinstance(of, StoredVolume):
            self._check_volume(of)
            return {REFERENCE: self._references[of.row].sha256}
        return {kind: place.sha256 for kind, place in self._places_of(of).items()}

    def verify(self) -> list[str]:
        """Read every array; return one sentence for each that is damaged, none when all is well."""
        sentences = []
        for case in self.cases:
            for kind in self._places[case.row]:
                try:
                    self._read(case, kind)
                except InputError as error:
                    sentences.append(str(error))
        for volume in self.volumes:
            try:
                self.reference(volume)
            except InputError as error:
                sentences.append(str(error))
        return sentences

    def _check_volume(self, volume: StoredVolume) -> None:
        if not 0 <= volume.row < len(self.volumes) or self.volumes[volume.row] != volume:
            raise InputError(
                f"volume {volume.id!r} is not of {self.path}; take volumes from this set's own .volumes"
            )

    def _places_of(self, case: Case) -> dict[str, Place]:
        if not 0 <= case.row < len(self.cases) or self.cases[case.row] != case:
            raise InputError(f"case {case.id!r} is not of {self.path}; take cases from this set's own .cases")
        return self._places[case.row]

    def _read(self, case: Case, kind: str) -> Array:
        place = self._places_of(case).get(kind)
        if place is None:
            raise InputError(f"{self.path}: case {case.id!r} has no {_LACKING[kind]}")
        size, dtype = (case.height, case.width), "uint8"
        shape: tuple[int, ...] = size
        if kind == "image":
            shape, dtype = (*size, self.channels), self._dtypes[case.row]
        elif kind == "outlines":
            shape = (len(case.annotators), *size)
        return self._load(place, f"the {kind} of case {case.id!r}", shape, dtype)

    def _load(self, place: Place, what: str, shape: tuple[int, ...], dtype: str) -> Array:
        file = chunk_file(self.path, place.array, place.index)
        try:
            array = self._array(place.array, shape, dtype)
            check_chunk(file, math.prod(shape) * np.dtype(dtype).itemsize)
            values: Array = np.asarray(array[place.index])
        except InputError as error:
            raise InputError(f"{what.partition(' of ')[2]}: {error}") from error
        except Exception as error:  # whatever a codec raises when its bytes are not what it wrote
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            raise InputError(f"{file}: {what} cannot be read ({reason}); {AGAIN}") from error
        if not file.is_file() or array_digest(values) != place.sha256:
            raise InputError(f"{file}: {what} does not match its checksum; {AGAIN}")
        return values

    def _array(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        """Open a zarr array once; its size is compared with the table before any value is read."""
        if name not in self._opened:
            folder = self.path / ARRAYS / name
            check_packing(folder / "zarr.json", self._sums.get(f"{ARRAYS}/{name}/zarr.json"))
            import zarr  # takes as long as all else that a look at a folder needs
            from zarr.storage import LocalStore

            self._opened[name] = zarr.open_array(store=LocalStore(folder, read_only=True), mode="r")
        array = self._opened[name]
        if array.shape[1:] != shape or array.chunks != (1, *shape) or array.dtype.name != dtype:
            raise InputError(
                f"{self.path / ARRAYS / name} holds {array.dtype.name} of {array.shape[1:]} where the table "
                f"says {dtype} of {shape}; {AGAIN}"
            )
        return array
