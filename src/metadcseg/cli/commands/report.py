"""``metadcseg report``: tables and figures of a benchmark, from its records alone."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import plain_output, print_json
from metadcseg.errors import InputError
from metadcseg.report.build import write_report
from metadcseg.report.sections import Report
from metadcseg.results.summary import BenchmarkRecord

DESCRIPTION = """Make tables and figures of a benchmark from its records, whether or not it is finished: a page that
needs no network (index.html), Markdown (report.md, with figures/), and each table as CSV and LaTeX (tables/). Beside
our numbers stand the paper's, where it has some, marked as such."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("benchmark", type=str, help="the folder that benchmark wrote")
    parser.add_argument("--out", type=str, default=None, help="folder of the report (BENCHMARK/report)")
    parser.add_argument("--cases", type=int, default=3, help="how many cases each figure of examples shows")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Write the report and say where it is."""
    if not 1 <= options.cases <= 20:
        raise InputError(f"--cases must be from 1 to 20, got {options.cases}")
    folder = Path(options.benchmark)
    out = folder / "report" if options.out is None else Path(options.out)
    with console.status("reading records and drawing"):
        record, report = write_report(folder, out, options.cases)
    if options.json:
        print_json(_summary(record, report, out))
        return 0
    said = plain_output()
    said.print(report.lead)
    for sentence in report.missing[:8]:
        said.print(f"missing: {sentence}")
    if len(report.missing) > 8:
        said.print(f"and {len(report.missing) - 8} more, which the page lists")
    said.print(f"{out / 'index.html'} (also report.md, tables/*.csv, tables/*.tex, figures/*.png)")
    return 0


def _summary(record: BenchmarkRecord, report: Report, out: Path) -> dict[str, Any]:
    return {
        "path": str(out / "index.html"),
        "markdown": str(out / "report.md"),
        "name": record.name,
        "tasks": record.counts(),
        "baseline": record.baseline(),
        "sections": [section.key for section in report.sections],
        "tables": [table.key for table in report.tables()],
        "failures": [{"id": name, "error": why} for name, why in report.failures],
        "missing": report.missing,
    }
