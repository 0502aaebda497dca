"""Processor time and memory of a part of a script (Linux). Needs nothing: scripts of other environments use it too."""

import os
import resource
import threading
from types import TracebackType


def held() -> int:
    """Return the bytes that this process holds for itself: files that are mapped do not count."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def seconds() -> float:
    """Return the processor time of this process, its threads and its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Watched:
    """Measures what is done within: ``seconds``, and ``peak``, bytes that were held at most."""

    def __enter__(self) -> "Watched":
        self._done, self.peak = threading.Event(), held()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self.seconds = -seconds()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds += seconds()
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, held())


def one_thread() -> None:
    """Let libraries that are imported from now on compute in one thread."""
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
