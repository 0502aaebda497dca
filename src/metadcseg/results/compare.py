"""Runs beside each other: means over seeds, and differences paired by case, with their significance."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from metadcseg.errors import InputError
from metadcseg.results.records import RunRecord, mapping
from metadcseg.results.significance import PairedTest, holm, paired_test

METRICS = ("dsc", "iou", "hd", "hd95", "hd_mm", "hd95_mm")


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone.

    Args:
        label: what tables call them.
        runs: seed -> the run.
        means: metric -> mean and standard deviation over seeds (n - 1; None for one) of the mean over test cases.
    """

    label: str
    runs: Mapping[int, RunRecord]
    means: Mapping[str, tuple[float, float | None]]

    @property
    def equal_gold_baseline(self) -> bool:
        """Whether these are plain supervision with the gold masks mixed in."""
        return all(run.equal_gold_baseline for run in self.runs.values())


@dataclass(frozen=True)
class Comparison:
    """A row against the baseline.

    Args:
        row: it.
        seeds: those that both have.
        test: of the differences by case, each averaged over these seeds; None without a common case.
        adjusted: its p after Holm's correction for the number of rows; None where it has none.
    """

    row: Row
    seeds: int
    test: PairedTest | None
    adjusted: float | None


def rows_of(runs: Sequence[RunRecord]) -> list[Row]:
    """Group evaluated runs by all but their seed, in the order in which they come.

    Raises:
        InputError: where a run was not evaluated or comes twice, or runs were scored on different cases.
    """
    groups: dict[str, dict[int, RunRecord]] = {}
    for run in runs:
        if not run.cases or "summary" not in run.evaluation:
            raise InputError(f"{run.folder} has no scores of test cases: metadcseg evaluate {run.folder}")
        if set(run.cases) != set(runs[0].cases):
            raise InputError(
                f"{run.folder} and {runs[0].folder} were scored on different cases ({len(run.cases)} and "
                f"{len(runs[0].cases)}): compare runs of one set and split"
            )
        held = groups.setdefault(_key(run), {})
        seed = int(run.info.get("seed", 0))
        if seed in held:
            raise InputError(
                f"{run.folder} and {held[seed].folder} are the same settings with seed {seed}: give one of them"
            )
        held[seed] = run
    labels = [_label(next(iter(held.values()))) for held in groups.values()]
    named = [
        label if labels.count(label) == 1 else f"{label} ({next(iter(held.values())).folder})"
        for label, held in zip(labels, groups.values(), strict=True)
    ]
    return [Row(label, held, _means(held)) for label, held in zip(named, groups.values(), strict=True)]


def compare(rows: Sequence[Row], baseline: Row) -> list[Comparison]:
    """Compare every other row with the baseline, by DSC; p is Wilcoxon's, corrected by Holm for how many there are."""
    others = [row for row in rows if row is not baseline]
    found = []
    for row in others:
        seeds = sorted(row.runs.keys() & baseline.runs.keys())
        found.append(
            (row, len(seeds), paired_test(_cases(row, seeds), _cases(baseline, seeds)) if seeds else None)
        )
    known = [test.p for _, _, test in found if test is not None and test.p is not None]
    adjusted = iter(holm(known))
    return [
        Comparison(row, seeds, test, None if test is None or test.p is None else next(adjusted))
        for row, seeds, test in found
    ]


def choose_baseline(rows: Sequence[Row], wanted: str | None) -> Row:
    """Return the row that the others are compared with: the one named, else equal-gold supervision, else the first.

    Raises:
        InputError: where no row is called so.
    """
    if wanted is None:
        return next((row for row in rows if row.equal_gold_baseline), rows[0])
    for row in rows:
        if row.label == wanted:
            return row
    raise InputError(
        f"--baseline {wanted}: no row is called so; there are {', '.join(row.label for row in rows)}"
    )


def differing_noise(rows: Sequence[Row]) -> list[str]:
    """Return one sentence for every seed whose runs learned from differently spoiled labels."""
    said = []
    for seed in sorted({seed for row in rows for seed in row.runs}):
        hashes = {
            str((mapping(row.runs[seed].info, "noise") or {}).get("hash")) for row in rows if seed in row.runs
        }
        if len(hashes) > 1:
            said.append(
                f"seed {seed}: the rows were trained on {len(hashes)} different noises: no fair comparison"
            )
    return said


def _key(run: RunRecord) -> str:
    told: dict[str, Any] = {
        name: run.info.get(name) for name in ("label", "method", "options", "network", "training")
    }
    return json.dumps(told, sort_keys=True, default=str)


def _label(run: RunRecord) -> str:
    return str(run.info.get("label") or run.info.get("method") or run.folder.name)


def _means(held: Mapping[int, RunRecord]) -> dict[str, tuple[float, float | None]]:
    found = {}
    for metric in METRICS:
        spreads = [run.spread(metric) for run in held.values()]
        values = [spread[0] for spread in spreads if spread is not None]
        if len(values) == len(held):
            found[metric] = (fmean(values), stdev(values) if len(values) > 1 else None)
    return found


def _cases(row: Row, seeds: Sequence[int]) -> dict[str, float]:
    """Return the DSC of every case, averaged over seeds; cases of one group, such as a patient, are one."""
    runs = [row.runs[seed] for seed in seeds]
    held: dict[str, list[float]] = {}
    for case, record in runs[0].cases.items():
        name = f"group {record.group}" if record.group else f"case {case}"
        held.setdefault(name, []).append(fmean(run.cases[case].dsc for run in runs))
    return {name: fmean(values) for name, values in held.items()}
