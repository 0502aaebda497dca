"""Files of pages and reports: whole, or not there."""

import os
from contextlib import suppress
from pathlib import Path

from metadcseg.errors import InputError
from metadcseg.files import hidden_name


def write_output(file: Path, content: bytes) -> None:
    """Write a file beside its place and rename it into it; its folder is made.

    Raises:
        InputError: where it cannot be written.
    """
    temporary = file.with_name(f"{hidden_name(file)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InputError(
            f"{file} cannot be written ({error.strerror or error}); choose another --out"
        ) from error


def as_bytes(text: str) -> bytes:
    """Return text as UTF-8; names of files may hold what is none, and it is then shown escaped."""
    return text.encode("utf-8", errors="backslashreplace")
