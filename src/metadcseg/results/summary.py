"""What a benchmark left behind: its tasks, under which conditions they ran, and the records of those that are done."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.results.records import RunRecord, budget_of, mapping, number


@dataclass(frozen=True, order=True)
class Condition:
    """Under which circumstances rows are compared.

    Args:
        set: key of the data set.
        model: of the noise.
        rate: of the noise; 0 is clean.
        gold: share or number of gold cases, or share of the slices, None as the set has them.
        folds: of a cross-validation, None for the set's own split.
    """

    set: str
    model: str = "paper"
    rate: float = 0.0
    gold: float | int | GoldSlices | None = None
    folds: int | None = None

    @property
    def noise(self) -> str:
        """The noise in words.

        Example:
            >>> Condition("la", "over", 0.4).noise, Condition("la").noise
            ('over 40 %', 'no noise')
        """
        return f"{self.model} {100 * self.rate:g} %" if self.rate else "no noise"

    @property
    def papers(self) -> bool:
        """Whether the noise is the paper's, by either reading of where it rotates, or none.

        Example:
            >>> Condition("la", "paper-centred", 0.4).papers, Condition("la", "over", 0.4).papers
            (True, False)
        """
        return self.model in ("paper", "paper-centred") or not self.rate

    @property
    def gold_name(self) -> str:
        """The gold in words; nothing where it is the set's own.

        Example:
            >>> Condition("la", gold=0.02).gold_name, Condition("la", gold=6).gold_name
            ('gold 2 %', 'gold 6 cases')
            >>> Condition("la", gold=GoldSlices(0.02)).gold_name
            'gold 2 % of slices'
        """
        if self.gold is None:
            return ""
        if isinstance(self.gold, GoldSlices):
            return f"gold {100 * self.gold.share:g} % of slices"
        return f"gold {100 * self.gold:g} %" if self.gold < 1 else f"gold {self.gold:g} cases"

    @property
    def folds_name(self) -> str:
        """The folds in words; nothing where there are none."""
        return "" if self.folds is None else f"{self.folds} folds"

    @property
    def name(self) -> str:
        """All of it in words.

        Example:
            >>> Condition("la", "over", 0.4, 0.02).name
            'la, over 40 %, gold 2 %'
        """
        parts = (self.set, self.noise, self.gold_name, self.folds_name)
        return ", ".join(part for part in parts if part)


@dataclass
class TaskRecord:
    """One task of the grid and what it left behind.

    Args:
        id: of the task.
        condition: set, noise and gold.
        row: name of the row.
        seed: of noise, split and training.
        status: ``waiting``, ``running``, ``done``, ``failed`` or ``refused``.
        error: why it failed.
        seconds: wall clock.
        peak: bytes, of its process, or, where any run of the benchmark trained on a GPU, of its GPU; None where
            unknown.
        folder: below the benchmark's folder; None where it would lie elsewhere.
        prepared: the noisy set that it was trained on, if it is still there.
        runs: its run, or one per fold, where it is done.
        weights: ``evaluation/weights.json``.
        cost: ``evaluation/cost.json``.
    """

    id: str
    condition: Condition
    row: str
    seed: int
    status: str
    error: str | None = None
    seconds: float = 0.0
    peak: float | None = None
    folder: Path | None = None
    prepared: Path | None = None
    runs: list[RunRecord] = field(default_factory=list)
    folds: int | None = None
    weights: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether it counts in the tables."""
        return self.status == "done" and bool(self.runs)

    @property
    def options(self) -> Mapping[str, Any]:
        """The method's options, as the run itself recorded them."""
        return mapping(self.info, "options")

    @property
    def info(self) -> Mapping[str, Any]:
        """``run.json``, of the first fold where there are several."""
        return self.runs[0].info if self.runs else {}

    @property
    def memory(self) -> float | None:
        """The peak in GB (1e9 bytes), None where unknown."""
        return None if self.peak is None else self.peak / 1e9

    def score(self, metric: str) -> float | None:
        """Return the mean of a metric over the test cases, and with folds over these; None where any lacks it."""
        means = [None if (held := run.spread(metric)) is None else held[0] for run in self.runs]
        known = [mean for mean in means if mean is not None]
        return fmean(known) if known and len(known) == len(means) else None

    def cases(self) -> dict[str, float]:
        """Return the DSC of every test case, over all folds."""
        return {name: case.dsc for run in self.runs for name, case in run.cases.items()}

    def groups(self) -> dict[str, str]:
        """Return the group of every test case, over all folds; a case without one is a group of its own."""
        return {name: case.group or name for run in self.runs for name, case in run.cases.items()}

    def epoch_seconds(self) -> float | None:
        """Return the median time of an epoch, over all folds."""
        known = [line.seconds for run in self.runs for line in run.epochs if line.seconds is not None]
        return median(known) if known else None

    def training_seconds(self) -> float | None:
        """Return the time of the training, with folds of all."""
        values = [number(run.info.get("seconds")) for run in self.runs]
        known = [value for value in values if value is not None]
        return sum(known) if known and len(known) == len(values) else None


@dataclass
class BenchmarkRecord:
    """A benchmark's folder, read.

    Args:
        folder: where it lies.
        name: of the experiment.
        grid: as it was given.
        machine: what it ran on.
        seconds: wall clock, over all calls.
        tasks: all of them, in the order of the grid.
        rows: names of the rows in the order of the grid.
        missing: one sentence for everything that could not be read.
        against: the row that others are compared with; None: plain supervision with equal gold.
    """

    folder: Path
    name: str = ""
    grid: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    tasks: list[TaskRecord] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    against: str | None = None

    @property
    def partial(self) -> str | None:
        """Why rows are left out that every table should have."""
        reason = self.grid.get("partial")
        return str(reason) if reason else None

    def conditions(self, tasks: Iterable[TaskRecord] | None = None) -> list[Condition]:
        """Return the conditions of all tasks, or of some, in the order of the grid."""
        return list(dict.fromkeys(task.condition for task in (self.tasks if tasks is None else tasks)))

    def of(self, condition: Condition, row: str) -> list[TaskRecord]:
        """Return the tasks of a row that are done, one for each seed."""
        return [task for task in self.tasks if task.done and task.row == row and task.condition == condition]

    def done(self) -> list[TaskRecord]:
        """Return the tasks that are done."""
        return [task for task in self.tasks if task.done]

    def counts(self) -> dict[str, int]:
        """Return how many tasks are in which state; broken contracts are counted as refused."""
        counts = dict.fromkeys(("done", "failed", "refused", "running", "waiting"), 0)
        for task in self.tasks:
            counts[task.status] = counts.get(task.status, 0) + 1
        return counts

    def upper_bound(self, row: str) -> bool:
        """Return whether a row is trained on the true masks."""
        found = [task for task in self.tasks if task.row == row and task.runs]
        if found:
            return bool(mapping(found[0].info, "declaration").get("labels") == "truth")
        options = mapping(mapping(self.grid, "rows"), row)
        return mapping(options, "supervised").get("labels") == "clean"

    def uses_pairs(self, row: str) -> bool:
        """Return whether the method of a row reads the masks that the gold ones replaced."""
        found = [task for task in self.tasks if task.row == row and task.runs]
        return bool(found) and bool(mapping(found[0].info, "declaration").get("uses_pairs"))

    def pipeline(self, row: str) -> str:
        """Return what is known of a row that another tool trained, in words; nothing where the training is ours."""
        return next((task.runs[0].pipeline for task in self.tasks if task.row == row and task.done), "")

    def network(self, row: str) -> str:
        """Return which network a row has, in words, where rows differ in it; else nothing."""
        held = {
            task.row: mapping(task.info, "network")
            for task in self.tasks
            if task.done and not self.pipeline(task.row)
        }
        told = []
        for key in ("class_path", "name", "size", "width"):
            value = held.get(row, {}).get(key)
            if value is not None and len({str(each.get(key)) for each in held.values()}) > 1:
                told.append(f"{key} {value}" if key == "width" else str(value))
        return ", ".join(told)

    def pretrained(self, row: str) -> bool:
        """Return whether a row's networks began with weights of a file (``network.pretrained``)."""
        return any(task.row == row and mapping(task.info, "pretrained") for task in self.tasks if task.done)

    def baseline(self, beside: str | None = None) -> str | None:
        """Return what rows are compared with: plain supervision with equal gold, None where no such row is done.

        Args:
            beside: a row, which it then shares network and training with.
        """
        if self.against is not None:
            return self.against
        budget = None if beside is None else self.budget(beside)
        return next(
            (
                task.row
                for row in self.rows
                for task in self.done()
                if _equal_gold(task, row) and (budget is None or self.budget(row) == budget)
            ),
            None,
        )

    def budget(self, row: str) -> str:
        """Return what rows must share to be compared, network and training, as text."""
        info = next((task.info for task in self.tasks if task.row == row and task.done), {})
        return str(sorted(budget_of(info).items()))


def _equal_gold(task: TaskRecord, row: str) -> bool:
    return task.row == row and task.runs[0].equal_gold_baseline


def spread(values: Sequence[float | None]) -> tuple[float, float | None, int] | None:
    """Return mean, standard deviation (n - 1; None for one value) and number of the values that are known.

    Example:
        >>> spread([1.0, None, 3.0]), spread([])
        ((2.0, 1.4142135623730951, 2), None)
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    return fmean(known), stdev(known) if len(known) > 1 else None, len(known)


def paired_seeds(first: Sequence[TaskRecord], second: Sequence[TaskRecord]) -> tuple[float, ...]:
    """Return the mean DSC of a row less that of another, for each seed that both have."""
    held = [{task.seed: task.score("dsc") for task in tasks} for tasks in (first, second)]
    pairs = ((one, held[1].get(seed)) for seed, one in sorted(held[0].items()))
    return tuple(one - other for one, other in pairs if one is not None and other is not None)


def paired_cases(
    first: Sequence[TaskRecord], second: Sequence[TaskRecord]
) -> tuple[dict[str, float], dict[str, float], int]:
    """Return the DSC of every case of two rows, each averaged over the seeds that both rows have, and their number.

    Cases of one group, such as a patient's images, are one: they are no independent evidence. A case counts where all
    of these seeds scored it.
    """
    seeds = sorted({task.seed for task in first} & {task.seed for task in second})
    one, other = ([task for task in tasks if task.seed in seeds] for tasks in (first, second))
    held = [task.cases() for task in (*one, *other)]
    common = [case for case in held[0] if all(case in each for each in held)] if held else []
    groups = one[0].groups() if one else {}
    first_held, second_held = held[: len(one)], held[len(one) :]
    return _group_means(first_held, common, groups), _group_means(second_held, common, groups), len(seeds)


def _group_means(
    scores: Sequence[Mapping[str, float]], cases: Sequence[str], groups: Mapping[str, str]
) -> dict[str, float]:
    """Return the mean of every group over its cases, of which each is a mean over seeds."""
    held: dict[str, list[float]] = {}
    for case in cases:
        held.setdefault(groups[case], []).append(fmean(each[case] for each in scores))
    return {group: fmean(values) for group, values in held.items()}
