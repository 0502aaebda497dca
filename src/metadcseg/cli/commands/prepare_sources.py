"""``metadcseg prepare`` for volumes: the options, a folder of one's own, and data sets whose layout is known."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.text import Text

from metadcseg.cli.commands.console import (
    Advance,
    parse_gold,
    parse_ignore,
    parse_regions,
    parse_remap,
    progress_bar,
)
from metadcseg.data.download.fetch import archives_of, fetch
from metadcseg.data.prepare.images import PrepareReport
from metadcseg.data.prepare.volume_estimate import estimate
from metadcseg.data.prepare.volumes import limited, prepare_volumes
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.sources.case import VolumeScan
from metadcseg.data.sources.known import KNOWN, scan_known
from metadcseg.data.sources.kvasir import KVASIR_SEG
from metadcseg.data.sources.patterns import Patterns, scan_patterns
from metadcseg.data.sources.roles import Draw
from metadcseg.data.sources.volume_folder import scan_volume_folder
from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.errors import InputError, unknown_name

NAMES = (*KNOWN, "patterns")
"""Data sets of volumes that lie in ``--source``."""

PATTERN_OPTIONS = ("image", "label", "truth", "label_confidence", "labels")

_VOLUMES = (
    (
        "axis",
        "auto",
        "which axis is sliced: x, y, z, axial, coronal, sagittal; auto: that of the largest spacing",
    ),
    ("pixel", "as they are", "side of a pixel of the slices in mm, to which they are resampled"),
    ("normalize", "zscore", "over each volume: zscore, nonzero, percentile, window:LOW,HIGH or none"),
    ("crop", "none", "content: leave out the background around the content"),
    ("empty", "keep", "drop: leave out slices without foreground, of training and gold volumes only"),
    ("order", "world", "file: turn no slice, as sets of before were cut, for their networks"),
)
"""Options of volumes: name, default, what they mean."""


def add_volume_options(parser: ArgumentParser) -> None:
    """Add the options of volumes and of their sources."""
    for name, default, what in _VOLUMES:
        flag, told = f"--{name.replace('_', '-')}", f"volumes: {what} (by default {default})"
        parser.add_argument(flag, dest=name, type=str, default=None, help=told)
    add_source_options(parser)


def add_source_options(parser: ArgumentParser) -> None:
    """Add the options that say which files a data set holds and what they mean."""
    parser.add_argument("--source", type=str, default=None, help="where a named data set lies")
    add_file_options(parser)
    parser.add_argument(
        "--image",
        type=str,
        action="append",
        default=None,
        help="patterns: where the image of a case is, such as '{role}/{case}/t1.nii.gz'; once for every channel",
    )
    for name, what in (
        ("label", "where its label is"),
        ("truth", "where a reference beside the label is"),
        ("label_confidence", "where a volume of trust in the label is, from 0 to 1"),
    ):
        parser.add_argument(f"--{name}", type=str, default=None, help=f"patterns: {what}")
    parser.add_argument("--labels", type=str, default=None, help="acdc: label (the default), or scribble")


def add_file_options(parser: ArgumentParser) -> None:
    """Add the options that say how files of volumes are read."""
    for name in ("image", "label"):
        told = f"volumes: name of the {name} in HDF5 files (by default {name})"
        parser.add_argument(f"--{name}-key", dest=f"{name}_key", type=str, default=None, help=told)
    parser.add_argument(
        "--resample-labels",
        dest="resample_labels",
        action="store_true",
        help="volumes: bring labels on another grid than their image onto it (nearest voxel)",
    )


def download_source(options: Namespace, console: Console) -> None:
    """Fetch a data set to ``--source``; say first whose it is.

    Raises:
        InputError: where it cannot be had.
    """
    what = options.what
    archives = archives_of(what)
    if options.source is None:
        raise InputError(f"--download needs --source: the folder that {what} shall go to")
    known = KNOWN.get(what)
    facts = KVASIR_SEG if known is None else vars(known)
    console.print(Text(whose(facts)), soft_wrap=True)
    for archive in archives:
        console.print(Text(f"from {archive.url} ({archive.size}) to {options.source}"), soft_wrap=True)
    with progress_bar(console, "downloading (MiB)") as advance:
        fetch(what, Path(options.source), progress=lambda done, total: advance(done >> 20, total >> 20))


def whose(facts: Mapping[str, Any]) -> str:
    """Return the line about a data set's page, licence and citation."""
    return "{title} ({url}). Licence: {licence}. Please cite: {citation}".format(**facts)


def prepare_known(options: Namespace, advance: Advance, console: Console) -> PrepareReport:
    """Prepare a data set that lies in ``--source``; say first whose it is and what it takes."""
    scan = scan_source(options.what, options)
    refuse(options, f"prepare {options.what}", "spacing")
    return _prepare(options, scan, options.name or options.what, advance, console)


def scan_source(what: str, options: Namespace) -> VolumeScan:
    """Return what a named data set holds.

    Args:
        what: one of ``NAMES``.
        options: of the command.

    Raises:
        InputError: where an option is missing, does not belong to it, or the folder is another.
    """
    if options.source is None:
        raise InputError(f"{what} needs --source: the folder it lies in")
    own = {"acdc": ("labels",), "patterns": ("image", "label", "truth", "label_confidence")}.get(what, ())
    refuse(options, what, *(name for name in PATTERN_OPTIONS if name not in own))
    gold = None if options.gold is None else parse_gold(options.gold)
    if isinstance(gold, GoldSlices):
        raise InputError(
            f"--gold {gold} counts slices, which are drawn from a prepared set: prepare it with --gold 0, then "
            f"'metadcseg split SET --keep --gold {gold} --out SET2'"
        )
    draw = Draw(options.seed, gold, options.val, options.test)
    source = Path(options.source)
    if what != "patterns":
        given = {} if options.labels is None else {"labels": options.labels}
        return scan_known(what, source, draw, **given)
    if options.label is None:
        raise InputError("patterns need --label 'PATTERN', such as 'train/{case}/label.nii.gz'")
    patterns = Patterns(tuple(options.image or ()), options.label, options.truth, options.label_confidence)
    keys = {"image_key": options.image_key, "label_key": options.label_key}
    return scan_patterns(source, patterns, draw, **keys)


def prepare_volume_folder(options: Namespace, advance: Advance, console: Console) -> PrepareReport:
    """Prepare a folder of volumes with images/ and masks/."""
    refuse(options, f"prepare {options.what}", "spacing")
    folder = Path(options.what)
    scan = scan_volume_folder(
        folder,
        seed=options.seed,
        image_key=options.image_key,
        label_key=options.label_key,
        **{role: options[role] for role in ("val", "test") if options[role] is not None},
    )
    return _prepare(options, scan, options.name or folder.resolve().name, advance, console)


def refuse_misspelt(what: str, *others: str) -> None:
    """Refuse what is no folder and nearly the name of a data set.

    Args:
        what: was given.
        others: names that the command knows beside those of volumes.

    Raises:
        InputError: with the nearest name and all of them.
    """
    names = (*others, *NAMES)
    if what not in names and not Path(what).exists() and get_close_matches(what, names):
        raise unknown_name("folder or data set", what, names)


def refuse_volume_options(options: Namespace) -> None:
    """Refuse options of volumes where there are none."""
    given = [
        name
        for name in (*(row[0] for row in _VOLUMES), "image_key", "label_key")
        if options[name] is not None
    ]
    if options.resample_labels:
        given.append("resample-labels")
    if given:
        raise InputError(
            f"--{given[0].replace('_', '-')} is for volumes, and {options.what} has no volumes: leave it out"
        )


def remap_of(options: Namespace) -> dict[int, int] | None:
    """Return mask value -> class number of ``--remap`` and ``--ignore`` together, None where neither is given."""
    remap = {} if options.remap is None else parse_remap(options.remap)
    ignored = {} if options.ignore is None else parse_ignore(options.ignore)
    for value in remap.keys() & ignored.keys():
        raise InputError(f"--ignore {value} stands in --remap as well: leave it out of one of the two")
    return {**remap, **ignored} or None


def _prepare(
    options: Namespace, scan: VolumeScan, name: str, advance: Advance, console: Console
) -> PrepareReport:
    slices = _slices(options)
    scan = limited(scan, options.limit, options.seed)  # what is told is what will be done
    source: dict[str, Any] = scan.source or {}
    if "title" in source:
        console.print(Text(whose(source)), soft_wrap=True)
    needed = estimate(scan, slices, edges=options.edges != "none").finding(Path(options.out))
    console.print(Text(f"{len(scan.volumes)} volumes: {needed.sentence}"), soft_wrap=True)
    return prepare_volumes(
        scan,
        Path(options.out),
        name=name,
        slices=slices,
        remap=remap_of(options),
        regions=parse_regions(options.region or ()),
        edges=options.edges,
        resample_labels=options.resample_labels,
        progress=advance,
    )


def _slices(options: Namespace) -> SliceOptions:
    given = {
        name: options[name]
        for name in ("axis", "normalize", "crop", "empty", "order")
        if options[name] is not None
    }
    if options.pixel is not None:
        try:
            given["pixel"] = float(options.pixel)
        except ValueError:
            raise InputError(
                f"--pixel must be a size above 0 in mm, such as 1.5, got '{options.pixel}'"
            ) from None
    return SliceOptions(**given)


def drawn_gold(text: str | None) -> float | int | None:
    """Return a number of gold cases or a share; None leaves it to the source."""
    gold = None if text is None else parse_gold(text)
    if isinstance(gold, list):
        raise InputError(f"--gold {text} is a file, and this source draws its gold: give a number or a share")
    if isinstance(gold, GoldSlices):
        raise InputError(
            f"--gold {text} counts slices of volumes, and this source has none: give {gold.share}"
        )
    return gold


def refuse(options: Namespace, command: str, *names: str) -> None:
    """Refuse options that were given and have no meaning for a command."""
    for name in names:
        if options[name] is not None and options[name] is not False:
            raise InputError(f"--{name.replace('_', '-')} does not belong to '{command}': leave it out")
