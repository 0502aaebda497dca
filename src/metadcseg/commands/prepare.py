"""``metadcseg prepare``: from files of any kind to one prepared set."""

from dataclasses import asdict
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.markup import escape

from metadcseg.commands.console import Advance, parse_remap, print_json, progress_bar
from metadcseg.data.phantom import PhantomOptions, phantom_cases
from metadcseg.data.prepare import PrepareReport, prepare_cases, prepare_folder, prepare_kvasir
from metadcseg.errors import InputError

DESCRIPTION = """Read images and masks once, check all of them, and write a prepared set: checksummed arrays and a
table of cases. WHAT is a folder of your own (images/, masks/ matched by file name; gold/ with verified masks or
gold.txt with their names; optionally splits.csv with id,role,group), or kvasir-seg (--source: the downloaded
folder), or phantom (images drawn by code). Nothing is written where something is wrong."""

_SHOWN = 5


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("what", type=str, metavar="WHAT", help="a folder, or kvasir-seg, or phantom")
    parser.add_argument("--source", type=str, default=None, help="where a known data set lies")
    parser.add_argument("--out", type=str, required=True, help="where the prepared set goes")
    parser.add_argument("--name", type=str, default=None, help="what the set is called in reports")
    parser.add_argument("--seed", type=int, default=0, help="of splits, gold and phantom images")
    parser.add_argument(
        "--gold",
        type=str,
        default=None,
        help="gold cases among the training cases of kvasir-seg or phantom: a number, or a share such as 0.02 "
        "(a folder of your own names its gold in gold/ or gold.txt)",
    )
    parser.add_argument("--limit", type=int, default=None, help="use only so many training cases")
    parser.add_argument(
        "--val", type=float, default=0.1, help="share of cases for validation where none is given"
    )
    parser.add_argument(
        "--test", type=float, default=0.1, help="share of cases for the test where none is given"
    )
    parser.add_argument(
        "--remap", type=str, default=None, help="new class numbers for mask values: 7:1,900:2"
    )
    parser.add_argument("--count", type=int, default=PhantomOptions.count, help="phantom: number of images")
    parser.add_argument("--size", type=int, default=PhantomOptions.size, help="phantom: pixels per side")
    parser.add_argument(
        "--classes", type=int, default=PhantomOptions.classes, help="phantom: classes, 2 to 4"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Prepare, and say what was written and what is worth knowing."""
    with progress_bar(console, "preparing") as advance:
        report = _prepare(options, advance)
    for finding in report.findings[:_SHOWN]:
        console.print(
            f"[yellow]{finding.severity}[/]: {escape(finding.sentence)}", highlight=False, soft_wrap=True
        )
    if len(report.findings) > _SHOWN:
        console.print(
            f"... {len(report.findings) - _SHOWN} more: metadcseg check {options.what}", highlight=False
        )
    if options.json:
        print_json(report.to_dict())
        return 0
    roles = ", ".join(f"{number} {role}" for role, number in report.cases.items())
    Console().print(
        f"{report.path}: {roles}; classes {', '.join(report.classes)}; {report.raw_bytes / 2**20:.0f} MiB of pixels",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return 0


def _prepare(options: Namespace, advance: Advance) -> PrepareReport:
    out = Path(options.out)
    shares = {"seed": options.seed, "limit": options.limit, "val": options.val, "test": options.test}
    if options.what == "phantom":
        _refuse(options, "source", "remap", "limit")
        drawn = PhantomOptions(options.count, options.size, classes=options.classes, seed=options.seed)
        gold = _gold(options.gold)
        number = round(gold * options.count) if isinstance(gold, float) else gold
        counts = {role: round(shares[role] * options.count) for role in ("val", "test")}
        return prepare_cases(
            phantom_cases(drawn, gold=number, **counts),
            out,
            name=options.name or "phantom",
            source={"source": "phantom", **asdict(drawn)},
            progress=advance,
        )
    if options.what == "kvasir-seg":
        _refuse(options, "remap")
        if options.source is None:
            raise InputError("kvasir-seg needs --source: the folder it was downloaded to")
        named = {"name": options.name} if options.name else {}
        gold = _gold(options.gold)
        chosen = named if gold is None else {**named, "gold": gold}
        return prepare_kvasir(Path(options.source), out, progress=advance, **shares, **chosen)
    _refuse(options, "source", "gold")
    remap = None if options.remap is None else parse_remap(options.remap)
    return prepare_folder(Path(options.what), out, name=options.name, remap=remap, progress=advance, **shares)


def _refuse(options: Namespace, *names: str) -> None:
    for name in names:
        if options[name] is not None:
            raise InputError(f"--{name} does not belong to 'prepare {options.what}': leave it out")


def _gold(text: str | None) -> float | int | None:
    """Return a number of cases (written without a point) or a share below one."""
    if text is None:
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise InputError(f"--gold must be a number of cases or a share below 1, got '{text}'") from None
