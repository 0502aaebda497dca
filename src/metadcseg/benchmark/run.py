"""Run a grid to its end: which tasks there are, what became of each, and what is written down about it.

``DIR/benchmark.json`` is rewritten whenever a task changes its state; ``DIR/sets`` and ``DIR/runs`` hold the rest, and
are what decides, when a benchmark is started again, what is left to do.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from metadcseg.benchmark.contract import changed_sets, repeated_gold
from metadcseg.benchmark.first_runs import FirstRuns
from metadcseg.benchmark.runner import (
    Children,
    Job,
    Outcome,
    is_done,
    run_job,
    set_jobs,
    task_job,
    write_rows,
)
from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.errors import InputError
from metadcseg.files import cannot_write, output_folder, refuse_link, write_bytes
from metadcseg.results import schema
from metadcseg.results.grid import Grid, Task
from metadcseg.results.records import read_object
from metadcseg.schemas import fitting

Runs = Generator[tuple[Job, Outcome], None, None]


class Executor(Protocol):
    """Where jobs are run."""

    workers: int

    def run(self, jobs: Sequence[Job], started: Callable[[Job], None]) -> Runs:
        """Run all jobs, telling when each starts, and yield each as it ends; closing stops what runs."""
        ...

    def close(self) -> None:
        """Let go of what the executor holds between jobs."""
        ...


class LocalExecutor:
    """Runs jobs on this machine, so many at a time.

    Args:
        workers: how many; each job computes on one thread.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, jobs: Sequence[Job], started: Callable[[Job], None]) -> Runs:
        """Run all jobs; where the iterator is closed or interrupted, what runs saves and stops first."""
        children = Children()

        def carry_out(job: Job) -> Outcome:
            if children.stopping:
                return Outcome("interrupted")
            started(job)
            return run_job(job, children)

        with ThreadPoolExecutor(self.workers) as pool:
            waiting: dict[Future[Outcome], Job] = {pool.submit(carry_out, job): job for job in jobs}
            try:
                while waiting:
                    ended, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in ended:
                        yield waiting.pop(future), future.result()
            finally:
                children.stop()

    def close(self) -> None:
        """Hold nothing between jobs, so do nothing."""


class Benchmark:
    """One grid in one folder.

    Args:
        grid: what is to be run.
        out: the folder.
        data: stands for ``{data}`` in the grid.
        trust_code: whether classes of networks that the grid names may be imported.

    Raises:
        InputError: where the folder holds runs with other options, or cannot be written.
    """

    def __init__(self, grid: Grid, out: Path, data: str, trust_code: bool = False) -> None:
        out = out.absolute()  # workers may have other working directories
        self.grid, self.out, self._data, self._trust_code = grid, out, data, trust_code
        self._file = out / "benchmark.json"
        before = read_object(self._file, [], schema.Benchmark)
        known = {entry["id"]: entry for entry in before.get("tasks", []) if _fits(entry)}
        self.tasks = {task.id: task for task in grid.tasks()}
        self.entries = {
            name: {**_entry(task), "folder": f"runs/{grid.home(task).id}"}
            for name, task in self.tasks.items()
        }
        self._finished = {  # by earlier calls: they need no set any more
            f"runs/{home.id}"
            for home in {grid.home(task) for task in self.tasks.values()}
            if is_done(task_job(grid, home, out, data, trust_code))
        }
        for name, entry in self.entries.items():
            if (out / entry["folder"]).exists():  # else somebody deleted it, and it begins anew
                earlier = known.get(name, {})
                entry.update(_kept(earlier))
                if earlier.get("status") == "done" and entry["folder"] in self._finished:
                    entry["status"] = "done"  # also where this call is stopped before it
        self._sharing: dict[str, list[dict[str, Any]]] = {}  # folder -> entries: several may share a run
        for entry in self.entries.values():
            self._sharing.setdefault(entry["folder"], []).append(entry)
        self._needing: dict[str, list[str]] = {}  # folder of a set -> runs that need it and are not finished
        for name, task in self.tasks.items():
            if grid.home(task) == task and self._is_left(task):
                for made in {task.data, task.dealt, f"{task.set}/set"} - {None}:
                    self._needing.setdefault(str(made), []).append(name)
        self._first = FirstRuns(grid, out / "runs")
        self._machine, self._writing = _machine(), threading.Lock()
        self._state: dict[str, Any] = {
            "format": 1,
            "name": grid.name,
            "grid": grid.given,
            "machine": self._machine,
        }
        self._others = _left_over([entry for name, entry in known.items() if name not in self.tasks], out)
        self._before, self._since = float(before.get("seconds") or 0.0), time.monotonic()
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(out, error) from error
        write_rows(grid, out)

    def run(self, executor: Executor, changed: Callable[[], None]) -> bool:
        """Do what is left; return whether everything is done or has failed, False where it was stopped.

        Args:
            executor: where.
            changed: called whenever a task has changed its state.
        """
        self._machine["workers"] = executor.workers
        self.write()
        for jobs in set_jobs(self.grid, self.out, self._data):
            lot = [job for job in jobs if _made_by(job) in self._needing]
            self._refuse_links(lot)
            with closing(executor.run(lot, lambda job: None)) as made:
                for job, outcome in made:
                    if outcome.status == "interrupted":
                        return False
                    if outcome.status == "failed":
                        self._give_up(_made_by(job), f"{job.id} cannot be made: {outcome.error}")
                        self.write()
                        changed()
        homes = [task for task in self.tasks.values() if self.grid.home(task) == task]
        first = sorted(homes, key=self._is_left)  # what is finished stays, and the other amount of gold ends
        for dealt, why in repeated_gold(first, self.out / "sets").items():
            self._give_up(dealt, why)
        for name, why in changed_sets(homes, self.out).items():
            self._set(name, status="failed", error=why)
        ready = [
            task_job(self.grid, task, self.out, self._data, self._trust_code)
            for task in homes
            if self.entries[task.id]["status"] != "failed"
        ]
        self._refuse_links(ready)
        self.write()
        changed()

        began: dict[str, float] = {}

        def started(job: Job) -> None:
            if not is_done(job):
                began[f"runs/{job.id}"] = time.monotonic()
                self._set(job.id, status="running", attempts=self.entries[job.id]["attempts"] + 1)
                self.write()

        stopped = False
        try:
            with closing(executor.run(ready, started)) as ended:
                for job, outcome in ended:
                    stopped = stopped or outcome.status == "interrupted"
                    before = self.entries[job.id]["status"]
                    self._close(job.id, outcome)
                    if outcome.seconds:  # of what was done before its own files tell
                        self.write()
                    if self.entries[job.id]["status"] != before:
                        changed()
        finally:  # Ctrl-C: what was running has been stopped by its executor
            for entry in self.entries.values():
                if entry["status"] == "running":
                    lasted = time.monotonic() - began[entry["folder"]]
                    entry.update(status="waiting", seconds=round(entry["seconds"] + lasted, 1))
            self.write()
        return not stopped

    def write(self) -> None:
        """Write ``benchmark.json``."""
        with self._writing:
            seconds = self._before + time.monotonic() - self._since
            tasks = [*self.entries.values(), *self._others]
            content = {**self._state, "seconds": round(seconds, 1), "tasks": tasks}
            write_bytes(self._file, (json.dumps(content, indent=1, default=str) + "\n").encode())

    def _refuse_links(self, jobs: Iterable[Job]) -> None:
        """Make the folders of jobs; none of them may be a link."""
        for job in jobs:
            log = Path(job.log)
            output_folder(self.out, *log.parent.relative_to(self.out).parts)
            refuse_link(log.parent / log.name.removesuffix(".txt"))

    def progress(self, name: str) -> tuple[int, int]:
        """Return how many epochs a run has done, of how many; (0, 0) where nothing is known."""
        run = _run_in(self.out / self.entries[name]["folder"])
        return int(run.get("epochs_done") or 0), int((run.get("training") or {}).get("epochs") or 0)

    def _is_left(self, task: Task) -> bool:
        """Return whether no earlier call finished a task."""
        return self.entries[task.id]["folder"] not in self._finished

    def _give_up(self, made: str, why: str) -> None:
        """Note that the runs on a set fail, since it cannot be made."""
        for name in self._needing.get(made, []):
            if not self.entries[name]["error"]:
                self._set(name, status="failed", error=why)

    def _set(self, name: str, **values: Any) -> None:
        """Note what became of a run, also for the tasks that share it."""
        for entry in self._sharing[f"runs/{name}"]:
            entry.update(values)

    def _close(self, name: str, outcome: Outcome) -> None:
        entry, task = self.entries[name], self.tasks[name]
        if outcome.seconds:  # else it was done before
            seconds = round(entry["seconds"] + outcome.seconds, 1)
            peaks = [peak for peak in (entry["peak_bytes"], outcome.peak_bytes) if peak]
            self._set(name, seconds=seconds, peak_bytes=max(peaks, default=None))
        if outcome.status == "interrupted":
            self._set(name, status="waiting")
            return
        error = outcome.error
        if outcome.status == "done":
            error = next(filter(None, (self._first.breach(task, part) for part in task.parts)), None)
        self._set(name, status="failed" if error else "done", error=error)


def remaining_seconds(entries: Iterable[dict[str, Any]], workers: int) -> float | None:
    """Return when all will be done, from what the finished runs took; None before the first.

    Example:
        >>> done = {"folder": "a", "status": "done", "seconds": 60.0}
        >>> left = [{"folder": name, "status": "waiting"} for name in "bcc"]  # one run under two kinds of noise
        >>> remaining_seconds([done, *left], 2)
        60.0
    """
    held = list({entry["folder"]: entry for entry in entries}.values())
    took = [entry["seconds"] for entry in held if entry["status"] == "done" and entry["seconds"]]
    left = sum(entry["status"] in ("waiting", "running") for entry in held)
    return sum(took) / len(took) * left / workers if took else None


def _entry(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "set": task.set,
        "noise": asdict(task.noise),
        "gold": str(task.gold) if isinstance(task.gold, GoldSlices) else task.gold,
        "folds": task.folds,
        "row": task.row,
        "seed": task.seed,
        "status": "waiting",
        "error": None,
        "attempts": 0,
        "seconds": 0.0,
        "peak_bytes": None,
    }


def _kept(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what counts on from an earlier call; whether it is done is decided by its files."""
    return {key: entry[key] for key in ("attempts", "seconds", "peak_bytes") if entry.get(key) is not None}


def _fits(entry: object) -> bool:
    """Return whether a task of an earlier call is one; others count as never begun."""
    try:
        fitting(entry, schema.Task, "a task", "it is begun anew")
    except InputError:
        return False
    return True


def _run_in(folder: Path) -> dict[str, Any]:
    return read_object(folder / "run.json", [], schema.RunSaid)


def _left_over(entries: list[dict[str, Any]], out: Path) -> list[dict[str, Any]]:
    """Return those of a larger grid before whose runs are still here; one that never began leaves nothing.

    A run that serves several conditions counts under those that have another run, too.
    """
    begun = [entry for entry in entries if any((out / str(entry.get("folder"))).rglob("run.json"))]

    def under(entry: dict[str, Any]) -> str:
        return str([entry.get(key) for key in ("set", "noise", "gold", "folds")])

    own = {under(entry) for entry in begun if entry.get("folder") == f"runs/{entry.get('id')}"}
    return [entry for entry in begun if under(entry) in own]


def _made_by(job: Job) -> str:
    """Return the folder of the set that a job makes, below ``sets``."""
    return job.id.removeprefix("set ")


def _machine() -> dict[str, Any]:
    return {"system": platform.platform(), "processors": os.cpu_count(), "python": platform.python_version()}
