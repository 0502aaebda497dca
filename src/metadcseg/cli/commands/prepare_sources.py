"""Options of data for ``metadcseg prepare`` and ``check``, which of them belong together, and data sets by name."""

import shlex
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.text import Text

from metadcseg.cli.commands.console import (
    parse_gold,
    parse_ignore,
    parse_remap,
    progress_bar,
)
from metadcseg.data.download.fetch import archives_of, fetch
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.sources.by_class import SUBFOLDERS
from metadcseg.data.sources.case import Scan
from metadcseg.data.sources.known import KNOWN, scan_known
from metadcseg.data.sources.kvasir import KVASIR_SEG, scan_kvasir
from metadcseg.data.sources.patterns import Patterns, scan_patterns
from metadcseg.data.sources.roles import Draw
from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.errors import InputError, unknown_name

KVASIR = "kvasir-seg"
NAMES = (KVASIR, *KNOWN, "patterns")
"""Data sets that lie in ``--source``."""

GROUPS = {
    "data sets": ("source", "download"),
    "gold": ("gold",),
    "limit": ("limit",),
    "masks": ("remap", "ignore", "region"),
    "annotators": ("fuse", "confidence", "subfolders"),
    "images": ("spacing",),
    "volumes": (
        *("axis", "pixel", "normalize", "crop", "empty"),
        *("image_key", "label_key", "resample_labels", "adopt_grid", "crop_labels"),
    ),
    "patterns": ("image", "label", "truth", "label_confidence"),
    "acdc": ("labels",),
    "phantom": ("count", "size", "classes", "group", "difficulty"),
}
"""Options that not every kind of data has, by what they are about."""

_KNOWN = ("data sets", "gold", "limit", "masks", "volumes")
_APPLY = {
    "phantom": ("phantom", "gold"),
    "kvasir-seg": ("data sets", "gold", "limit"),
    "folder of images": ("limit", "masks", "annotators", "images"),
    "folder of volumes": ("limit", "masks", "annotators", "volumes"),
    "patterns": (*_KNOWN, "patterns"),
    "acdc": (*_KNOWN, "acdc"),
}
"""Kind of data -> the groups that it has; any other data set of volumes has those of all."""

_VOLUMES = (
    (
        "axis",
        "auto",
        "which axis is sliced: x, y, z, axial, coronal, sagittal; auto: that of the largest spacing",
    ),
    ("pixel", "as they are", "side of a pixel of the slices in mm, to which they are resampled"),
    ("normalize", "zscore", "over each volume: zscore, nonzero, percentile, window:LOW,HIGH or none"),
    ("crop", "none", "content: leave out the background around the content"),
    (
        "empty",
        "keep",
        "drop: leave out slices without foreground in any mask, of training and gold volumes only",
    ),
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
    """Add the options that say how files of a folder are read."""
    for name in ("image", "label"):
        told = f"volumes: name of the {name} in HDF5 files (by default {name})"
        parser.add_argument(f"--{name}-key", dest=f"{name}_key", type=str, default=None, help=told)
    parser.add_argument(
        "--resample-labels",
        dest="resample_labels",
        action="store_true",
        help="volumes: bring labels on another grid than their image onto it (nearest voxel)",
    )
    parser.add_argument(
        "--adopt-grid",
        dest="adopt_grid",
        action="store_true",
        help="volumes: labels of the shape of their image that do not say where they lie take its place",
    )
    parser.add_argument(
        "--crop-labels",
        dest="crop_labels",
        action="store_true",
        help="volumes: with --resample-labels, what of labels lies outside of their image is cut off",
    )
    parser.add_argument(
        "--subfolders",
        type=str,
        default=None,
        metavar="|".join(SUBFOLDERS),
        help="a folder: whose the folders in masks/ are, several annotators' (the default) or one for each class",
    )


OF_SOURCES = ("source", "gold", "image", "label", "truth", "label_confidence", "labels")
"""Options of ``check`` that a data set in ``--source`` has, and no folder."""

OF_FOLDERS = (
    *(
        "remap",
        "ignore",
        "image_key",
        "label_key",
        "resample_labels",
        "adopt_grid",
        "crop_labels",
        "subfolders",
    ),
    *("val", "test"),
)
"""Options of ``check`` that say how a source is read, which of a prepared set is settled."""


def check_command(what: str, options: Namespace) -> str:
    """Return the ``check`` that sees what ``prepare`` saw, as it is typed.

    Args:
        what: a folder, or one of ``NAMES``.
        options: of ``prepare``; what ``check`` does not know is left out.

    Example:
        >>> options = Namespace(source=None, remap="7:1", image=["a b.png"], crop_labels=True, seed=3)
        >>> check_command("my masks", options)
        "metadcseg check 'my masks' --image 'a b.png' --remap 7:1 --crop-labels --seed 3"
    """
    words = ["metadcseg", "check", what]
    for name in (*OF_SOURCES, *OF_FOLDERS, "seed"):
        option, held = _spelt(name), getattr(options, name, None)
        if held is True:
            words.append(option)
        elif held is not None and held is not False and (name, held) != ("seed", 0):
            for value in held if isinstance(held, list) else [held]:
                words += [f"{option}={value}"] if str(value).startswith("-") else [option, str(value)]
    return shlex.join(words)


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


def scan_source(what: str, options: Namespace, command: str) -> Scan:
    """Return what a named data set holds.

    Args:
        what: one of ``NAMES``.
        options: of the command; ``limit`` is used where a source draws its gold from what it leaves.
        command: its name, for sentences.

    Raises:
        InputError: where an option is missing, does not belong to it, or the folder is another.
    """
    if options.source is None:
        raise InputError(f"{what} needs --source: the folder it lies in")
    refuse_others(options, f"{command} {what}", what)
    if what == KVASIR:
        gold = drawn_gold(options.gold)
        chosen = {} if gold is None else {"gold": gold}
        limit = options.get("limit")
        return scan_kvasir(
            Path(options.source), seed=options.seed, limit=limit, **shares_of(options), **chosen
        )
    asked = None if options.gold is None else parse_gold(options.gold)
    if isinstance(asked, GoldSlices):
        raise InputError(
            f"--gold {asked} counts slices, which are drawn from a prepared set: prepare it with --gold 0, then "
            f"'metadcseg split SET --keep --gold {asked} --out SET2'"
        )
    draw = Draw(options.seed, asked, options.val, options.test)
    source = Path(options.source)
    if what != "patterns":
        given = {} if options.labels is None else {"labels": options.labels}
        return scan_known(what, source, draw, **given)
    if options.label is None:
        raise InputError("patterns need --label 'PATTERN', such as 'train/{case}/label.nii.gz'")
    patterns = Patterns(tuple(options.image or ()), options.label, options.truth, options.label_confidence)
    keys = {"image_key": options.image_key, "label_key": options.label_key}
    return scan_patterns(source, patterns, draw, **keys)


def shares_of(options: Namespace) -> dict[str, Any]:
    """Return the shares for validation and test that were given."""
    return {role: options[role] for role in ("val", "test") if options[role] is not None}


def refuse_misspelt(what: str, *others: str) -> None:
    """Refuse what is no folder and nearly the name of a data set.

    Args:
        what: was given.
        others: names that the command knows beside those of data sets.

    Raises:
        InputError: with the nearest name and all of them.
    """
    names = (*others, *NAMES)
    if what not in names and not Path(what).exists() and get_close_matches(what, names):
        raise unknown_name("folder or data set", what, names)


def refuse_others(options: Namespace, command: str, kind: str) -> None:
    """Refuse options that a kind of data does not have.

    Args:
        options: of a command, which need not have all.
        command: for the sentence.
        kind: ``phantom``, a data set, ``folder of images`` or ``folder of volumes``.

    Raises:
        InputError: naming the first that was given.
    """
    apply = _APPLY.get(kind, _KNOWN)
    others = (name for title, names in GROUPS.items() if title not in apply for name in names)
    refuse(options, command, *(name for name in others if name in options))


def placing_of(options: Namespace) -> dict[str, Any]:
    """Return what becomes of masks that do not lie on the grid of their image."""
    return {name: options[name] for name in ("resample_labels", "adopt_grid", "crop_labels")}


def reading_of(options: Namespace) -> dict[str, Any]:
    """Return how a folder is read: keys of HDF5 files, masks on another grid, and what folders in masks/ are."""
    names = ("image_key", "label_key", "subfolders")
    return {**{name: options[name] for name in names}, **placing_of(options)}


def remap_of(options: Namespace) -> dict[int, int] | None:
    """Return mask value -> class number of ``--remap`` and ``--ignore`` together, None where neither is given."""
    remap = {} if options.remap is None else parse_remap(options.remap)
    ignored = {} if options.ignore is None else parse_ignore(options.ignore)
    for value in remap.keys() & ignored.keys():
        raise InputError(f"--ignore {value} stands in --remap as well: leave it out of one of the two")
    return {**remap, **ignored} or None


def slices_of(options: Namespace) -> SliceOptions:
    """Return how volumes are cut; by default where nothing was given."""
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
            raise InputError(f"{_spelt(name)} does not belong to '{command}': leave it out")


def _spelt(name: str) -> str:
    """Return an option as it is typed."""
    return f"--{name if name == 'label_confidence' else name.replace('_', '-')}"
