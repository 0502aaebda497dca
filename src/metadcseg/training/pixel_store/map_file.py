"""One file of half-precision maps, one map per training image, that many processes may write at once.

The file begins with a header of one page: a magic word, a checksum, and a line of JSON that says whose maps
these are and how they lie. After it, every image has ``SLOTS`` places for its map, each of which begins on a
page of its own, so that two processes (even on two machines that share the folder) never write to one page as
long as they write different images. A place holds H x W little-endian float16 numbers, then the number of the
image and a checksum. Places that nothing was written to are holes: they take no room on the disk. All first
places lie one after the other, then all second ones: an epoch fills the file without gaps, which file systems
handle far better than hundreds of thousands of pieces between holes.

Maps are written with plain writes, which report a full disk as an error (a write to mapped memory would end
the process with a signal), and read through a memory map of the one place that is read, which is given back
at once: what is resident does not grow with the file, and a file that was cut short is noticed.
"""

import io
import json
import mmap
import os
import struct
import weakref
import zlib
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.errors import InputError
from metadcseg.files import cannot_write, open_append, output_folder, refuse_link, sync_folder

SLOTS = 4
"""Places for one image: see :class:`metadcseg.training.pixel_store.pixel_maps.FilePixelMaps` for why four."""

PAGE = 4096
"""Alignment of the places in bytes."""

_MAGIC = b"mdcsmap\n"
_VERSION = 2
_CHECKSUM = struct.Struct("<I")
_TRAILER = struct.Struct("<QI")  # number of the image, checksum of its map
_VALUE = np.dtype("<f2")
_LARGEST = float(np.finfo(_VALUE).max)  # 65504

Values = NDArray[np.float32]


@dataclass(frozen=True)
class MapLayout:
    """What a file of maps holds and where.

    Args:
        name: what the numbers are, such as ``"alpha"``.
        run: identifies the run that the maps belong to.
        images: the number of images.
        grid: (H, W) of every map.

    Example:
        >>> layout = MapLayout("alpha", "run", images=10, grid=(64, 64))
        >>> layout.stride, layout.place(0, 1), layout.place(2, 3)
        (12288, 4096, 274432)
    """

    name: str
    run: str
    images: int
    grid: tuple[int, ...]

    @property
    def bytes_per_map(self) -> int:
        """The bytes of one map's numbers."""
        return prod(self.grid) * _VALUE.itemsize

    @property
    def stride(self) -> int:
        """The bytes from one place to the next, a multiple of the page."""
        return -(-(self.bytes_per_map + _TRAILER.size) // PAGE) * PAGE

    @property
    def size(self) -> int:
        """The bytes of the whole file, holes included."""
        return self.place(0, SLOTS + 1)

    def place(self, image: int, slot: int) -> int:
        """Return where a slot (from 1) of an image begins, in bytes."""
        return PAGE + ((slot - 1) * self.images + image) * self.stride

    def header(self) -> bytes:
        """Return the first page of the file."""
        whose = {"frame" if name == "grid" else name: value for name, value in asdict(self).items()}
        facts = {"version": _VERSION, **whose, "dtype": _VALUE.name, "slots": SLOTS}
        text = json.dumps(facts).encode().ljust(PAGE - len(_MAGIC) - _CHECKSUM.size)
        return _MAGIC + _CHECKSUM.pack(zlib.crc32(text)) + text


class MapFile:
    """An open file of maps.

    Args:
        path: the file.
        layout: what it holds.
        new: make the file, or take over what lies there as if it were new: header and size are put right,
            and what the places hold stays until it is written over. Several processes may do so at once.

    Raises:
        InputError: where the file is missing, damaged, cut short, of another run or of other maps, or cannot
            be made.

    Example:
        >>> import tempfile
        >>> layout = MapLayout("alpha", "run", images=2, grid=(2, 2))
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = MapFile(Path(folder.name, "alpha.map"), layout, new=True)
        >>> checksum = file.write(1, 2, np.float32([[0.1, 0.25], [-0.5, 7e4]]))
        >>> file.read(1, 2).tolist()
        [[0.0999755859375, 0.25], [-0.5, 65504.0]]
        >>> file.verify(1, 2, checksum)
        >>> file.close(), folder.cleanup()
        (None, None)
    """

    def __init__(self, path: Path, layout: MapLayout, *, new: bool) -> None:
        self.path, self.layout = path, layout
        try:
            if new:
                output_folder(path.parent.parent, path.parent.name)
                open_append(path).close()
            refuse_link(path)
            self._file = io.FileIO(path, "r+b")
            self.close = weakref.finalize(self, self._file.close)
            if new:
                self._make()
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing, and the checkpoint refers to it; {_WAY_OUT}") from error
        except OSError as error:
            raise cannot_write(path, error) from error
        if not new:
            self._check_header()

    def write(self, image: int, slot: int, values: Values) -> int:
        """Write one map and return its checksum; :meth:`flush` brings it to the disk.

        Args:
            image: the number of the image, from 0.
            slot: the place, from 1 to ``SLOTS``.
            values: (H, W) float32; rounded to half precision, and cut at +-65504, the largest number there.

        Raises:
            InputError: where the disk is full.
        """
        content = values.clip(-_LARGEST, _LARGEST).astype(_VALUE).tobytes()
        checksum = _checksum(image, content)
        try:
            self._write_at(self.layout.place(image, slot), content + _TRAILER.pack(image, checksum))
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return checksum

    def read(self, image: int, slot: int) -> Values:
        """Return the map in a place that was written, (H, W) float32.

        Raises:
            InputError: where the file was cut short.
        """
        values, _ = self._look(image, slot)
        return values

    def verify(self, image: int, slot: int, checksum: int) -> None:
        """Raise unless a place holds the map with this checksum.

        Raises:
            InputError: naming file and image, and saying whether the map is damaged or another one.
        """
        values, (written_image, written) = self._look(image, slot)
        found = _checksum(image, values.astype(_VALUE).tobytes())
        if found != checksum:
            whole = (written_image, written) == (image, found)
            why = "another than the one that the checkpoint goes with" if whole else "damaged"
            raise InputError(f"{self.path}: the map of training image {image} is {why}; {_WAY_OUT}")

    def flush(self) -> None:
        """Wait until everything that was written has reached the disk.

        Raises:
            InputError: where it cannot.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _look(self, image: int, slot: int) -> tuple[Values, tuple[int, int]]:
        """Return a map and what stands behind it: the number of its image and its checksum."""
        begin = self.layout.place(image, slot)
        start = begin - begin % mmap.ALLOCATIONGRANULARITY
        length = begin - start + self.layout.bytes_per_map + _TRAILER.size
        try:
            with mmap.mmap(self._file.fileno(), length, access=mmap.ACCESS_READ, offset=start) as window:
                content = window[begin - start :]  # a copy: nothing may point into a window that is closed
        except (ValueError, OSError) as error:  # ValueError: it would reach beyond the end of the file
            raise InputError(f"{self.path} cannot be read at image {image} ({error}); {_WAY_OUT}") from error
        grid = self.layout.grid
        values = np.frombuffer(content, _VALUE, count=prod(grid)).reshape(grid)
        return values.astype(np.float32), _TRAILER.unpack_from(content, self.layout.bytes_per_map)

    def _write_at(self, place: int, content: bytes) -> None:
        self._file.seek(place)
        left = memoryview(content)
        while left:  # a write may stop short, and the next one says why
            left = left[self._file.write(left) :]

    def _make(self) -> None:
        """Put size and header right, with the same bytes whichever process does it, and when."""
        if self._file.seek(0, os.SEEK_END) != self.layout.size:
            self._file.truncate(self.layout.size)
        self._file.seek(0)
        if self._file.read(PAGE) != self.layout.header():
            self._write_at(0, self.layout.header())
        sync_folder(self.path.parent)

    def _check_header(self) -> None:
        self._file.seek(0)
        header, size = self._file.read(PAGE), os.fstat(self._file.fileno()).st_size
        expected = self.layout.header()
        if header != expected:
            raise InputError(f"{self.path} {_difference(header, expected)}; {_WAY_OUT}")
        if size != self.layout.size:
            raise InputError(
                f"{self.path} is damaged: it has {size} bytes in place of {self.layout.size}; {_WAY_OUT}"
            )


_WAY_OUT = (
    "put the file back as it was beside this checkpoint, go back to the checkpoint before (delete "
    "checkpoints/last.pt and give --resume), or start again with another --out"
)


def _checksum(image: int, content: bytes) -> int:
    """Return the crc32 of a map's bytes, begun with the image's number: a map in the wrong place differs."""
    return zlib.crc32(content, image)


def _difference(header: bytes, expected: bytes) -> str:
    """Say how a header differs from the one expected."""
    there, wanted = _facts(header), _facts(expected)
    if there is None or wanted is None:
        return "is damaged: its header cannot be read"
    found = [
        f"{name}: {_shown(there.get(name))} there, {_shown(value)} in this run"
        for name, value in wanted.items()
        if there.get(name) != value
    ]
    return f"belongs to another run ({'; '.join(found)})"


def _facts(header: bytes) -> dict[str, Any] | None:
    begin = len(_MAGIC) + _CHECKSUM.size
    text = header[begin:]
    if len(header) != PAGE or not header.startswith(_MAGIC):
        return None
    if _CHECKSUM.unpack_from(header, len(_MAGIC))[0] != zlib.crc32(text):
        return None
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _shown(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)
