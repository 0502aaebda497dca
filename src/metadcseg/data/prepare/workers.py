"""The processes among which cases are dealt: one case each at a time, with results in the order of the cases."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TypeVar

from metadcseg.data.sources.case import RawCase
from metadcseg.errors import InputError

_AHEAD = 2  # so many cases wait for each process, and no more: what is ready and not yet taken needs room
_MOST = 8  # disks do not serve more, and each has a case in memory
_IMAGES, _VOLUMES = 200, 8  # from so many cases on
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_many_as_help(cases: Sequence[RawCase]) -> int:
    """Return how many processes a set is worth: the cores up to 8; one where starting more costs more than it saves.

    Args:
        cases: of the set.
    """
    enough = _IMAGES if all(case.flat for case in cases) else _VOLUMES
    return min(cores(), _MOST) if len(cases) >= enough else 1


def check_workers(workers: int | None) -> int | None:
    """Return a number of processes that can be one; None leaves it to the set.

    Raises:
        InputError: where it is below 1.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be a number of processes of at least 1, got {workers}")
    return workers


class Workers:
    """Context manager: a number of processes, started when they are first needed; one is this process itself.

    Processes are started anew rather than forked, so a script that asks for several needs the usual
    ``if __name__ == "__main__":``. They end with the block, with this process, and at an interrupt.

    Args:
        count: how many.

    Raises:
        InputError: where it is below 1.

    Example:
        >>> with Workers(1) as workers:
        ...     print(list(workers.each(abs, [3, -4])))
        [3, 4]
    """

    def __init__(self, count: int) -> None:
        check_workers(count)
        self.count = count
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
        if self.count == 1 or len(items) < 2:
            yield from map(job, items)
            return
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=spawn, initializer=_begin)
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(job, item))
                if len(waiting) > _AHEAD * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                f"one of {self.count} processes was ended from outside, likely for want of memory: give fewer --workers"
            ) from error


def _begin() -> None:
    """Leave Ctrl-C to the process that deals, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    dealer = multiprocessing.parent_process()

    def follow() -> None:
        if dealer is not None:
            dealer.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
