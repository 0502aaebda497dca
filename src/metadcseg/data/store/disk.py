"""How the writer of a prepared set touches the disk: growing arrays, errors of the system, and cleaning up."""

import errno
import shutil
import time
from pathlib import Path
from types import TracebackType

import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from metadcseg.data.store.layout import Array
from metadcseg.errors import InputError


class Shelf:
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
        """Write one more case; return its number."""
        if self._count == self._array.shape[0]:
            self._array.resize((2 * self._count, *array.shape))
        self._array[self._count] = array
        self._count += 1
        return self._count - 1

    def trim(self) -> None:
        """Give back the room that no case has taken."""
        if self._array.shape[0] > self._count:
            self._array.resize((self._count, *self._array.shape[1:]))


class DiskErrors:
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


def remove_folder(folder: Path) -> None:
    """Remove a folder if it is there, also while a write that an interrupt left running still adds to it."""
    for _ in range(40):
        if not folder.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
