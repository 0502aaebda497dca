"""The first finished runs of a benchmark, which all others are held against."""

from pathlib import Path
from typing import Any

from metadcseg.benchmark.contract import breach
from metadcseg.results import schema
from metadcseg.results.grid import Grid, Task
from metadcseg.results.read_benchmark import BROKEN
from metadcseg.results.records import read_object, read_runs
from metadcseg.results.upgrade import upgraded


class FirstRuns:
    """The first finished run on each set, of each row and of each source; looked for once, and remembered.

    Args:
        grid: what is run.
        runs: the folder of its runs.
    """

    def __init__(self, grid: Grid, runs: Path) -> None:
        self._runs = runs
        self._alike = _alike(grid)
        self._names: dict[tuple[object, ...], list[str]] = {}
        self._known: dict[tuple[object, ...], dict[str, Any]] = {}
        for task in grid.tasks():
            for key in (self._on_set(task), _of_row(task), _of_source(task)):
                self._names.setdefault(key, []).append(task.id)

    def breach(self, task: Task, part: str) -> str | None:
        """Return how a finished run broke the benchmark contract, None where it kept it.

        Args:
            task: whose run it is.
            part: the folder of one of its trainings, of :attr:`Task.parts`.
        """
        (mine,) = read_runs([self._runs / task.id / part])
        on_set = self._first(self._on_set(task), part) or mine.info
        of_row = self._first(_of_row(task), part) or mine.info
        one_source = task.gold is None and task.folds is None
        of_source = self._first(_of_source(task), part) if one_source else None
        broken = breach(mine, on_set, of_row, of_source)
        return None if broken is None else f"{BROKEN}: {broken}"

    def _on_set(self, task: Task) -> tuple[object, ...]:
        return "set", task.data, self._alike[task.row]

    def _first(self, key: tuple[object, ...], part: str) -> dict[str, Any] | None:
        if (*key, part) not in self._known:
            files = (self._runs / name / part / "run.json" for name in self._names[key])
            runs = (upgraded(read_object(file, [], schema.RunSaid)) for file in files)
            found = next((run for run in runs if run.get("status") == "finished"), None)
            if found is None:
                return None
            self._known[*key, part] = found
        return self._known[*key, part]


def _of_row(task: Task) -> tuple[object, ...]:
    return "row", task.row


def _of_source(task: Task) -> tuple[object, ...]:
    return "source", task.set, task.gold is None


def _alike(grid: Grid) -> dict[str, int]:
    """Return a number for each row, the same for rows with equal network and training; ``vary`` may tell them apart."""
    seen: list[list[Any]] = []
    numbers = {}
    for row in grid.rows:
        options = grid.options_of(row)
        shared = [options.get(part) for part in ("network", "training")]
        if shared not in seen:
            seen.append(shared)
        numbers[row] = seen.index(shared)
    return numbers
