"""Pairs from a folder or a prepared set: of a thousand images only the masks of the pairs are decoded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from metadcseg.data.findings import Finding, plural
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.prepare.facts import CaseFacts, MaskFacts, mask_facts
from metadcseg.data.prepare.labels import LabelScheme, class_names, settle
from metadcseg.data.prepare.look import is_given, overlaps_of
from metadcseg.data.prepare.meanings import Meanings, meanings
from metadcseg.data.prepare.numbering import numbering
from metadcseg.data.prepare.outlines import overlap_findings
from metadcseg.data.prepare.placing import lies_on, on_grid, size_of
from metadcseg.data.prepare.reading import head_of, load_mask
from metadcseg.data.sources import RawCase, Scan, scan_folder
from metadcseg.data.sources.annotators import read_annotators
from metadcseg.data.store.layout import MANIFEST
from metadcseg.errors import InputError
from metadcseg.pairs.found import FoundPairs
from metadcseg.pairs.of_folder import Unit, best_of, paired, whose_is_open
from metadcseg.pairs.of_set import pairs_of_set
from metadcseg.reading import is_what

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
    subfolders: str | None = None,
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
        subfolders: what the folders in ``masks/`` are, as for ``prepare``.

    Raises:
        InputError: where there is no such folder, a mask cannot be read or has another size than its twin, or the table
            is wrong.

    Example:
        >>> len(read_pairs(Path("my_folder")).pairs)  # doctest: +SKIP
        12
    """
    if not path.is_dir():
        raise InputError(
            f"{path} {is_what(path)}: give a folder with images/, masks/ and gold/, or a prepared set"
        )
    if (path / MANIFEST).exists():
        found, known = pairs_of_set(path)
    else:
        keys: dict[str, Any] = {"image_key": image_key, "label_key": label_key}
        scan = scan_folder(path, val=0.0, test=0.0, subfolders=subfolders, **keys)
        told = {**(scan.remap or {}), **(remap or {})}
        place = partial(on_grid, resample=resample_labels, adopt=adopt_grid, crop=crop_labels, remap=told)
        _refuse([finding for finding in scan.findings if finding.code == "annotators"])
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
    return whose_is_open(found, path, annotators)


def _of_scan(
    scan: Scan,
    remap: Mapping[int, int],
    place: _Place,
    notes: tuple[str, ...],
) -> FoundPairs:
    masks = _Masks(scan, place)
    remap = {**(scan.remap or {}), **remap}
    named = any(entry.names for entry in masks.known)
    kinds = {type(case.mask(what)) for case in scan.cases for what in case.masks}
    if named or len(kinds) > 1:  # what a number means is settled over all masks
        _refuse(masks.numbering(remap))
    odd = masks.overlaps(remap)
    _refuse(odd)
    notes += tuple(entry.sentence for entry in odd)
    called = Meanings()
    if named:  # a table of names is one of all masks, as `prepare` makes it
        declared = (scan.values or scan.classes) is not None
        called = meanings(masks.known + masks.others, declared=declared, remap=remap)
        _refuse(called.findings)
        notes += tuple(entry.sentence for entry in called.findings)
    known = [called.of(entry) for entry in masks.known]
    scheme = _scheme(
        known,
        remap,
        lambda: known + [called.of(entry) for entry in masks.others],
        len(scan.classes or ()) or called.number(remap),
    )
    names = _names(scheme.classes, scan.classes or called.names(remap, scheme.classes))
    units = []
    for case, both in zip(masks.twins, masks.stored, strict=True):
        grid = next(iter(both.values()))[0].grid
        labels = {what: scheme.apply(mask.array, called.of(facts)) for what, (mask, facts) in both.items()}
        units.append(Unit(case, labels, grid.steps() if grid.known else case.spacing))
    return paired(scan, units, names, notes)


class _Masks:
    """The masks of a folder: those of pairs, on one grid each, and what is in all others, read when it is asked for."""

    def __init__(self, scan: Scan, place: _Place) -> None:
        self._declared = scan.remap or {}
        self.twins = [case for case in scan.cases if case.given is not None]
        self.stored = [_both(case, place) for case in self.twins]
        self._alone = [case for case in scan.cases if case.given is None]

    @property
    def known(self) -> list[MaskFacts]:
        """What is in the masks of pairs."""
        return [facts for masks in self.stored for _, facts in masks.values()]

    @cached_property
    def _facts_of_others(self) -> list[dict[str, MaskFacts]]:
        return [
            {
                what: mask_facts(case.called(what), mask)
                for what in case.masks
                if what != "truth" and (mask := load_mask(case, what)) is not None
            }
            for case in self._alone
        ]

    @property
    def others(self) -> list[MaskFacts]:
        """What is in the masks of all other cases."""
        return [facts for masks in self._facts_of_others for facts in masks.values()]

    def numbering(self, remap: Mapping[int, int]) -> list[Finding]:
        """Return what is open about the numbers of classes in all masks."""
        pairs = [{what: facts for what, (_, facts) in masks.items()} for masks in self.stored]
        held = [CaseFacts((), masks=masks) for masks in (*pairs, *self._facts_of_others)]
        return numbering([*self.twins, *self._alone], held, remap, self._declared)

    def overlaps(self, remap: Mapping[int, int]) -> list[Finding]:
        """Return where classes overlap in outlines of pairs."""
        drawn = []
        for case, masks in zip(self.twins, self.stored, strict=True):
            arrays = {what: mask for what, (mask, _) in masks.items()}
            facts = {what: entry for what, (_, entry) in masks.items()}
            drawn.append((case, overlaps_of(arrays, facts, remap) if case.outlines else ()))
        return overlap_findings(drawn)


def _both(case: RawCase, place: _Place) -> dict[str, tuple[Volume, MaskFacts]]:
    """Return the masks that were replaced and the verified one by name, on one grid, and what is in each."""
    best = best_of(case)
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


def _refuse(findings: Sequence[Finding]) -> None:
    """Raise the first error as an `InputError`."""
    if wrong := next((entry for entry in findings if entry.severity == "error"), None):
        raise InputError(wrong.sentence)


def _names(count: int, known: Sequence[str] | None) -> tuple[str, ...]:

    return tuple(known) if known and len(known) >= count else class_names(count)


def _wrong(path: Path, findings: Sequence[Finding]) -> tuple[str, ...]:
    errors = [entry for entry in findings if entry.severity == "error"]
    if not errors:
        return ()
    return (f"{plural(len(errors), 'other matter')} must be mended before training: metadcseg check {path}",)
