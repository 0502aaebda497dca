"""Files of pages and reports: whole, or not there."""

from pathlib import Path

from metadcseg.errors import InputError
from metadcseg.files import output_folder, write_bytes


def write_output(out: Path, name: str, content: bytes) -> None:
    """Write a file of an output, whole or not at all; its folder is made.

    Args:
        out: the folder of the output.
        name: of the file, and of the folders in it.
        content: of the file.

    Raises:
        InputError: where it cannot be written, or a folder in the output is a link.
    """
    file = Path(name)
    try:
        write_bytes(output_folder(out, *file.parts[:-1]) / file.name, content)
    except InputError as error:
        if not isinstance(why := error.__cause__, OSError):
            raise
        raise InputError(
            f"{out / file} cannot be written ({why.strerror or why}); choose another --out"
        ) from error


def as_bytes(text: str) -> bytes:
    """Return text as UTF-8; names of files may hold what is none, and it is then shown escaped."""
    return text.encode("utf-8", errors="backslashreplace")
