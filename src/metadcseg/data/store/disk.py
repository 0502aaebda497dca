"""How the writer of a prepared set touches the disk: errors of the system, what is in the way, and cleaning up."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from metadcseg.data.store.layout import MANIFEST
from metadcseg.errors import InputError
from metadcseg.files import sync_folder
from metadcseg.scratch import names_hidden, scratch_folder, sweep


class DiskErrors:
    """Turns what the operating system refuses (full disk, no permission) into one sentence that names the output.

    Also where a writer within has put it into words already, and these name a hidden folder.

    Example:
        >>> full = OSError(errno.ENOSPC, "No space left")
        >>> with DiskErrors(Path("mine")):
        ...     raise InputError("no room in .metadcseg-0123456789abcdef.tmp") from full
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: mine cannot be written (No space left); free some space or choose another --out
    """

    def __init__(self, out: Path) -> None:
        self._out = out

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (
            isinstance(error, InputError)
            and isinstance(error.__cause__, OSError)
            and names_hidden(str(error))
        ):
            error = error.__cause__
        if isinstance(error, OSError):
            advice = "free some space" if error.errno == errno.ENOSPC else "check the folder's permissions"
            raise InputError(
                f"{self._out} cannot be written ({error.strerror or error}); {advice} or choose another --out"
            ) from error


@contextmanager
def scratch_beside(out: Path) -> Iterator[Path]:
    """Make a folder for what is on its way into another, on the same disk; it is gone when the block ends.

    Args:
        out: the other; what lies above it need not exist yet.

    Raises:
        InputError: where the disk refuses, also within the block.
    """
    with DiskErrors(out):
        above = next(place for place in out.absolute().parents if place.exists())
        with scratch_folder(above) as folder:
            yield folder


def refuse_occupied(out: Path) -> None:
    """Refuse a place for a set that holds something: before the work, and after it, when another was faster.

    What a killed process left beside it, or above where it lay in no folder yet, is removed, also where that one had
    finished its work.

    Raises:
        InputError: where ``out`` is neither missing nor an empty folder.
    """
    for place in out.parents:
        sweep(place)
    if out.is_symlink() or out.is_file():
        what = "link" if out.is_symlink() else "file"
        raise InputError(f"{out} is a {what}; name another folder or remove it")
    if out.is_dir() and (held := sorted(entry.name for entry in out.iterdir())):
        what = "a prepared set" if MANIFEST in held else repr(held[0]) + (" and more" if held[1:] else "")
        raise InputError(f"{out} already holds {what}; name another folder or remove it")


def publish_folder(draft: Path, out: Path) -> None:
    """Put a finished folder in its place, which is missing or an empty folder.

    Args:
        draft: on the same disk.
        out: where it goes.

    Raises:
        InputError: where ``out`` holds something by now.
        OSError: where the disk refuses.
    """
    refuse_occupied(out)
    if out.exists():
        out.rmdir()
    draft.rename(out)
    sync_folder(out.parent)
