"""What a person sees while a network trains: a bar on a terminal, one plain line per epoch elsewhere."""

import time
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from metadcseg.training.logging.averages import MetricAverages

_REFRESH_SECONDS = 0.5


class Reporter:
    """Shows how far training is.

    Args:
        console: where to; None shows nothing.
        epochs: number of epochs planned.
        steps: steps per epoch.
        done: steps done before.
    """

    def __init__(self, console: Console | None, *, epochs: int, steps: int, done: int) -> None:
        self._console = console or Console(quiet=True)
        self._epochs, self._steps, self._first = epochs, steps, done
        self._started = self._shown = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[scores]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=epochs * steps, completed=done, scores="")
        self._val = ""

    def __enter__(self) -> "Reporter":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Show one line that stays."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def step(self, epoch: int, step: int, averages: MetricAverages) -> None:
        """Show that a step is done; looks at the loss at most twice a second."""
        now = time.monotonic()
        if self._bar.disable or now - self._shown < _REFRESH_SECONDS:
            return
        self._shown = now
        loss = averages.latest("loss")
        self._bar.update(
            self._task,
            completed=epoch * self._steps + step + 1,
            description=f"epoch {epoch + 1}/{self._epochs}, step {step + 1}/{self._steps}",
            scores=("" if loss is None else f"loss {loss:.4f}") + self._val,
        )

    def epoch(self, record: dict[str, Any], best: str) -> None:
        """Show that an epoch is done.

        Args:
            record: the epoch's line of the logger.
            best: the best validation score so far, in words.
        """
        done = (record["epoch"] + 1) * self._steps
        val = "" if record["val"] is None else f"  val DSC {record['val']['dsc']:.4f} ({best})"
        self._val = val or self._val
        if not self._bar.disable:
            self._bar.update(self._task, completed=done)
            return
        loss = record["train"].get("loss")
        left = (
            (time.monotonic() - self._started)
            / max(done - self._first, 1)
            * (self._epochs * self._steps - done)
        )
        self.say(
            f"epoch {record['epoch'] + 1}/{self._epochs}"
            + ("" if loss is None else f"  loss {loss:.4f}")
            + val
            + f"  lr {record['lr']:.2g}  {record['seconds']:.1f} s  left {timedelta(seconds=round(left))}"
        )
