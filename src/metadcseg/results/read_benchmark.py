"""Read a benchmark's folder; what is missing or damaged becomes a sentence, what leads out of it is not followed."""

from dataclasses import replace
from pathlib import Path

from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.errors import InputError, shown
from metadcseg.results.external import read_external
from metadcseg.results.records import mapping, number, read_object, read_runs
from metadcseg.results.schema import Benchmark, NoiseSaid, Task
from metadcseg.results.summary import BenchmarkRecord, Condition, TaskRecord
from metadcseg.schemas import fitting, read_record

BROKEN = "the benchmark contract is broken"
"""How the sentence of a run begins that broke it (see ``benchmark``)."""


def read_benchmark(folder: Path) -> BenchmarkRecord:
    """Read a benchmark's folder.

    Raises:
        InputError: where the folder does not hold one.
    """
    file = folder / "benchmark.json"
    advice = "name the folder that metadcseg benchmark wrote (its --out)"
    if not file.exists():
        raise InputError(f"{folder} holds no benchmark.json: {advice}")
    held: Benchmark = read_record(file, Benchmark, advice)
    record = BenchmarkRecord(
        folder,
        name=held.name or folder.resolve().name,
        grid=held.grid or {},
        machine=held.machine or {},
        seconds=held.seconds,
    )
    if held.format != 1:
        record.missing.append(
            f"{file} has format {shown(held.format)}, of which 1 is known: much may be missing."
        )
    for number_of, entry in enumerate(held.tasks, start=1):
        try:
            said = fitting(entry, Task, f"{file}: task {number_of}", "it was left out")
        except InputError as error:
            record.missing.append(f"{error}.")
            continue
        task = _task(said, folder)
        if task.status == "done":
            task = _read(task, record.missing)
        record.tasks.append(task)
    record.tasks += read_external(folder, record.tasks, record.missing)
    on_gpu = [number(task.info.get("gpu_peak_bytes")) for task in record.tasks]
    if any(on_gpu):  # never compared with the memory of processes
        record.tasks = [
            replace(task, peak=reserved) for task, reserved in zip(record.tasks, on_gpu, strict=True)
        ]
    named = [str(row) for row in mapping(record.grid, "rows")]
    present = list(dict.fromkeys(task.row for task in record.tasks))
    record.rows = [row for row in named if row in present] + [row for row in present if row not in named]
    return record


def _task(said: Task, home: Path) -> TaskRecord:
    noise = said.noise or NoiseSaid()
    rate, gold = noise.rate or 0.0, number(said.gold)
    condition = Condition(
        said.set,
        noise.model or "paper" if rate else "paper",
        rate,
        int(gold) if gold is not None and gold >= 1 else GoldSlices.read(said.gold) or gold,
        said.folds,
    )
    status = said.status or "unknown"
    if status == "failed" and BROKEN in str(said.error):
        status = "refused"
    place, _, last = said.id.rpartition("/")
    folder = _inside(home, said.folder)
    stored = _inside(home, f"sets/{place.rpartition('/')[0]}/{last}")
    if said.folds and folder is not None:
        stored = folder / "fold-1" / "set"
    return TaskRecord(
        id=said.id,
        condition=condition,
        row=said.row,
        seed=said.seed or 0,
        status=status,
        error=said.error or None,
        seconds=said.seconds or 0.0,
        peak=said.peak_bytes,
        folder=folder,
        prepared=stored,
        folds=said.folds,
    )


def _inside(home: Path, name: str) -> Path | None:
    """Return a path below a folder, None where it would lead out of it."""
    try:
        found = (home / name).resolve()
        return home / name if found.is_relative_to(home.resolve()) else None
    except (OSError, ValueError):
        return None


def _read(task: TaskRecord, missing: list[str]) -> TaskRecord:
    if task.folder is None:
        missing.append(f"{task.id}: its folder lies outside the benchmark's and was not read.")
        return task
    folders = [task.folder]
    if task.folds:
        folders = [task.folder / f"fold-{place}" / "run" for place in range(1, task.folds + 1)]
    runs = read_runs(folders)
    for run in runs:
        run.name = task.row
        missing += run.missing
    held = replace(task, runs=[run for run in runs if run.info and run.evaluation])
    if not task.folds:
        held.weights = read_object(task.folder / "evaluation" / "weights.json", missing, optional=True)
        held.cost = read_object(task.folder / "evaluation" / "cost.json", missing, optional=True)
    return held
