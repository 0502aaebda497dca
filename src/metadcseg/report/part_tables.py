"""Tables 5 and 6: what each part of the method adds, and what more verified masks bring."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from metadcseg.report.main_tables import MEMORY, PAPERS
from metadcseg.report.measures import EFFICIENCY, MEASURES, SCORES, cost_efficiency
from metadcseg.report.tables import (
    METRICS,
    NO,
    UNKNOWN,
    YES,
    Cell,
    Row,
    Table,
    lower_is_better,
    mark_best,
    paper_cell,
    paper_only,
    plain_cell,
    signed,
)
from metadcseg.report.values import (
    amounts_of_gold,
    long_table,
    parts_of,
    set_of_paper,
    shown_metrics,
    value_cell,
)
from metadcseg.results.grid import Noise, folder_name
from metadcseg.results.paper_numbers import METADCSEG, PaperValue, in_our_unit, paper_numbers
from metadcseg.results.summary import BenchmarkRecord, Condition, TaskRecord

_SWITCHES = ("meta", "dcd", "lambda_dice", "lambda_boundary")
_OF_PARTS = frozenset({"metadcseg", "binned"})
"""Methods with the paper's three parts, by the same names of options."""

_PARTS = (("meta", "Meta"), ("dcd", "DCD"), ("dice", "Dice"))
_OF_GOLD = ("gold_cases", "iou", "dsc", "epoch_seconds", "training_seconds", "memory")
HEART = "the paper's, MSD Heart 40 %"


def ablation_tables(record: BenchmarkRecord) -> list[Table]:
    """Return table 5 for every condition with rows of one method that differ in what is switched on, in nothing else.

    What was on, and all other options, are those that the runs recorded. The paper's numbers stand beside its method.
    """
    tables: list[Table] = []
    for condition in record.conditions():
        alike: dict[tuple[str, str], dict[str, list[TaskRecord]]] = {}
        for row in record.rows:
            tasks = record.of(condition, row)
            methods = {str(task.info.get("method")) for task in tasks}
            if len(methods) == 1 and methods <= _OF_PARTS:
                others = {key: value for key, value in tasks[0].options.items() if key not in _SWITCHES}
                same = json.dumps(others, sort_keys=True, default=str)
                alike.setdefault((methods.pop(), same), {})[row] = tasks
        for place, ((method, _), rows) in enumerate(alike.items()):
            parts = {row: parts_of(tasks[0].options) for row, tasks in rows.items()}
            if len({tuple(on.values()) for on in parts.values()}) > 1:
                beside = method == "metadcseg" and (
                    not tables or set_of_paper(record, condition.set) == paper_numbers()["ablation"]["set"]
                )
                table = _ablation(record, condition, method, rows, parts, beside)
                tables.append(replace(table, key=f"{table.key}-{place}") if place else table)
    return tables


def _ablation(
    record: BenchmarkRecord,
    condition: Condition,
    method: str,
    rows: Mapping[str, list[TaskRecord]],
    parts: Mapping[str, Mapping[str, bool]],
    beside: bool,
) -> Table:
    metrics = shown_metrics(record, [condition], None, distances=True)
    whole = next((row for row in rows if all(parts[row].values())), None)
    values = long_table(record)
    full = None if whole is None else values.get((condition, whole, "dsc"))
    lines, notes = [], []
    for row, tasks in rows.items():
        cells = [Cell(YES if parts[row][part] else NO) for part, _ in _PARTS]
        cells += [value_cell(values.get((condition, row, metric)), beside=False) for metric in metrics]
        mean = values.get((condition, row, "dsc"))
        cells.append(
            _change(None if mean is None or full is None or row == whole else mean.held[0] - full.held[0])
        )
        lines.append(Row(row, cells))
        notes += _contradictions(row, tasks)
    for place, metric in enumerate(metrics):
        lines = mark_best(lines, len(_PARTS) + place, not lower_is_better(metric))
    lines += _papers_ablation(metrics) if beside else []
    said = "What is on (✓) is what each run recorded of the options that it really used, whatever its row is called."
    if whole is None:
        said += " No finished row has all three on, so there is no difference to it."
    return Table(
        key="-".join(["ablation", *condition_key(condition)]),
        title=f"{condition.name}: parts of {method}",
        columns=[
            *((name, "") for _, name in _PARTS),
            *(METRICS[m][:2] for m in metrics),
            ("Δ DSC", "to all on"),
        ],
        rows=lines,
        notes=[said, *notes, *([f"{PAPERS} They are of its table 5."] if beside else [])],
    )


def _change(value: float | None) -> Cell:
    return Cell(UNKNOWN) if value is None else Cell(signed(value), value=value)


def _papers_ablation(metrics: Sequence[str]) -> list[Row]:
    held = paper_numbers()["ablation"]
    full = held["rows"][0]
    rows = []
    for entry in held["rows"]:
        cells = [Cell(YES if entry[part] else NO) for part, _ in _PARTS]
        cells += [_paper(entry, metric, held["table"]) for metric in metrics]
        change = in_our_unit("dsc", entry["dsc"] - full["dsc"])
        cells.append(Cell("", paper=signed(change), paper_value=change) if entry is not full else Cell(""))
        rows.append(Row(METADCSEG, cells, HEART, paper=True))
    return rows


def _paper(entry: Mapping[str, Any], metric: str, table: int) -> Cell:
    name = metric.removesuffix("_mm")
    if name not in entry:
        return Cell("")
    return paper_cell(PaperValue(in_our_unit(name, entry[name]), None, table), METRICS[metric][2])


def _contradictions(row: str, tasks: Sequence[TaskRecord]) -> list[str]:
    """Return a sentence where the log of a run shows another thing than its options say."""
    on = parts_of(tasks[0].options)
    sentences = []
    alphas, terms = (_logged(tasks, name) for name in ("alpha", "boundary"))
    moved, bounded = any(abs(value - 1) > 1e-9 for value in alphas), any(value != 0 for value in terms)
    if alphas and on["meta"] and not moved:
        sentences.append(
            f"{row}: Meta is on, but alpha stayed 1 in its log: warmup lasted as long as the training."
        )
    if alphas and not on["meta"] and moved:
        sentences.append(f"{row}: Meta is off by its options, but alpha changed in its log.")
    if terms and bounded != on["dcd"]:
        state, seen = ("on", "0 throughout") if on["dcd"] else ("off", "not 0")
        sentences.append(f"{row}: DCD is {state} by its options, but the boundary term in its log is {seen}.")
    return sentences


def _logged(tasks: Sequence[TaskRecord], name: str) -> list[float]:
    lines = (line for task in tasks for run in task.runs for line in run.epochs)
    return [value for line in lines if (value := line.train.get(name)) is not None]


def gold_tables(record: BenchmarkRecord) -> list[Table]:
    """Return table 6 for every set and noise that was tried with several amounts of gold."""
    found: dict[Condition, list[Condition]] = {}
    for condition in record.conditions():
        bare = replace(condition, gold=None)
        found.setdefault(bare, []).append(condition)
    tables = [_gold(record, bare) for bare, amounts in found.items() if len(amounts) > 1]
    return [table for table in tables if table is not None]


def _gold(record: BenchmarkRecord, bare: Condition) -> Table | None:
    values = long_table(record)
    lines: list[Row] = []
    for (noise, row), conditions in amounts_of_gold(record, values).items():
        for condition in conditions if noise == bare else ():
            held = {metric: values.get((condition, row, metric)) for metric in (*_OF_GOLD, EFFICIENCY)}
            cells = [
                value_cell(line, beside=False)
                if metric in SCORES
                else plain_cell(None if line is None else line.held, MEASURES[metric].digits)
                for metric in _OF_GOLD
                for line in [held[metric]]
            ]
            efficiency = held[EFFICIENCY]
            cells.append(plain_cell(None if efficiency is None else efficiency.held, 2))
            lines.append(Row(f"{row}, {condition.gold_name or 'gold of the set'}", cells))
    if not lines:
        return None
    notes = [
        "CE (eq. 14): gain in IoU over the same row with the least gold, in percent points, divided by (time of an "
        "epoch × peak memory, both relative to that row) − 1. – where the larger set did not cost more: the "
        "quotient then means nothing. Where the cost hardly grows it divides by almost nothing, so look "
        f"at the gain first. {MEMORY}"
    ]
    if set_of_paper(record, bare.set) == paper_numbers()["gold"]["set"]:
        lines += _papers_gold()
        notes.append(
            f"{PAPERS} They are of its table 6. Its CE does not follow from its own numbers: {_papers_efficiencies()}."
        )
    return Table(
        key="-".join(["gold", *condition_key(bare)]),
        title=f"{bare.name}: how many verified masks",
        columns=[*((MEASURES[metric].name, MEASURES[metric].unit) for metric in _OF_GOLD), ("CE", "eq. 14")],
        rows=lines,
        notes=notes,
    )


def _papers_gold() -> list[Row]:
    held = paper_numbers()["gold"]
    rows = []
    for entry in held["rows"]:
        efficiency = entry["efficiency"]
        cells = [
            Cell(""),
            _paper(entry, "iou", held["table"]),
            _paper(entry, "dsc", held["table"]),
            paper_only(f"{60 * entry['minutes_per_epoch']:g}", 60 * entry["minutes_per_epoch"]),
            Cell(""),
            paper_only(f"{entry['memory_gb']:g}", entry["memory_gb"]),
            Cell("") if efficiency is None else paper_only(f"{efficiency:.2f}", efficiency),
        ]
        rows.append(Row(f"{METADCSEG}, gold {100 * entry['share']:g} %", cells, HEART, paper=True))
    return rows


def _papers_efficiencies() -> str:
    rows = paper_numbers()["gold"]["rows"]
    first = rows[0]
    said = []
    for entry in rows[1:]:
        time, memory = (entry[key] / first[key] for key in ("minutes_per_epoch", "memory_gb"))
        value = cost_efficiency(entry["iou"] - first["iou"], time, memory) or 0.0
        said.append(f"{value:.2f} at {100 * entry['share']:g} % where it prints {entry['efficiency']:.2f}")
    return "eq. 14 gives " + ", ".join(said)


def condition_key(condition: Condition) -> list[str]:
    """Return the parts of a file's name for a condition.

    Example:
        >>> condition_key(Condition("la", "over", 0.4, 0.02))
        ['la', 'over-0.4', 'gold-0.02']
    """
    gold = [] if condition.gold is None else [f"gold-{condition.gold}"]
    folds = [] if condition.folds is None else [f"folds-{condition.folds}"]
    names = [condition.set, Noise(condition.model, condition.rate).name, *gold, *folds]
    return [folder_name(name) for name in names]
