"""Fetch a file from its official address: goes on where it stopped, and compares what came with its checksum."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from metadcseg.errors import InputError
from metadcseg.files import cannot_write

if TYPE_CHECKING:
    import requests

Progress = Callable[[int, int], object]
"""Called with how many bytes are there, of how many (0 where the server does not say)."""

_CHUNK = 2**16  # what a connection that breaks off may lose
_AT_HOME = ("127.0.0.1", "localhost", "::1")  # where nobody can listen in
_GIVE_UP = {
    401: "it asks for a login",
    403: "it refuses",
    404: "nothing is there any more",
    410: "nothing is there any more",
}


@dataclass(frozen=True)
class Archive:
    """A file that is to be had.

    Args:
        url: its official address, https.
        name: of the file here.
        digest: ``"sha256:..."`` or ``"md5:..."``; None where nobody gives one.
        size: how large it is, in words; the server tells it, too, when the download begins.
    """

    url: str
    name: str
    digest: str | None = None
    size: str = "size unknown"


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Args:
        connect: seconds until it answers.
        read: seconds without a byte.
        attempts: how often to begin.
        pause: seconds before the second attempt, doubled before each further one.
    """

    connect: float = 15.0
    read: float = 60.0
    attempts: int = 5
    pause: float = 2.0


class _Again(Exception):
    """The connection failed in a way that may pass."""


def download(
    archive: Archive, folder: Path, *, patience: Patience | None = None, progress: Progress | None = None
) -> Path:
    """Fetch a file, or what is still missing of it.

    What has come so far lies in ``NAME.part``, and stays there when this is stopped. It is gone on with where the
    server says that the file is still the same (If-Range), else begun anew. A finished file is not fetched again.

    Args:
        archive: what.
        folder: where to; made where missing.
        patience: with the server.
        progress: called after every 64 KiB.

    Returns:
        The file, whose checksum is right where one is known.

    Raises:
        InputError: where the address is not safe, the server refuses or stays silent, the checksum is another, or the
            disk is full; what has come is kept unless it is wrong.
    """
    _check_address(archive.url)
    patience = patience or Patience()
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    if target.exists():
        if archive.digest is not None and _digest(target, archive.digest) != archive.digest:
            raise InputError(
                f"{target} is not the file that {archive.url} has (its checksum differs): move it away"
            )
        return target
    import requests  # only who downloads waits for it

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(patience.attempts):
            try:
                _fetch(archive, part, patience, progress)
                break
            except (_Again, requests.RequestException) as error:
                if attempt + 1 == patience.attempts:
                    raise _gave_up(archive, part, error) from error
                time.sleep(patience.pause * 2**attempt)
        if archive.digest is not None and (found := _digest(part, archive.digest)) != archive.digest:
            part.unlink()
            raise InputError(
                f"{archive.url}: what came has the checksum {found}, expected {archive.digest}: it was damaged on "
                "its way or is another file by now; try again, or download it by hand and give --source"
            )
        os.replace(part, target)
        _tag_of(part).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return target


def _fetch(archive: Archive, part: Path, patience: Patience, progress: Progress | None) -> None:
    """Bring the part to the end of the file, in one connection."""
    import requests

    held = part.stat().st_size if part.exists() else 0
    tag = _read_tag(part)
    headers = {"Accept-Encoding": "identity"}  # bytes as they are, so that places in the file mean something
    if held and tag:
        headers |= {"Range": f"bytes={held}-", "If-Range": tag}
    with requests.get(
        archive.url, headers=headers, stream=True, timeout=(patience.connect, patience.read)
    ) as answer:
        for step in (*answer.history, answer):
            _check_address(step.url)
        if answer.status_code in _GIVE_UP:
            raise InputError(
                f"{archive.url}: {_GIVE_UP[answer.status_code]} ({answer.status_code}): download it by hand, unpack "
                "it, and give --source"
            )
        if answer.status_code == 416:  # the part is longer than the file
            part.unlink()
            raise _Again("the file is shorter than what was here")
        if answer.status_code not in (200, 206):
            raise _Again(f"the server answers {answer.status_code}")
        if answer.status_code == 200:
            held = 0
        left = int(answer.headers.get("Content-Length") or 0)
        if answer.status_code == 206 and not str(answer.headers.get("Content-Range")).startswith(
            f"bytes {held}-"
        ):
            raise _Again("the server sends another part than asked for")
        _check_room(part.parent, left)
        _write_tag(part, answer.headers.get("ETag") or answer.headers.get("Last-Modified"))
        total, done = held + left if left else 0, held
        with part.open("ab" if held else "wb") as file:
            for chunk in _chunks(answer):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            file.flush()
            os.fsync(file.fileno())
        if total and done < total:
            raise _Again(f"the connection ended at {done} of {total} bytes")


def _chunks(answer: "requests.Response") -> Iterator[bytes]:
    yield from answer.iter_content(_CHUNK)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _AT_HOME):
        raise InputError(
            f"{url} is no https address, so that anybody could change what comes: download it by hand"
        )


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: {needed / 2**20:.0f} MiB are still to come, {free / 2**20:.0f} MiB are free: make room or "
            "choose another --source"
        )


def _gave_up(archive: Archive, part: Path, error: Exception) -> InputError:
    held = part.stat().st_size if part.exists() else 0
    lines = str(error).splitlines() or [type(error).__name__]
    return InputError(
        f"{archive.url} cannot be fetched ({lines[0][:200]}); {held / 2**20:.1f} MiB are here, the same command goes "
        "on from there"
    )


def _digest(path: Path, like: str) -> str:
    """Return the checksum of a file, of the kind of ``like``."""
    kind = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def _tag_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _read_tag(part: Path) -> str | None:
    """Return what the server called the version that the part is of; weak tags promise nothing."""
    try:
        tag = json.loads(_tag_of(part).read_text())
    except (OSError, ValueError):
        return None
    return tag if isinstance(tag, str) and not tag.startswith("W/") and "\n" not in tag else None


def _write_tag(part: Path, tag: str | None) -> None:
    _tag_of(part).write_text(json.dumps(tag))
