"""``metadcseg diagnose``: how the masks are wrong, told by those that were verified."""

import shlex
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import plain_output, print_json, print_note
from metadcseg.cli.commands.prepare_sources import add_file_options, reading_of, refuse, remap_of
from metadcseg.data.store.layout import MANIFEST
from metadcseg.pairs.advice import advise
from metadcseg.pairs.read import read_pairs
from metadcseg.pairs.sentences import sentences
from metadcseg.report.diagnosis import PAGE, write_diagnosis

DESCRIPTION = """Compare verified masks with the masks that they replaced (gold/NAME with masks/NAME of a folder, or a
prepared set's pairs): how far outlines lie off and to which side, which objects are missing or invented, whether that
is more than luck, and what to do. Writes a page with pictures. Exit status 2 where there is no pair."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("path", type=str, help="a folder with images/, masks/ and gold/, or a prepared set")
    parser.add_argument(
        "--annotators",
        type=str,
        default=None,
        metavar="FILE.csv",
        help="who drew which mask, columns id,annotator (default: what masks/NAME/, annotators.csv or the set say)",
    )
    parser.add_argument(
        "--remap", type=str, default=None, help="new class numbers for mask values: 7:1,900:2"
    )
    parser.add_argument("--ignore", type=str, default=None, help="mask values of unknown pixels: 9 or 9,200")
    add_file_options(parser)
    parser.add_argument(
        "--out", type=str, default=".", metavar="DIR", help=f"folder of the page {PAGE} (default: here)"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Diagnose, print the sentences, write the page; 2 where there is no pair."""
    annotators = None if options.annotators is None else Path(options.annotators)
    if (Path(options.path) / MANIFEST).exists():  # its labels are settled
        refuse(options, "diagnose SET", "remap", "ignore", *reading_of(options))
    with console.status("comparing masks"):
        found = read_pairs(
            Path(options.path),
            remap=remap_of(options),
            annotators=annotators,
            **reading_of(options),
        )
        diagnosis = found.diagnose()
    advice = advise(diagnosis)
    if options.json:
        parts = {"classes": diagnosis.classes, "annotators": diagnosis.annotators}
        broken_down = {
            name: {key: part.to_dict() for key, part in held.items()} for name, held in parts.items()
        }
        print_json({**diagnosis.total.to_dict(), "advice": advice.sentence, **broken_down})
    else:
        out = plain_output()
        for sentence in [*sentences(diagnosis), advice.sentence]:
            out.print(sentence)
    for note in found.notes:
        print_note(console, note)
    if not found.pairs:
        return 2
    command = shlex.join(["metadcseg", "diagnose", options.path])
    title = f"How the masks of {Path(options.path).resolve().name} are wrong"
    page = write_diagnosis(found, diagnosis, advice, Path(options.out), title, [command])
    console.print(f"the page: {page.resolve()}", markup=False, highlight=False, soft_wrap=True)
    return 0
