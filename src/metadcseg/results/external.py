"""Rows of a benchmark that another tool made: ``BENCHMARK/external/ROW-SET``, written by ``import-predictions``.

A folder there belongs to the condition and the seed whose set it was scored on, told by the set's content.
"""

from collections.abc import Sequence
from pathlib import Path

from metadcseg.errors import InputError
from metadcseg.results.grid import folder_name
from metadcseg.results.records import RunRecord, mapping, number, read_runs, same_content
from metadcseg.results.summary import Condition, TaskRecord

FOLDER = "external"


def external_folder(benchmark: Path, row: str, fingerprint: str) -> Path:
    """Return where the predictions of a row for one set of a benchmark are kept.

    Raises:
        InputError: where the folder holds no benchmark.
    """
    if not (benchmark / "benchmark.json").is_file():
        raise InputError(f"--benchmark {benchmark} holds no benchmark.json: give the --out of a benchmark")
    return benchmark / FOLDER / f"{folder_name(row)}-{fingerprint[:12]}"


def read_external(benchmark: Path, tasks: Sequence[TaskRecord], missing: list[str]) -> list[TaskRecord]:
    """Return the imported rows of a benchmark, each under the condition and seed of its set.

    Args:
        benchmark: its folder.
        tasks: of the benchmark itself, read.
        missing: gets a sentence for every folder that belongs to no set of the benchmark, or cannot be read.
    """
    place = benchmark / FOLDER
    folders = sorted(folder for folder in place.iterdir() if folder.is_dir()) if place.is_dir() else []
    homes = [
        (mapping(task.info, "set"), task)
        for task in tasks
        if task.done and mapping(task.info, "declaration").get("labels") != "truth"
    ]
    found: dict[tuple[str, Condition, int], TaskRecord] = {}
    for run in read_runs(folders):
        scored_on = mapping(run.info, "set")
        home = next((task for of, task in homes if same_content(of, scored_on)), None)
        if not run.info or not run.evaluation:
            missing += [said for said in run.missing if not said.endswith("no learning curve.")]
        elif home is None:
            missing.append(f"{run.folder} was scored on a set of which no run of this benchmark is done.")
        elif (row := (run.label, home.condition, home.seed)) in found:
            missing.append(
                f"{run.folder} was left out: {found[row].folder} holds the same row on the same set."
            )
        else:
            found[row] = _task(run, home)
    return list(found.values())


def _task(run: RunRecord, home: TaskRecord) -> TaskRecord:
    run.name = run.label
    return TaskRecord(
        id=f"{FOLDER}/{run.folder.name}",
        condition=home.condition,
        row=run.label,
        seed=home.seed,
        status="done",
        seconds=number(run.info.get("seconds")) or 0.0,
        folder=run.folder,
        prepared=home.prepared,
        runs=[run],
    )
