"""Checkpoints: all that a run needs to go on, in files that are whole and say so.

``last.pt`` is the newest, ``previous.pt`` the one before. Both hold tensors and plain values only and are
read without pickle's power to run code. They are zip files whose entries carry checksums, all of which are
verified on reading, because a run that goes on from a flipped byte would be wrong in silence.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from metadcseg.errors import InputError
from metadcseg.files import atomic_file, output_folder
from metadcseg.reading import check_regular, check_stored
from metadcseg.results.upgrade import upgraded_checkpoint

LAST, PREVIOUS = "last.pt", "previous.pt"
_FORMAT, _UPGRADED = 4, 3
"""1 held all per-pixel weights, since 2 in files of their own; since 3 a table counts pixels; 4: new names."""


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``last.pt``; the one that was there becomes ``previous.pt``.

    Args:
        folder: where checkpoints live; made where it is missing.
        state: nested dicts, lists and tuples of tensors and plain values.

    Raises:
        InputError: where the disk is full; both earlier files are intact then.
        TypeError: where ``state`` holds anything else, since it could not be read back.
    """
    _check_plain(state, "checkpoint")
    output_folder(folder.parent, folder.name)
    with atomic_file(folder / LAST, keep=folder / PREVIOUS) as file:
        sink = _Sink(file)
        torch.save({"format": _FORMAT, **state}, sink)  # type: ignore[arg-type]
        sink.check()


def has_checkpoint(folder: Path) -> bool:
    """Return whether a checkpoint was ever written."""
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Read the newest checkpoint, on the CPU.

    Returns:
        What was saved; None where no checkpoint was ever written. A kill between the two renames of a save
        leaves ``previous.pt`` alone, and then that is the newest.

    Raises:
        InputError: where the file is damaged, saying how to go on.
    """
    path = _newest(folder)
    if not path.exists():
        return None
    try:
        state = _read(path)
    except Exception as error:  # damaged bytes can make zip and torch raise almost anything
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: the checkpoint is damaged ({why}); {_way_out(path)}") from error
    if (found := state.get("format")) == _UPGRADED:
        with fits_run(folder):
            return upgraded_checkpoint(state)
    if found != _FORMAT:
        raise InputError(
            f"{path} was written by another version of metadcseg (checkpoint format {found}, this version "
            f"reads {_FORMAT}): go on with that version, which run.json names, or start again with another --out"
        )
    return state


@contextmanager
def fits_run(folder: Path) -> Iterator[None]:
    """Turn what a state of other types or shapes than the run's raises, on its way into it, into one sentence.

    Args:
        folder: where the checkpoints lie.

    Raises:
        InputError: naming the checkpoint, and saying how to go on.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        path = _newest(folder)
        if isinstance(error, InputError) and str(path.parent.parent) in str(error):
            raise  # of a file beside it, which it names
        if re.search("out of memory|allocate memory", str(error)):
            raise
        why = f"lacks {error}" if isinstance(error, KeyError) else (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{path}: the checkpoint is not one of this run ({why or type(error).__name__}); {_way_out(path)}"
        ) from error


def _newest(folder: Path) -> Path:
    return folder / LAST if (folder / LAST).exists() else folder / PREVIOUS


def _read(path: Path) -> dict[str, Any]:
    check_regular(path)
    with zipfile.ZipFile(path) as archive:
        check_stored(archive)
        broken = archive.testzip()
    if broken is not None:
        raise ValueError(f"the checksum of {broken} does not fit")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}")
    return state


def _way_out(path: Path) -> str:
    again = "start again with another --out"
    if path.name == LAST and path.with_name(PREVIOUS).exists():
        return (
            f"{PREVIOUS} beside it is an earlier state of the same run: delete {LAST} and give --resume, "
            f"or {again}"
        )
    return again


class _Sink:
    """Passes what torch writes on to a file and keeps the error that torch's writer would swallow."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return len(data)

    def flush(self) -> None:
        """Do nothing: the file is flushed and synced at the end."""

    def check(self) -> None:
        if self._error is not None:
            raise self._error


def _check_plain(value: object, where: str) -> None:
    """Refuse at saving what would fail only when it is needed, at reading."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _check_plain(entry, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            _check_plain(entry, f"{where}[{number}]")
    elif not (value is None or type(value) in (bool, int, float, str) or isinstance(value, Tensor)):
        raise TypeError(f"{where}: only tensors and plain values can be saved, got {type(value).__name__}")
