"""Evaluated runs side by side: means over seeds, and differences to one of them case by case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metadcseg.errors import InputError, unknown_name
from metadcseg.report.comparisons import Compared
from metadcseg.results.doubts import EPOCHS, asked_of, doubts
from metadcseg.results.records import RunRecord, budget_of, mapping, number, read_object, same_content
from metadcseg.results.significance import holm, paired_test
from metadcseg.results.summary import (
    BenchmarkRecord,
    Condition,
    TaskRecord,
    paired_cases,
    paired_seeds,
    spread,
)

METRICS = ("dsc", "iou", "hd", "hd95", "nsd", "hd_mm", "hd95_mm", "nsd_mm")
_TITLE = "Segmentation networks compared"


@dataclass(frozen=True)
class Row:
    """Runs that differ in nothing but their seed.

    Args:
        label: of the runs; with the options in which it differs where several rows have one label.
        tasks: one for each seed.
        compared: with its baseline, case by case; None for a baseline, and where there is none.
    """

    label: str
    tasks: list[TaskRecord]
    compared: Compared | None = None

    @property
    def runs(self) -> list[RunRecord]:
        """The runs in the order of their seeds."""
        return [run for task in self.tasks for run in task.runs]

    def summary(self) -> dict[str, dict[str, float | int | None]]:
        """Return metric -> ``mean`` and ``sd`` over seeds (n - 1; None for one seed) and ``n``, their number."""
        found = {metric: spread([task.score(metric) for task in self.tasks]) for metric in METRICS}
        keys = ("mean", "sd", "n")
        return {name: dict(zip(keys, held, strict=True)) for name, held in found.items() if held}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        first = self.runs[0].info
        held: dict[str, Any] = {
            "label": self.label,
            "method": first.get("method"),
            "options": dict(mapping(first, "options")),
            "seeds": [task.seed for task in self.tasks],
            "runs": [str(run.folder) for run in self.runs],
            "summary": self.summary(),
            "difference": None,
        }
        if self.compared is not None:
            test = self.compared.test
            held["difference"] = {
                "metric": "dsc",
                "mean": test.mean,
                "cases": test.count,
                "better": test.better,
                "worse": test.worse,
                "seeds": self.compared.seeds,
                "by_seed": list(self.compared.by_seed),
                "p": test.p,
                "p_holm": self.compared.adjusted,
                "says": self.compared.verdict,
            }
        return held


@dataclass(frozen=True)
class Comparison:
    """What a comparison says.

    Args:
        rows: in the order in which their first runs were given.
        baseline: label of the row that the others are compared with, or None: each with plain supervision with equal
            gold of its own network and training, where that is there.
        notes: sentences that belong beside the numbers.
    """

    rows: list[Row]
    baseline: str | None
    notes: list[str] = field(default_factory=list)


def compare_runs(runs: Sequence[RunRecord], split: str, baseline: str | None = None) -> Comparison:
    """Group runs by what they are, over seeds, and compare every group with one of them.

    Each case (images of one patient are one) is averaged over the seeds that both rows have; its DSC less that of the
    baseline is tested by Wilcoxon's signed-rank test, two-sided, with Holm's correction over all rows.

    Args:
        runs: as :func:`~metadcseg.results.records.read_runs` read them.
        split: on which they were evaluated.
        baseline: label of a row; None takes for each row plain supervision with equal gold of the same network and
            training, and where no row is that, the first row for all.

    Raises:
        InputError: where a run was not evaluated on the split, or trained on since, runs of one seed differ in their
            set, noise or cases, runs are of different data, two are of one row and seed, or there is no such baseline.
    """
    for run in runs:
        _check(run, split)
    for run in runs:
        _check_same(next(other for other in runs if _seed(other) == _seed(run)), run)
        _check_data(runs[0], run)
    held: dict[str, list[RunRecord]] = {}
    for run in runs:
        held.setdefault(str(_identity(run)), []).append(run)
    rows = [
        Row(name, _tasks(group))
        for name, group in zip(_names(list(held.values())), held.values(), strict=True)
    ]
    labels = [row.label for row in rows]
    if baseline is not None and baseline not in labels:
        raise unknown_name("--baseline", baseline, labels)
    found = _baselines(rows, baseline)
    names = {each.label for each in found if each is not None}
    alone = [
        row.label for row, each in zip(rows, found, strict=True) if each is None and not row.runs[0].pipeline
    ]
    notes = _notes(rows)
    if alone:
        notes.append(
            "not compared, since no run here is plain supervision with equal gold of the same network and training "
            f"(--baseline NAME compares all with one row): {', '.join(alone)}"
        )
    return Comparison(_tested(rows, found), names.pop() if len(names) == 1 and not alone else None, notes)


def record_of(found: Comparison, command: str) -> BenchmarkRecord:
    """Return compared runs as a benchmark of one condition, of which a report can be made.

    Args:
        found: of :func:`compare_runs`.
        command: what was typed.
    """
    record = BenchmarkRecord(
        Path(),
        name=_TITLE,
        grid={"next": ["To make this page again:", command]},
        tasks=[replace(task, row=row.label) for row in found.rows for task in row.tasks],
        rows=[row.label for row in found.rows],
        against=found.baseline,
    )
    record.missing = list(
        dict.fromkeys([*(said for row in found.rows for run in row.runs for said in run.missing)])
    )
    record.missing += [f"{note}." for note in found.notes]
    return record


def _check(run: RunRecord, split: str) -> None:
    if not run.info:
        raise InputError(f"{run.folder} is not the folder of a run: give the --out of a training")
    other = "" if split == "test" else f" --split {split}"
    if not run.evaluation or not run.cases:
        raise InputError(
            f"{run.folder} was not evaluated on its {split} cases: type 'metadcseg evaluate {run.folder}{other}' "
            "first, or add --evaluate"
        )
    if stale := doubts(run.evaluation, run.info).get(EPOCHS):
        raise InputError(
            f"{run.folder} was evaluated before it trained on ({stale}): type 'metadcseg evaluate {run.folder}{other}' "
            "again, or add --evaluate"
        )


def _check_same(first: RunRecord, run: RunRecord) -> None:
    """Refuse two runs of one seed that differ in what they were trained or scored on."""
    for what, one, other in (
        ("trained on different sets", mapping(first.info, "set"), mapping(run.info, "set")),
        ("evaluated on different sets", mapping(first.evaluation, "set"), mapping(run.evaluation, "set")),
    ):
        if not same_content(one, other):
            told = f"{first.folder}: {_set_name(one, first)}, {run.folder}: {_set_name(other, run)}"
            raise InputError(f"runs of one seed were {what} ({told}): compare runs of the same set and noise")
    if first.cases.keys() != run.cases.keys():
        number = len(first.cases.keys() ^ run.cases.keys())
        raise InputError(
            f"{first.folder} and {run.folder} were scored on different cases ({number} are only in one of the two): "
            "evaluate both on the same split of one set"
        )


def _check_data(first: RunRecord, run: RunRecord) -> None:
    """Refuse two runs of different data, also of two seeds: another split leaves the set its name, or some cases."""
    names = [mapping(each.evaluation, "set").get("name") for each in (first, run)]
    if names[0] != names[1] and first.cases.keys().isdisjoint(run.cases):
        raise InputError(
            f"{first.folder} and {run.folder} were scored on different data ({names[0]}, {names[1]}), without a case "
            "in common: compare runs of one data set"
        )


def _set_name(entry: Mapping[str, Any], run: RunRecord) -> str:
    noise = mapping(run.info, "noise")
    rate = noise.get("rate", noise.get("target"))
    told = f", noise {rate:.0%}" if isinstance(rate, float) else ""
    return f"{entry.get('name', 'unknown')}{told}, fingerprint {str(entry.get('fingerprint'))[:8]}"


def _seed(run: RunRecord) -> int:
    seed = run.info.get("seed")
    return seed if isinstance(seed, int) else 0


def _settings(run: RunRecord) -> dict[str, Any]:
    """Return everything that decides a result, beside seed and set."""
    method = str(run.info.get("method"))
    held = {f"{method}.{name}": value for name, value in mapping(run.info, "options").items()}
    asked = {f"inference.{name}": value for name, value in asked_of(run.evaluation).items()}
    return held | budget_of(run.info) | asked


def _identity(run: RunRecord) -> tuple[Any, ...]:
    return run.label, run.info.get("method"), sorted(_settings(run).items(), key=lambda entry: entry[0])


def _names(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """Return a label for each group, with the options in which groups of one label differ."""
    labels = [group[0].label for group in groups]
    names = []
    for label, group in zip(labels, groups, strict=True):
        same = [_settings(other[0]) for name, other in zip(labels, groups, strict=True) if name == label]
        own = _settings(group[0])
        differ = [name for name in own if any(other.get(name) != own[name] for other in same)]
        told = ", ".join(f"{name} {own[name]}" for name in differ)
        names.append(f"{label} ({told})" if told else label)
    return names


def _tasks(group: Sequence[RunRecord]) -> list[TaskRecord]:
    seeds = [_seed(run) for run in group]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        pair = [str(run.folder) for run in group if _seed(run) == twice]
        raise InputError(f"{pair[0]} and {pair[1]} are one run with seed {twice}: give each seed once")
    return sorted(
        (_task(run, seed) for run, seed in zip(group, seeds, strict=True)), key=lambda task: task.seed
    )


def _task(run: RunRecord, seed: int) -> TaskRecord:
    noise, held = mapping(run.info, "noise"), mapping(run.info, "set")
    rate = number(noise.get("target")) or 0.0
    condition = Condition(
        str(held.get("name")), str(noise.get("model") or "paper") if rate else "paper", rate
    )
    task = TaskRecord(str(run.folder), condition, run.label, seed, "done", folder=run.folder, runs=[run])
    task.prepared = Path(str(held["path"])) if held.get("path") else None
    for name in ("weights", "cost"):
        setattr(
            task, name, read_object(run.folder / "evaluation" / f"{name}.json", run.missing, optional=True)
        )
    return task


def _baselines(rows: Sequence[Row], said: str | None) -> list[Row | None]:
    """Return for each row what it is compared with; None where nothing here is fit for that."""
    if said is not None:
        return [next(row for row in rows if row.label == said)] * len(rows)
    plain = [row for row in rows if row.runs[0].equal_gold_baseline]
    if not plain:
        return [rows[0]] * len(rows)

    def budget(row: Row) -> dict[str, Any]:
        return budget_of(row.runs[0].info)

    return [next((each for each in plain if budget(each) == budget(row)), None) for row in rows]


def _tested(rows: Sequence[Row], baselines: Sequence[Row | None]) -> list[Row]:
    found = []
    for row, baseline in zip(rows, baselines, strict=True):
        if baseline is None or row is baseline or any(each.runs[0].pipeline for each in (row, baseline)):
            found.append(row)
            continue
        one, other, seeds = paired_cases(row.tasks, baseline.tasks)
        test = paired_test(one, other)
        if test is None:
            raise InputError(
                f"'{row.label}' has seeds {[task.seed for task in row.tasks]} and the baseline '{baseline.label}' "
                f"{[task.seed for task in baseline.tasks]}, with no scored case in common: give runs of the same seeds"
            )
        condition = row.tasks[0].condition
        by_seed = paired_seeds(row.tasks, baseline.tasks)
        compared = Compared(condition, row.label, baseline.label, test, seeds, by_seed=by_seed)
        found.append(replace(row, compared=compared))
    tests = [row.compared for row in found if row.compared is not None and row.compared.test.p is not None]
    adjusted = iter(holm([each.test.p for each in tests if each.test.p is not None]))
    return [
        replace(row, compared=replace(row.compared, adjusted=next(adjusted)))
        if row.compared is not None and row.compared.test.p is not None
        else row
        for row in found
    ]


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    fewest = min(len(row.tasks) for row in rows)
    if fewest == 1:
        notes.append(
            "some rows have one seed: another seed may turn the order around, whatever a test over cases says"
        )
    every = [run for row in rows for run in row.runs]
    if any(run.cases.keys() != every[0].cases.keys() for run in every):
        notes.append("the seeds were scored on different cases, so their spread is that of the split, too")
    if others := [row.label for row in rows if row.runs[0].pipeline]:
        notes.append(f"trained by another tool, and so never tested against ours: {', '.join(others)}")
    settings = [_settings(row.runs[0]) for row in rows]
    common = ("network.", "training.", "inference.")
    shared = {name for held in settings for name in held if name.startswith(common)}
    if differ := sorted(name for name in shared if len({str(held.get(name)) for held in settings}) > 1):
        notes.append(f"the rows differ in {', '.join(differ)}, not only in their method")
    said = [run.evaluation.get("notes") for run in every]
    notes += dict.fromkeys(str(note) for held in said if isinstance(held, list) for note in held)
    return notes
