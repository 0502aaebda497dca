"""The benchmark contract: what all runs of a grid must have in common, seen in what they wrote down."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from metadcseg.data.store.content import identity_of
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.results.doubts import SET, doubts
from metadcseg.results.grid import Task
from metadcseg.results.read_benchmark import BROKEN
from metadcseg.results.records import RunRecord, mapping, number, read_object, same_content
from metadcseg.results.schema import RunSaid

_COMPARED: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
    ("noise", lambda held: (held.get("noise") or {}).get("hash")),
    ("gold", lambda held: held["set"]["cases"].get("gold")),
    ("network", lambda held: held["network"]),
    ("training", lambda held: held["training"]),
)


def breach(
    mine: RunRecord,
    on_set: Mapping[str, Any],
    of_row: Mapping[str, Any],
    of_source: Mapping[str, Any] | None = None,
) -> str | None:
    """Return in which point a run broke the benchmark contract, None where it kept it.

    Args:
        mine: what it wrote down.
        on_set: the ``run.json`` of the first run on the same set.
        of_row: that of the first run of the same row.
        of_source: that of the first run with any noise and seed; None where each seed draws gold of its own, and so
            makes a clean set of its own.
    """
    try:
        return _breach(mine, on_set, of_row, of_source)
    except (KeyError, TypeError) as error:
        return f"its records lack {error}"


def _breach(
    mine: RunRecord,
    on_set: Mapping[str, Any],
    of_row: Mapping[str, Any],
    of_source: Mapping[str, Any] | None,
) -> str | None:
    run = mine.info
    if not same_content(run["set"], on_set["set"]):
        return f"its set is another than that of '{on_set['label']}'"
    for what, of in _COMPARED:
        if of(run) != of(on_set):
            return f"its {what} is another than that of '{on_set['label']}'"
    fitted = {
        *run.get("fitted", ()),
        *of_row.get("fitted", ()),
    }  # each to its set, as all runs of the row were told
    for what in ("options", "network", "training"):
        named = sorted(
            name
            for name in run[what] | of_row[what]
            if run[what].get(name, ...) != of_row[what].get(name, ...)
            and not (what == "options" and name in fitted)
        )
        if named:
            own = "its method has other options" if what == "options" else f"its {what} is another"
            return (
                f"{own} than in the first run of its row: {', '.join(named)} (have defaults changed since?)"
            )
    if of_source is not None and not same_content(_source(run), _source(of_source)):
        return f"its set was made of another clean set than that of '{of_source['label']}'"
    if not run["set"]["cases"].get("val") or not run.get("best"):
        return "no validation case chose its epoch"
    found = doubts(mine.evaluation, run)
    dsc = mapping(mapping(mine.evaluation, "summary"), "dsc")
    if SET in found or not dsc:
        return "it was not scored on the test cases of its own set"
    if found:
        return f"it was scored {', and '.join(found.values())}"
    if len(mine.cases) < (number(dsc.get("n")) or 1):
        return "evaluation/test.csv does not hold the scores of all its test cases"
    return None


def repeated_gold(tasks: Iterable[Task], sets: Path) -> dict[str, str]:
    """Return the sets whose gold cases another amount of gold has drawn already, as of few volumes, and why that ends.

    Args:
        tasks: of a grid.
        sets: the folder of its sets, in which those with gold drawn anew have been made.
    """
    drawn: dict[tuple[str, int, tuple[str, ...]], Task] = {}
    found: dict[str, str] = {}
    for task in {task.dealt: task for task in tasks if task.folds is None}.values():
        if task.dealt is None or not (sets / task.dealt).exists():
            continue
        try:
            gold = PreparedSet.open(sets / task.dealt).select("gold")
        except InputError as error:
            found[task.dealt] = str(error)
            continue
        first = drawn.setdefault((task.set, task.seed, tuple(case.id for case in gold)), task)
        if first is not task:
            found[task.dealt] = (
                f"{BROKEN}: gold {task.gold} draws the same cases of '{task.set}' as gold {first.gold}: take one of "
                "the two out of the grid, or count slices of volumes, as in slices:0.02"
            )
    return found


def changed_sets(tasks: Iterable[Task], out: Path) -> dict[str, str]:
    """Return the runs that would train on other content than a finished run on their set, and why each ends.

    Edges are computed in single precision: a set that is made again on another kind of processor may differ in them,
    which is no other content.

    Args:
        tasks: of a grid.
        out: the benchmark's folder, in which the sets have been made.
    """
    trained: dict[str, Mapping[str, Any]] = {}
    left = []
    for task in (task for task in tasks if task.folds is None):
        run = read_object(out / "runs" / task.id / "run.json", [], RunSaid)
        if run.get("status") != "finished":
            left.append(task)
        elif (before := mapping(run, "set")).get("fingerprint"):
            trained.setdefault(task.data, before)
    found: dict[str, str] = {}
    for data in {task.data for task in left} & set(trained):
        before = trained[data]
        try:
            prepared = PreparedSet.open(out / "sets" / data)
        except InputError:
            continue  # its job has said so
        now = identity_of(prepared)
        if same_content(now, before):
            continue
        key = "content" if before.get("content") else "fingerprint"
        why = f"{BROKEN}: the set has {key} {now[key][:8]}, the finished runs on it had {before[key][:8]}"
        if key == "fingerprint":  # of an earlier version
            why += ", edges included, which round otherwise on another kind of processor"
        why += ": copy the folder of sets from where these ran, or give another --out"
        found |= {task.id: why for task in left if task.data == data}
    return found


def _source(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return which clean set a run's set was made of, as ``set`` says it; of a clean set that is itself."""
    of = run["set"]
    clean_set = (run.get("noise") or {}).get("clean_set", of["fingerprint"])
    return {"fingerprint": clean_set, "content": of.get("clean_content")}
