"""Run the jobs of a benchmark on a Ray cluster, whose machines share the file system."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from typing import Any

from metadcseg.benchmark.runner import Job, Outcome
from metadcseg.errors import InputError

RETRIES = 2
"""How often a job is begun again whose machine or worker was lost; it then goes on from its checkpoint."""


class RayExecutor:
    """Runs jobs as Ray tasks.

    Args:
        workers: how many at a time.
        address: of the cluster (``auto``, ``ray://...``); None starts one on this machine.
        cpus: processors that each job takes.
        gpus: GPUs that each job takes.

    Raises:
        InputError: where Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, workers: int, address: str | None, cpus: float, gpus: float) -> None:
        try:
            import ray
        except ImportError as error:
            raise InputError(
                "--executor ray needs Ray: pip install 'metadcseg[ray]', or take --executor local"
            ) from error
        self.workers, self._ray = workers, ray
        asked_to_stop = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
        except (ConnectionError, RuntimeError, ValueError) as error:
            line = (str(error).splitlines() or [""])[0]
            raise InputError(
                f"the Ray cluster {address or 'of this machine'} cannot be reached ({line})"
            ) from error
        finally:  # Ray's own handler would end the process without letting the runs save
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, asked_to_stop)
        carry_out = _leaving(os.getcwd() if os.getcwd() not in sys.path else None)
        self._run = ray.remote(carry_out).options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)

    def run(
        self, jobs: Sequence[Job], started: Callable[[Job], None]
    ) -> Generator[tuple[Job, Outcome], None, None]:
        """Run all jobs; where the iterator is closed or interrupted, what runs is cancelled, and can be resumed."""
        left, running = list(jobs), dict[Any, Job]()
        try:
            while left or running:
                while left and len(running) < self.workers:
                    job = left.pop(0)
                    started(job)
                    running[self._run.remote(asdict(job))] = job
                ended, _ = self._ray.wait(list(running), timeout=0.5)
                for reference in ended:
                    job = running.pop(reference)
                    yield job, self._outcome(reference)
        finally:
            for reference in running:
                self._ray.cancel(reference, force=False, recursive=True)

    def close(self) -> None:
        """Let go of the cluster; one that was started for this benchmark ends."""
        self._ray.shutdown()

    def _outcome(self, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Outcome("failed", f"Ray: {(str(error).splitlines() or [type(error).__name__])[0]}")
        return outcome


def _leaving(folder: str | None) -> Callable[[dict[str, Any]], Outcome]:
    """Return what carries out a job in a Ray worker, which then looks for no module in a folder.

    Ray puts the current folder first on the path of its workers; files there, which may come from elsewhere, would run
    in the place of libraries. So nothing of this package may be unpickled before: Ray sends a function that lies within
    another by its code, and the job comes as a mapping.

    Args:
        folder: the current one; None where this process looks there, too.
    """

    def carry_out(job: dict[str, Any]) -> "Outcome":  # a class would be imported with the annotation
        import sys

        sys.path[:] = [place for place in sys.path if place != folder]
        from metadcseg.benchmark.runner import Job, run_job

        return run_job(Job(**job))

    return carry_out
