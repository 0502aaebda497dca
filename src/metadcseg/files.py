"""Files that are either whole or not there: written beside, synced to the disk, and renamed into place."""

import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, repeat
from pathlib import Path
from typing import BinaryIO

from metadcseg.errors import InputError
from metadcseg.scratch import PLAIN, create_hidden, try_lock

LOCK = "lock"
"""The file in a folder that a process locks while it writes there."""

_DEVICE = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)
_NAME_BYTES = 100
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_file(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces ``path`` only when all of it has reached the disk.

    It is written under a random name in the same folder. Where ``path`` is a link, the link is replaced, not followed.

    Args:
        path: what the file will be called.
        keep: where an earlier file of that name goes; without it, it is replaced.

    Yields:
        A binary file; where the block raises, the file vanishes and ``path`` stays as it was.

    Raises:
        InputError: where the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        temporary, file = create_hidden(path.parent)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # elsewhere it stays open, and so held, until it has its name
            if keep is not None and path.exists():
                os.replace(path, keep)
            os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def open_append(path: Path) -> BinaryIO:
    """Open a file of ours to add to it, made where it is missing; a pipe or device, which may never end, is refused.

    Raises:
        InputError: where it is a link, which would lead what is written elsewhere.
        OSError: where it cannot be opened.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     (Path(place) / "log").symlink_to("elsewhere")
        ...     open_append(Path(place) / "log")
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: .../log is a link, and what is written there would land elsewhere: remove the link
    """
    refuse_link(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | PLAIN
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file, and nothing is written to others: remove it")
    return os.fdopen(os.open(path, flags, 0o666), "ab")


def output_folder(root: Path, *inner: str) -> Path:
    """Make a folder of an output, and those above it.

    Args:
        root: the output; where the user named a link, that is meant.
        inner: the folders below it, none of which may be a link.

    Raises:
        InputError: where one is a link or cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     output_folder(Path(place), "report", "figures").relative_to(place).as_posix()
        'report/figures'
    """
    folder = root
    try:
        root.mkdir(parents=True, exist_ok=True)
        for part in Path(*inner).parts:
            folder = folder / part
            refuse_link(folder)
            folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def refuse_link(path: Path) -> None:
    """Refuse what lies inside an output and is a link.

    Raises:
        InputError: saying so.
    """
    if path.is_symlink():
        raise InputError(f"{path} is a link, and what is written there would land elsewhere: remove the link")


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
    safe = []
    for name in names:
        kept = re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"
        if _DEVICE.fullmatch(kept.partition(".")[0]):
            kept = f"_{kept}"
        safe.append(kept.encode()[:_NAME_BYTES].decode(errors="ignore").rstrip(".") or "_")
    return numbered(safe)


def numbered(names: Iterable[str], endings: Iterable[str] = repeat("")) -> list[str]:
    """Return each name with its ending; where that is taken, capitals aside, a number comes between.

    Args:
        names: without endings.
        endings: one for each.

    Returns:
        Names of which no two are alike on any file system, in time that grows with their number.

    Example:
        >>> numbered(["a", "A", "a", "a-2"]), numbered(["a", "a"], [".nii", ".mha"])
        (['a', 'A-2', 'a-3', 'a-2-2'], ['a.nii', 'a.mha'])
    """
    taken: set[str] = set()
    last: dict[tuple[str, str], int] = {}  # up to these numbers all are taken
    found = []
    for name, ending in zip(names, endings, strict=False):
        key = name.casefold(), ending
        for number in count(last.get(key, 1)):
            whole = f"{name}{ending}" if number == 1 else f"{name}-{number}{ending}"
            if whole.casefold() not in taken:
                break
        last[key] = number
        taken.add(whole.casefold())
        found.append(whole)
    return found


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
        file = open_append(folder / LOCK)
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
