"""Pairs from a folder or a prepared set: of a thousand images only the masks of the pairs are decoded."""

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from metadcseg.data.findings import Finding, plural
from metadcseg.data.formats.images import Picture
from metadcseg.data.prepare.inspection import load_given, load_image, load_mask
from metadcseg.data.prepare.labels import LabelScheme, MaskFacts, class_names, mask_facts, settle
from metadcseg.data.prepare.volume_cases import (
    head_of,
    load_given_volume,
    load_image_volume,
    load_label_volumes,
)
from metadcseg.data.prepare.volume_inspection import volume_facts
from metadcseg.data.sources import (
    RawCase,
    RawVolume,
    Scan,
    VolumeScan,
    is_split_layout,
    scan_folder,
    scan_kvasir,
)
from metadcseg.data.sources.volume_folder import holds_volumes, scan_volume_folder
from metadcseg.data.store.layout import MANIFEST
from metadcseg.errors import InputError
from metadcseg.pairs.found import FoundPairs
from metadcseg.pairs.of_set import pairs_of_set
from metadcseg.pairs.statistics import Pair

_ANNOTATORS = "annotators.csv"


def read_pairs(
    path: Path,
    *,
    remap: Mapping[int, int] | None = None,
    annotators: Path | None = None,
    image_key: str | None = None,
    label_key: str | None = None,
    resample_labels: bool = False,
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
    elif holds_volumes(path):
        scan = scan_volume_folder(path, val=0.0, test=0.0, image_key=image_key, label_key=label_key)
        found = _of_volumes(scan, remap or {}, resample_labels, _wrong(path, scan.findings))
        known = {raw.id for raw in scan.volumes}
    else:
        flat = scan_kvasir(path) if is_split_layout(path) else scan_folder(path, val=0.0, test=0.0)
        found = _of_images(flat, remap or {}, _wrong(path, flat.findings))
        known = {case.id for case in flat.cases}
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


def _of_images(scan: Scan, remap: Mapping[int, int], notes: tuple[str, ...]) -> FoundPairs:
    stored: list[tuple[RawCase, Picture, Picture]] = []
    facts: list[tuple[MaskFacts, MaskFacts]] = []
    for case in scan.cases:
        if (given := load_given(case)) is not None:
            stored.append((case, given, load_mask(case)))
            _check_sizes(*stored[-1])
            facts.append((mask_facts(_name(case, "given"), given), _mask_facts(case, stored[-1][2])))
    known = [entry for both in facts for entry in both]

    def all_facts() -> list[MaskFacts]:
        return known + [_mask_facts(case, load_mask(case)) for case in scan.cases if case.given is None]

    scheme = _scheme(known, remap, all_facts)
    pairs = tuple(
        Pair(
            case.id,
            case.group or case.id,
            scheme.apply(given.array, both[0]),
            scheme.apply(verified.array, both[1]),
            case.spacing,
        )
        for (case, given, verified), both in zip(stored, facts, strict=True)
    )
    cases = {case.id: case for case, _, _ in stored}
    return FoundPairs(
        pairs,
        _names(scheme.classes, scan.classes),
        sum(case.verified and case.role != "train" for case in scan.cases),
        notes,
        lambda id: load_image(cases[id]).array,
    )


def _of_volumes(
    scan: VolumeScan, remap: Mapping[int, int], resample: bool, notes: tuple[str, ...]
) -> FoundPairs:
    twins = {raw.id: raw for raw in scan.volumes if raw.given is not None}
    stored = []
    known: list[MaskFacts] = []
    for raw in twins.values():
        grid, _ = head_of(raw)
        labels = load_label_volumes(raw, grid, resample=resample)
        given = load_given_volume(raw, grid, labels.label, resample=resample)
        verified = labels.label if labels.truth is None else labels.truth
        assert given is not None, "it is a twin"  # noqa: S101
        both = volume_facts(str(raw.given), given), volume_facts(str(raw.truth or raw.label), verified)
        stored.append((raw, given.array, verified.array, both, grid.spacing() if grid.known else None))
        known += both

    def all_facts() -> list[MaskFacts]:
        return known + [_label_facts(raw, resample) for raw in scan.volumes if raw.given is None]

    scheme = _scheme(known, {**(scan.remap or {}), **remap}, all_facts)
    pairs = tuple(
        Pair(
            raw.id,
            raw.group or raw.id,
            scheme.apply(given, both[0]),
            scheme.apply(verified, both[1]),
            spacing,
        )
        for raw, given, verified, both, spacing in stored
    )
    names = _names(scheme.classes, scan.classes)
    count = sum((raw.verified or raw.truth is not None) and raw.role != "train" for raw in scan.volumes)
    return FoundPairs(pairs, names, count, notes, lambda id: load_image_volume(twins[id]).array)


def _label_facts(raw: RawVolume, resample: bool) -> MaskFacts:

    grid, _ = head_of(raw)
    return volume_facts(str(raw.label), load_label_volumes(raw, grid, resample=resample).label)


def _scheme(
    known: Sequence[MaskFacts], remap: Mapping[int, int], all_facts: Callable[[], list[MaskFacts]]
) -> LabelScheme:
    """Return what values mean: as the pairs show it, and where they do not settle it, as all masks do."""
    if not known:
        return LabelScheme(2)
    scheme, _ = settle(known, remap)
    if scheme is None:
        scheme, findings = settle(all_facts(), remap)
        if scheme is None:
            raise InputError(next(entry.sentence for entry in findings if entry.severity == "error"))
    return scheme


def _mask_facts(case: RawCase, mask: Picture) -> MaskFacts:
    return mask_facts(_name(case, "mask"), mask)


def _name(case: RawCase, what: str) -> str:
    held = getattr(case, what)
    return str(held) if isinstance(held, Path) else case.id


def _check_sizes(case: RawCase, given: Picture, verified: Picture) -> None:
    if given.array.shape != verified.array.shape:
        sizes = [" x ".join(str(side) for side in one.array.shape) for one in (given, verified)]
        raise InputError(
            f"{_name(case, 'given')} is {sizes[0]} pixels (rows x columns), but the verified mask "
            f"{_name(case, 'mask')} that replaced it is {sizes[1]}: export it at that size, or remove it"
        )


def _names(count: int, known: Sequence[str] | None) -> tuple[str, ...]:

    return tuple(known) if known and len(known) >= count else class_names(count)


def _wrong(path: Path, findings: Sequence[Finding]) -> tuple[str, ...]:
    errors = [entry for entry in findings if entry.severity == "error"]
    if not errors:
        return ()
    return (f"{plural(len(errors), 'other matter')} must be mended before training: metadcseg check {path}",)
