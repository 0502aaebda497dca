"""Run the jobs of a benchmark as arrays of SLURM jobs, by submitit; all nodes share the file system."""

import shlex
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metadcseg.benchmark.runner import Job, Outcome, run_job
from metadcseg.errors import InputError

_LOOK_SECONDS = 1.0


class Resumable:
    """A job as submitit calls it; whose time is up, or whose node is taken, is queued again and goes on."""

    def __call__(self, job: Job) -> Outcome:
        """Carry it out."""
        return run_job(job)

    def checkpoint(self, job: Job) -> Any:
        """Return what is queued again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, job)


class SlurmExecutor:
    """Runs jobs as tasks of a SLURM array.

    Args:
        folder: where submitit keeps what it hands over, and what SLURM's jobs say; all nodes must see it.
        workers: how many at a time.
        cpus: processors that each job takes.
        gpus: GPUs that each job takes.
        hours: that each job may take before it is queued again.
        asked: further options of ``sbatch`` by their names, such as ``partition``.
        cluster: ``"slurm"``, or ``"local"`` for processes on this machine.

    Raises:
        InputError: where submitit is not installed, or this machine knows no SLURM.
    """

    def __init__(
        self,
        folder: Path,
        workers: int,
        cpus: float,
        gpus: float,
        hours: float,
        asked: Mapping[str, str],
        cluster: str = "slurm",
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise InputError(
                "--executor slurm needs submitit: pip install 'metadcseg[slurm]', or take --executor local"
            ) from error
        self.workers = workers
        try:
            self._executor = submitit.AutoExecutor(
                folder.absolute(),
                cluster=cluster,
                # -P: a grid's folder may come from elsewhere, and no module is looked for there
                **{f"{cluster}_python": f"{shlex.quote(sys.executable)} -P"},
            )
        except RuntimeError as error:
            raise InputError(
                "--executor slurm: there is no srun here: start this where SLURM's commands are, or take "
                "--executor local"
            ) from error
        self._executor.update_parameters(
            name="metadcseg",
            timeout_min=round(60 * hours),
            cpus_per_task=max(1, round(cpus)),
            **({"gpus_per_node": round(gpus)} if gpus else {}),
            slurm_array_parallelism=workers,
            slurm_additional_parameters=dict(asked),
        )

    def run(
        self, jobs: Sequence[Job], started: Callable[[Job], None]
    ) -> Generator[tuple[Job, Outcome], None, None]:
        """Run all jobs; where the iterator is closed or interrupted, those left are cancelled, and can be resumed.

        Raises:
            InputError: where SLURM does not take them.
        """
        if not jobs:
            return
        try:
            queued = list(zip(self._executor.map_array(Resumable(), jobs), jobs, strict=True))
        except (RuntimeError, OSError) as error:  # submitit hands on what sbatch said
            raise InputError(f"sbatch: {' '.join(str(error).split())[-500:]}") from error
        begun = set[str]()
        try:
            while queued:
                for place in list(queued):
                    task, job = place
                    ended = task.done()
                    if job.id not in begun and (ended or task.state.upper() == "RUNNING"):
                        begun.add(job.id)
                        started(job)
                    if ended:
                        queued.remove(place)
                        yield job, _outcome(task)
                time.sleep(_LOOK_SECONDS if queued else 0)
        finally:
            for task, _ in queued:
                task.cancel()

    def close(self) -> None:
        """Hold nothing between jobs, so do nothing."""


def _outcome(task: Any) -> Outcome:
    """Return what became of a job; where SLURM lost it, the last line that it said."""
    try:
        outcome: Outcome = task.result()
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        return Outcome("failed", f"SLURM job {task.job_id}: {said[:500]}")
    return outcome


def sbatch_options(text: str) -> dict[str, str]:
    """Return the further options of ``sbatch`` that a command line names.

    Raises:
        InputError: where it is not ``name=value``, with commas in between.

    Example:
        >>> sbatch_options("partition=gpu,account=lab"), sbatch_options("")
        ({'partition': 'gpu', 'account': 'lab'}, {})
    """
    found = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.strip().partition("=")
        if not (name and equals and value) or name.startswith("-"):
            raise InputError(
                f"--slurm must be options of sbatch such as partition=gpu,account=lab, got '{text}'"
            )
        found[name] = value
    return found
