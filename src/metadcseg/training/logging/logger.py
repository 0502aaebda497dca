"""What a run writes down as it goes: one line per epoch, and curves for TensorBoard."""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.files import cannot_write, open_append, output_folder, write_bytes
from metadcseg.training.run.folder import RunFolder
from metadcseg.training.run.state import Record


class Logger:
    """Writes ``metrics.jsonl`` and the TensorBoard files.

    Lines that an interrupted run wrote beyond its last checkpoint are dropped: those epochs are run again.

    Args:
        folder: of the run.
        records: the epochs done so far, as the checkpoint has them.
    """

    def __init__(self, folder: RunFolder, records: Sequence[Record]) -> None:
        self._folder = folder
        write_bytes(folder.metrics, "".join(_line(record) for record in records).encode())
        self._curves = _curves(folder, len(records))

    def __enter__(self) -> "Logger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._curves is not None:
                self._curves.close()
        except OSError as failure:
            if error is None:
                raise cannot_write(self._folder.tensorboard, failure) from failure

    def write(self, record: Record) -> None:
        """Add one epoch.

        Raises:
            InputError: where the disk is full.
        """
        try:
            with open_append(self._folder.metrics) as file:
                file.write(_line(record).encode())
        except OSError as error:
            raise cannot_write(self._folder.metrics, error) from error
        values = {f"train/{name}": value for name, value in record["train"].items()}
        values |= {f"val/{name}": value for name, value in (record["val"] or {}).items() if name != "cases"}
        self._add_curves({**values, "lr": record["lr"]}, record["epoch"])

    def write_figure(self, epochs_done: int, png: bytes, pixels: NDArray[np.uint8]) -> None:
        """Keep the figure drawn after so many epochs, as a file and in TensorBoard.

        Raises:
            InputError: where the disk is full.
        """
        figures = output_folder(self._folder.path, self._folder.figures.name)
        write_bytes(figures / f"epoch_{epochs_done:03d}.png", png)
        if self._curves is not None:
            self._curves.add_image("samples", pixels, epochs_done - 1, dataformats="HWC")

    def _add_curves(self, values: Mapping[str, float | None], epoch: int) -> None:
        if self._curves is None:
            return
        try:
            for name, value in values.items():
                if value is not None:
                    self._curves.add_scalar(name, value, epoch)
            self._curves.flush()
        except OSError as error:
            raise cannot_write(self._folder.tensorboard, error) from error


def _curves(folder: RunFolder, done: int) -> Any:
    """Return the writer of TensorBoard's files, None where TensorBoard is not installed."""
    if not has_tensorboard():
        return None
    # imported here because it takes half a second, which reading a run's folder need not wait for
    from torch.utils.tensorboard import SummaryWriter

    output_folder(folder.path, folder.tensorboard.name)
    return SummaryWriter(str(folder.tensorboard), purge_step=done)


def has_tensorboard() -> bool:
    """Return whether curves for TensorBoard can be written: it is one of the package's extras."""
    return find_spec("tensorboard") is not None


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
