"""What a person sees while a network trains: a bar on a terminal, one plain line per epoch elsewhere."""

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from metadcseg.training.logging.averages import MetricAverages

_REFRESH_SECONDS = 0.5


class TimeLeft:
    """Tells how long a training will still take, what ends each epoch (validation, figures, saving) included.

    Args:
        epochs: number of epochs planned.
        steps: steps per epoch.
        done: steps done before.
        close: steps that the end of an epoch is worth, until one has been seen.
        clock: returns seconds.
    """

    def __init__(
        self,
        *,
        epochs: int,
        steps: int,
        done: int,
        close: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps, self._total, self._done, self._close, self._clock = (
            steps,
            epochs * steps,
            done,
            close,
            clock,
        )
        self._last = clock()
        self._stepping = self._closing = 0.0
        self._stepped = self._closed = 0

    def step(self, done: int) -> None:
        """Note that so many steps are done in all."""
        now = self._clock()
        self._stepping += now - self._last
        self._stepped += done - self._done
        self._done, self._last = done, now

    def close(self) -> None:
        """Note that the epoch is closed."""
        now = self._clock()
        self._closing += now - self._last
        self._closed, self._last = self._closed + 1, now

    def seconds(self) -> float | None:
        """Return how many are left, None before the first step.

        Example:
            >>> times = iter([0.0, 8.0, 10.0])
            >>> left = TimeLeft(epochs=3, steps=4, done=0, clock=lambda: next(times))
            >>> left.step(4)
            >>> left.close()
            >>> left.seconds()  # two epochs of 4 steps of 2 s, and 2 s at the end of each
            20.0
        """
        if not self._stepped:
            return None
        step = self._stepping / self._stepped
        close = self._closing / self._closed if self._closed else step * self._close
        steps = self._total - self._done
        waiting = steps // self._steps + (1 if steps % self._steps else 0)
        return steps * step + waiting * close


class Reporter:
    """Shows how far training is.

    Args:
        console: where to; None shows nothing.
        epochs: number of epochs planned.
        steps: steps per epoch.
        done: steps done before.
        close: steps that the end of an epoch is about worth.
    """

    def __init__(
        self, console: Console | None, *, epochs: int, steps: int, done: int, close: float = 0.0
    ) -> None:
        self._console = console or Console(quiet=True)
        self._epochs, self._steps = epochs, steps
        self._left = TimeLeft(epochs=epochs, steps=steps, done=done, close=close)
        self._shown = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[scores]}"),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=epochs * steps, completed=done, scores="", left="")
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
        self._left.step(epoch * self._steps + step + 1)
        if self._bar.disable or now - self._shown < _REFRESH_SECONDS:
            return
        self._shown = now
        loss = averages.latest("loss")
        self._bar.update(
            self._task,
            completed=epoch * self._steps + step + 1,
            description=f"epoch {epoch + 1}/{self._epochs}, step {step + 1}/{self._steps}",
            scores=("" if loss is None else f"loss {loss:.4f}") + self._val,
            left=self._in_words(),
        )

    def close(self, epoch: int) -> None:
        """Show that the steps of an epoch are done, and that it is validated and saved now."""
        if not self._bar.disable:
            self._bar.update(self._task, description=f"epoch {epoch + 1}/{self._epochs}, validating")

    def epoch(self, record: dict[str, Any], best: str) -> None:
        """Show that an epoch is done.

        Args:
            record: the epoch's line of the logger.
            best: the best validation score so far, in words.
        """
        self._left.close()
        val = "" if record["val"] is None else f"  val DSC {record['val']['dsc']:.4f} ({best})"
        self._val = val or self._val
        if not self._bar.disable:
            done = (record["epoch"] + 1) * self._steps
            self._bar.update(self._task, completed=done, left=self._in_words())
            return
        loss = record["train"].get("loss")
        self.say(
            f"epoch {record['epoch'] + 1}/{self._epochs}"
            + ("" if loss is None else f"  loss {loss:.4f}")
            + val
            + f"  lr {record['lr']:.2g}  {record['seconds']:.1f} s  {self._in_words()}".rstrip()
        )

    def _in_words(self) -> str:
        left = self._left.seconds()
        return "" if left is None else f"left {timedelta(seconds=round(left))}"
