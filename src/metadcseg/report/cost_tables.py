"""Table 7: what every row costs in operations, memory and time."""

from collections.abc import Mapping

from metadcseg.report.main_tables import MEMORY, PAPERS
from metadcseg.report.measures import COSTS
from metadcseg.report.part_tables import HEART
from metadcseg.report.tables import Cell, Row, Table, paper_only, plain_cell
from metadcseg.report.values import all_of, long_table, set_of_paper
from metadcseg.results.grid import folder_name
from metadcseg.results.paper_numbers import paper_numbers
from metadcseg.results.records import mapping, number
from metadcseg.results.summary import BenchmarkRecord, TaskRecord

_OF_PAPER = {
    "training_flops": ("gflops", 1),
    "memory": ("memory_gb", 1),
    "epoch_seconds": ("minutes_per_epoch", 60),
    "inference_ms": ("inference_ms", 1),
}
"""Measure -> the key of the paper's number, and by what it is multiplied."""


def cost_tables(record: BenchmarkRecord) -> list[Table]:
    """Return table 7 for every set that has a run with costs."""
    tables: list[Table] = []
    for name in dict.fromkeys(condition.set for condition in record.conditions()):
        held = {
            row: list(
                {t.folder: t for t in record.done() if t.row == row and t.condition.set == name}.values()
            )
            for row in record.rows
        }
        held = {row: tasks for row, tasks in held.items() if tasks}
        if held:
            beside = set_of_paper(record, name) == paper_numbers()["cost"]["set"]
            tables.append(_cost(record, name, held, beside))
    return tables


def _cost(record: BenchmarkRecord, name: str, held: Mapping[str, list[TaskRecord]], beside: bool) -> Table:
    values, base = long_table(record), _reference(record, held)
    rows = []
    for row in held:
        cells = []
        for metric, measure in COSTS.items():
            line, other = (values.get((all_of(name), each, metric)) for each in (row, base or row))
            against = None if base is None or other is None else other.held
            cells.append(plain_cell(None if line is None else line.held, measure.digits, against))
        first = held[row][0].runs[0]
        cells = [Cell(first.gold), Cell(first.pretrained), *cells]
        rows.append(Row(row, cells, "the rows are relative to this one" if row == base else ""))
    grids = sorted({str(task.cost.get("frame")) for tasks in held.values() for task in tasks if task.cost})
    measured = f"Input grid: {', '.join(grids)}. " if grids else ""
    notes = [
        "Gold: mixed, trained on; meta, read to weigh or correct other labels; pairs, the masks that the verified ones "
        "replaced are read. A forward pass of one network is one pass, a backward pass two.",
        "FLOPs of an image: multiplications and additions of convolutions and matrix products in one pass through the "
        "network as it is evaluated, counted by torch; of training: that times the passes of a training step that the "
        "method declares. Time of an epoch is the median over epochs with their "
        f"validation. {MEMORY}",
    ]
    last = f"{measured}{_shared(record)}" + ("" if base is None else f"×: relative to '{base}'.")
    if last:
        notes.append(last.strip())
    if beside:
        notes.append(
            f"{PAPERS} They are of its table 7: MSD Heart, 40 % noise, NVIDIA A6000. Its FLOPs grow with the meta "
            "module while its inference does not, so they are those of training."
        )
    if not grids:
        notes.append(
            "missing: evaluation/cost.json of these runs, so nothing is known of FLOPs and inference."
        )
    return Table(
        key=f"cost-{folder_name(name)}",
        title=f"{name}: what it costs",
        columns=[("gold", ""), ("pretrained", ""), *((each.name, each.unit) for each in COSTS.values())],
        rows=[*rows, *(_papers_cost() if beside else [])],
        notes=notes,
    )


def _shared(record: BenchmarkRecord) -> str:
    workers = number(record.machine.get("workers"))
    if workers is None or workers <= 1:
        return ""
    return f"{workers:g} runs shared the machine, so times are rough. "


def _papers_cost() -> list[Row]:
    held = paper_numbers()["cost"]["rows"]
    first, rows = held[0], []
    for entry in held:
        cells = [Cell(""), Cell("")]
        for metric in COSTS:
            key, factor = _OF_PAPER.get(metric, ("", 1))
            cells.append(
                paper_only(f"{factor * entry[key]:g} (×{entry[key] / first[key]:.2f})", factor * entry[key])
                if key
                else Cell("")
            )
        rows.append(Row(entry["name"], cells, HEART, paper=True))
    return rows


def _reference(record: BenchmarkRecord, held: Mapping[str, list[TaskRecord]]) -> str | None:
    """Return the row that others are relative to: plain supervision of noisy labels alone, as in the paper."""
    for row, tasks in held.items():
        declared = mapping(tasks[0].info, "declaration")
        plain = tasks[0].info.get("method") == "supervised" and not declared.get("needs_gold")
        if plain and declared.get("labels", "given") == "given":
            return row
    base = record.baseline()
    return base if base in held else None
