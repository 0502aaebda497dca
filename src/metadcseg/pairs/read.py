"""Pairs from a folder or a prepared set: of a thousand images only the masks of the pairs are decoded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from metadcseg.data.findings import Finding, plural
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.prepare.facts import MaskFacts, mask_facts
from metadcseg.data.prepare.fusing import Fusion
from metadcseg.data.prepare.labels import LabelScheme, class_names, settle
from metadcseg.data.prepare.look import is_given
from metadcseg.data.prepare.meanings import Meanings, meanings
from metadcseg.data.prepare.reading import head_of, lies_on, load_image, load_mask, on_grid, size_of
from metadcseg.data.sources import RawCase, Scan, is_split_layout, scan_folder, scan_kvasir
from metadcseg.data.sources.annotators import TABLE, read_annotators
from metadcseg.data.store.layout import MANIFEST
from metadcseg.errors import InputError
from metadcseg.pairs.found import FoundPairs, said_of_fused
from metadcseg.pairs.of_set import pairs_of_set
from metadcseg.pairs.statistics import Pair

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
            what the folder or the set knows (`metadcseg.data.sources.annotators`).
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
        for finding in scan.findings:
            if finding.code == "annotators" and finding.severity == "error":
                raise InputError(finding.sentence)
        found = _of_scan(scan, remap or {}, place, _wrong(path, scan.findings))
        known = {case.id for case in scan.cases}
    if annotators is not None:
        if found.outlines:
            raise InputError(
                f"{path} knows who drew what, several outlines of an image: leave --annotators out"
            )
        names = read_annotators(annotators, known)
        found = replace(
            found, pairs=tuple(replace(pair, annotator=names.get(pair.id)) for pair in found.pairs)
        )
    outlined = {pair.id for pair in found.outlines}
    unknown = sum(pair.annotator is None and pair.id not in outlined for pair in found.pairs)
    table = annotators or path / TABLE
    if not unknown or (unknown == len(found.pairs) and not table.exists()):
        return found
    who = table if table.exists() else path
    note = f"{who} names nobody for {plural(unknown, 'pair')}: they count in the whole only"
    return replace(found, notes=(*found.notes, note))


def _of_scan(
    scan: Scan,
    remap: Mapping[int, int],
    place: _Place,
    notes: tuple[str, ...],
) -> FoundPairs:
    twins = {case.id: case for case in scan.cases if case.given is not None}
    stored = [_both(case, place) for case in twins.values()]
    known = [facts for masks in stored for _, facts in masks.values()]

    def all_facts() -> list[MaskFacts]:
        alone = ((case, what) for case in scan.cases if case.given is None for what in case.masks)
        masks = ((case.called(what), load_mask(case, what)) for case, what in alone if what != "truth")
        return known + [mask_facts(name, mask) for name, mask in masks if mask is not None]

    remap = {**(scan.remap or {}), **remap}
    called = Meanings()
    if any(facts.names for facts in known):  # a table of names is one of all masks, as `prepare` makes it
        called = meanings(all_facts(), declared=(scan.values or scan.classes) is not None, remap=remap)
        if wrong := next((entry for entry in called.findings if entry.severity == "error"), None):
            raise InputError(wrong.sentence)
        notes += tuple(entry.sentence for entry in called.findings)
        stored = [
            {what: (mask, called.of(facts)) for what, (mask, facts) in masks.items()} for masks in stored
        ]
        known = [facts for masks in stored for _, facts in masks.values()]
    scheme = _scheme(known, remap, all_facts, len(scan.classes or ()) or called.number(remap))
    pairs, outlines = [], []
    fuse = Fusion()
    for case, masks in zip(twins.values(), stored, strict=True):
        grid = next(iter(masks.values()))[0].grid
        spacing = grid.spacing() if grid.known else case.spacing
        labels = {what: scheme.apply(mask.array, facts) for what, (mask, facts) in masks.items()}
        if case.flat:
            labels = {what: mask[:, :, 0] for what, mask in labels.items()}
        verified = labels.pop(_best(case))
        drawn = {what.partition("/")[2]: mask for what, mask in labels.items()}
        given = fuse(case.id, drawn).label if case.outlines else labels["given"]
        pair = Pair(case.id, case.group or case.id, given, verified, spacing, case.annotator)
        pairs.append(pair)
        if case.outlines:
            outlines += [replace(pair, given=mask, annotator=name) for name, mask in drawn.items()]

    def image(id: str) -> NDArray[Any]:
        array = load_image(twins[id]).array
        return array[:, :, 0] if twins[id].flat else array

    count = sum(case.role != "train" and (case.verified or case.truth is not None) for case in scan.cases)
    notes = (*notes, *said_of_fused(outlines, fuse.how))
    names = _names(scheme.classes, scan.classes or called.names(remap, scheme.classes))
    return FoundPairs(tuple(pairs), names, count, notes, image, tuple(outlines))


def _best(case: RawCase) -> str:
    """Return which of its masks is the verified one."""
    return "label" if case.truth is None else "truth"


def _both(case: RawCase, place: _Place) -> dict[str, tuple[Volume, MaskFacts]]:
    """Return the masks that were replaced and the verified one by name, on one grid, and what is in each."""
    best = _best(case)
    masks = {}
    for what in (*(what for what in case.masks if is_given(what)), best):
        mask = load_mask(case, what)
        assert mask is not None, "it is one of its masks"  # noqa: S101
        masks[what] = mask
    grid = masks[best].grid if case.flat else head_of(case)[0]
    for what, mask in masks.items():
        name = case.called(what)
        if not case.flat:
            masks[what] = place(mask, grid, (name, case.where))
        elif not lies_on(mask.grid, grid):
            raise InputError(
                f"{name} is {size_of(mask.grid)}, but the verified mask {case.called(best)} that replaced it is "
                f"{size_of(grid)}: export it at that size, or remove it"
            )
    return {what: (mask, mask_facts(case.called(what), mask)) for what, mask in masks.items()}


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
