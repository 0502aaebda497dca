"""``metadcseg import-predictions``: masks of another tool, scored as our own runs are."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import (
    add_split_option,
    check_split,
    parse_remap,
    print_json,
    print_note,
    print_table,
    progress_bar,
    score_table,
)
from metadcseg.data.findings import plural
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.results.external import external_folder

DESCRIPTION = """Score masks that another tool predicted (nnU-Net, or any other) with the same metrics, and keep them as
a folder that compare reads as a run. With --benchmark they become a row of that benchmark's report, marked as another
pipeline with its own budget. A mask belongs to the case whose id, or else name in export-nnunet, is its file name."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("set", type=str, help="the prepared set whose cases were predicted")
    parser.add_argument("--predictions", type=str, required=True, help="folder with one mask per case")
    parser.add_argument("--tool", type=str, required=True, help="name and version of the tool")
    parser.add_argument("--label", type=str, default=None, help="what tables call it (default: the tool)")
    parser.add_argument("--out", type=str, default=None, help="the new folder")
    parser.add_argument(
        "--benchmark", type=str, default=None, help="in place of --out: the benchmark that gets the row"
    )
    add_split_option(parser)
    parser.add_argument("--remap", type=str, default=None, help="mask value to class number: 255:1")
    parser.add_argument(
        "--gold", type=str, default="unknown", help="how it used gold masks: none, once or balanced"
    )
    parser.add_argument("--seed", type=int, default=0, help="of its training")
    parser.add_argument("--iterations", type=int, default=None, help="optimizer steps")
    parser.add_argument("--images", type=int, default=None, help="images drawn in training: steps x batch")
    parser.add_argument("--parameters", type=int, default=None, help="of its network")
    parser.add_argument("--minutes", type=float, default=None, help="of training, wall clock")
    parser.add_argument("--pretrained", type=str, default=None, help="the weights that it began with")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Import, score and print the means."""
    check_split(options.split)
    if (options.out is None) == (options.benchmark is None):
        raise InputError("give either --out FOLDER or --benchmark FOLDER")
    if options.benchmark is not None and options.split != "test":
        raise InputError(
            f"--benchmark takes test cases, which its report shows: leave out --split {options.split}, or give "
            "--out FOLDER"
        )
    prepared = PreparedSet.open(Path(options.set))
    label = options.label or options.tool
    out = Path(options.out) if options.out is not None else None
    if out is None:
        out = external_folder(Path(options.benchmark), label, prepared.fingerprint)
    with progress_bar(console, "scoring") as advance:  # torch takes seconds to load: the bar is there before
        from metadcseg.evaluation.imported import ExternalTool, import_predictions

        names = ("tool", "gold", "seed", "iterations", "images", "parameters", "minutes", "pretrained")
        record = import_predictions(
            prepared,
            Path(options.predictions),
            out,
            ExternalTool(**{name: getattr(options, name) for name in names}),
            label=label,
            split=options.split,
            remap=None if options.remap is None else parse_remap(options.remap),
            progress=advance,
        )
    if options.json:
        print_json(record)
        return 0
    print_table(
        score_table([(label, record)], f"{options.split}: {plural(record['summary']['dsc']['n'], 'case')}")
    )
    for note in record["notes"]:
        print_note(console, note)
    return 0
