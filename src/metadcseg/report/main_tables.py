"""Tables 1 to 4: every row under every noise, beside the paper's numbers."""

from collections.abc import Sequence

from metadcseg.report.comparisons import Compared, column_name, notes_of_tests
from metadcseg.report.tables import (
    METRICS,
    Cell,
    Row,
    Table,
    lower_is_better,
    mark_best,
    paper_cell,
)
from metadcseg.report.values import long_table, paper_metric, set_of_paper, shown_metrics, value_cell
from metadcseg.results.grid import folder_name
from metadcseg.results.paper_numbers import (
    L2B,
    paper_methods,
    paper_score,
    paper_title,
)
from metadcseg.results.records import mapping
from metadcseg.results.summary import (
    BenchmarkRecord,
    Condition,
)

PAPERS = (
    "In italics: the paper's own numbers, made with another size of network, another split, another number of "
    "verified masks and, beside a left atrium that is not MSD Heart's, other images. They show the order of magnitude "
    "and are no comparison."
)

MEMORY = (
    "Memory is the peak of what torch reserved on the GPU in training or, without one, of the process that trains and "
    "scores, Python and its libraries included."
)

_TOGETHER = 4
"""With more kinds of noise than this, each metric has its own table."""


def families(record: BenchmarkRecord) -> list[list[Condition]]:
    """Return the conditions that share a table: those of one set, and where both vary, of one amount of gold."""
    found: dict[tuple[str, object], list[Condition]] = {}
    for condition in record.conditions():
        alike = [each for each in record.conditions() if each.set == condition.set]
        apart = len({(each.model, each.rate) for each in alike}) > 1
        found.setdefault((condition.set, condition.gold if apart else None), []).append(condition)
    return list(found.values())


def score_tables(
    record: BenchmarkRecord, conditions: Sequence[Condition], tests: Sequence[Compared]
) -> list[Table]:
    """Return the main table of one set: rows under each noise, mean and standard deviation over seeds.

    Where there are many kinds of noise, each metric has a table of its own.

    Args:
        record: the benchmark.
        conditions: the columns, of one set.
        tests: see :func:`compare_all`.
    """
    first = conditions[0]
    gold = first.gold_name if len({condition.gold for condition in conditions}) == 1 else ""
    paper = set_of_paper(record, first.set)
    metrics = shown_metrics(record, conditions, paper)
    title = ", ".join(part for part in (first.set, gold) if part)
    key = "-".join(folder_name(part) for part in ("scores", first.set, gold) if part)
    if len(conditions) <= _TOGETHER:
        return [_score_table(record, conditions, tests, metrics, (key, title))]
    return [
        _score_table(record, conditions, tests, [metric], (f"{key}-{metric}", f"{title}: {_named(metric)}"))
        for metric in metrics
    ]


def _named(metric: str) -> str:
    name, unit, _ = METRICS[metric]
    return f"{name} ({unit})" if unit else name


def _score_table(
    record: BenchmarkRecord,
    conditions: Sequence[Condition],
    tests: Sequence[Compared],
    metrics: Sequence[str],
    named: tuple[str, str],
) -> Table:
    first = conditions[0]
    gold = first.gold_name if len({condition.gold for condition in conditions}) == 1 else ""
    paper = set_of_paper(record, first.set)
    values = long_table(record, tests)
    present = [
        row for row in record.rows if any(t.row == row and t.condition in conditions for t in record.tasks)
    ]
    rows, beside = [], set()
    for row in present:
        cells: list[Cell] = []
        for condition in conditions:
            for metric in metrics:
                value = values.get((condition, row, metric))
                if value is not None and value.paper is not None:
                    beside.add(value.method)
                cells.append(value_cell(value))
        rows.append(Row(row, cells, _tag(record, row)))
    bounds = [row for row in present if record.upper_bound(row)]
    budgets = {row: record.budget(row) for row in present}
    for column, metric in enumerate([*metrics] * len(conditions)):
        for budget in dict.fromkeys(budgets.values()):
            others = [row for row in present if budgets[row] != budget]
            rows = mark_best(rows, column, not lower_is_better(metric), but=[*bounds, *others])
    rows += _paper_rows(paper, [name for name in paper_methods() if name not in beside], conditions, metrics)
    return Table(
        key=named[0],
        title=named[1],
        groups=[(column_name(condition, gold), len(metrics)) for condition in conditions]
        if len(metrics) > 1
        else [],
        columns=[
            METRICS[metric][:2] if len(metrics) > 1 else (column_name(condition, gold), "")
            for condition in conditions
            for metric in metrics
        ],
        rows=rows,
        notes=_notes(record, conditions, tests, paper),
    )


def _tag(record: BenchmarkRecord, row: str) -> str:
    """Return what stands beside the name of a row: what it was given that others were not."""
    if said := record.pipeline(row):
        return said
    told = [record.network(row)]
    told += ["true masks: an upper bound" if record.upper_bound(row) else ""]
    told += ["uses pairs" if record.uses_pairs(row) and not record.upper_bound(row) else ""]
    told += ["pretrained" if record.pretrained(row) else ""]
    return ", ".join(filter(None, told))


def _paper_rows(
    paper: str | None, methods: Sequence[str], conditions: Sequence[Condition], metrics: Sequence[str]
) -> list[Row]:
    if paper is None:
        return []
    rows = []
    for method in methods:
        cells = []
        for condition in conditions:
            rate = condition.rate if condition.papers else -1.0
            for metric in metrics:
                number = paper_score(paper, method, rate, paper_metric(metric))
                cells.append(paper_cell(number, METRICS[metric][2]))
        if any(cell.paper for cell in cells):
            rows.append(Row(method, cells, "the paper's", paper=True))
    return rows


def _notes(
    record: BenchmarkRecord, conditions: Sequence[Condition], tests: Sequence[Compared], paper: str | None
) -> list[str]:
    several = len({record.budget(t.row) for t in record.done() if t.condition in conditions}) > 1
    among = " of each network and training" if several else ""
    notes = [
        f"Mean ± standard deviation over seeds of the mean over the test cases. Best{among} in bold, upper bounds "
        "apart; higher is better for DSC and IoU, lower for HD and HD95."
    ]
    if paper is not None and "miou" in shown_metrics(record, conditions, paper):
        notes.append(
            "mIoU averages over the background, too. The paper does not say whether its mIoU does, so that number "
            "stands beside both."
        )
    if others := [row for row in record.rows if record.pipeline(row)]:
        notes.append(
            f"Trained by another tool, with its own network, augmentation and length, and never tested against ours: "
            f"{', '.join(others)}."
        )
    seeds = {task.seed for task in record.done() if task.condition in conditions}
    if len(seeds) == 1:
        notes.append("One seed: there is no spread over seeds, and another seed may turn the order around.")
    clean = [task for task in record.done() if task.condition in conditions and record.upper_bound(task.row)]
    if len({task.folder for task in clean}) < len(clean):
        notes.append(
            "The true masks know no noise: that row was trained once, and its numbers stand in every column."
        )
    if any(condition.model == "paper-centred" for condition in conditions):
        notes.append("paper-centred is the paper's noise, every class rotated about its own center.")
    if _made_again(record, conditions):
        notes.append(
            "Sets were made on several kinds of processor: images, masks and noise are equal, edges round otherwise."
        )
    notes += notes_of_tests(record, tests)
    if paper is not None and any(c.papers and paper_score(paper, L2B, c.rate, "dsc") for c in conditions):
        table = {"msd-heart": 1, "kvasir-seg": 2, "msd-brain": 3, "promise12": 4}[paper]
        notes.append(
            f"{PAPERS} They are of its table {table}, {paper_title(paper)}; it gives HD without a unit."
        )
    return notes


def _made_again(record: BenchmarkRecord, conditions: Sequence[Condition]) -> bool:
    """Tell whether runs that were held to one set had two that differ in their edges."""
    made: dict[tuple[Condition, int], set[object]] = {}
    for task in record.done():
        fingerprint = mapping(task.info, "set").get("fingerprint")
        if fingerprint and task.condition in conditions and not record.upper_bound(task.row):
            made.setdefault((task.condition, task.seed), set()).add(fingerprint)
    return any(len(fingerprints) > 1 for fingerprints in made.values())
