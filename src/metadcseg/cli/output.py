"""Standard output that others may close or fill; it is written without waiting for a library."""

import os
import sys
from contextlib import suppress

from metadcseg.errors import InputError

READER_GONE = 141
"""Exit status where nobody reads standard output any more, as in ``| head -1``: that of SIGPIPE in a shell."""


class OutputClosed(Exception):
    """Nobody reads standard output any more, so there is nobody to tell."""


def write_out(text: str) -> None:
    """Write text to standard output at once.

    Raises:
        OutputClosed: where nobody reads it any more.
        InputError: where it cannot be written.
    """
    if sys.stdout is None:  # closed before this process began
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> OutputClosed | InputError:
    """Return what to raise where standard output cannot be written; what it still holds goes nowhere.

    Args:
        error: of the system.
    """
    with suppress(OSError, ValueError, AttributeError):  # else Python complains of it once more at its end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        return OutputClosed()
    return InputError(
        f"standard output cannot be written ({error.strerror or error}): free some space, or send it elsewhere; files "
        "that the command was to write are there"
    )
