"""``metadcseg accept``: the decisions of a review become masks."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import plain_output, print_json, print_note, progress_bar
from metadcseg.data.findings import plural
from metadcseg.errors import InputError

if TYPE_CHECKING:
    from metadcseg.audit.accept import Accepted

DESCRIPTION = """Write the masks that a reviewer decided on in the page of 'metadcseg audit': a folder from which
'metadcseg prepare' makes the next set. Cases that were decided as a whole go to gold/, and the mask that each replaces
stays in masks/, which makes a pair. All is written or nothing."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "decisions", type=str, help="decisions.json, in the folder of the audit that was reviewed"
    )
    parser.add_argument("--out", type=str, default=None, help="the corrected folder, which is made")
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="change the folder that the set was prepared from; what is replaced goes to --backup first",
    )
    parser.add_argument(
        "--backup",
        type=str,
        default=None,
        help="in place: folder of what is replaced (default: beside the folder)",
    )
    parser.add_argument(
        "--link",
        action="store_true",
        help="--out: images are symbolic links to those that are there, not copies",
    )
    parser.add_argument("--data", type=str, default=None, help="the audited set, where it was moved")
    parser.add_argument(
        "--folder", type=str, default=None, help="the files that it was made from, where moved"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Accept, and say what was written and what to do next."""
    from metadcseg.audit.accept import accept
    from metadcseg.audit.again import prepare_again

    if (options.out is None) != options.in_place:
        raise InputError("give either --out FOLDER or --in-place")
    if options.backup is not None and not options.in_place:
        raise InputError("--backup belongs to --in-place: leave it out")
    if options.link and options.in_place:
        raise InputError("--link belongs to --out: leave it out")
    place = {
        name: None if options[name] is None else Path(options[name]) for name in ("data", "folder", "backup")
    }
    out = None if options.out is None else Path(options.out)
    with progress_bar(console, "writing") as advance:
        accepted, prepared = accept(
            Path(options.decisions), out, link=options.link, progress=advance, **place
        )
    for note in accepted.notes:
        print_note(console, note)
    command = shlex.join(prepare_again(prepared, accepted.folder, accepted.limit))
    if options.json:
        print_json({**accepted.to_dict(), "next": command})
        return 0
    for line in _summary_lines(accepted):
        plain_output().print(line)
    plain_output().print(f"next: {command}")
    return 0


def _summary_lines(accepted: "Accepted") -> list[str]:
    """Return what was done, in words."""
    lines = [
        f"{accepted.folder}: {accepted.reviewed} of {plural(accepted.cases, 'audited case')} reviewed and verified now "
        f"(gold/), {accepted.corrected} of them corrected; {plural(accepted.painted, 'slice')} painted by hand; "
        f"{accepted.untouched} untouched"
    ]
    if accepted.in_part:
        lines.append(f"{plural(accepted.in_part, 'case')} corrected and not verified (masks/)")
    if accepted.twins:
        lines.append(
            f"{plural(accepted.twins, 'pair')} likewise: the mask beside the verified one shows what is still wrong "
            "(masks/)"
        )
    if accepted.experts:
        shown = ", ".join(accepted.experts[:5]) + (", ..." if accepted.experts[5:] else "")
        lines.append(f"{plural(len(accepted.experts), 'case')} left to an expert: {shown}")
    if accepted.backup is not None:
        lines.append(f"what was replaced: {accepted.backup}")
    return lines
