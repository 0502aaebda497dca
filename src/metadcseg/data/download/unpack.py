"""Unpack an archive from outside: member by member, regular files only, inside the folder, within limits."""

import errno
import gzip
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from metadcseg.errors import InputError, shown
from metadcseg.files import cannot_write, disk_is_full
from metadcseg.scratch import scratch_folder

Progress = Callable[[int, int], object]
"""Called with how many members are unpacked, of how many."""

MAX_MEMBERS = 500_000
MAX_RATIO = 200
"""Contents may be so many times as large as their archive, and `_FREE` bytes more."""

_FREE = 256 * 2**20
_LONGEST_READ = 4 * 2**20  # a tar header that wants more is read into memory for nothing but harm
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


class _Member(NamedTuple):
    name: str
    size: int
    extract: Callable[[Path], object]
    problem: str | None


def unpack(archive: Path, folder: Path, *, progress: Progress | None = None) -> list[Path]:
    """Unpack a zip or tar archive (also .tar.gz), all of it or nothing.

    Files that macOS leaves in archives (``__MACOSX``, ``._name``) are left out.

    Args:
        archive: the file.
        folder: where its outermost files and folders go; made where missing.
        progress: called after every member.

    Returns:
        The outermost files and folders.

    Raises:
        InputError: naming archive and member, where a name leads out of the folder or cannot be a file everywhere, a
            member is a link or a device or comes twice, there is more than the limits allow, the archive is damaged,
            something is in the way, or the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with zipfile.ZipFile(f"{place}/a.zip", "w") as file:
        ...         file.writestr("inner/a.txt", "text")
        ...     [path.name for path in unpack(Path(place, "a.zip"), Path(place, "out"))]
        ['inner']
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder) as work:
            with _reading(archive), archive.open("rb") as file:
                (_unpack_zip if file.read(2) == b"PK" else _unpack_tar)(archive, file, work, progress)
            outermost = sorted(work.iterdir())
            for path in outermost:
                if os.path.lexists(folder / path.name):
                    raise InputError(f"{folder / path.name} is in the way of {archive.name}: move it away")
            for path in outermost:
                path.rename(folder / path.name)
            return [folder / path.name for path in outermost]
    except OSError as error:
        raise cannot_write(folder, error) from error


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Say that the archive is to blame for whatever happens; the libraries raise anything on bytes that mean harm."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if disk_is_full(error):  # where the members are written meanwhile
            raise
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a place that no file has
            raise InputError(f"{archive} cannot be read ({error.strerror}): look at the file") from error
        raise InputError(
            f"{archive} is damaged or no zip or tar archive ({str(error) or type(error).__name__}): delete it and "
            "fetch it again"
        ) from error


def _unpack_zip(archive: Path, file: IO[bytes], work: Path, progress: Progress | None) -> None:
    with zipfile.ZipFile(file) as opened:
        members = [_of_zip(opened, info) for info in opened.infolist() if not info.is_dir()]
        _extract_all(archive, members, work, progress)


def _unpack_tar(archive: Path, file: IO[bytes], work: Path, progress: Progress | None) -> None:
    file.seek(0)
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    stream = _Bounded(gzip.GzipFile(fileobj=file) if packed else file)
    with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
        members = [_of_tar(tar, info) for info in _listed(archive, tar) if not info.isdir()]
        stream.seek(tar.offset)
        if stream.read(512) != bytes(512):  # tarfile takes a damaged header for the end
            raise EOFError(f"it breaks off after {len(members)} files")
        _extract_all(archive, members, work, progress)
    left = _limit(archive)
    while chunk := stream.read(2**20):  # a compressed stream ends with the checksum of all before it
        left -= len(chunk)
        if left < 0:
            raise InputError(f"{archive} holds more than it may ({MAX_RATIO} times its size)")


class _Bounded:
    """What ``tarfile`` reads from: it takes the size of a header from the archive, and reads it in one piece."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self.seek, self.tell, self._stream = stream.seek, stream.tell, stream

    def read(self, size: int) -> bytes:
        if size > _LONGEST_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)


def _listed(archive: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members; a header is read at a time, and a bomb is noticed before it has gone off."""
    limit = _limit(archive)
    for number, info in enumerate(tar, start=1):
        if number > MAX_MEMBERS or info.offset > limit:
            raise InputError(
                f"{archive} holds more than it may ({MAX_MEMBERS} files, {MAX_RATIO} times its size)"
            )
        yield info


def _of_zip(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    problem = "is encrypted" if info.flag_bits & 1 else None
    if kind not in (0, stat.S_IFREG):
        problem = "is a link or a device"
    return _Member(info.filename, info.file_size, partial(opened.extract, info), problem)


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    plain = info.isreg() and not info.issparse()
    extract = partial(tar.extract, info, set_attrs=False, filter="data")
    return _Member(info.name, info.size, extract, None if plain else "is a link or a device")


def _extract_all(archive: Path, members: Iterable[_Member], work: Path, progress: Progress | None) -> None:
    """Look at all members, then write them; what macOS leaves in archives is passed over."""
    wanted = [member for member in members if not _of_macos(member.name)]
    if len(wanted) > MAX_MEMBERS:
        raise InputError(f"{archive} holds {len(wanted)} files, at most {MAX_MEMBERS} are unpacked")
    total, limit = sum(member.size for member in wanted), _limit(archive)
    if total > limit:
        raise InputError(
            f"{archive} would grow to {total / 2**20:.0f} MiB, more than {MAX_RATIO} times its size: it is not unpacked"
        )
    if total > shutil.disk_usage(work).free:
        raise InputError(f"{archive} needs {total / 2**20:.0f} MiB, which are not free: make room")
    seen: dict[str, str] = {}
    for member in wanted:
        key = unicodedata.normalize("NFC", _safe(archive, member)).casefold()
        if key in seen:
            raise InputError(
                f"{archive}: '{member.name}' comes twice (as '{seen[key]}'; some disks do not tell capitals apart)"
            )
        seen[key] = member.name
    for path in seen:
        for folder in list(PurePosixPath(path).parents)[:-1]:
            if str(folder) in seen:
                raise InputError(
                    f"{archive}: '{seen[str(folder)]}' is a file and a folder: it is not unpacked"
                )
    for number, member in enumerate(wanted, start=1):
        member.extract(work)
        if progress is not None:
            progress(number, len(wanted))


def _safe(archive: Path, member: _Member) -> str:
    """Return the name of a member as a path below the folder.

    Raises:
        InputError: where it is none on every system, or the member is no regular file.
    """
    name = member.name
    path = PurePosixPath(name)
    problem = member.problem
    if name.startswith("/") or "\\" in name or ":" in name or ".." in path.parts or not path.parts:
        problem = "leads out of the folder"
    elif (
        any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)
        or len(os.fsencode(name)) > 1000
        or any(len(os.fsencode(part)) > 255 for part in path.parts)
    ):
        problem = "has a name that no file should have"
    elif any(part.rstrip(". ") != part or part.split(".")[0].casefold() in _RESERVED for part in path.parts):
        problem = "has a name that Windows cannot have"
    if problem:
        raise InputError(f"{archive}: {shown(name, 100)} {problem}: the archive is not unpacked")
    return str(path)


def _of_macos(name: str) -> bool:
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith("._")


def _limit(archive: Path) -> int:
    return archive.stat().st_size * MAX_RATIO + _FREE
