"""``metadcseg check``: what is wrong with a folder or a prepared set, found before hours are spent on it."""

import shlex
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metadcseg.cli.commands.console import (
    add_workers_option,
    check_seed,
    plain_output,
    print_json,
    progress_bar,
)
from metadcseg.cli.commands.prepare_sources import (
    NAMES,
    OF_FOLDERS,
    OF_SOURCES,
    add_source_options,
    placing_of,
    reading_of,
    refuse,
    refuse_misspelt,
    remap_of,
    scan_source,
    shares_of,
)
from metadcseg.data.findings import grouped
from metadcseg.data.prepare.by_role import class_table
from metadcseg.data.prepare.checks import CheckReport, check_path, check_scan
from metadcseg.data.store.layout import MANIFEST
from metadcseg.errors import one_line
from metadcseg.pairs.advice import advise
from metadcseg.pairs.found import FoundPairs
from metadcseg.pairs.of_folder import pairs_of_look
from metadcseg.pairs.read import read_pairs
from metadcseg.pairs.sentences import sentences
from metadcseg.validation import check_workers

DESCRIPTION = """Find what is wrong with a folder of images and masks, with a data set in --source (named as for
prepare), or with a prepared set, before training:
missing or extra masks, sizes that differ, unreadable files, unexpected label values, empty masks, the same image in
two roles, groups split across roles, a missing gold set, damaged arrays. Exit status 2 where something must be
mended first."""

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "path", type=str, help="a folder with images/ and masks/, a data set, or a prepared set"
    )
    add_source_options(parser)
    parser.add_argument("--gold", type=str, default=None, help="gold of a data set, as for prepare")
    parser.add_argument(
        "--remap", type=str, default=None, help="new class numbers for mask values: 7:1,900:2"
    )
    parser.add_argument("--ignore", type=str, default=None, help="mask values of unknown pixels: 9 or 9,200")
    parser.add_argument("--seed", type=int, default=0, help="of the split, as for prepare")
    parser.add_argument("--val", type=float, default=None, help="share for validation, as for prepare")
    parser.add_argument("--test", type=float, default=None, help="share for the test, as for prepare")
    add_workers_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, every finding in it")


def run(options: Namespace, console: Console) -> int:
    """Check, print what was found, and return 2 where there are errors."""
    remap = remap_of(options)
    check_seed(options.seed)
    workers = None if options.workers is None else check_workers(options.workers, least=1)
    pairs: list[FoundPairs] = []
    with progress_bar(console, "checking") as advance:
        if options.path in NAMES:
            scan, place = scan_source(options.path, options, "check"), Path(options.source)
            report = check_scan(
                place,
                scan,
                remap=remap,
                workers=workers,
                progress=advance,
                **placing_of(options),
            )
        else:
            refuse_misspelt(options.path)
            refuse(options, f"check {options.path}", *OF_SOURCES)
            if (Path(options.path) / MANIFEST).exists():  # its labels are settled
                refuse(options, "check SET", *OF_FOLDERS)
            report = check_path(
                Path(options.path),
                looked=None
                if options.json
                else lambda *seen: pairs.append(pairs_of_look(Path(options.path), *seen)),
                remap=remap,
                seed=options.seed,
                workers=workers,
                progress=advance,
                **reading_of(options),
                **shares_of(options),
            )
    if options.json:
        print_json(report.to_dict())
    else:
        _print(report)
        if report.pairs and report.ok and options.source is None:
            _print_diagnosis(options.path, pairs[0] if pairs else read_pairs(Path(options.path)))
    return 2 if report.errors else 0


def _print_diagnosis(path: str, found: FoundPairs) -> None:
    """Print what ``diagnose`` says; what is odd about pairs stands among the findings already."""
    out, diagnosis = plain_output(), found.diagnose()
    for sentence in [*sentences(diagnosis), advise(diagnosis).sentence]:
        out.print(sentence)
    for note in found.notes:
        out.print(f"note: {note}")
    out.print(f"draw it, as a page: {shlex.join(['metadcseg', 'diagnose', path])}")


def _print(report: CheckReport) -> None:
    out = plain_output()
    if report.findings:
        table = Table(title=Text(str(report.path)), title_justify="left")
        for heading in ("", "where", "what"):
            table.add_column(heading, overflow="fold")
        for group in grouped(report.findings):
            style = _STYLES[group.severity]
            table.add_row(
                Text(group.severity, style), Text(one_line(group.where)), Text(one_line(group.sentence))
            )
        out.print(table)
        if any(len(group.findings) > 1 for group in grouped(report.findings)):
            out.print("--json names every file and case")
    for line in class_table(report.class_cases, report.cases):
        out.print(Text(line))
    verdict = ("mend the errors first", "bold red") if report.errors else ("ready", "green")
    out.print(Text.assemble(f"{report.summary}: ", verdict))
