"""What several commands show: progress bars, JSON, and tables of scores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from metadcseg.cli.output import write_out
from metadcseg.cli.streams import SafeConsole
from metadcseg.constants import IGNORE
from metadcseg.errors import InputError, unknown_name
from metadcseg.reading import read_text

if TYPE_CHECKING:
    from metadcseg.data.splits.folds import Gold, Unit
    from metadcseg.data.splits.gold_slices import GoldSlices
    from metadcseg.data.store.reader import PreparedSet

_GOLD = "0.02"


class Advance(Protocol):
    """Called by long work: how much is done, of how much."""

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` pieces are done."""
        ...


def plain_output() -> Console:
    """Return a console for results: paths are printed as they are, whatever brackets and colons they hold."""
    return SafeConsole(markup=False, highlight=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table on standard output, wide enough to be read where no window sets the width."""
    console = SafeConsole()
    (console if console.is_terminal else SafeConsole(width=120)).print(table)


@contextmanager
def progress_bar(console: Console, what: str, *, share: bool = False) -> Iterator[Advance]:
    """Show a bar with the time left while the block runs; on anything but a terminal show nothing.

    Args:
        console: of the command.
        what: is done.
        share: show percent instead of pieces, where work is counted and not pieces.

    Yields:
        What the work calls with how much is done, of how much.
    """
    amount = TaskProgressColumn() if share else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def print_json(data: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output: all that ``--json`` puts there."""
    write_out(json.dumps(data, indent=2, default=str) + "\n")


def add_device_option(parser: ArgumentParser) -> None:
    """Add the option that says where a trained network computes, called as in ``train``."""
    told = "where the network computes: auto (a GPU where there is one), cpu, cuda, cuda:N or mps"
    parser.add_argument("--accelerator", type=str, default="auto", help=told)


def add_trust_option(parser: ArgumentParser) -> None:
    """Add the option that consents to code which a file names."""
    told = "import the network's class that a run, --config or grid names: its code runs on this machine"
    parser.add_argument("--trust-code", action="store_true", help=told)


def add_inference_options(parser: ArgumentParser) -> None:
    """Add the options that say how a trained network is asked."""
    parser.add_argument(
        "--flips", action="store_true", help="average over all mirror images: 4 times as long, 8 in 3D"
    )
    told = "let windows of the input grid slide over larger images, rather than shrink these"
    parser.add_argument("--windows", action="store_true", help=told)
    told = "of windows, those of patches too, as a share of their side (default 0.5)"
    parser.add_argument("--overlap", type=float, default=0.5, help=told)
    told = "images, slices or windows that the network computes together (default 1)"
    parser.add_argument("--batch-size", type=int, default=1, help=told)


def add_workers_option(parser: ArgumentParser) -> None:
    """Add the option that says among how many processes cases are dealt."""
    told = "processes that read, look for edges and write (by default the cores up to 8; one for small sets)"
    parser.add_argument("--workers", type=int, default=None, help=told)


def add_split_option(parser: ArgumentParser, default: str = "test") -> None:
    """Let a command name the cases that it is about; :func:`check_split` looks at the name."""
    from metadcseg.data.store.layout import ROLES

    parser.add_argument("--split", type=str, default=default, help=f"one of: {', '.join(ROLES)}")


def check_split(split: str) -> str:
    """Return the name of cases that a set can have.

    Raises:
        InputError: where it is none, with the nearest one.

    Example:
        >>> check_split("val")
        'val'
    """
    from metadcseg.data.store.layout import ROLES

    if split not in ROLES:
        raise unknown_name("split", split, ROLES)
    return split


def add_gold_option(parser: ArgumentParser) -> None:
    """Let a command draw the cases that count as verified; :func:`parse_gold` reads what is given."""
    parser.add_argument(
        "--gold",
        type=str,
        default=None,
        help="training cases whose masks count as verified: a share (at least one), a number, a text file of ids, a "
        "share of the slices of volumes such as slices:0.02, or verified: all that are (the default where some are "
        "and some are not, which are then drawn from alone, but for slices; else 0.02)",
    )


def check_seed(seed: int) -> int:
    """Return a seed that can be one.

    Raises:
        InputError: where it is negative or beyond 63 bits.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed must be a whole number from 0 to 2^63 - 1, got {seed}")
    return seed


def parse_remap(text: str) -> dict[int, int]:
    """Return mask value -> class number from what ``--remap`` was given.

    Raises:
        InputError: where the text has another form.

    Example:
        >>> parse_remap("7:1,900:2")
        {7: 1, 900: 2}
    """
    try:
        pairs = [pair.split(":") for pair in text.split(",")]
        return {int(value): int(label) for value, label in pairs}
    except ValueError:
        raise InputError(f"--remap must look like 7:1,900:2 (mask value:class), got '{text}'") from None


def parse_ignore(text: str) -> dict[int, int]:
    """Return a remap to "ignored" from the mask values that ``--ignore`` was given.

    Raises:
        InputError: where the text has another form.

    Example:
        >>> parse_ignore("9,200")
        {9: 255, 200: 255}
    """
    try:
        return {int(value): IGNORE for value in text.split(",")}
    except ValueError:
        raise InputError(f"--ignore must be mask values such as 9 or 9,200, got '{text}'") from None


def parse_regions(texts: Sequence[str]) -> dict[str, list[int]]:
    """Return region -> classes from what ``--region`` was given, once for each.

    Raises:
        InputError: where a text has another form, or a name is given twice.

    Example:
        >>> parse_regions(["core:2,3", "whole:1,2,3"])
        {'core': [2, 3], 'whole': [1, 2, 3]}
    """
    regions: dict[str, list[int]] = {}
    for text in texts:
        name, _, labels = text.rpartition(":")
        try:
            members = [int(label) for label in labels.split(",")]
        except ValueError:
            members = []
        if not name or not members or name in regions:
            raise InputError(f"--region must look like core:2,3 (a name of its own, classes), got '{text}'")
        regions[name] = members
    return regions


def parse_gold(text: str) -> "float | int | GoldSlices | list[str]":
    """Return how much gold is asked for.

    Args:
        text: a number of cases (written without a point), a share below one of the cases (0.02) or of the slices
            (slices:0.02), or the name of a text file of ids, one a line.

    Raises:
        InputError: where it is none of these.

    Example:
        >>> parse_gold("6"), parse_gold("0.02"), parse_gold("slices:0.02")
        (6, 0.02, GoldSlices(share=0.02))
    """
    from metadcseg.data.case_names import one_form
    from metadcseg.data.splits.gold_slices import GoldSlices

    slices = GoldSlices.read(text)
    if slices is not None:
        return slices
    try:
        gold = int(text) if text.isdecimal() else float(text)
    except ValueError:
        gold = -1.0
    if isinstance(gold, int) or 0 <= gold < 1:
        return gold
    try:
        lines = read_text(Path(text)).splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            "--gold must be a number of cases, a share from 0 to below 1, a share of slices such as slices:0.02, or a "
            f"text file of ids, got '{text}'"
        ) from None
    return [one_form(line.strip()) for line in lines if line.strip()]


def units_and_gold(
    prepared: "PreparedSet", text: str | None, console: Console
) -> tuple[list["Unit"], str, "Gold"]:
    """Return the units of a set, and what ``--gold`` is for it, typed or not: as text, and what that says.

    Args:
        prepared: the set; every mask is read.
        text: as typed; None where it was not.
        console: shows that masks are read.

    Raises:
        InputError: as `parse_gold` does, before masks are read; where ``verified`` is typed and all masks are verified,
            or none.
    """
    from metadcseg.data.splits.folds import VERIFIED, units_of, verified_among

    gold: Gold = VERIFIED if text in (None, VERIFIED) else parse_gold(str(text))
    with console.status("reading every mask"):
        units = units_of(prepared)
    if gold != VERIFIED or verified_among(units):
        return units, text or VERIFIED, gold
    if text == VERIFIED:
        raise InputError(
            "--gold verified is of sets in which some masks are verified and some are not: give a number or a share"
        )
    return units, _GOLD, parse_gold(_GOLD)


def said_of_unverified(ids: Sequence[str]) -> str:
    """Return the note about gold cases that nobody has verified.

    Args:
        ids: of the cases, at least one.

    Example:
        >>> said_of_unverified(["a"])
        '1 gold case (a) was never verified: the mask as given counts as verified now'
    """
    from metadcseg.data.findings import listed, plural

    verb = "was" if len(ids) == 1 else "were"
    return (
        f"{plural(len(ids), 'gold case')} ({listed(ids, 3)}) {verb} never verified: the mask as given counts as "
        "verified now"
    )


def print_note(console: Console, note: str) -> None:
    """Print what is worth knowing beside a result, as one line.

    Args:
        console: where it goes.
        note: a sentence.
    """
    console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def score_table(rows: Sequence[tuple[str, Mapping[str, Any]]], title: str) -> Table:
    """Return a table of mean +- sd of every metric, one row per summary; lengths in mm where all rows have them.

    Args:
        rows: display name and the record that ``evaluate`` wrote.
        title: what stands above the table.
    """
    summaries = [record["summary"] for _, record in rows]
    in_mm = all("hd_mm" in summary and summary["hd_mm"]["n"] == summary["dsc"]["n"] for summary in summaries)
    end, unit = ("_mm", "mm") if in_mm else ("", "px")
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("DSC", "IoU", f"HD ({unit})", f"HD95 ({unit})", f"NSD{' (2 mm)' if in_mm else ''}"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("empty", justify="right")
    for name, record in rows:
        cells = []
        for metric, digits in (("dsc", 3), ("iou", 3), (f"hd{end}", 1), (f"hd95{end}", 1), (f"nsd{end}", 3)):
            value = record["summary"][metric]
            spread = "" if value["sd"] is None else f" ± {value['sd']:.{digits}f}"
            cells.append(f"{value['mean']:.{digits}f}{spread}")
        table.add_row(name, *cells, str(record["empty_predictions"]))
    return table
