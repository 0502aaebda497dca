"""Write a prepared set: all of it, or nothing."""

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from metadcseg.data.store_layout import (
    ARRAYS,
    CHECKSUMS,
    FORMAT,
    IMAGE_DTYPES,
    MANIFEST,
    MAX_SIDE,
    MAX_VALUES,
    NOISE,
    ROLES,
    TABLE,
    UNKNOWN_LABEL,
    VERSION,
    Array,
    array_digest,
    digest,
)
from metadcseg.errors import InputError, unknown_name
from metadcseg.files import sync_folder


class SetWriter:
    """Context manager that builds a prepared set in a temporary sibling folder and renames it at the end.

    When the block ends by an exception or Ctrl-C, nothing is left behind. (A writer that is killed outright
    leaves ``.NAME.partial-*`` beside ``out``, never a half set at ``out``.)

    Args:
        out: where the set goes; missing or an empty folder.
        name: what the set is called in reports.
        classes: names of the classes, ``"background"`` (label 0) first.
        channels: C of every image.
        noise: how the labels were corrupted (JSON values), or None when they are as given.
        source: where the data come from and under which licence (JSON values).
        edge_detector: what made the edges (JSON values), or None where no case has any.

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
    ) -> None:
        self.out = Path(out)
        self._classes = tuple(classes)
        self._channels = channels
        if not 2 <= len(self._classes) <= UNKNOWN_LABEL:
            raise InputError(
                f"classes must name 2 to {UNKNOWN_LABEL} classes, background first, "
                f"got {len(self._classes)}; name every label value from 0 on"
            )
        if channels < 1:
            raise InputError(f"channels must be at least 1, got {channels}; give the images' channel count")
        self._noise = None if noise is None else _json_bytes("noise", dict(noise))
        self._manifest: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "name": name,
            "classes": list(self._classes),
            "channels": channels,
            "source": json.loads(_json_bytes("source", dict(source or {}))),
        }
        self._with_edges = edge_detector is not None
        if edge_detector is not None:
            self._manifest["edges"] = json.loads(_json_bytes("edge_detector", dict(edge_detector)))
        self._rows: list[dict[str, Any]] = []
        self._ids: set[str] = set()
        self._folder = Path()
        self._shelves: dict[tuple[str, tuple[int, ...], str], _Shelf] = {}
        refuse_occupied(self.out)

    def __enter__(self) -> "SetWriter":
        with _DiskErrors(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            prefix = f".{self.out.name}.partial-"
            self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self.out.parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            _remove(self._folder)

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
    ) -> None:
        """Write one case.

        Args:
            id: any text, unique in the set; never used as a path.
            role: one of ``ROLES``.
            group: what must not be split across roles, such as the patient; may be empty.
            image: (H, W, C) uint8, uint16 or finite float32, in its native size.
            label: (H, W) uint8, class number 0 .. L-1, or 255 for unknown pixels.
            truth: (H, W) uint8 like ``label``: the reference, where one is known beside ``label``.
            edges: (H, W) uint8, 255 times the probability of an edge (eq. 8): for every case, where the set
                names an ``edge_detector``, else for none.
            spacing: (row, column) distance of pixel centres in mm.

        Raises:
            InputError: naming the case and what is wrong with it, or saying why the disk refuses.
        """
        if id in self._ids:
            raise InputError(f"case {id!r} is given twice; ids must be unique, rename one of the two")
        if role not in ROLES:
            raise unknown_name("role", role, ROLES)
        arrays = {
            "image": self._checked_image(id, image),
            "label": self._checked_mask(id, "label", label, image),
        }
        if truth is not None:
            arrays["truth"] = self._checked_mask(id, "truth", truth, image)
        if (edges is not None) != self._with_edges:
            has, wants = ("has no", "names an") if edges is None else ("has", "names no")
            raise InputError(
                f"case {id!r} {has} edges, but the set {wants} edge_detector: give both or neither, for every case"
            )
        if edges is not None:
            arrays["edges"] = _checked_size(id, "edges", edges, image)
        row: dict[str, Any] = {
            "row": len(self._rows),
            "id": id,
            "role": role,
            "group": group,
            "height": int(image.shape[0]),
            "width": int(image.shape[1]),
            "spacing": _checked_spacing(id, spacing),
            "dtype": arrays["image"].dtype.name,
            "arrays": {},
        }
        with _DiskErrors(self.out):
            for kind, array in arrays.items():
                name, index = self._write(kind, array)
                row["arrays"][kind] = {"array": name, "index": index, "sha256": array_digest(array)}
        self._ids.add(id)
        self._rows.append(row)

    def _write(self, kind: str, array: Array) -> tuple[str, int]:
        key = (kind, array.shape, array.dtype.name)
        if key not in self._shelves:
            name = f"{kind}-{sum(other[0] == kind for other in self._shelves):05d}"
            self._shelves[key] = _Shelf(self._folder / ARRAYS / name, array)
        shelf = self._shelves[key]
        return shelf.path.name, shelf.append(array)

    def _checked_image(self, id: str, image: Array) -> Array:
        if image.ndim != 3 or image.shape[2] != self._channels or image.dtype.name not in IMAGE_DTYPES:
            raise InputError(
                f"case {id!r}: image must be (H, W, {self._channels}) of {', '.join(IMAGE_DTYPES)}, "
                f"got {image.shape} of {image.dtype.name}; convert it"
            )
        if min(image.shape) < 1 or max(image.shape) > MAX_SIDE or image.size > MAX_VALUES:
            raise InputError(f"case {id!r}: an image of {image.shape} cannot be stored; crop or resample it")
        if image.dtype.name == "float32" and not np.isfinite(image).all():
            raise InputError(
                f"case {id!r}: image holds NaN or infinite values; replace or leave out the case"
            )
        return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))

    def _checked_mask(self, id: str, kind: str, mask: Array, image: Array) -> Array:
        mask = _checked_size(id, kind, mask, image)
        known = mask[mask != UNKNOWN_LABEL]
        if known.size and int(known.max()) >= len(self._classes):
            raise InputError(
                f"case {id!r}: {kind} holds the value {int(known.max())}, allowed are 0 to "
                f"{len(self._classes) - 1} and {UNKNOWN_LABEL} (unknown); remap the label values"
            )
        return mask

    def _finish(self) -> None:
        if not self._rows:
            raise InputError(f"{self.out}: a prepared set needs at least one case, none was added")
        with _DiskErrors(self.out):
            for shelf in self._shelves.values():
                shelf.trim()
            self._write_tables()
            refuse_occupied(self.out)
            if self.out.exists():
                self.out.rmdir()
            self._folder.chmod(0o755)  # temporary folders are private, a finished set is not
            self._folder.rename(self.out)
            sync_folder(self.out.parent)

    def _write_tables(self) -> None:
        table = "".join(json.dumps(row, allow_nan=False) + "\n" for row in self._rows).encode()
        files = {TABLE: table} if self._noise is None else {TABLE: table, NOISE: self._noise}
        self._manifest |= {
            "cases": len(self._rows),
            "sha256": {name: digest(data) for name, data in files.items()},
        }
        files[MANIFEST] = _json_bytes("source", self._manifest)
        sums = {name: digest(data) for name, data in files.items()}
        for shelf in self._shelves.values():
            metadata = shelf.path / "zarr.json"
            sums[metadata.relative_to(self._folder).as_posix()] = digest(metadata.read_bytes())
        files[CHECKSUMS] = "".join(f"{value}  {name}\n" for name, value in sorted(sums.items())).encode()
        for name, data in files.items():
            with (self._folder / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(self._folder)


def refuse_occupied(out: Path) -> None:
    """Refuse a place for a set that holds something: before the work, and after it, when another was faster.

    Raises:
        InputError: where ``out`` is neither missing nor an empty folder.
    """
    if out.is_file():
        raise InputError(f"{out} is a file; choose another --out or remove it")
    if out.is_dir() and (held := sorted(entry.name for entry in out.iterdir())):
        what = "a prepared set" if MANIFEST in held else repr(held[0]) + (" and more" if held[1:] else "")
        raise InputError(f"{out} already holds {what}; choose another --out or remove it")


class _Shelf:
    """One growing zarr array, (cases, H, W[, C]), for all cases that share kind, size and dtype."""

    def __init__(self, path: Path, first: Array) -> None:
        self.path = path
        self._count = 0
        self._array = zarr.create_array(
            store=LocalStore(path),
            shape=(1, *first.shape),
            chunks=(1, *first.shape),
            dtype=first.dtype,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            fill_value=0,
            chunk_key_encoding={"name": "default", "separator": "."},  # one file per case, no nested folders
            config={"write_empty_chunks": True},  # a chunk that is missing is damage, not a blank mask
        )

    def append(self, array: Array) -> int:
        if self._count == self._array.shape[0]:
            self._array.resize((2 * self._count, *array.shape))
        self._array[self._count] = array
        self._count += 1
        return self._count - 1

    def trim(self) -> None:
        if self._array.shape[0] > self._count:
            self._array.resize((self._count, *self._array.shape[1:]))


class _DiskErrors:
    """Turns what the operating system refuses (full disk, no permission) into one sentence."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            advice = "free some space" if error.errno == errno.ENOSPC else "check the folder's permissions"
            raise InputError(
                f"{self._out} cannot be written ({error.strerror or error}); {advice} or choose another --out"
            ) from error


def _checked_size(id: str, kind: str, array: Array, image: Array) -> Array:
    if array.shape != image.shape[:2] or array.dtype.name != "uint8":
        raise InputError(
            f"case {id!r}: {kind} must be {image.shape[:2]} of uint8 like its image, "
            f"got {array.shape} of {array.dtype.name}; check that they belong together"
        )
    return np.ascontiguousarray(array)


def _checked_spacing(id: str, spacing: tuple[float, float] | None) -> list[float] | None:
    if spacing is None:
        return None
    values = [float(value) for value in spacing]
    if len(values) != 2 or not all(np.isfinite(value) and value > 0 for value in values):
        raise InputError(
            f"case {id!r}: spacing must be two positive numbers (row, column) in mm, got {spacing}; "
            "correct it or leave it out"
        )
    return values


def _json_bytes(name: str, value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must hold JSON values only, got {error}; convert them first") from error


def _remove(folder: Path) -> None:
    """Remove a folder if it is there, also while a write that an interrupt left running still adds to it."""
    for _ in range(40):
        if not folder.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
