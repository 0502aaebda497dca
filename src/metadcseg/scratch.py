"""What is written before it has its name: hidden, of a random name, and held, so that only what was left is removed."""

import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO

PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""Flags by which every file of ours is opened: no link is followed, no byte is changed."""

_TEMPORARY = re.compile(r"\.metadcseg-[0-9a-f]{16}\.tmp")


@contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Make a hidden folder of a random name, for what is renamed out of it; it is gone when the block ends.

    Args:
        place: the folder in which it is made, so that renaming crosses no disk.

    Raises:
        OSError: where ``place`` cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place, scratch_folder(Path(place)) as scratch:
        ...     scratch.parent == Path(place), len(scratch.name)
        (True, 31)
    """
    sweep(place)
    with ExitStack() as held:
        while True:
            scratch = place / _temporary_name()
            scratch.mkdir(mode=0o700)
            if os.name != "posix" or _is_held(scratch, held):
                break  # else another process took it for left over, in the moment before it was held
        held.callback(remove_folder, scratch)
        yield scratch


def _is_held(folder: Path, held: ExitStack) -> bool:
    """Take the lock of a folder that was just made; False where it went to another process."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    held.callback(os.close, descriptor)
    return try_lock(descriptor) and folder.exists()


def remove_folder(folder: Path) -> None:
    """Remove a folder if it is there, also while a write that an interrupt left running still adds to it.

    It raises nothing, so that no error is hidden behind its own. A link is not followed.
    """
    for _ in range(40):
        if not os.path.lexists(folder):
            return
        shutil.rmtree(folder, ignore_errors=True)
        if folder.is_symlink():
            return
        if folder.exists():
            time.sleep(0.05)


@lru_cache(maxsize=4096)
def sweep(folder: Path) -> None:
    """Remove the temporary files and folders of processes that were killed; those of running ones stay.

    A process looks at a folder once.
    """
    if sys.platform == "win32":
        return
    try:
        with os.scandir(folder) as entries:
            left = [Path(entry.path) for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    except OSError:
        return
    for path in left:
        with suppress(OSError):
            if not stat.S_ISREG(kind := path.lstat().st_mode) and not stat.S_ISDIR(kind):
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if not try_lock(descriptor, where_none=False):
                    continue
                if stat.S_ISDIR(kind):
                    remove_folder(path)
                else:
                    path.unlink()
            finally:
                os.close(descriptor)


def names_hidden(text: str) -> bool:
    """Return whether a sentence names a hidden file or folder of ours, which means nothing to its reader.

    Example:
        >>> names_hidden("cannot write here/.metadcseg-0123456789abcdef.tmp/a.json")
        True
    """
    return _TEMPORARY.search(text) is not None


def _temporary_name() -> str:
    return f".metadcseg-{secrets.token_hex(8)}.tmp"


def create_hidden(folder: Path) -> tuple[Path, BinaryIO]:
    """Create a file of a random name, with the rights that the umask leaves, and hold it: no sweep removes it then."""
    sweep(folder)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | PLAIN
    while True:
        path = folder / _temporary_name()
        file = os.fdopen(os.open(path, flags, 0o666), "w+b")
        try_lock(file)
        if path.exists():  # else another process took it for left over, in the moment before it was held
            return path, file
        file.close()


def try_lock(file: IO[Any] | int, *, where_none: bool = True) -> bool:
    """Take the lock of an open file, for this process and those that inherit it; False where others have it.

    It is let go when the last of them has closed the file, however it ended. Windows and some network file systems
    have none: there it is ``where_none``.
    """
    if sys.platform == "win32":
        return where_none
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return where_none
    return True
