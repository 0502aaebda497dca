"""Look at one case: each of its files is decoded here, once, and no problem hides another."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.findings import Finding
from metadcseg.data.formats.geometry import Grid, Volume
from metadcseg.data.formats.soft import THRESHOLD
from metadcseg.data.prepare.facts import (
    MOST_LEVELS,
    CaseFacts,
    MaskFacts,
    mask_facts,
    values_beside,
)
from metadcseg.data.prepare.outlines import Overlap, overlaps
from metadcseg.data.prepare.placing import OtherGrid, foreground_values, on_grid
from metadcseg.data.prepare.reading import load_image, load_label_confidence, load_mask
from metadcseg.data.prepare.tiny import SIZE, Objects, counted_objects, find_objects
from metadcseg.data.slicing.cut import SliceOptions, cut, cut_labels, place
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.sources.case import RawCase, kind_of
from metadcseg.data.store.arrays import Chunk, write_chunk
from metadcseg.data.store.layout import array_digest
from metadcseg.data.store.values import checked_image
from metadcseg.errors import InputError

_GLANCE = 4096  # so many pixels tell most images that are not constant


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was decoded of a case, on disk: no file of it needs to be decoded again.

    Args:
        planes: its slices as a set keeps them, in order; one of an image.
        masks: its masks (:attr:`.RawCase.masks`), (X, Y, Z) on the grid of the image, of an image (H, W): not the
            values of the files but their numbers, from 0 on, in the ``levels`` of `MaskFacts`.
        label_confidence: of every slice; none where nothing is known.
        placement: where the slices lie; None for an image.
    """

    planes: tuple[Chunk, ...] = ()
    masks: Mapping[str, Chunk] | None = None
    label_confidence: tuple[Chunk, ...] = ()
    placement: SliceGeometry | None = None


@dataclass(frozen=True)
class LookAt:
    """Looks at one case at a time, in any process: all that is ever asked of its files is asked here.

    Args:
        slices: how volumes are cut.
        resample: whether masks on another grid than their image are resampled to it.
        keep: where what was decoded goes; None keeps nothing.
        adopt: whether masks that do not say where they lie take the place of their image.
        crop: whether masks that are resampled may reach beyond their image.
        remap: value in a mask file -> class number, for what of a mask is foreground.
        pairs_only: whether nothing but the masks of pairs is kept.
    """

    slices: SliceOptions
    resample: bool = False
    keep: Path | None = None
    adopt: bool = False
    crop: bool = False
    remap: Mapping[int, int] | None = None
    pairs_only: bool = False

    def __call__(self, case: RawCase) -> tuple[CaseFacts, Decoded]:
        """Return what a case is like, and what was kept of it."""
        findings: list[Finding] = []
        grid, facts, decoded = self._image(case, findings)
        masks: dict[str, Volume] = {}
        held: dict[str, MaskFacts] = {}
        axis = 2 if decoded.placement is None else decoded.placement.axis
        for what in case.masks:
            if what == "given" and given_is_label(case) and "label" in masks:
                held[what], masks[what] = held["label"], masks["label"]
            elif (mask := _mask(case, what, grid, findings)) is not None:
                placed = (
                    None
                    if grid is None
                    else self._placed(case, what, mask, grid, facts.orientation, findings)
                )
                held[what] = mask_facts(case.called(what), placed or mask, axis)
                if placed is not None:
                    masks[what] = placed
                    if not is_given(what) and len(held[what].levels) <= MOST_LEVELS:
                        objects = _objects(held[what], placed.array, decoded.placement)
                        held[what] = replace(held[what], objects=objects)
                    findings += [
                        Finding("note", "mask-converted", held[what].where, note) for note in placed.notes
                    ]
        label_confidence = None if grid is None else _label_confidence(case, grid, findings)
        facts = replace(facts, findings=tuple(findings), masks=held, beside=_beside(masks, held))
        if case.outlines is not None:
            facts = replace(facts, overlaps=overlaps_of(masks, held, self.remap or {}))
        if self.keep is None or grid is None or (self.pairs_only and case.given is None):
            return facts, Decoded()
        kept = {
            what: write_chunk(
                self.keep, _numbered(mask.array[:, :, 0] if case.flat else mask.array, held[what])
            )
            for what, mask in masks.items()
            if len(held[what].levels) <= MOST_LEVELS  # more are an error
        }
        if label_confidence is not None and not self.pairs_only:
            planes = slices_of(label_confidence, decoded.placement)
            decoded = replace(
                decoded, label_confidence=tuple(write_chunk(self.keep, plane) for plane in planes)
            )
        return facts, replace(decoded, masks=kept)

    def _image(self, case: RawCase, findings: list[Finding]) -> tuple[Grid | None, CaseFacts, Decoded]:
        """Look at the image, and let go of it: the masks come into the room that it took."""
        try:
            image = load_image(case)
        except InputError as error:
            findings.append(Finding("error", "image-unreadable", case.where, str(error)))
            return None, CaseFacts(()), Decoded()
        findings += [Finding("note", "image-converted", case.where, note) for note in image.notes]
        if is_constant(image.array):
            findings.append(constant_image(case.where))
        decoded = Decoded()
        try:
            decoded = self._cut(case, image)
        except InputError as error:
            named = str(error) if case.flat else f"{case.where}: {error}"
            findings.append(Finding("error", "slices", case.where, named))
        if decoded.placement is not None and 1 in (decoded.placement.height, decoded.placement.width):
            findings.append(_thin(case.where, decoded.placement))
        content, channels = _content(image.array, decoded), image.array.shape[3]
        return image.grid, CaseFacts((), content, channels, orientation=image.orientation), decoded

    def _cut(self, case: RawCase, image: Volume) -> Decoded:
        if self.keep is None or self.pairs_only:
            return Decoded(placement=None if case.flat else place(image.grid, self.slices))
        placement = None
        stack = slices_of(image.array, None)
        if not case.flat:
            stack, placement = cut(image, self.slices)
        planes = (checked_image(case.id, plane, plane.shape[2]) for plane in stack)
        return Decoded(tuple(write_chunk(self.keep, plane) for plane in planes), placement=placement)

    def _placed(
        self, case: RawCase, what: str, mask: Volume, grid: Grid, turn: int, findings: list[Finding]
    ) -> Volume | None:
        """Return a mask on the grid of its image; where it lies on another, say so."""
        try:
            return on_grid(
                mask,
                grid,
                (case.called(what), case.where),
                resample=self.resample,
                adopt=self.adopt,
                crop=self.crop,
                remap=self.remap,
                orientation=turn,
            )
        except OtherGrid as error:
            given, told = is_given(what), _fault(case, what, error)
            findings.append(
                Finding("error", "mask-elsewhere", *told)
                if error.elsewhere
                else Finding("error", "given-size" if given else "size-mismatch", *told)
            )
            return None


def _thin(where: str, placement: SliceGeometry) -> Finding:
    """Return the warning that slices are lines."""
    size = f"{placement.height} x {placement.width}"
    cure = "another --axis" if 1 in placement.native else "a smaller --pixel"
    sentence = f"{where}: its slices are lines of {size} pixels: prepare it with {cure}"
    return Finding("warning", "slices-thin", where, sentence)


def is_given(what: str) -> bool:
    """Return whether a mask, by its name in :attr:`.RawCase.masks`, is one that a verified mask has replaced."""
    return kind_of(what) == "given"


def overlaps_of(
    masks: Mapping[str, Volume], facts: Mapping[str, MaskFacts], remap: Mapping[int, int]
) -> tuple[Overlap, ...]:
    """Compare what several annotators drew on one image.

    Args:
        masks: by the names of masks (:attr:`.RawCase.masks`); those of annotators are ``KIND/NAME``.
        facts: what is in each.
        remap: value in a mask file -> class number.
    """
    held = {}
    for what, mask in masks.items():
        if "/" in what and len(facts[what].levels) <= MOST_LEVELS:
            shown = mask.array > THRESHOLD if facts[what].soft else None
            if shown is None:
                shown = np.isin(mask.array, foreground_values(facts[what].levels, remap))
            held[what.partition("/")[2]] = (_numbered(mask.array, facts[what]), shown)
    return overlaps(held)


def slices_of(array: NDArray[Any], placement: SliceGeometry | None) -> NDArray[Any]:
    """Return the slices of a mask, (D, H, W), or those of an image as they are.

    Args:
        array: (X, Y, Z, ...).
        placement: where they lie; None for an image, whose only slice is the whole.
    """
    return (
        np.moveaxis(array, 2, 0)
        if placement is None
        else cut_labels(Volume(array, placement.grid), placement)
    )


def is_constant(image: NDArray[Any]) -> bool:
    """Return whether all pixels of an image, (..., C), are the same."""
    pixels = image.reshape(-1, image.shape[-1])
    return all(bool((part == pixels[0]).all()) for part in (pixels[:_GLANCE], pixels))


def constant_image(where: str) -> Finding:
    """Return the warning for an image of which all pixels are the same."""
    return Finding(
        "warning",
        "image-constant",
        where,
        f"{where}: all pixels are the same, nothing can be seen: remove it",
    )


def _numbered(mask: NDArray[Any], facts: MaskFacts) -> NDArray[np.uint8]:
    """Return the number of each value: mostly the class number already, which a set can take over as it is."""
    if mask.dtype != np.uint8:
        return np.searchsorted(np.array(facts.levels), mask).astype(np.uint8)
    table = np.zeros(256, np.uint8)
    table[list(facts.levels)] = np.arange(len(facts.levels))
    return np.take(table, mask)


def _objects(facts: MaskFacts, mask: NDArray[Any], placement: SliceGeometry | None) -> Objects:
    """Return how large the objects in the slices of a mask are; those with soft edges are white on black."""
    if placement is None and mask.size <= SIZE**2 and not facts.soft:
        return counted_objects(facts.where, mask.size, facts.levels, facts.counts)
    shown = np.where(mask > THRESHOLD, np.uint8(IGNORE), np.uint8(0)) if facts.soft else mask
    if placement is None:
        return find_objects(facts.where, shown.transpose(2, 0, 1))
    height, width = placement.native
    zoom = placement.height * placement.width / (height * width)
    return find_objects(facts.where, placement.stack(shown), native=placement.native, zoom=zoom)


def _content(image: NDArray[Any], kept: Decoded) -> str:
    """Return a digest of what an image shows: equal for equal values, whatever type and file hold them."""
    if image.shape[3] == 3 and all(bool((part == part[..., :1]).all()) for part in (image[:1], image)):
        image = image[..., :1]  # gray that was saved in color
    if image.dtype != np.uint8:
        if not (image.min() >= 0 and image.max() <= IGNORE and (image == image.astype(np.uint8)).all()):
            return array_digest(np.ascontiguousarray(image, np.float32))
        image = image.astype(np.uint8)
    plane = image[:, :, 0] if image.shape[2] == 1 else image
    same = (one.sha256 for one in kept.planes if (one.shape, one.dtype) == (plane.shape, "uint8"))
    return next(same, None) or array_digest(plane)  # what was written has its digest already


def _mask(case: RawCase, what: str, grid: Grid | None, findings: list[Finding]) -> Volume | None:
    """Load a mask; where that fails, keep the sentence."""
    if grid is None and hasattr(case.mask(what), "read"):
        return None  # it is drawn on an image, which cannot be read
    try:
        return load_mask(case, what, grid)
    except InputError as error:
        told = _fault(case, what, error)
        findings.append(Finding("error", "given-unreadable" if is_given(what) else "mask-unreadable", *told))
        return None


def _label_confidence(case: RawCase, grid: Grid, findings: list[Finding]) -> NDArray[np.uint8] | None:
    try:
        return load_label_confidence(case, grid)
    except InputError as error:
        where = case.called("label_confidence")
        findings.append(Finding("error", "trust-unreadable", where, str(error)))
        return None


def _fault(case: RawCase, what: str, error: InputError) -> tuple[str, str]:
    """Return which mask cannot be used, and the sentence that says why."""
    way_out = f"; or remove it, {case.called('label')} has replaced it" if is_given(what) else ""
    return case.called(what), f"{error}{way_out}"


def given_is_label(case: RawCase) -> bool:
    """Return whether the mask that was replaced is the label: a reference beside it has replaced it."""
    if case.given is None or isinstance(case.given, np.ndarray) or isinstance(case.label, np.ndarray):
        return False
    return case.given_key == case.label_key and case.given == case.label


def _beside(masks: Mapping[str, Volume], facts: Mapping[str, MaskFacts]) -> dict[str, NDArray[np.int64]]:
    """Return the values that both masks of a pair hold in one place, by the name of the one that was replaced."""
    best = "truth" if "truth" in facts else "label"
    sound = {what: mask for what, mask in masks.items() if len(facts[what].levels) <= MOST_LEVELS}
    if best not in sound:
        return {}
    return {
        what: values_beside(sound[best].array, mask.array) for what, mask in sound.items() if is_given(what)
    }
