"""One long table of all numbers of a benchmark. Its tables are pivots of it, so that no number has two rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from metadcseg.report.comparisons import Compared
from metadcseg.report.measures import COSTS, EFFICIENCY, MEASURES, SCORES, cost_efficiency
from metadcseg.report.tables import Cell, number_cell
from metadcseg.results.paper_numbers import L2B, METADCSEG, PaperValue, paper_score, paper_set
from metadcseg.results.records import mapping
from metadcseg.results.summary import BenchmarkRecord, Condition, TaskRecord, spread


@dataclass(frozen=True)
class Value:
    """One line: a number of a row under a condition.

    Args:
        condition: set, noise and gold; of a line over all noise and gold of a set, :func:`all_of`.
        row: which.
        metric: a key of :data:`~metadcseg.report.measures.MEASURES`, or :data:`~metadcseg.report.measures.EFFICIENCY`.
        held: mean and standard deviation (n - 1; None for one seed) over seeds, and their number.
        by_seed: seed and number; none of a number that is made of means.
        expected: number of seeds of the grid.
        method: which method of the paper's tables the row is; empty where it is none.
        paper: the paper's number for the same, None where it has none.
        test: of DSC, the row against the baseline; None where there is none.
    """

    condition: Condition
    row: str
    metric: str
    held: tuple[float, float | None, int]
    by_seed: tuple[tuple[int, float], ...]
    expected: int
    method: str = ""
    paper: PaperValue | None = None
    test: Compared | None = None


_WITH_BACKGROUND = "kvasir-seg"

Values = Mapping[tuple[Condition, str, str], Value]
"""Condition, row and metric -> the line; what no run has is not there."""


def long_table(record: BenchmarkRecord, tests: Sequence[Compared] = ()) -> Values:
    """Return every number of every row under every condition, over the seeds that are done.

    Costs stand there a second time, over all runs of a set: noise does not change what a step costs. A run that serves
    several conditions (true masks know no noise) counts once. Eq. 14 compares means: with the least gold of its row.

    Args:
        record: of the benchmark.
        tests: of its rows, see :func:`~metadcseg.report.comparisons.compare_all`.
    """
    known = {(each.condition, each.row): each for each in tests}
    found: dict[tuple[Condition, str, str], Value] = {}
    for condition in record.conditions():
        paper = set_of_paper(record, condition.set) if condition.papers else None
        shown = shown_metrics(
            record, [condition], paper, distances=True
        )  # where tables have the paper's numbers
        for row in record.rows:
            tasks = record.of(condition, row)
            method = paper_method(tasks) if tasks else None
            for metric in MEASURES:
                if (line := _line(condition, row, metric, tasks)) is None:
                    continue
                beside = None
                if paper is not None and metric in SCORES and metric in shown:
                    beside = paper_score(paper, method, condition.rate, paper_metric(metric))
                found[condition, row, metric] = replace(
                    line,
                    expected=seeds_of(record, condition, row),
                    method=method or "",
                    paper=beside,
                    test=known.get((condition, row)) if metric == "dsc" else None,
                )
    for name in dict.fromkeys(condition.set for condition in record.conditions()):
        for row in record.rows:
            done = [task for task in record.done() if task.row == row and task.condition.set == name]
            tasks = list({task.folder: task for task in done}.values())
            lines = (_line(all_of(name), row, metric, tasks) for metric in COSTS)
            found |= {(all_of(name), row, line.metric): line for line in lines if line is not None}
    return found | _efficiencies(record, found)


def all_of(name: str) -> Condition:
    """Return the condition of lines over all noise and gold of a set.

    Example:
        >>> all_of("la").model
        'all'
    """
    return Condition(name, "all")


def amounts_of_gold(record: BenchmarkRecord, values: Values) -> dict[tuple[Condition, str], list[Condition]]:
    """Return noise and row -> its conditions from the least gold to the most, where there are several."""
    found: dict[tuple[Condition, str], list[Condition]] = {}
    for condition in record.conditions():
        for row in record.rows:
            if (condition, row, "gold_cases") in values:
                found.setdefault((replace(condition, gold=None), row), []).append(condition)

    def amount(condition: Condition, row: str) -> tuple[float, str]:
        return values[condition, row, "gold_cases"].held[0], condition.name

    return {
        (bare, row): sorted(held, key=lambda condition: amount(condition, row))
        for (bare, row), held in found.items()
    }


def _line(condition: Condition, row: str, metric: str, tasks: Sequence[TaskRecord]) -> Value | None:
    read = MEASURES[metric].read
    known = [(task.seed, value) for task in tasks if (value := read(task)) is not None]
    held = spread([value for _, value in known])
    return None if held is None else Value(condition, row, metric, held, tuple(known), held[2])


def _efficiencies(record: BenchmarkRecord, values: Values) -> dict[tuple[Condition, str, str], Value]:
    found = {}
    for (_, row), conditions in amounts_of_gold(record, values).items():
        first, *others = conditions
        for condition in others:
            lines = [
                (values.get((first, row, metric)), values.get((condition, row, metric)))
                for metric in ("iou", "epoch_seconds", "memory")
            ]
            pairs = [
                (one.held[0], other.held[0]) for one, other in lines if one is not None and other is not None
            ]
            if len(pairs) < 3 or not pairs[1][0] or not pairs[2][0]:
                continue
            (before, after), time, memory = pairs
            value = cost_efficiency(100 * (after - before), time[1] / time[0], memory[1] / memory[0])
            if value is not None:
                held = (value, None, 1)
                found[condition, row, EFFICIENCY] = Value(condition, row, EFFICIENCY, held, (), 1)
    return found


def value_cell(value: Value | None, *, beside: bool = True) -> Cell:
    """Return the cell of a line; an empty one where there is none.

    Args:
        value: of :func:`long_table`.
        beside: with the paper's number and the mark of the test.
    """
    if value is None:
        return Cell()
    digits = MEASURES[value.metric].digits
    cell = number_cell(value.held, digits, value.paper if beside else None, value.expected)
    return replace(cell, mark=value.test.mark) if beside and value.test is not None else cell


def shown_metrics(
    record: BenchmarkRecord, conditions: Sequence[Condition], paper: str | None, *, distances: bool = False
) -> list[str]:
    """Return the metrics that a table shows: distances in mm where every run has them.

    Args:
        record: of the benchmark.
        conditions: of the table.
        paper: which of the paper's sets it is, see :func:`set_of_paper`. Beside its numbers HD is shown, and mIoU for
            Kvasir-SEG, where these only fit an average with the background.
        distances: HD in any case.
    """
    tasks = [task for task in record.done() if task.condition in conditions]
    in_mm = bool(tasks) and all(task.score("hd95_mm") is not None for task in tasks)
    end = "_mm" if in_mm else ""
    wanted = ["dsc", "iou", *(["miou"] if paper == _WITH_BACKGROUND else [])]
    wanted += [*(["hd" + end] if paper or distances else []), "hd95" + end]
    return [
        metric
        for metric in wanted
        if metric == "dsc" or any(task.score(metric) is not None for task in tasks)
    ]


def paper_metric(metric: str) -> str:
    """Return what the paper calls a metric: its IoU may have the background in it or not, its lengths have no unit.

    Example:
        >>> paper_metric("miou"), paper_metric("hd95_mm")
        ('iou', 'hd95')
    """
    return "iou" if metric == "miou" else metric.removesuffix("_mm")


def set_of_paper(record: BenchmarkRecord, key: str) -> str | None:
    """Return which of the paper's sets a set of the grid is, by its key or by the name that its runs recorded."""
    runs = (task.info for task in record.done() if task.condition.set == key)
    names = [key, *(str(mapping(info, "set").get("name", "")) for info in runs)]
    return next((found for name in names if (found := paper_set(name)) is not None), None)


def paper_method(tasks: Sequence[TaskRecord]) -> str | None:
    """Return which method of the paper's tables a row is, by the options that its runs recorded."""
    methods = {str(task.info.get("method")) for task in tasks}
    if methods == {"l2b"}:  # with the terms of eq. 13 it is what the authors most likely ran
        terms = [bool(task.options.get("lambda_boundary")) for task in tasks]
        return METADCSEG if all(terms) else None if any(terms) else L2B
    whole = all(all(parts_of(task.options).values()) for task in tasks)
    return METADCSEG if methods == {"metadcseg"} and whole else None


def parts_of(options: Mapping[str, object]) -> dict[str, bool]:
    """Return which of the three parts of metadcseg, or of binned, are on, as a run recorded its options.

    Example:
        >>> parts_of({"meta": True, "dcd": True, "lambda_boundary": 0.0, "lambda_dice": 0.1})
        {'meta': True, 'dcd': False, 'dice': True}
    """
    return {
        "meta": bool(options.get("meta", True)),
        "dcd": bool(options.get("dcd", True)) and bool(options.get("lambda_boundary", 1.0)),
        "dice": bool(options.get("lambda_dice", 1.0)),
    }


def seeds_of(record: BenchmarkRecord, condition: Condition, row: str) -> int:
    """Return for how many seeds the grid has a row."""
    return sum(task.row == row and task.condition == condition for task in record.tasks)
