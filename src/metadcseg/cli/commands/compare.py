"""``metadcseg compare``: evaluated runs beside each other, and a page with their pictures."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table

from metadcseg.cli.commands.console import plain_output, print_json, print_table
from metadcseg.errors import InputError
from metadcseg.results.compare import (
    METRICS,
    Comparison,
    Row,
    choose_baseline,
    compare,
    differing_noise,
    rows_of,
)
from metadcseg.results.records import mapping, read_runs

DESCRIPTION = """Compare runs on their test cases: mean and standard deviation over seeds, the difference to a baseline
by case (in DSC points), Wilcoxon's signed-rank test with Holm's correction, and a page with curves and pictures. Runs
that differ in their seed alone are one row. Evaluate every run first: metadcseg evaluate RUN."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("runs", type=str, nargs="+", help="folders of evaluated runs")
    parser.add_argument(
        "--baseline",
        type=str,
        default=None,
        help="label of the row to compare with (default: supervision with the same gold, else the first)",
    )
    parser.add_argument("--out", type=str, default="comparison.html", help="the page")
    parser.add_argument("--json", action="store_true", help="print the numbers as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Print the table and write the page."""
    from metadcseg.report.page import build_page  # takes a second

    folders = [Path(folder) for folder in options.runs]
    if missing := [folder for folder in folders if not (folder / "run.json").is_file()]:
        raise InputError(f"{missing[0]} is not the folder of a run: give the --out of a training")
    if twice := [folder for folder in folders if folders.count(folder) > 1]:
        raise InputError(f"{twice[0]} is named twice: name each run once")
    runs = read_runs(folders)
    rows = rows_of(runs)
    baseline = choose_baseline(rows, options.baseline)
    found = compare(rows, baseline)
    unfair = differing_noise(rows)
    set_path = Path(str(mapping(runs[0].info, "set").get("path", "")))
    page = build_page(folders, set_path, Path(options.out), title="Comparison of runs")
    if options.json:
        print_json(_plain(rows, baseline, found, unfair, page))
        return 0
    print_table(_table(rows, baseline, found, len(runs[0].cases)))
    said = plain_output()
    for sentence in unfair:
        said.print(sentence)
    said.print(f"the page: {page}")
    return 0


def _table(rows: list[Row], baseline: Row, found: list[Comparison], cases: int) -> Table:
    shown = [metric for metric in METRICS if all(metric in row.means for row in rows)]
    shown = [metric for metric in shown if f"{metric}_mm" not in shown]
    table = Table(
        title=f"{cases} test cases, mean ± sd over seeds; DSC points beside {baseline.label}",
        title_justify="left",
    )
    table.add_column("", no_wrap=True)
    table.add_column("seeds", justify="right")
    for metric in shown:
        name, _, unit = metric.partition("_")
        table.add_column(f"{name.upper()}{f' ({unit})' if unit else ''}", justify="right", no_wrap=True)
    for heading in ("difference", "better / worse", "p (Holm)"):
        table.add_column(heading, justify="right", no_wrap=True)
    compared = {id(entry.row): entry for entry in found}
    for row in rows:
        cells = [_spread(*row.means[metric], 3 if metric in ("dsc", "iou") else 1) for metric in shown]
        table.add_row(row.label, str(len(row.runs)), *cells, *_difference(compared.get(id(row))))
    return table


def _spread(mean: float, sd: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def _difference(entry: Comparison | None) -> tuple[str, str, str]:
    if entry is None:
        return "baseline", "", ""
    if entry.test is None:
        return "no common seed", "", ""
    p = (
        "too few cases"
        if entry.adjusted is None
        else f"{entry.adjusted:.3f}"
        if entry.adjusted >= 0.001
        else "< 0.001"
    )
    return f"{100 * entry.test.mean:+.1f}", f"{entry.test.better} / {entry.test.worse}", p


def _plain(
    rows: list[Row], baseline: Row, found: list[Comparison], unfair: list[str], page: Path
) -> dict[str, Any]:
    compared = {id(entry.row): entry for entry in found}

    def difference(row: Row) -> dict[str, Any] | None:
        entry = compared.get(id(row))
        if entry is None or entry.test is None:
            return None
        test = entry.test
        numbers = {"mean": test.mean, "n": test.count, "better": test.better, "worse": test.worse}
        return numbers | {"seeds": entry.seeds, "p": test.p, "p_holm": entry.adjusted}

    return {
        "baseline": baseline.label,
        "rows": [
            {
                "label": row.label,
                "seeds": sorted(row.runs),
                "runs": [str(held.folder) for held in row.runs.values()],
                **{metric: {"mean": mean, "sd": sd} for metric, (mean, sd) in row.means.items()},
                "difference": difference(row),
            }
            for row in rows
        ],
        "unfair": unfair,
        "page": str(page),
    }
