"""Tables 1 to 4: every row under every noise, beside the paper's numbers, and the tests against the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from metadcseg.experiments.grid import folder_name
from metadcseg.experiments.paper_numbers import (
    L2B,
    METADCSEG,
    paper_methods,
    paper_score,
    paper_set,
    paper_title,
)
from metadcseg.experiments.sentences import signed
from metadcseg.experiments.significance import LEAST, LEVEL, PairedTest, holm, paired_test
from metadcseg.experiments.summary import (
    BenchmarkRecord,
    Condition,
    TaskRecord,
    paired_cases,
    spread,
)
from metadcseg.experiments.tables import (
    BETTER,
    METRICS,
    UNKNOWN,
    WORSE,
    Cell,
    Row,
    Table,
    lower_is_better,
    mark_best,
    number_cell,
    paper_cell,
)

PAPERS = (
    "In italics: the paper's own numbers, made with another size of network, another split and another number of "
    "verified masks. They show the order of magnitude and are no comparison."
)


@dataclass(frozen=True)
class Compared:
    """A row against the baseline under one condition.

    Args:
        condition: set, noise and gold.
        row: which.
        test: case by case.
        seeds: over which each case was averaged.
        adjusted: p after Holm's correction over the table; None where there was no test.
    """

    condition: Condition
    row: str
    test: PairedTest
    seeds: int
    adjusted: float | None = None

    @property
    def mark(self) -> str:
        """What the table shows."""
        if self.adjusted is None or self.adjusted >= LEVEL or self.test.better == self.test.worse:
            return ""
        return BETTER if self.test.mean > 0 else WORSE


def families(record: BenchmarkRecord) -> list[list[Condition]]:
    """Return the conditions that share a table: those of one set, and where both vary, of one amount of gold."""
    found: dict[tuple[str, object], list[Condition]] = {}
    for condition in record.conditions():
        alike = [each for each in record.conditions() if each.set == condition.set]
        apart = len({(each.model, each.rate) for each in alike}) > 1
        found.setdefault((condition.set, condition.gold if apart else None), []).append(condition)
    return list(found.values())


def compare_all(record: BenchmarkRecord, conditions: Sequence[Condition]) -> list[Compared]:
    """Test every row of a table against plain supervision with equal gold; Holm over all these tests."""
    baseline = record.baseline()
    if baseline is None:
        return []
    found = []
    for condition in conditions:
        against = record.of(condition, baseline)
        for row in record.rows:
            if row == baseline or not against or not record.of(condition, row):
                continue
            one, other, seeds = paired_cases(record.of(condition, row), against)
            test = paired_test(one, other)
            if test is not None:
                found.append(Compared(condition, row, test, seeds))
    tested = [each for each in found if each.test.p is not None]
    adjusted = holm([each.test.p for each in tested if each.test.p is not None])
    corrected = {id(each): p for each, p in zip(tested, adjusted, strict=True)}
    return [replace(each, adjusted=corrected.get(id(each))) for each in found]


def score_table(record: BenchmarkRecord, conditions: Sequence[Condition], tests: Sequence[Compared]) -> Table:
    """Return the main table of one set: rows under each noise, mean and standard deviation over seeds.

    Args:
        record: the benchmark.
        conditions: the columns, of one set.
        tests: see :func:`compare_all`.
    """
    first = conditions[0]
    gold = first.gold_name if len({condition.gold for condition in conditions}) == 1 else ""
    paper = set_of_paper(record, first.set)
    metrics = shown_metrics(record, conditions, paper is not None)
    marks = {(each.condition, each.row): each.mark for each in tests}
    present = [
        row for row in record.rows if any(t.row == row and t.condition in conditions for t in record.tasks)
    ]
    rows, beside = [], set()
    for row in present:
        cells: list[Cell] = []
        for condition in conditions:
            tasks = record.of(condition, row)
            method = paper_method(tasks)
            for metric in metrics:
                number = None
                if _papers_noise(condition):
                    number = paper_score(paper, method, condition.rate, metric.removesuffix("_mm"))
                if number is not None and method is not None:
                    beside.add(method)
                held = spread([task.score(metric) for task in tasks])
                cell = number_cell(held, METRICS[metric][2], number, seeds_of(record, condition, row))
                if metric == "dsc":
                    cell = replace(cell, mark=marks.get((condition, row), ""))
                cells.append(cell)
        bound = record.upper_bound(row)
        rows.append(Row(row, cells, "true masks: an upper bound" if bound else ""))
    bounds = [row for row in present if record.upper_bound(row)]
    for column, metric in enumerate([*metrics] * len(conditions)):
        rows = mark_best(rows, column, not lower_is_better(metric), but=bounds)
    rows += _paper_rows(paper, [name for name in paper_methods() if name not in beside], conditions, metrics)
    return Table(
        key="-".join(folder_name(part) for part in ("scores", first.set, gold) if part),
        title=", ".join(part for part in (first.set, gold) if part),
        groups=[(_column(condition, gold), len(metrics)) for condition in conditions],
        columns=[METRICS[metric][:2] for metric in metrics] * len(conditions),
        rows=rows,
        notes=_notes(record, conditions, tests, paper),
    )


def shown_metrics(record: BenchmarkRecord, conditions: Sequence[Condition], paper: bool) -> list[str]:
    """Return the metrics that a table shows: distances in mm where every run has them; HD beside the paper's."""
    tasks = [task for task in record.done() if task.condition in conditions]
    in_mm = bool(tasks) and all(task.score("hd95_mm") is not None for task in tasks)
    end = "_mm" if in_mm else ""
    wanted = ["dsc", "iou", *(["hd" + end] if paper else []), "hd95" + end]
    return [
        metric
        for metric in wanted
        if metric == "dsc" or any(task.score(metric) is not None for task in tasks)
    ]


def set_of_paper(record: BenchmarkRecord, key: str) -> str | None:
    """Return which of the paper's sets a set of the grid is, by its key or by the name that its runs recorded."""
    runs = (task.info for task in record.done() if task.condition.set == key)
    names = [key, *(str(dict(info.get("set") or {}).get("name", "")) for info in runs)]
    return next((found for name in names if (found := paper_set(name)) is not None), None)


def paper_method(tasks: Sequence[TaskRecord]) -> str | None:
    """Return which method of the paper's tables a row is, by the options that its runs recorded."""
    methods = {str(task.info.get("method")) for task in tasks}
    if methods == {"l2b"}:
        return L2B
    whole = all(all(parts_of(task.options).values()) for task in tasks)
    return METADCSEG if methods == {"metadcseg"} and whole else None


def parts_of(options: Mapping[str, object]) -> dict[str, bool]:
    """Return which of the three parts of metadcseg are on, as a run recorded its options.

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


def _column(condition: Condition, gold: str) -> str:
    return condition.noise if gold or not condition.gold_name else f"{condition.noise}, {condition.gold_name}"


def _papers_noise(condition: Condition) -> bool:
    return condition.model == "paper" or not condition.rate


def _paper_rows(
    paper: str | None, methods: Sequence[str], conditions: Sequence[Condition], metrics: Sequence[str]
) -> list[Row]:
    if paper is None:
        return []
    rows = []
    for method in methods:
        cells = []
        for condition in conditions:
            rate = condition.rate if _papers_noise(condition) else -1.0
            for metric in metrics:
                number = paper_score(paper, method, rate, metric.removesuffix("_mm"))
                cells.append(paper_cell(number, METRICS[metric][2]))
        if any(cell.paper for cell in cells):
            rows.append(Row(method, cells, "the paper's", paper=True))
    return rows


def _notes(
    record: BenchmarkRecord, conditions: Sequence[Condition], tests: Sequence[Compared], paper: str | None
) -> list[str]:
    notes = [
        "Mean ± standard deviation over seeds of the mean over the test cases. Best in bold, upper bounds apart; "
        "higher is better for DSC and IoU, lower for HD and HD95."
    ]
    seeds = {task.seed for task in record.done() if task.condition in conditions}
    if len(seeds) == 1:
        notes.append("One seed: there is no spread over seeds, and another seed may turn the order around.")
    notes += _notes_of_tests(record, tests)
    if paper is not None and any(
        _papers_noise(c) and paper_score(paper, L2B, c.rate, "dsc") for c in conditions
    ):
        table = {"msd-heart": 1, "kvasir-seg": 2, "msd-brain": 3, "promise12": 4}[paper]
        notes.append(
            f"{PAPERS} They are of its table {table}, {paper_title(paper)}; it gives HD without a unit."
        )
    return notes


def _notes_of_tests(record: BenchmarkRecord, tests: Sequence[Compared]) -> list[str]:
    baseline = record.baseline()
    if baseline is None:
        return [
            "No finished row is plainly supervised with the gold masks mixed in (supervised, gold = mixed), so there "
            "is nothing to test against: nobody can tell what a method adds to the gold masks themselves."
        ]
    counted = sum(each.adjusted is not None for each in tests)
    if not tests:
        return [f"Nothing to test against '{baseline}' yet."]
    if not counted:
        cases = max(each.test.count for each in tests)
        return [
            f"No significance is marked: {cases} paired cases are too few, a two-sided signed-rank test needs {LEAST} "
            f"to be able to say anything at the level of {LEVEL}."
        ]
    return [
        f"{BETTER} better, {WORSE} worse than '{baseline}': its DSC, case by case (each averaged over the seeds that "
        f"both rows have), differs by a two-sided Wilcoxon signed-rank test with p < {LEVEL} after Holm's correction "
        "for all tests of the table. This says that the test cases did not decide; whether another seed would is what "
        "the ± says."
    ]


def comparison_table(table: Table, record: BenchmarkRecord, tests: Sequence[Compared]) -> Table | None:
    """Return every test of a main table in numbers, None where there is none."""
    if not tests:
        return None
    rows = []
    for each in tests:
        test = each.test
        p, adjusted = (UNKNOWN if value is None else _p(value) for value in (test.p, each.adjusted))
        verdict = {BETTER: "better", WORSE: "worse", "": "no difference shown"}[each.mark]
        if test.p is None:
            verdict = f"too few cases, {LEAST} are needed"
        cells = [
            Cell(_column(each.condition, "")),
            Cell(signed(test.mean), value=test.mean),
            Cell(str(test.count), value=test.count),
            Cell(f"{test.better} / {test.worse}"),
            Cell(str(each.seeds), value=each.seeds),
            Cell(p, value=test.p),
            Cell(adjusted, value=each.adjusted),
            Cell(verdict),
        ]
        rows.append(Row(each.row, cells))
    headings = ("noise", "DSC, mean difference", "cases", "better / worse", "seeds", "p", "p, Holm", "says")
    return Table(
        key=table.key.replace("scores", "tests", 1),
        title=f"{table.title}: each row minus '{record.baseline()}', case by case",
        columns=[(heading, "") for heading in headings],
        rows=rows,
    )


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
