"""Table 7: what every row costs in operations, memory and time."""

from collections.abc import Mapping, Sequence

from metadcseg.report.main_tables import MEMORY, PAPERS
from metadcseg.report.part_tables import HEART
from metadcseg.report.tables import Cell, Row, Table, paper_only, plain_cell
from metadcseg.report.values import set_of_paper
from metadcseg.results.grid import folder_name
from metadcseg.results.paper_numbers import paper_numbers
from metadcseg.results.records import mapping, number
from metadcseg.results.summary import BenchmarkRecord, TaskRecord, spread


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


_COSTS = (
    ("parameters", "M", 2),
    ("FLOPs of an image", "G", 2),
    ("FLOPs of training, an image", "G", 2),
    ("peak memory", "GB", 2),
    ("an epoch", "s", 1),
    ("inference, an image", "ms", 1),
)


def _cost(record: BenchmarkRecord, name: str, held: Mapping[str, list[TaskRecord]], beside: bool) -> Table:
    values = {row: _costs(tasks) for row, tasks in held.items()}
    base = _reference(record, held)
    rows = []
    for row, costs in values.items():
        cells = []
        for place, (_, _, digits) in enumerate(_COSTS):
            against = values[base][place] if base is not None else None
            cells.append(plain_cell(costs[place], digits, against))
        rows.append(Row(row, cells, "the rows are relative to this one" if row == base else ""))
    grids = sorted({str(task.cost.get("frame")) for tasks in held.values() for task in tasks if task.cost})
    measured = f"Input grid: {', '.join(grids)}. " if grids else ""
    notes = [
        "FLOPs of an image: multiplications and additions of convolutions and matrix products in one pass through the "
        "network as it is evaluated, counted by torch; of training: that times the passes of a training step that the "
        "method declares (a backward pass counts as two). Time of an epoch is the median over epochs with their "
        f"validation. {MEMORY}",
        f"{measured}{_shared(record)}×: relative to '{base}'.",
    ]
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
        columns=[(heading, unit) for heading, unit, _ in _COSTS],
        rows=[*rows, *(_papers_cost() if beside else [])],
        notes=notes,
    )


def _shared(record: BenchmarkRecord) -> str:
    workers = number(record.machine.get("workers"))
    if workers is None or workers <= 1:
        return ""
    return f"{workers:g} runs shared the machine, so times are rough. "


def _costs(tasks: Sequence[TaskRecord]) -> list[tuple[float, float | None, int] | None]:
    parameters, flops, training, inference = [], [], [], []
    for task in tasks:
        counted = number(task.cost.get("parameters")) or number(task.info.get("parameters"))
        once = number(task.cost.get("flops_per_image"))
        passes = number(mapping(task.info, "declaration").get("passes"))
        parameters.append(None if counted is None else counted / 1e6)
        flops.append(None if once is None else once / 1e9)
        training.append(None if once is None or passes is None else once * passes / 1e9)
        inference.append(number(task.cost.get("inference_ms_per_image")))
    memory = spread([task.memory for task in tasks])
    epochs = spread([task.epoch_seconds() for task in tasks])
    return [spread(parameters), spread(flops), spread(training), memory, epochs, spread(inference)]


def _papers_cost() -> list[Row]:
    held = paper_numbers()["cost"]["rows"]
    first, rows = held[0], []
    for entry in held:
        cells = [Cell(""), Cell("")]
        for key, factor in (("gflops", 1), ("memory_gb", 1), ("minutes_per_epoch", 60), ("inference_ms", 1)):
            cells.append(
                paper_only(f"{factor * entry[key]:g} (×{entry[key] / first[key]:.2f})", factor * entry[key])
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
