"""Arrays of a set on their way to the disk.

They are compressed where they are made, by any process: zarr takes several times as long to write a small array as zstd
takes to compress it.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd

from metadcseg.data.store.layout import ARRAYS, Array, array_digest, chunk_name, dtype_name
from metadcseg.reading import open_regular

_LEVEL = 1
_ZSTD = Zstd(level=_LEVEL)
_CHECKSUM = 4
"""Bytes of the checksum behind the compressed values."""

_MAGIC = b"\x28\xb5\x2f\xfd"
_FRAME_HEAD = 18  # bytes at most


@dataclass(frozen=True, slots=True)
class Chunk:
    """One array on disk, compressed in the very bytes in which a set keeps it, on its way into one.

    Args:
        file: where it lies.
        shape: of the array.
        dtype: likewise.
        sha256: of dtype, shape and values, see :func:`~metadcseg.data.store.layout.array_digest`.
    """

    file: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def read(self) -> Array:
        """Return the array; it cannot be written to."""
        data = _ZSTD.decode(Path(self.file).read_bytes()[:-_CHECKSUM])
        return np.frombuffer(data, self.dtype).reshape(self.shape)


def write_chunk(folder: Path, array: Array) -> Chunk:
    """Write an array as a file of its own, which a set can take over as it is; any process may do so.

    Args:
        folder: where the file goes.
        array: of native byte order.

    Example:
        >>> import tempfile
        >>> write_chunk(Path(tempfile.mkdtemp()), np.eye(2, dtype=np.uint8)).read().tolist()
        [[1, 0], [0, 1]]
    """
    values = np.ascontiguousarray(array)
    data = _ZSTD.encode(values)
    file = folder / uuid4().hex
    file.write_bytes(data + google_crc32c.value(data).to_bytes(_CHECKSUM, "little"))
    return Chunk(str(file), values.shape, dtype_name(values.dtype), array_digest(values))


def check_chunk(file: Path, nbytes: int) -> None:
    """Raise unless a chunk says of itself that it unpacks to so many bytes, which is all that is then unpacked.

    Args:
        file: where it lies.
        nbytes: of its values.

    Raises:
        ValueError: for any other size, or what is no frame of zstd (RFC 8878, 3.1.1.1).
        OSError: where the file cannot be read.
    """
    with open_regular(file) as opened:
        head = opened.read(_FRAME_HEAD)
    if head[:4] != _MAGIC or len(head) < 6:
        raise ValueError("it is not packed by zstd")
    flags = head[4]
    single = flags >> 5 & 1
    begin = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    length = (single, 2, 4, 8)[flags >> 6]
    said = int.from_bytes(head[begin : begin + length], "little") + (256 if length == 2 else 0)
    if not length or said != nbytes:
        raise ValueError(
            f"it unpacks to {said if length else 'an unknown number of'} bytes in place of {nbytes}"
        )


class Shelf:
    """One growing zarr array, (cases, H, W[, C]), for all cases that share kind, size and dtype."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._count = 0
        self._like: Chunk | None = None
        path.mkdir(parents=True)

    def take(self, chunk: Chunk) -> int:
        """Move one more case's file here; return its number."""
        self._like = chunk
        Path(chunk.file).replace(self.path / chunk_name(self._count, len(chunk.shape)))
        self._count += 1
        return self._count - 1

    def finish(self) -> None:
        """Write the metadata by which zarr reads what was taken."""
        if self._like is None:
            return
        import zarr  # takes as long as all else that a look at a folder needs
        from zarr.codecs import Crc32cCodec, ZstdCodec
        from zarr.storage import LocalStore

        zarr.create_array(
            store=LocalStore(self.path),
            shape=(self._count, *self._like.shape),
            chunks=(1, *self._like.shape),
            dtype=self._like.dtype,
            compressors=[ZstdCodec(level=_LEVEL), Crc32cCodec()],
            fill_value=0,
            chunk_key_encoding={"name": "default", "separator": "."},  # one file per case, no nested folders
            config={"write_empty_chunks": True},  # a chunk that is missing is damage, not a blank mask
        )


class Shelves:
    """The arrays of a set, by kind, size and type.

    Args:
        folder: of the unfinished set.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[tuple[str, tuple[int, ...], str], Shelf] = {}

    def keep(self, kind: str, chunk: Chunk) -> dict[str, Any]:
        """Move an array to those that are like it; return what the table says of it."""
        key = (kind, chunk.shape, chunk.dtype)
        if key not in self._held:
            name = f"{kind}-{sum(other[0] == kind for other in self._held):05d}"
            self._held[key] = Shelf(self._folder / ARRAYS / name)
        shelf = self._held[key]
        return {"array": shelf.path.name, "index": shelf.take(chunk), "sha256": chunk.sha256}

    def finish(self) -> list[Path]:
        """Write the metadata of all of them; return its files."""
        for shelf in self._held.values():
            shelf.finish()
        return [shelf.path / "zarr.json" for shelf in self._held.values()]
