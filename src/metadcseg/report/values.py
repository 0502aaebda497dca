"""One long table of all scores of a benchmark. Tables of scores are pivots of it, so that no number has two rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from metadcseg.report.comparisons import Compared
from metadcseg.report.tables import METRICS, Cell, number_cell
from metadcseg.results.paper_numbers import L2B, METADCSEG, PaperValue, paper_score, paper_set
from metadcseg.results.records import mapping
from metadcseg.results.summary import BenchmarkRecord, Condition, TaskRecord, spread


@dataclass(frozen=True)
class Value:
    """One line: a score of a row under a condition.

    Args:
        condition: set, noise and gold.
        row: which.
        metric: a key of :data:`~metadcseg.report.tables.METRICS`.
        held: mean and standard deviation (n - 1; None for one seed) over seeds, and their number.
        by_seed: seed and score.
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
    """Return every score of every row under every condition, over the seeds that are done.

    Args:
        record: of the benchmark.
        tests: of its rows, see :func:`~metadcseg.report.comparisons.compare_all`.
    """
    known = {(each.condition, each.row): each for each in tests}
    found = {}
    for condition in record.conditions():
        paper = set_of_paper(record, condition.set) if condition.papers else None
        shown = shown_metrics(
            record, [condition], paper, distances=True
        )  # where tables have the paper's numbers
        for row in record.rows:
            tasks = record.of(condition, row)
            method = paper_method(tasks) if tasks else None
            for metric in METRICS:
                scores = [(task.seed, score) for task in tasks if (score := task.score(metric)) is not None]
                held = spread([score for _, score in scores])
                if held is None:
                    continue
                beside = None
                if paper is not None and metric in shown:
                    beside = paper_score(paper, method, condition.rate, paper_metric(metric))
                found[condition, row, metric] = Value(
                    condition,
                    row,
                    metric,
                    held,
                    tuple(scores),
                    seeds_of(record, condition, row),
                    method or "",
                    beside,
                    known.get((condition, row)) if metric == "dsc" else None,
                )
    return found


def value_cell(value: Value | None, *, beside: bool = True) -> Cell:
    """Return the cell of a line; an empty one where there is none.

    Args:
        value: of :func:`long_table`.
        beside: with the paper's number and the mark of the test.
    """
    if value is None:
        return Cell()
    digits = METRICS[value.metric][2]
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
