"""Pairs from a folder or a prepared set: of a thousand images only the masks of the pairs are decoded."""

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from metadcseg.data.findings import Finding, plural
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.prepare.facts import MaskFacts, mask_facts
from metadcseg.data.prepare.labels import LabelScheme, class_names, settle
from metadcseg.data.prepare.meanings import Meanings, meanings
from metadcseg.data.prepare.reading import head_of, lies_on, load_image, load_mask, on_grid, size_of
from metadcseg.data.sources import RawCase, Scan, is_split_layout, scan_folder, scan_kvasir
from metadcseg.data.store.layout import MANIFEST
from metadcseg.errors import InputError
from metadcseg.pairs.found import FoundPairs
from metadcseg.pairs.of_set import pairs_of_set
from metadcseg.pairs.statistics import Pair

_ANNOTATORS = "annotators.csv"
_Place = Callable[[Volume, Grid, tuple[str, str]], Volume]


def read_pairs(
    path: Path,
    *,
    remap: Mapping[int, int] | None = None,
    annotators: Path | None = None,
    image_key: str | None = None,
    label_key: str | None = None,
    resample_labels: bool = False,
    adopt_grid: bool = False,
    crop_labels: bool = False,
) -> FoundPairs:
    """Find the pairs of a folder or a prepared set, whichever it is.

    Args:
        path: a folder with ``images/``, ``masks/`` and ``gold/`` (of images or of volumes), or a set
            (:func:`~metadcseg.pairs.of_set.pairs_of_set`).
        remap: value in a mask file -> class number, as for ``prepare``; a set has its labels already.
        annotators: a table of who drew which mask as given, with the columns ``id`` and ``annotator``; by default
            ``annotators.csv`` in the folder, where there is one.
        image_key: of the image in HDF5 files.
        label_key: of the label in HDF5 files.
        resample_labels: whether labels of volumes may lie on another grid than their image.
        adopt_grid: whether labels that do not say where they lie take the place of their image.
        crop_labels: whether labels that are resampled may reach beyond their image.

    Raises:
        InputError: where there is no such folder, a mask cannot be read or has another size than its twin, or the table
            is wrong.

    Example:
        >>> len(read_pairs(Path("my_folder")).pairs)  # doctest: +SKIP
        12
    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}: give a folder with images/, masks/ and gold/, or a prepared set")
    if (path / MANIFEST).exists():
        found, known = pairs_of_set(path)
    else:
        if is_split_layout(path):
            scan = scan_kvasir(path)
        else:
            scan = scan_folder(path, val=0.0, test=0.0, image_key=image_key, label_key=label_key)
        told = {**(scan.remap or {}), **(remap or {})}
        place = partial(on_grid, resample=resample_labels, adopt=adopt_grid, crop=crop_labels, remap=told)
        found = _of_scan(scan, remap or {}, place, _wrong(path, scan.findings))
        known = {case.id for case in scan.cases}
    table = annotators or path / _ANNOTATORS
    if annotators is None and not table.exists():
        return found
    names = read_annotators(table, known)
    pairs = tuple(replace(pair, annotator=names.get(pair.id)) for pair in found.pairs)
    unknown = sum(pair.annotator is None for pair in pairs)
    note = f"{table} names nobody for {plural(unknown, 'pair')}: they count in the whole only"
    return replace(found, pairs=pairs, notes=found.notes + ((note,) if unknown else ()))


def read_annotators(path: Path, ids: Collection[str]) -> dict[str, str]:
    """Read who drew which mask.

    Args:
        path: CSV in UTF-8 with the columns ``id`` and ``annotator``.
        ids: the cases that exist; a file name with suffix is taken for its stem.

    Returns:
        id -> annotator, of lines that name one.

    Raises:
        InputError: where the table cannot be read, lacks a column, or names a case twice or one that does not exist.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        rows = list(csv.DictReader(lines, strict=True, delimiter=";" if lines and ";" in lines[0] else ","))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}): save it as CSV in UTF-8") from error
    header = list(rows[0]) if rows else lines[:1]
    if rows and not {"id", "annotator"} <= set(header):
        raise InputError(
            f"{path}: the first line names the columns id,annotator, got {lines[0]!r}: correct it"
        )
    table: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name, who = (str(row.get(column) or "").strip() for column in ("id", "annotator"))
        case = next((known for known in (name, Path(name).stem) if known in ids), None)
        if case is None:
            near = get_close_matches(name, list(ids), n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "take the file name without suffix"
            raise InputError(f"{path}, line {number}: there is no case '{name}': {hint}")
        if case in table:
            raise InputError(f"{path}, line {number}: '{case}' stands twice: remove one line")
        if who:
            table[case] = who
    return table


def _of_scan(
    scan: Scan,
    remap: Mapping[int, int],
    place: _Place,
    notes: tuple[str, ...],
) -> FoundPairs:
    twins = {case.id: case for case in scan.cases if case.given is not None}
    stored = [_both(case, place) for case in twins.values()]
    known = [facts for given, verified in stored for _, facts in (given, verified)]

    def all_facts() -> list[MaskFacts]:
        alone = ((case, load_mask(case, "label")) for case in scan.cases if case.given is None)
        return known + [mask_facts(case.called("label"), mask) for case, mask in alone if mask is not None]

    remap = {**(scan.remap or {}), **remap}
    called = Meanings()
    if any(facts.names for facts in known):  # a table of names is one of all masks, as `prepare` makes it
        called = meanings(all_facts(), declared=(scan.values or scan.classes) is not None, remap=remap)
        if wrong := next((entry for entry in called.findings if entry.severity == "error"), None):
            raise InputError(wrong.sentence)
        notes += tuple(entry.sentence for entry in called.findings)
        stored = [[(mask, called.of(facts)) for mask, facts in both] for both in stored]
        known = [facts for both in stored for _, facts in both]
    scheme = _scheme(known, remap, all_facts, len(scan.classes or ()) or called.number(remap))
    pairs = []
    for case, masks in zip(twins.values(), stored, strict=True):
        grid = masks[0][0].grid
        spacing = grid.spacing() if grid.known else case.spacing
        given, verified = (scheme.apply(mask.array, facts) for mask, facts in masks)
        if case.flat:
            given, verified = given[:, :, 0], verified[:, :, 0]
        pairs.append(Pair(case.id, case.group or case.id, given, verified, spacing))

    def image(id: str) -> NDArray[Any]:
        array = load_image(twins[id]).array
        return array[:, :, 0] if twins[id].flat else array

    count = sum(case.role != "train" and (case.verified or case.truth is not None) for case in scan.cases)
    return FoundPairs(
        tuple(pairs),
        _names(scheme.classes, scan.classes or called.names(remap, scheme.classes)),
        count,
        notes,
        image,
    )


def _both(case: RawCase, place: _Place) -> list[tuple[Volume, MaskFacts]]:
    """Return the mask that was replaced and the verified one, on one grid, and what is in each."""
    best = "label" if case.truth is None else "truth"
    names = [case.called(what) for what in ("given", best)]
    given, verified = load_mask(case, "given"), load_mask(case, best)
    assert given is not None, "it is a twin"  # noqa: S101
    assert verified is not None, "it has replaced its twin"  # noqa: S101
    if case.flat:
        if not lies_on(given.grid, verified.grid):
            raise InputError(
                f"{names[0]} is {size_of(given.grid)}, but the verified mask {names[1]} that replaced it is "
                f"{size_of(verified.grid)}: export it at that size, or remove it"
            )
    else:
        grid, _ = head_of(case)
        given, verified = (
            place(mask, grid, (name, case.where)) for mask, name in zip((given, verified), names, strict=True)
        )
    return [(mask, mask_facts(name, mask)) for mask, name in zip((given, verified), names, strict=True)]


def _scheme(
    known: Sequence[MaskFacts],
    remap: Mapping[int, int],
    all_facts: Callable[[], list[MaskFacts]],
    classes: int | None = None,
) -> LabelScheme:
    """Return what values mean: as the pairs show it, and where they do not settle it, as all masks do."""
    if not known:
        return LabelScheme(2)
    scheme, _ = settle(known, remap, classes)
    if scheme is None:
        scheme, findings = settle(all_facts(), remap, classes)
        if scheme is None:
            raise InputError(next(entry.sentence for entry in findings if entry.severity == "error"))
    return scheme


def _names(count: int, known: Sequence[str] | None) -> tuple[str, ...]:

    return tuple(known) if known and len(known) >= count else class_names(count)


def _wrong(path: Path, findings: Sequence[Finding]) -> tuple[str, ...]:
    errors = [entry for entry in findings if entry.severity == "error"]
    if not errors:
        return ()
    return (f"{plural(len(errors), 'other matter')} must be mended before training: metadcseg check {path}",)
