"""``metadcseg compare``: evaluated runs side by side, and which differences are more than luck."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metadcseg.cli.commands.console import (
    add_split_option,
    add_trust_option,
    check_split,
    print_json,
    print_note,
    print_table,
    progress_bar,
)
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.report.run_comparison import Comparison, compare_runs, record_of
from metadcseg.results.doubts import EPOCHS, doubts
from metadcseg.results.records import read_runs

DESCRIPTION = """Compare runs that were evaluated on the same cases: the mean over seeds of every score (runs that
differ in nothing but their seed are one row), the difference to a baseline case by case, and whether it is more than
luck (Wilcoxon's signed-rank test with Holm's correction). Writes a page with curves and pictures."""

_SHOWN = (
    ("dsc", "DSC", 3),
    ("iou", "IoU", 3),
    ("hd95", "HD95 (px)", 1),
    ("hd95_mm", "HD95 (mm)", 1),
    ("nsd", "NSD", 3),
)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "runs", type=str, nargs="+", metavar="RUN", help="folders that train wrote, at least two"
    )
    add_split_option(parser)
    parser.add_argument(
        "--baseline",
        type=str,
        default=None,
        help="label of the row to compare with (default: supervised with the gold masks mixed in, else the first)",
    )
    parser.add_argument(
        "--evaluate", action="store_true", help="first evaluate the runs that were not, or trained on since"
    )
    add_trust_option(parser)
    parser.add_argument(
        "--out", type=str, default=None, metavar="PAGE.html", help="the page (default: comparison.html)"
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Compare and print the table."""
    check_split(options.split)
    folders = list(dict.fromkeys(Path(name) for name in options.runs))
    if len(folders) < 2:
        raise InputError(
            f"compare needs at least two different runs, got {options.runs[0]}: name more of them"
        )
    if options.out is not None and options.split != "test":
        raise InputError("--out writes a page about the test cases: leave out --split, or leave out --out")
    if options.split == "test":
        options.out = options.out or "comparison.html"
    if options.evaluate:
        _evaluate(folders, options.split, options.trust_code, console)
    records = read_runs(folders, options.split)
    found = compare_runs(records, options.split, options.baseline)
    page = None if options.out is None else _write_page(found, options)
    if options.json:
        rows = [row.to_dict() for row in found.rows]
        held = {"split": options.split, "baseline": found.baseline, "rows": rows, "notes": found.notes}
        print_json({**held, "page": page})
        return 0
    print_table(comparison(found, options.split))
    for note in found.notes:
        print_note(console, note)
    if page is not None:
        console.print(f"the page: {page}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _evaluate(folders: Sequence[Path], split: str, trust_code: bool, console: Console) -> None:
    waiting = [
        run.folder
        for run in read_runs(folders, split)
        if not run.evaluation or not run.cases or EPOCHS in doubts(run.evaluation, run.info)
    ]
    for folder in waiting:
        with progress_bar(console, f"evaluating {folder.name}") as advance:
            from metadcseg.evaluation.evaluate import evaluate_run
            from metadcseg.training.run.folder import read_run, set_of_run

            other = "" if split == "test" else f" --split {split}"
            way_out = f"type 'metadcseg evaluate {folder} --data SET{other}' first"
            path = set_of_run(read_run(folder), way_out=way_out)
            evaluate_run(folder, PreparedSet.open(path), split, trust_code=trust_code, progress=advance)


def _write_page(found: Comparison, options: Namespace) -> Path:
    from metadcseg.report.build import write_page
    from metadcseg.report.sections import build_report

    command = shlex.join(["metadcseg", "compare", *options.runs, "--out", options.out])
    return write_page(build_report(record_of(found, command)), Path(options.out)).resolve()


def comparison(found: Comparison, split: str, metrics: Sequence[str] = ()) -> Table:
    """Return rows, their scores over seeds, and what sets them apart from the baseline.

    Args:
        found: of :func:`~metadcseg.report.run_comparison.compare_runs`.
        split: for the title.
        metrics: the scores that are shown; by default all that every row has.
    """
    summaries = [row.summary() for row in found.rows]
    wanted = [column for column in _SHOWN if not metrics or column[0] in metrics]
    shown = [column for column in wanted if all(column[0] in summary for summary in summaries)]
    against = found.baseline or "plain supervision with equal gold, network and training"
    bases = {row.compared.baseline for row in found.rows if row.compared is not None} | {found.baseline}
    table = Table(
        title=Text(f"{split} cases, mean ± sd over seeds; Δ against {against}"), title_justify="left"
    )
    table.add_column("", min_width=12)
    for heading in ("seeds", *(column[1] for column in shown), "ΔDSC", "better / worse", "p (Holm)"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("says")
    for row, summary in zip(found.rows, summaries, strict=True):
        cells = [str(len(row.tasks))]
        for metric, _, digits in shown:
            value = summary[metric]
            spread = "" if value["sd"] is None else f" ± {value['sd']:.{digits}f}"
            cells.append(f"{value['mean']:.{digits}f}{spread}")
        compared = row.compared
        if compared is None:
            table.add_row(
                Text(row.label), *cells, "", "", "", "a baseline" if row.label in bases else "not compared"
            )
            continue
        test, adjusted = compared.test, compared.adjusted
        p = "–" if adjusted is None else f"{adjusted:.3f}" if adjusted >= 0.001 else f"{adjusted:.1e}"
        cells += [f"{test.mean:+.3f}", f"{test.better} / {test.worse}", p]
        table.add_row(Text(row.label), *cells, compared.verdict)
    return table
