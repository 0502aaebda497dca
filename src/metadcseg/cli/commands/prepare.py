"""``metadcseg prepare``: from files of any kind to one prepared set."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.text import Text

from metadcseg.cli.commands.console import (
    Advance,
    add_workers_option,
    check_seed,
    parse_regions,
    plain_output,
    print_json,
    progress_bar,
)
from metadcseg.cli.commands.prepare_sources import (
    GROUPS,
    NAMES,
    add_volume_options,
    check_command,
    download_source,
    drawn_gold,
    placing_of,
    refuse_misspelt,
    refuse_others,
    remap_of,
    scan_source,
    shares_of,
    slices_of,
    whose,
)
from metadcseg.data.findings import Finding, grouped, plural
from metadcseg.data.prepare.by_role import class_table
from metadcseg.data.prepare.edges import DEFAULT
from metadcseg.data.prepare.fusing import AGREEMENT, FUSIONS
from metadcseg.data.prepare.pipeline import limited, prepare_scan
from metadcseg.data.prepare.report import PrepareReport
from metadcseg.data.sources import Scan, scan_folder
from metadcseg.data.sources.volume_folder import holds_volumes
from metadcseg.data.store.reader import refuse_occupied
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases
from metadcseg.errors import InputError, one_line
from metadcseg.validation import check_workers

__all__ = ["DESCRIPTION", "GROUPS", "add_options", "run"]

DESCRIPTION = """Read images and masks once, check all of them, and write a prepared set: checksummed arrays and a
table of cases. WHAT is a folder of your own (images/, masks/ matched by file name; gold/ with verified masks or
gold.txt with their names; masks/NAME/ of several annotators; optionally splits.csv with id,role,group), of 2D images or
of volumes, which become slices; or a data set that lies in --source: kvasir-seg, promise12, msd-heart, msd-brain, msd
(any task of the Decathlon), acdc, nnunet (a raw folder), patterns (any layout, told by --image and --label); or phantom
(images drawn by code). Nothing is written where something is wrong."""

_PHANTOM = {
    "count": "number of images",
    "size": "pixels per side",
    "classes": "classes, 2 to 4",
    "group": "images of each pretended patient",
    "difficulty": "0 (clear outlines, little noise) to 1 (weak contrast, outlines missing to a half)",
}


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("what", type=str, metavar="WHAT", help="a folder, the name of a data set, or phantom")
    parser.add_argument("--out", type=str, required=True, help="where the prepared set goes")
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch the data set from its official address to --source first (kvasir-seg, promise12, msd-heart, "
        "msd-brain); goes on where it stopped",
    )
    parser.add_argument("--name", type=str, default=None, help="what the set is called in reports")
    parser.add_argument("--seed", type=int, default=0, help="of splits, gold, annotators and phantom images")
    parser.add_argument(
        "--gold",
        type=str,
        default=None,
        help="gold cases among the training cases of a data set or phantom: a number, a share such as 0.02, or a file "
        "of ids (a folder of your own names its gold in gold/ or gold.txt)",
    )
    parser.add_argument("--limit", type=int, default=None, help="use only so many training cases")
    for role, purpose in (("val", "validation"), ("test", "the test")):
        by_default = "by default 0.1, of phantom images " + ("0.2" if role == "test" else "0.1")
        parser.add_argument(
            f"--{role}",
            type=float,
            default=None,
            help=f"share of cases for {purpose} where none is given ({by_default})",
        )
    parser.add_argument(
        "--remap", type=str, default=None, help="new class numbers for mask values: 7:1,900:2"
    )
    parser.add_argument("--ignore", type=str, default=None, help="mask values of unknown pixels: 9 or 9,200")
    parser.add_argument(
        "--region",
        type=str,
        action="append",
        default=None,
        help="a union of classes that is scored beside them, such as core:2,3; once for each",
    )
    parser.add_argument(
        "--fuse",
        type=str,
        default=None,
        metavar="|".join(FUSIONS),
        help="folders of several annotators: the label is their majority (the default; ties are unknown), fused by "
        "STAPLE, or one outline drawn by seed; the set keeps all outlines",
    )
    parser.add_argument(
        "--confidence",
        type=str,
        default=None,
        metavar=AGREEMENT,
        help="folders of several annotators: trust a label as far as they agree on it (by default fully)",
    )
    for name, what in _PHANTOM.items():
        default = getattr(PhantomOptions, name)
        told = f"phantom: {what} (by default {default})"
        parser.add_argument(f"--{name}", type=type(default), default=None, help=told)
    parser.add_argument(
        "--spacing", type=str, default=None, help="a folder: size of a pixel in mm, ROW,COLUMN or one number"
    )
    add_volume_options(parser)
    parser.add_argument(
        "--edges",
        type=str,
        default=DEFAULT,
        metavar="pidinet|none|FILE",
        help="who finds the edges that join the boundary (eq. 8), once per image: the detector of the package, nobody, "
        "or PiDiNet with the weights of a file, such as a published table5_pidinet.pth",
    )
    add_workers_option(parser)
    parser.add_argument("--json", action="store_true", help="print what was written as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Prepare, and say what was written and what is worth knowing."""
    refuse_occupied(Path(options.out))
    if options.download:
        download_source(options, console)
    with progress_bar(console, "preparing", share=True) as advance:
        report = _prepare(options, advance, console)
    findings = [finding for finding in report.findings if finding.code != "estimate"]  # told before the work
    for group in grouped(findings):
        line = Text.assemble((group.severity, "yellow"), f": {one_line(group.sentence)}")
        console.print(line, soft_wrap=True)
    if any(len(group.findings) > 1 for group in grouped(findings)) and not options.json:
        every = f"every file and case: {check_command(options.what, options)} --json"
        console.print(every, markup=False, highlight=False, soft_wrap=True)
    if options.json:
        print_json(report.to_dict())
        return 0
    for row in class_table(report.class_cases, report.volumes or report.cases):
        plain_output().print(Text(row))
    roles = ", ".join(f"{number} {role}" for role, number in report.cases.items())
    size = f"{report.raw_bytes / 2**20:.0f} MiB of pixels"
    edges = "no edges" if report.edges is None else f"edges by {report.edges['detector']}"
    roles += f"; {plural(report.pairs, 'pair')}" if report.pairs else ""
    plain_output().print(f"{report.path}: {roles}; classes {', '.join(report.classes)}; {edges}; {size}")
    return 0


def _prepare(options: Namespace, advance: Advance, console: Console) -> PrepareReport:
    check_seed(options.seed)
    workers = None if options.workers is None else check_workers(options.workers, least=1)
    scan, name = _scan(options)
    slices = slices_of(options)
    source: dict[str, Any] = scan.source or {}
    if "title" in source and not options.download:  # which has said so already
        console.print(Text(whose(source)), soft_wrap=True)

    def announce(needed: Finding) -> None:
        volumes = len(limited(scan, options.limit, options.seed).cases)
        console.print(Text(f"{volumes} volumes: {needed.sentence}"), soft_wrap=True)

    return prepare_scan(
        scan,
        Path(options.out),
        name=options.name or name,
        slices=slices,
        remap=remap_of(options),
        regions=parse_regions(options.region or ()),
        limit=options.limit,
        seed=options.seed,
        fuse=options.fuse,
        confidence=options.confidence,
        edges=options.edges,
        workers=workers,
        announce=announce,
        progress=advance,
        **placing_of(options),
    )


def _scan(options: Namespace) -> tuple[Scan, str]:
    """Return the cases and what their set is called."""
    what, folder = options.what, Path(options.what)
    if what in NAMES:
        return scan_source(what, options, "prepare"), what
    refuse_misspelt(what, "phantom")
    if what == "phantom":
        refuse_others(options, "prepare phantom", what)
        return _drawn(options), what
    kind = f"folder of {'volumes' if holds_volumes(folder) else 'images'}"
    refuse_others(options, f"prepare {what}", kind)
    scan = scan_folder(
        folder,
        seed=options.seed,
        limit=options.limit,
        image_key=options.image_key,
        label_key=options.label_key,
        subfolders=options.subfolders,
        **shares_of(options),
    )
    if options.spacing is not None:
        spacing = _spacing(options.spacing)
        scan = replace(scan, cases=tuple(replace(case, spacing=spacing) for case in scan.cases))
    return scan, folder.resolve().name


def _drawn(options: Namespace) -> Scan:
    """Return images drawn by code."""
    changed = {name: options[name] for name in _PHANTOM if options[name] is not None}
    drawn = PhantomOptions(**changed, seed=options.seed)
    written = asdict(drawn)
    if drawn.group == PhantomOptions.group:
        del written["group"]  # as sets had it before there was a choice: the same fingerprint
    gold = drawn_gold(options.gold)
    counts = {role: _part(role, options[role], drawn.count) for role in ("val", "test")}
    number = max(1, round(gold * drawn.count)) if isinstance(gold, float) else gold
    cases = phantom_cases(drawn, gold=number, **counts)
    return Scan(tuple(cases), source={"source": "phantom", **written})


def _spacing(text: str) -> tuple[float, float]:
    """Return (row, column) in mm from one number for both, or two with a comma."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < number < float("inf") for number in numbers):
        raise InputError(
            f"--spacing must be one or two numbers above 0 in mm, such as 0.5 or 0.5,0.7, got '{text}'"
        )
    return numbers[0], numbers[-1]


def _part(role: str, share: float | None, count: int) -> int | None:
    """Return how many of ``count`` cases a share is; None leaves it to the source."""
    if share is None:
        return None
    if not 0 <= share < 1:
        raise InputError(f"--{role} must be a share from 0 to below 1, got {share:g}")
    return round(share * count)
