"""Read a benchmark's folder; what is missing or damaged becomes a sentence, what leads out of it is not followed."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.errors import InputError
from metadcseg.results.external import read_external
from metadcseg.results.grid import MOST_FOLDS
from metadcseg.results.records import mapping, number, read_object, read_runs
from metadcseg.results.summary import BenchmarkRecord, Condition, TaskRecord

BROKEN = "the benchmark contract is broken"
"""How the sentence of a run begins that broke it (see ``benchmark``)."""


def read_benchmark(folder: Path) -> BenchmarkRecord:
    """Read a benchmark's folder.

    Raises:
        InputError: where the folder does not hold one.
    """
    file = folder / "benchmark.json"
    advice = "name the folder that metadcseg benchmark wrote (its --out)"
    try:
        held = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder} holds no benchmark.json: {advice}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read ({type(error).__name__}): {advice}") from error
    if not isinstance(held, dict) or not isinstance(held.get("tasks"), list):
        raise InputError(f"{file} does not hold the tasks of a benchmark: {advice}")
    record = BenchmarkRecord(
        folder,
        name=str(held.get("name") or folder.resolve().name),
        grid=mapping(held, "grid"),
        machine=mapping(held, "machine"),
        seconds=number(held.get("seconds")),
    )
    if held.get("format") != 1:
        record.missing.append(
            f"{file} has format {held.get('format')!r}, of which 1 is known: much may be missing."
        )
    for entry in held["tasks"]:
        task = _task(entry, folder) if isinstance(entry, Mapping) else None
        if task is None:
            record.missing.append(
                f"{file}: a task without id, set, row and folder, or with an odd number of folds, was left out."
            )
            continue
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


def _task(entry: Mapping[str, Any], home: Path) -> TaskRecord | None:
    if not all(isinstance(entry.get(key), str) and entry[key] for key in ("id", "set", "row", "folder")):
        return None
    noise, gold, seed = mapping(entry, "noise"), number(entry.get("gold")), number(entry.get("seed"))
    folds = number(entry.get("folds"))
    if folds and not 1 <= folds <= MOST_FOLDS:
        return None
    rate = number(noise.get("rate")) or 0.0
    whole = gold is not None and gold >= 1
    condition = Condition(
        entry["set"],
        str(noise.get("model") or "paper") if rate else "paper",
        rate,
        int(gold) if whole and gold is not None else GoldSlices.read(entry.get("gold")) or gold,
        int(folds) if folds else None,
    )
    status, error = str(entry.get("status")), entry.get("error")
    if status == "failed" and BROKEN in str(error):
        status = "refused"
    place, _, last = entry["id"].rpartition("/")
    folder = _inside(home, entry["folder"])
    stored = _inside(home, f"sets/{place.rpartition('/')[0]}/{last}")
    if folds and folder is not None:
        stored = folder / "fold-1" / "set"
    return TaskRecord(
        id=entry["id"],
        condition=condition,
        row=entry["row"],
        seed=int(seed or 0),
        status=status,
        error=str(error) if error else None,
        seconds=number(entry.get("seconds")) or 0.0,
        peak=number(entry.get("peak_bytes")),
        folder=folder,
        prepared=stored,
        folds=int(folds) if folds else None,
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
