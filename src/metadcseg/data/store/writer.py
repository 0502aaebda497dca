"""Write a prepared set: all of it, or nothing."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.store.arrays import Chunk, Shelves, write_chunk
from metadcseg.data.store.disk import DiskErrors, publish_folder, refuse_occupied, scratch_beside
from metadcseg.data.store.layout import (
    CHECKSUMS,
    FORMAT,
    MANIFEST,
    NOISE,
    REFERENCE,
    ROLES,
    TABLE,
    VERSION,
    VOLUMES,
    VOLUMES_VERSION,
    Array,
    digest,
)
from metadcseg.data.store.values import (
    check_annotators,
    check_counts,
    check_kinds,
    check_slice,
    checked_arrays,
    checked_reference,
    checked_regions,
    checked_spacing,
    json_bytes,
)
from metadcseg.errors import InputError, unknown_name
from metadcseg.files import sync_folder


class SetWriter:
    """Context manager that builds a prepared set in a temporary sibling folder and renames it at the end.

    When the block ends by an exception or Ctrl-C, nothing is left behind. (A writer that is killed outright
    leaves a hidden folder beside ``out``, which the next one removes, never a half set at ``out``.)

    Args:
        out: where the set goes; missing or an empty folder.
        name: what the set is called in reports.
        classes: names of the classes, ``"background"`` (label 0) first.
        channels: C of every image.
        noise: how the labels were corrupted (JSON values), or None when they are as given.
        source: where the data come from and under which licence (JSON values).
        edge_detector: what made the edges (JSON values), or None where no case has any.
        preprocessing: how volumes became slices (JSON values), or None where the cases are plain images. Images
            of such a set are normalized already.
        regions: named unions of labels that are scored beside the classes.

    Raises:
        InputError: where ``out`` holds something, or an argument is not as described.

    Example:
        >>> import tempfile, numpy as np
        >>> from metadcseg.data import PreparedSet
        >>> folder = Path(tempfile.mkdtemp()) / "set"
        >>> image, label = np.zeros((4, 6, 1), np.uint8), np.eye(4, 6, dtype=np.uint8)
        >>> with SetWriter(folder, name="tiny", classes=("background", "organ"), channels=1) as writer:
        ...     writer.add(id="a", role="train", group="patient 1", image=image, label=label)
        >>> PreparedSet.open(folder).cases[0].id
        'a'
    """

    def __init__(
        self,
        out: Path | str,
        *,
        name: str,
        classes: Sequence[str],
        channels: int,
        noise: Mapping[str, Any] | None = None,
        source: Mapping[str, Any] | None = None,
        edge_detector: Mapping[str, Any] | None = None,
        preprocessing: Mapping[str, Any] | None = None,
        regions: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.out = Path(out)
        self._classes = tuple(classes)
        self._channels = channels
        check_counts(len(self._classes), channels)
        self._noise = None if noise is None else json_bytes("noise", dict(noise))
        self._manifest: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "name": name,
            "classes": list(self._classes),
            "channels": channels,
            "source": json.loads(json_bytes("source", dict(source or {}))),
        }
        self._with_edges = edge_detector is not None
        if edge_detector is not None:
            self._manifest["edges"] = json.loads(json_bytes("edge_detector", dict(edge_detector)))
        self._of_volumes = preprocessing is not None
        if preprocessing is not None:
            self._manifest["version"] = VOLUMES_VERSION
            self._manifest["preprocessing"] = json.loads(json_bytes("preprocessing", dict(preprocessing)))
        if regions:
            self._manifest["regions"] = checked_regions(regions, len(self._classes))
        self._volumes: dict[str, tuple[dict[str, Any], SliceGeometry]] = {}
        self._slices: set[tuple[str, int]] = set()
        self._rows: list[dict[str, Any]] = []
        self._ids: set[str] = set()
        self._folder = self._scratch = Path()
        self._held = ExitStack()
        refuse_occupied(self.out)

    def __enter__(self) -> "SetWriter":
        with DiskErrors(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            hidden = self._held.enter_context(scratch_beside(self.out))
            self._folder, self._scratch = hidden / "set", hidden / "scratch"
            self._folder.mkdir()
            self._scratch.mkdir()
            self._shelves = Shelves(self._folder)
        return self

    @property
    def folder(self) -> Path:
        """Where the set lies until it is whole."""
        return self._folder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._held.close()

    def add(
        self,
        *,
        id: str,
        role: str,
        group: str,
        image: Array,
        label: Array,
        truth: Array | None = None,
        edges: Array | None = None,
        spacing: tuple[float, float] | None = None,
        label_confidence: Array | None = None,
        given: Array | None = None,
        volume: str | None = None,
        slice: int | None = None,
        outlines: Mapping[str, Array] | None = None,
        annotator: str | None = None,
    ) -> None:
        """Write one case.

        Args:
            id: any text, unique in the set; never used as a path.
            role: one of ``ROLES``.
            group: what must not be split across roles, such as the patient; may be empty.
            image: (H, W, C) uint8, uint16, or finite float16 or float32, in its native size.
            label: (H, W) uint8, class number 0 .. L-1, or 255 for unknown pixels.
            truth: (H, W) uint8 like ``label``: the reference, where one is known beside ``label``.
            edges: (H, W) uint8, 255 times the probability of an edge (eq. 8): for every case, where the set
                names an ``edge_detector``, else for none.
            spacing: (row, column) distance of pixel centers in mm.
            label_confidence: (H, W) uint8, how far the given label is to be trusted; 255 is fully.
            given: (H, W) uint8 like ``label``: the mask that the verified one replaced; of a gold case, or of one
                with ``truth``.
            volume: id of the volume of which this is a slice, given to `add_volume` before.
            slice: its number in the complete stack, from 0; every one at most once.
            outlines: annotator -> (H, W) uint8 like ``label``: what each of them drew.
            annotator: who drew the mask as given, where it is one of them alone.

        Raises:
            InputError: naming the case and what is wrong with it, or saying why the disk refuses.
        """
        self._check_case(id, role, group, image.shape, volume, slice)
        arrays = checked_arrays(
            id,
            (self._channels, len(self._classes)),
            image=image,
            label=label,
            truth=truth,
            given=given,
            edges=edges,
            label_confidence=label_confidence,
            outlines=outlines,
        )
        with DiskErrors(self.out):
            chunks = {kind: write_chunk(self._scratch, array) for kind, array in arrays.items()}
        names: dict[str, Any] = {"annotators": tuple(outlines or ()), "annotator": annotator}
        self.take(id, role, group, chunks, spacing=spacing, volume=volume, slice=slice, **names)

    def take(
        self,
        id: str,
        role: str,
        group: str,
        chunks: Mapping[str, Chunk],
        *,
        spacing: tuple[float, float] | None = None,
        volume: str | None = None,
        slice: int | None = None,
        annotators: Sequence[str] = (),
        annotator: str | None = None,
    ) -> None:
        """Add one case whose arrays are checked and on disk already, see :func:`~.values.checked_arrays`.

        Args:
            id: as for `add`, and so all that follow.
            role: of the case.
            group: of the case.
            chunks: kind -> where its array lies; its file is moved.
            spacing: of its pixels.
            volume: of which it is a slice.
            slice: its number there.
            annotators: who drew the outlines, in their order.
            annotator: as for `add`.

        Raises:
            InputError: naming the case and what is wrong with it, or saying why the disk refuses.
        """
        image = chunks["image"]
        self._check_case(id, role, group, image.shape, volume, slice)
        check_kinds(id, role, chunks, edges=self._with_edges)
        check_annotators(id, chunks, annotators, annotator)
        row: dict[str, Any] = {
            "row": len(self._rows),
            "id": id,
            "role": role,
            "group": group,
            "height": image.shape[0],
            "width": image.shape[1],
            "spacing": checked_spacing(id, spacing),
            "dtype": image.dtype,
            "arrays": {},
        }
        if volume is not None and slice is not None:
            row |= {"volume": volume, "slice": slice}
            self._slices.add((volume, slice))
        row |= {"annotators": list(annotators)} if annotators else {}
        row |= {"annotator": annotator} if annotator else {}
        with DiskErrors(self.out):
            row["arrays"] = {kind: self._shelves.keep(kind, chunk) for kind, chunk in chunks.items()}
        self._ids.add(id)
        self._rows.append(row)

    def add_volume(
        self,
        *,
        id: str,
        role: str,
        group: str,
        placement: SliceGeometry,
        reference: Array | Chunk,
        verified: bool = False,
    ) -> None:
        """Write what belongs to a volume as a whole; its slices follow by `add`.

        Args:
            id: any text, unique among the volumes of the set.
            role: of the volume and all of its slices.
            group: likewise.
            placement: where the slices lie in the volume.
            reference: (X, Y, Z) uint8, the label that evaluation compares with, on the grid of the file: class
                number, or 255 where unknown. Or where it lies, checked.
            verified: whether the reference is beyond doubt.

        Raises:
            InputError: naming the volume and what is wrong with it, or saying why the disk refuses.
        """
        if not self._of_volumes:
            raise InputError(f"volume {id!r}: the set has no preprocessing: give it to the writer")
        if id in self._volumes:
            raise InputError(f"volume {id!r} is given twice; ids must be unique, rename one of the two")
        if role not in ROLES:
            raise unknown_name("role", role, ROLES)
        with DiskErrors(self.out):
            if not isinstance(reference, Chunk):
                array = checked_reference(id, reference, placement, len(self._classes))
                reference = write_chunk(self._scratch, array)
            kept = self._shelves.keep(REFERENCE, reference)
        row = {
            "row": len(self._volumes),
            "id": id,
            "role": role,
            "group": group,
            "placement": placement.to_dict(),
            "verified": verified,
            "arrays": {REFERENCE: kept},
        }
        self._volumes[id] = (row, placement)

    def _check_case(
        self, id: str, role: str, group: str, shape: tuple[int, ...], volume: str | None, slice: int | None
    ) -> None:
        """Refuse a case that is there already, a slice that does not fit its volume, and an image among slices."""
        if id in self._ids:
            raise InputError(f"case {id!r} is given twice; ids must be unique, rename one of the two")
        if role not in ROLES:
            raise unknown_name("role", role, ROLES)
        if volume is None and slice is None and not self._of_volumes:
            return
        if volume not in self._volumes or slice is None:
            raise InputError(
                f"case {id!r}: a slice needs its number and a volume that was added, got {volume!r}"
            )
        free = (volume, slice) not in self._slices
        check_slice(id, slice, shape, (role, group), *self._volumes[volume], free=free)

    def _finish(self) -> None:
        if not self._rows:
            raise InputError(f"{self.out}: a prepared set needs at least one case, none was added")
        with DiskErrors(self.out):
            metadata = self._shelves.finish()
            self._write_tables(metadata)
            publish_folder(self._folder, self.out)

    def _write_tables(self, metadata: Sequence[Path]) -> None:
        table = "".join(json.dumps(row, allow_nan=False) + "\n" for row in self._rows).encode()
        files = {TABLE: table}
        if self._noise is not None:
            files[NOISE] = self._noise
        if self._of_volumes:
            rows = (json.dumps(row, allow_nan=False) + "\n" for row, _ in self._volumes.values())
            files[VOLUMES] = "".join(rows).encode()
            self._manifest["volumes"] = len(self._volumes)
        if names := {name for row in self._rows for name in row.get("annotators", ())}:
            self._manifest["annotators"] = sorted(names)
        self._manifest |= {
            "cases": len(self._rows),
            "sha256": {name: digest(data) for name, data in files.items()},
        }
        files[MANIFEST] = json_bytes("source", self._manifest)
        sums = {name: digest(data) for name, data in files.items()}
        sums |= {file.relative_to(self._folder).as_posix(): digest(file.read_bytes()) for file in metadata}
        files[CHECKSUMS] = "".join(f"{value}  {name}\n" for name, value in sorted(sums.items())).encode()
        for name, data in files.items():
            with (self._folder / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(self._folder)
