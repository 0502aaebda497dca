"""Ctrl-C and SIGTERM: asked once, the loop finishes its step and saves; asked twice, it stops at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """A context in which the two signals are noted instead of obeyed; the old handlers come back after it.

    Signals reach the main thread only, so elsewhere this context does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, grid: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
