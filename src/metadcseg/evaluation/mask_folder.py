"""A folder of predicted masks: each is whole or not there, and what was written together reaches the disk together."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from metadcseg.data.formats.geometry import Grid
from metadcseg.data.formats.volumes import read_grid, read_label_volume, write_label_volume
from metadcseg.errors import InputError
from metadcseg.evaluation.overlays import Labels
from metadcseg.files import cannot_write, output_folder, sync_folder
from metadcseg.scratch import scratch_folder

_SECONDS = 5.0  # between two times that the disk is waited for


class MaskFolder:
    """Takes the files of one prediction, and puts them in place when the disk has them.

    A file is written into a hidden folder first. Every few seconds, and in the end, the disk is waited for once, and
    what is ready gets its name: a mask is never half there, also where the power fails. A file that is there already
    stays as it is. What a killed prediction left hidden is removed, that of one at work stays.

    Args:
        out: the folder; made, where missing, with the first file.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._ready: dict[Path, Path] = {}  # the hidden file of each target
        self._synced = time.monotonic()
        self._count = 0
        self._hidden: Path | None = None
        self._held = ExitStack()

    def __enter__(self) -> "MaskFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self._held.close()

    def write(self, name: str, content: bytes) -> Path:
        """Write a file and return where it will be.

        Args:
            name: below the folder.
            content: of the file.

        Raises:
            InputError: where another file of that name is there, or the disk refuses.
        """
        target = self.out / name

        def same() -> bool:
            return (
                target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content
            )

        return self._write(target, same, lambda hidden: hidden.write_bytes(content))

    def write_labels(self, name: str, labels: Labels, grid: Grid, like: Path | None) -> Path:
        """Write a label volume and return where it will be; see :func:`write_label_volume`.

        Raises:
            InputError: where another volume of that name is there, or the disk refuses.
        """
        target = self.out / name

        def same() -> bool:
            with suppress(InputError):
                there, _ = read_grid(target)  # of its header: voxels are read where it may be the same
                return there.same(grid) and np.array_equal(read_label_volume(target).array, labels)
            return False

        return self._write(target, same, lambda hidden: write_label_volume(hidden, labels, grid, like=like))

    def _write(self, target: Path, same: Callable[[], bool], write: Callable[[Path], object]) -> Path:
        place = self._place()  # first: whether a name is too long is said by a folder that is there
        if target.parent != self.out and target.parent.is_symlink():
            raise InputError(f"{target.parent} is a link, and nothing is written elsewhere: remove it")
        if target in self._ready:
            raise InputError(f"{target} is the name of two masks: rename one of their images")
        if target.exists():
            if not same():
                raise InputError(f"{target} exists and holds something else: move it away")
            return target
        self._count += 1
        hidden = place / f"{self._count}{''.join(target.suffixes[-2:])[-10:]}"
        output_folder(self.out, *target.parent.relative_to(self.out).parts)
        try:
            write(hidden)
        except InputError as error:
            raise InputError(str(error).replace(str(hidden), str(target))) from error
        self._ready[target] = hidden
        if time.monotonic() - self._synced > _SECONDS:
            self.flush()
        return target

    def _place(self) -> Path:
        """Return the hidden folder, which is made when it is first needed."""
        if self._hidden is None:
            try:
                self.out.mkdir(parents=True, exist_ok=True)
                self._hidden = self._held.enter_context(scratch_folder(self.out))
            except OSError as error:
                raise cannot_write(self.out, error) from error
        return self._hidden

    def flush(self) -> None:
        """Wait for the disk, and give every file its name.

        Raises:
            InputError: where the disk refuses.
        """
        ready, self._ready = self._ready, {}
        if not ready:
            return
        try:
            _sync(list(ready.values()))
            for target, hidden in ready.items():
                os.replace(hidden, target)
            for folder in {target.parent for target in ready}:
                sync_folder(folder)
        except OSError as error:
            raise cannot_write(self.out, error) from error
        self._synced = time.monotonic()


def _sync(files: list[Path]) -> None:
    """Bring files to the disk: all at once where the system can, which for many takes a fraction of one by one."""
    if len(files) > 1 and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
