"""``metadcseg demo``: the whole story in a few minutes, on images drawn by code.

It is a small grid, ``benchmark/demo.yaml``, that ``metadcseg benchmark`` carries out and ``metadcseg report`` shows.
Its runs go side by side on one thread each: on small images two processes finish sooner than two threads.
"""

import os
import time
from importlib import resources
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.benchmark.read_grid import read_grid
from metadcseg.benchmark.run import LocalExecutor
from metadcseg.cli.commands.benchmark import carry_out
from metadcseg.cli.commands.compare import comparison
from metadcseg.cli.commands.console import plain_output, print_table
from metadcseg.constants import INTERRUPTED
from metadcseg.errors import InputError
from metadcseg.files import write_bytes
from metadcseg.report.build import write_report
from metadcseg.report.run_comparison import compare_runs

DESCRIPTION = """Draw pictures, spoil the training masks as hurried people do, train four kinds of networks with three
seeds each (noisy masks only; with the gold masks besides; with the true masks, an upper bound; calibrated), score them
on clean test cases, and write one page: how the masks are wrong, the table with its tests, pictures, and what to do
next. A few minutes on two cores. Stopped half-way, it goes on where it was when it is run again."""

GRID = "grid.yaml"
"""The file in --out that holds the grid."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--out", type=str, default="demo", help="where everything goes")


def run(options: Namespace, console: Console) -> int:
    """Run the whole demo, print what the pairs show, the table, and where the page is."""
    started = time.monotonic()
    out = Path(options.out)
    grid = read_grid(_write_grid(out))
    workers = min(len(grid.tasks()), os.cpu_count() or 1)
    console.print(f"{len(grid.tasks())} trainings, {workers} at a time", highlight=False)
    status, _ = carry_out(grid, out, str(out.absolute()), LocalExecutor(workers), console)
    if status == INTERRUPTED:
        return INTERRUPTED
    with console.status("reading records and drawing"):
        record, report = write_report(out, out / "report")
    said = plain_output()
    for section in report.sections:
        if section.advice:
            said.print("\n".join([*section.words[:-1], section.advice]))
    runs = [run for task in record.done() for run in task.runs]
    if record.baseline() is not None and len(record.rows) > 1:
        found = compare_runs(runs, "test")
        print_table(comparison(found, "test", ("dsc", "hd95")))
        for each in (row.compared for row in found.rows if not record.upper_bound(row.label)):
            if each is not None:
                said.print(each.sentence)
    said.print(f"{time.monotonic() - started:.0f} s; the page: {(out / 'report' / 'index.html').resolve()}")
    return status


def _write_grid(out: Path) -> Path:
    """Write the grid beside its runs, to be looked at, changed and carried out again; return the file."""
    content = resources.files("metadcseg.benchmark").joinpath("demo.yaml").read_bytes()
    file = out / GRID
    if not file.exists():
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{out} cannot be written ({error.strerror}): give another --out") from error
        write_bytes(file, content)
    return file
