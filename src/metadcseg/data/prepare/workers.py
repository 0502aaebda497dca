"""The processes among which cases are dealt: one case each at a time, with results in the order of the cases."""

import math
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import TypeVar

import numpy as np
from PIL import Image

from metadcseg.data.sources.case import RawCase
from metadcseg.errors import InputError
from metadcseg.validation import check_workers

_AHEAD = 2  # so many cases wait for each process, and no more: what is ready and not yet taken needs room
_MOST = 8  # disks do not serve more, and each has a case in memory
_BATCH, _DEALS = 16, 32  # at most so many cases are sent at once, and each process is sent some so often
_PIXELS = 50_000_000  # of images: what one process decodes and writes in the time that others need to begin
_VOLUMES = 8
_LOOKED_AT = 16
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_many_as_help(cases: Sequence[RawCase]) -> int:
    """Return how many processes a set is worth: the cores up to 8; one where starting more costs more than it saves.

    Args:
        cases: of the set; of images a few headers are read.
    """
    if all(case.flat for case in cases):
        looked = [_pixels(case) for case in cases[:: max(1, len(cases) // _LOOKED_AT)]]
        enough = len(cases) * sum(looked) >= _PIXELS * max(1, len(looked))
    else:
        enough = len(cases) >= _VOLUMES
    return min(cores(), _MOST) if enough else 1


def _pixels(case: RawCase) -> int:
    """Return how many pixels an image has; 0 where that is not told at once."""
    if isinstance(case.images, np.ndarray):
        return math.prod(case.images.shape[:2])
    if not case.images[0].is_file():  # opening a pipe would wait for ever
        return 0
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(case.images[0]) as image:
            return image.width * image.height
    except Exception:  # whatever is wrong is told when it is read
        return 0


class Workers:
    """Context manager: a number of processes, started when they are first needed; one is this process itself.

    Processes are started anew rather than forked, so a script that asks for several needs the usual
    ``if __name__ == "__main__":``. They end with the block, with this process, and at an interrupt.

    Args:
        count: how many.
        begin: called first in each process, which is then never this one; can be sent to another process.

    Raises:
        InputError: where it is below 1, or more than this machine bears.

    Example:
        >>> with Workers(1) as workers:
        ...     print(list(workers.each(abs, [3, -4])))
        [3, 4]
    """

    def __init__(self, count: int, *, begin: Callable[[], object] | None = None) -> None:
        check_workers(count, least=1)
        self.count, self._begin = count, begin
        self._pool: ProcessPoolExecutor | None = None
        self._others = set(multiprocessing.active_children())

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        if kind is not None:  # what they are at is not wanted any more, and may take minutes
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
                process.join()

    def each(self, job: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
        """Yield what a job returns for every item, in their order.

        Args:
            job: can be sent to another process; what it raises is raised here.
            items: likewise.

        Raises:
            InputError: where a process was ended from outside.
        """
        if self._begin is None and (self.count == 1 or len(items) < 2):
            yield from map(job, items)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.count, mp_context=_context(), initializer=_begin, initargs=(self._begin,)
            )
        waiting: deque[Future[list[_Result]]] = deque()
        size = min(_BATCH, max(1, len(items) // (_DEALS * self.count)))
        try:
            for start in range(0, len(items), size):
                waiting.append(self._pool.submit(_several, job, items[start : start + size]))
                if len(waiting) > _AHEAD * self.count:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                f"one of {self.count} processes was ended from outside, likely for want of memory: give fewer --workers"
            ) from error


def _several(job: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Do one item after the other: sending each by itself takes as long as reading a small image."""
    return [job(item) for item in items]


def _context() -> BaseContext:
    """Return how processes are started: from one that has loaded what all need, where the system can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["metadcseg.data.prepare.look", "metadcseg.data.prepare.writing"])
    return context


def _begin(begin: Callable[[], object] | None) -> None:
    """Leave Ctrl-C to the process that deals, and end with it, however it ends; then do what else comes first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    dealer = multiprocessing.parent_process()

    def follow() -> None:
        if dealer is not None:
            dealer.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    if begin is not None:
        begin()
