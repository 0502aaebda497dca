"""Half-precision maps of training images in one file of NumPy's own format, which many processes may write at once.

``numpy.load(path, mmap_mode="r")["map"]`` are its maps, (SLOTS, images, H, W). Each lies on pages of its own, and so
does the header: two processes, even on two machines that share the folder, never write to one page as long as they
write different images. Places that nothing was written to are holes, which take no room on the disk. All first places
lie one after the other, then all second ones: an epoch fills the file without gaps.

Plain reads and writes, not NumPy's memory map: a write to mapped memory on a full disk ends the process with a signal,
and what was read would stay resident.
"""

import io
import os
import struct
import weakref
import zlib
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metadcseg.errors import InputError
from metadcseg.files import cannot_write, open_append, output_folder, refuse_link, sync_folder
from metadcseg.reading import check_regular

SLOTS = 4
"""Places for one image: see :class:`metadcseg.training.pixel_store.pixel_maps.FilePixelMaps` for why four."""

PAGE = 4096
"""Bytes of the header, and alignment of the places."""

_VALUE = np.dtype("<f2")
_OLD_MAGIC, _OLD_TRAILER = (
    b"mdcsmap\n",
    12,
)  # files that earlier versions began have another header and longer places

Values = NDArray[np.float16]


class NpyFile:
    """An open file of maps.

    Args:
        path: the file.
        images: how many images it has places for.
        grid: (H, W) of every map.
        new: make the file, or take over what lies there as if it were new: header and size are put right,
            and what the places hold stays until it is written over. Several processes may do so at once.

    Raises:
        InputError: where the file is missing, damaged, cut short, of other maps, or cannot be made.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = NpyFile(Path(folder.name, "alpha.npy"), images=2, grid=(2, 2), new=True)
        >>> checksum = file.write(1, 2, np.float16([[0.1, 0.25], [-0.5, 2]]))
        >>> file.read(1, 2).tolist()
        [[0.0999755859375, 0.25], [-0.5, 2.0]]
        >>> file.verify(1, 2, checksum)
        >>> np.load(file.path, mmap_mode="r")["map"].shape
        (4, 2, 2, 2)
        >>> file.close(), folder.cleanup()
        (None, None)
    """

    def __init__(self, path: Path, images: int, grid: tuple[int, ...], *, new: bool) -> None:
        self.path, self._images, self._grid = path, images, grid
        self._stride = _pages(self._bytes)
        try:
            if new:
                output_folder(path.parent.parent, path.parent.name)
                open_append(path).close()
            refuse_link(path)
            check_regular(path)
            self._file = io.FileIO(path, "r+b")
            self.close = weakref.finalize(self, self._file.close)
            if new:
                self._make()
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing, and the checkpoint refers to it; {_WAY_OUT}") from error
        except OSError as error:
            raise cannot_write(path, error) from error
        if not new:
            self._check()

    def place(self, image: int, slot: int) -> int:
        """Return where a slot (from 1) of an image begins, in bytes."""
        return PAGE + ((slot - 1) * self._images + image) * self._stride

    def write(self, image: int, slot: int, values: Values) -> int:
        """Write one map and return its checksum; :meth:`flush` brings it to the disk.

        Args:
            image: the number of the image, from 0.
            slot: the place, from 1 to ``SLOTS``.
            values: (H, W) float16.

        Raises:
            InputError: where the disk is full.
        """
        content = values.astype(_VALUE, copy=False).tobytes()
        try:
            self._write_at(self.place(image, slot), content)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return _checksum(image, content)

    def read(self, image: int, slot: int) -> Values:
        """Return the map in a place that was written, (H, W) float16; it cannot be written to.

        Raises:
            InputError: where the file was cut short, or cannot be read.
        """
        return np.frombuffer(self._content(image, slot), _VALUE).reshape(self._grid)

    def verify(self, image: int, slot: int, checksum: int) -> None:
        """Raise unless a place holds the map with this checksum.

        Raises:
            InputError: naming file and image.
        """
        if _checksum(image, self._content(image, slot)) != checksum:
            raise InputError(
                f"{self.path}: the map of training image {image} is damaged, or another than the one that the "
                f"checkpoint goes with; {_WAY_OUT}"
            )

    def flush(self) -> None:
        """Wait until everything that was written has reached the disk.

        Raises:
            InputError: where it cannot.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    @property
    def _bytes(self) -> int:
        return prod(self._grid) * _VALUE.itemsize

    @property
    def _size(self) -> int:
        """The bytes of the whole file, holes included."""
        return self.place(0, SLOTS + 1)

    def _header(self) -> bytes:
        """Return the first page: NumPy's header, version 1.0, padded as the format allows."""
        room = {"names": ["map"], "formats": [(_VALUE, self._grid)], "itemsize": self._stride}
        facts = {"descr": np.lib.format.dtype_to_descr(np.dtype(room)), "fortran_order": False}  # type: ignore[call-overload]
        text = repr({**facts, "shape": (SLOTS, self._images)}).encode()
        before = np.lib.format.magic(1, 0)
        length = PAGE - len(before) - 2
        return before + struct.pack("<H", length) + text.ljust(length - 1) + b"\n"

    def _content(self, image: int, slot: int) -> bytes:
        try:
            self._file.seek(self.place(image, slot))
            content = self._file.read(self._bytes)
        except OSError as error:
            raise InputError(f"{self.path} cannot be read at image {image} ({error}); {_WAY_OUT}") from error
        if len(content) != self._bytes:
            raise InputError(f"{self.path} cannot be read at image {image} (it was cut short); {_WAY_OUT}")
        return content

    def _write_at(self, place: int, content: bytes) -> None:
        self._file.seek(place)
        left = memoryview(content)
        while left:  # a write may stop short, and the next one says why
            left = left[self._file.write(left) :]

    def _make(self) -> None:
        """Put size and header right, with the same bytes whichever process does it, and when."""
        if self._file.seek(0, os.SEEK_END) != self._size:
            self._file.truncate(self._size)
        self._file.seek(0)
        if self._file.read(PAGE) != self._header():
            self._write_at(0, self._header())
        sync_folder(self.path.parent)

    def _check(self) -> None:
        """Refuse a file of other maps; whose they are, the checkpoint's checksums tell."""
        self._file.seek(0)
        header, size = self._file.read(PAGE), os.fstat(self._file.fileno()).st_size
        old = header.startswith(_OLD_MAGIC)
        if old:
            self._stride = _pages(self._bytes + _OLD_TRAILER)
        if size != self._size or not (old or header == self._header()):
            sides = " x ".join(str(side) for side in self._grid)
            raise InputError(
                f"{self.path} is damaged, or not of {self._images} training images of {sides}; {_WAY_OUT}"
            )


_WAY_OUT = (
    "put the file back as it was beside this checkpoint, go back to the checkpoint before (delete "
    "checkpoints/last.pt and give --resume), or start again with another --out"
)


def _pages(size: int) -> int:
    """Return the bytes of the whole pages that some bytes need."""
    return -(-size // PAGE) * PAGE


def _checksum(image: int, content: bytes) -> int:
    """Return the crc32 of a map's bytes, begun with the image's number: a map in the wrong place differs."""
    return zlib.crc32(content, image)
