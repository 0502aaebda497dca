"""``metadcseg audit``: which masks are wrong, where, how sure that is, and what they should be."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import (
    add_device_option,
    add_split_option,
    add_trust_option,
    check_split,
    plain_output,
    print_json,
    progress_bar,
)
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError

DESCRIPTION = """Say which masks of a set are wrong, where, and how sure that is, from its verified pairs and a trained
network. Writes cases.csv and regions.csv (worst first), wrong/ (255 times the probability that a label is wrong),
corrected/sure, balanced and network, and a page to review them, index.html. The same command goes on where it was
stopped."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("run", type=str, help="the folder that train wrote; with --next that of an audit")
    parser.add_argument("--out", type=str, default=None, help="the folder of the audit")
    parser.add_argument(
        "--next", type=int, default=None, help="only say which so many cases of an audit to verify next"
    )
    parser.add_argument(
        "--data", type=str, default=None, help="a prepared set (default: the one it was trained on)"
    )
    add_split_option(parser, "train")
    parser.add_argument(
        "--threshold", type=float, default=0.7, help="mean probability from which a region is flagged"
    )
    parser.add_argument(
        "--sure", type=float, default=0.9, help="probability from which corrected/sure changes a pixel"
    )
    parser.add_argument(
        "--folds",
        type=int,
        default=0,
        help="train so many networks with the run's options, each judging masks that it was not shown (default: ask "
        "the run's own network)",
    )
    told = "processes that judge cases, each on one thread with one case in memory (default 0: this one)"
    parser.add_argument("--workers", type=int, default=0, help=told)
    add_device_option(parser)
    add_trust_option(parser)
    parser.add_argument(
        "--json", action="store_true", help="print audit.json, or the next cases, as one JSON object"
    )


def run(options: Namespace, console: Console) -> int:
    """Audit, and say what was found; or say which cases of an audit to verify next."""
    if options.next is not None:
        return _next(options)
    if options.out is None:
        raise InputError("give --out FOLDER, which takes the audit")
    check_split(options.split)
    folder, out = Path(options.run), Path(options.out)
    try:
        with progress_bar(console, "auditing") as advance:
            # torch takes seconds to load: the bar is there before
            from metadcseg.audit.run import audit_run

            record = audit_run(
                folder,
                out,
                None if options.data is None else PreparedSet.open(options.data),
                split=options.split,
                threshold=options.threshold,
                sure=options.sure,
                folds=options.folds,
                device=options.accelerator,
                trust_code=options.trust_code,
                workers=options.workers,
                progress=advance,
                console=console,
            )
    except KeyboardInterrupt:
        console.print("note: cases that are done are kept; the same command goes on", markup=False)
        raise
    if options.json:
        print_json(record)
        return 0
    for sentence in record["sentences"]:
        plain_output().print(sentence)
    plain_output().print(f"look at it: {out / 'index.html'}")
    return 0


def _next(options: Namespace) -> int:
    from metadcseg.audit.verify_next import verify_next

    if others := [name for name in ("out", "data", "folds", "workers") if options[name]]:
        raise InputError(f"--next only reads an audit that is there: leave out --{others[0]}")
    choices = verify_next(Path(options.run), options.next)
    rows = [
        {"case": one.case.id, "expected_dsc": one.case.dsc, "annotator": one.case.annotator, "gain": one.gain}
        for one in choices
    ]
    if options.json:
        print_json({"next": rows})
        return 0
    for place, row in enumerate(rows, start=1):
        by = f", drawn by {row['annotator']}" if row["annotator"] else ""
        plain_output().print(f"{place}. {row['case']}: expected DSC {row['expected_dsc']:.2f}{by}")
    return 0
