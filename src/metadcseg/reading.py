"""Files that nobody has vouched for are opened here: regular ones only, of bounded size."""

import os
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO

from metadcseg.errors import InputError, shown

MOST_BYTES = 2**30
"""No larger file is read whole."""

MOST_PACKED = 1032
"""Deflate, which packs best of what volumes are packed by, makes at most so many bytes of one."""

_KINDS = {
    stat.S_ISREG: "a file",
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
}
_SLACK = 2**16


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a pipe, device or folder, which may never end, is refused without waiting for it.

    Raises:
        InputError: where it is no regular file.
        OSError: where there is none, or it may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a name with a zero byte, as a record may hold it
        raise InputError(f"{shown(str(path))} is no name of a file: correct it") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise InputError(f"{path} must be a regular file, it is {_kind(mode)}: give a file")
    return os.fdopen(descriptor, "rb")


def is_what(path: Path) -> str:
    """Return what stands at a path, as a sentence goes on after its name.

    Example:
        >>> is_what(Path("/")), is_what(Path("/no/such/thing"))
        ('is a folder', 'does not exist')
    """
    try:
        return f"is {_kind(path.stat().st_mode)}"
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "does not exist"
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"


def _kind(mode: int) -> str:
    return next((name for holds, name in _KINDS.items() if holds(mode)), "a device")


def check_regular(path: Path) -> None:
    """Raise unless a library may open a file: see :func:`open_regular`; what is missing is left to the library.

    Raises:
        InputError: where it is a pipe, a device or a folder, or cannot be opened.
    """
    try:
        open_regular(path).close()
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(path, error) from error


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        InputError: where it is no regular file, or larger.
        OSError: where it cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        # room is made for all that is asked for, so that is no more than there is
        data = b"" if size > most else file.read(size + 1)
        while data and len(data) <= most and (more := file.read(min(len(data), most + 1 - len(data)))):
            data += more  # the file grew meanwhile, or its system does not tell its size
    if max(size, len(data)) > most:
        raise InputError(f"{path} is larger than {most >> 20} MiB, which no such file is: give another one")
    return data


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Return the text of a file in UTF-8, without a mark of the byte order.

    Raises:
        InputError: where it is no regular file, or larger than ``most`` bytes.
        OSError: where it cannot be read.
        UnicodeDecodeError: where it is not UTF-8.
    """
    return read_regular(path, most).decode("utf-8-sig")


def check_claim(path: Path, nbytes: int, *, packed: bool) -> None:
    """Raise where a header claims more than its file can hold, before a library makes room for it.

    Args:
        path: the file that holds the values.
        nbytes: that the values have, as the header says.
        packed: whether they may be compressed.

    Raises:
        InputError: naming both numbers.

    Example:
        >>> check_claim(Path(__file__), 10**9, packed=False)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: ... bytes cannot hold the 1000000000 that its header claims: copy it again
    """
    size = path.stat().st_size
    if nbytes > size * (MOST_PACKED if packed else 1) + _SLACK:
        raise InputError(
            f"{path}: {size} bytes cannot hold the {nbytes} that its header claims: copy it again"
        )


def check_stored(archive: zipfile.ZipFile) -> None:
    """Raise unless the entries of a zip file are stored as they are: packed ones can hold a thousand times the file.

    Raises:
        ValueError: naming the first entry that is packed.
    """
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > entry.compress_size:
            raise ValueError(f"its entry {entry.filename:.60} is compressed, which torch.save does not do")


def unreadable(path: Path, error: OSError, way_out: str = "check the path and its permissions") -> InputError:
    """Return the sentence for a file that could not be read."""
    return InputError(f"{path} cannot be read ({error.strerror or error}); {way_out}")
