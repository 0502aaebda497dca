"""Files that are either whole or not there: written beside, synced to the disk, and renamed into place."""

import errno
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from metadcseg.errors import InputError

LOCK = "lock"
"""The file in a folder that a process locks while it writes there."""

_DEVICE = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)
_NAME_BYTES = 100

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_file(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces ``path`` only when all of it has reached the disk.

    Args:
        path: what the file will be called.
        keep: where an earlier file of that name goes; without it, it is replaced.

    Yields:
        A binary file; where the block raises, the file vanishes and ``path`` stays as it was.

    Raises:
        InputError: where the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f"{hidden_name(path)}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def hidden_name(path: Path) -> str:
    """Return a name for what lies beside a file while it is written: its own with a dot, cut where it is long.

    Example:
        >>> hidden_name(Path("masks/a.png")), len(hidden_name(Path("a" * 250 + ".png")))
        ('.a.png', 110)
    """
    name = path.name
    if len(os.fsencode(name)) > _NAME_BYTES:
        kept = os.fsencode(name)[:_NAME_BYTES].decode(errors="ignore")
        name = f"{kept}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    return f".{name}"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file as :func:`atomic_file` does.

    Raises:
        InputError: where the disk is full or the folder cannot be written.
    """
    with atomic_file(path) as file:
        file.write(content)


def safe_names(names: Iterable[str]) -> list[str]:
    """Return a file name without suffix for each name: readable, short, and no two alike on any file system.

    Letters, digits, ``.``, ``-`` and ``_`` stay, anything else becomes ``_``; a name never begins with a dot, is no
    device of Windows, and has at most 100 bytes. Those that then collide, capitals aside, get a number.

    Example:
        >>> safe_names(["case 7", "../case_7", "CASE_7", "pat#0003", "con", ""])
        ['case_7', '_case_7', 'CASE_7-2', 'pat_0003', '_con', '_']
    """
    taken: set[str] = set()
    safe = []
    for name in names:
        kept = re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"
        if _DEVICE.fullmatch(kept.partition(".")[0]):
            kept = f"_{kept}"
        base = kept.encode()[:_NAME_BYTES].decode(errors="ignore").rstrip(".") or "_"
        found, number = base, 1
        while found.casefold() in taken:
            number += 1
            found = f"{base}-{number}"
        taken.add(found.casefold())
        safe.append(found)
    return safe


def csv_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    Example:
        >>> csv_text("=1+1"), csv_text("metadcseg")
        ("'=1+1", 'metadcseg')
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def try_lock(file: IO[Any]) -> bool:
    """Take the lock of an open file, for this process and those that inherit it; False where others have it.

    It is let go when the last of them has closed the file, however it ended. Windows and some network file systems
    have none: there it is True.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # none here
    return True


@contextmanager
def lock_folder(folder: Path, busy: str) -> Iterator[None]:
    """Hold a folder, which is made where it is missing, for one process at a time.

    Args:
        folder: it gets a file ``lock``, which stays there.
        busy: the sentence where another process has it.

    Raises:
        InputError: where another process has it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise cannot_write(folder, error) from error
    with file:
        if not try_lock(file):
            raise InputError(busy)
        yield


def cannot_write(path: Path, error: OSError) -> InputError:
    """Return the sentence for a file that could not be written.

    Example:
        >>> import errno
        >>> print(cannot_write(Path("run/last.pt"), OSError(errno.EACCES, "Permission denied")))
        cannot write run/last.pt: Permission denied; what was saved before is intact
    """
    if error.errno in _FULL:
        return InputError(
            f"cannot write {path}: the disk is full; what was saved before is intact, so free some space and "
            "give the same command again (of train: go on with --resume)"
        )
    return InputError(f"cannot write {path}: {error.strerror or error}; what was saved before is intact")


def disk_is_full(error: BaseException) -> bool:
    """Return whether an error, or the one that it was made of, says that nothing more can be written.

    Example:
        >>> import errno
        >>> disk_is_full(OSError(errno.ENOSPC, "No space left")), disk_is_full(OSError(errno.ENAMETOOLONG, "too long"))
        (True, False)
    """
    return any(isinstance(each, OSError) and each.errno in _FULL for each in (error, error.__cause__))


def sync_folder(folder: Path) -> None:
    """Bring the new names themselves to the disk, where the system lets a folder be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
