"""From what was decoded of a case to what a set holds of it: class numbers, slices, edges."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats.images import with_channels
from metadcseg.data.prepare.edges import EdgeDetector, edge_detector
from metadcseg.data.prepare.facts import CaseFacts
from metadcseg.data.prepare.fusing import Doubt, Fusion, Labels, agreement
from metadcseg.data.prepare.labels import LabelScheme
from metadcseg.data.prepare.look import Decoded, slices_of
from metadcseg.data.prepare.placing import foreground
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.sources.case import RawCase
from metadcseg.data.store.arrays import Chunk, write_chunk
from metadcseg.data.store.layout import Array
from metadcseg.data.store.reader import SetWriter
from metadcseg.data.store.values import checked_mask, checked_outlines, checked_reference

_KINDS = ("label", "truth", "given")
_DROPPED_IN = ("train", "gold")  # validation and test predict whole volumes


@dataclass(frozen=True)
class Written:
    """All of one case on disk, ready to be taken into a set.

    Args:
        slices: number in the stack and arrays by kind, of every slice that is kept; of an image there is one.
        reference: of a volume: the label that evaluation compares with, on the grid of its file.
        placement: of a volume: where its slices lie.
        verified: whether the reference is beyond doubt.
        annotators: whose outlines are kept, in the order in which they are.
        annotator: who drew the mask as given, where it is one person and known.
        doubt: what its outlines leave open, where it has several.
    """

    slices: tuple[tuple[int, Mapping[str, Chunk]], ...]
    reference: Chunk | None
    placement: SliceGeometry | None
    verified: bool
    annotators: tuple[str, ...] = ()
    annotator: str | None = None
    doubt: Doubt | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of the slices that a training reads."""
        held = (entry for _, chunks in self.slices for entry in chunks.items())
        return sum(chunk.nbytes for kind, chunk in held if kind != "outlines")

    def into(self, writer: SetWriter, case: RawCase) -> None:
        """Move it into a set."""
        drawn: dict[str, Any] = {"annotators": self.annotators, "annotator": self.annotator}
        if self.placement is None or self.reference is None:
            for _, chunks in self.slices:
                writer.take(case.id, case.role, case.group, chunks, spacing=case.spacing, **drawn)
            return
        writer.add_volume(
            id=case.id,
            role=case.role,
            group=case.group,
            placement=self.placement,
            reference=self.reference,
            verified=self.verified,
        )
        for number, chunks in self.slices:
            writer.take(
                f"{case.id}#{number:04d}",
                case.role,
                case.group,
                chunks,
                spacing=self.placement.slice_spacing,
                volume=case.id,
                slice=number,
                **drawn,
            )


@dataclass(frozen=True)
class WriteCase:
    """Makes what a set holds of one case at a time, in any process.

    Args:
        keep: where arrays go.
        scheme: what the values in the masks mean.
        classes: how many the set has.
        channels: of the set's images.
        fusion: makes one label of several outlines.
        edges: who finds them, as for :func:`~metadcseg.data.prepare.edges.edge_detector`.
        drop: whether slices without foreground in any mask of the case are left out of training and gold volumes.
        threads: of one process for the edges; None for as many as there are cores.
    """

    keep: Path
    scheme: LabelScheme
    classes: int
    channels: int
    fusion: Fusion
    edges: str
    drop: bool = False
    threads: int | None = None

    def __call__(self, item: tuple[RawCase, CaseFacts, Decoded]) -> Written:
        """Return what was made of a case, which was looked at before."""
        case, facts, decoded = item
        held = decoded.masks or {}
        tables = {
            what: self.scheme.apply(np.array(facts.masks[what].in_file, np.int64), facts.masks[what])
            for what in held
        }
        verified = case.verified or "truth" in held
        if decoded.placement is None and not case.outlines and not case.annotator:
            chunks = self._image(case.id, decoded, tables, verified=verified)
            return Written(((0, chunks),), None, None, verified)
        masks = {what: _solid(np.take(tables[what], chunk.read())) for what, chunk in held.items()}
        outlines, annotator, doubt = self._fused(case, masks)
        best = masks.get("truth", masks["label"])
        reference = None
        if decoded.placement is not None:
            whole = checked_reference(case.id, best, decoded.placement, self.classes)
            reference = write_chunk(self.keep, whole)
        if verified:
            masks["truth"] = best
        stacks, drawn = (
            {name: slices_of(mask, decoded.placement) for name, mask in some.items()}
            for some in (masks, outlines)
        )
        about = (verified, tuple(outlines), annotator, doubt)
        return Written(self._slices(case, decoded, stacks, drawn), reference, decoded.placement, *about)

    def _image(
        self, id: str, decoded: Decoded, tables: Mapping[str, NDArray[np.uint8]], *, verified: bool
    ) -> dict[str, Chunk]:
        """Return the arrays of an image whose masks nobody has to fuse."""
        held = decoded.masks or {}
        meant = {what: what for what in held}
        if verified:
            meant["truth"] = "truth" if "truth" in held else "label"
        (plane,) = decoded.planes
        masks = self._masks_of_image(id, plane, held, tables, meant)
        return self._slice(plane, masks, decoded.label_confidence[0] if decoded.label_confidence else None)

    def _slices(
        self,
        case: RawCase,
        decoded: Decoded,
        stacks: Mapping[str, Labels],
        drawn: Mapping[str, Labels],
    ) -> tuple[tuple[int, Mapping[str, Chunk]], ...]:
        """Return number and arrays of every slice that is kept.

        Args:
            case: that they are of.
            decoded: its image.
            stacks: slices of its masks, by what they are.
            drawn: slices of its outlines, by annotator.
        """
        shown = [*(stacks[what] for what in _KINDS if what in stacks), *drawn.values()]
        slices: list[tuple[int, Mapping[str, Chunk]]] = []
        for number, plane in enumerate(decoded.planes):
            empty = not any(foreground(stack[number]).any() for stack in shown)
            if self.drop and case.role in _DROPPED_IN and empty:
                continue
            masks = {
                what: self._mask(case.id, what, stacks[what][number], plane)
                for what in _KINDS
                if what in stacks
            }
            label_confidence = decoded.label_confidence[number] if decoded.label_confidence else None
            if label_confidence is None and "trust" in stacks:
                label_confidence = write_chunk(self.keep, stacks["trust"][number])
            chunks = self._slice(plane, masks, label_confidence)
            if drawn:
                each = {name: stack[number] for name, stack in drawn.items()}
                checked = checked_outlines(case.id, each, plane.shape, self.classes)
                chunks["outlines"] = write_chunk(self.keep, checked)
            slices.append((number, chunks))
        return tuple(slices)

    def _fused(
        self, case: RawCase, masks: dict[str, Labels]
    ) -> tuple[dict[str, Labels], str | None, Doubt | None]:
        """Put one label in the place of several outlines; return those, whose the label is, and what it leaves open."""
        kind = "label" if case.given is None else "given"
        if case.outlines is None:
            return {case.annotator: masks[kind]} if case.annotator else {}, case.annotator, None
        outlines = {name: masks.pop(f"{kind}/{name}") for name in case.outlines.by}
        fused = self.fusion(case.id, outlines)
        masks[kind] = fused.label
        if self.fusion.agreement and not case.verified:
            masks["trust"] = agreement(np.stack(list(outlines.values())), fused.label)
        return outlines, fused.annotator, fused.doubt

    def _masks_of_image(
        self,
        id: str,
        plane: Chunk,
        held: Mapping[str, Chunk],
        tables: Mapping[str, NDArray[np.uint8]],
        meant: Mapping[str, str],
    ) -> dict[str, Chunk]:
        """Return the masks of an image; a file that holds class numbers already is taken over, once."""
        free = dict(held)
        masks = {}
        for what, source in meant.items():
            table = tables[source]
            as_it_is = len(table) <= self.classes and np.array_equal(table, np.arange(len(table)))
            if as_it_is and source in free and held[source].shape == plane.shape[:2]:
                masks[what] = free.pop(source)
            else:
                masks[what] = self._mask(id, what, np.take(table, held[source].read()), plane)
        return masks

    def _mask(self, id: str, what: str, labels: NDArray[np.uint8], plane: Chunk) -> Chunk:
        return write_chunk(self.keep, checked_mask(id, what, labels, plane.shape, self.classes))

    def _slice(
        self, plane: Chunk, masks: Mapping[str, Chunk], label_confidence: Chunk | None
    ) -> dict[str, Chunk]:
        """Return the arrays of one slice by kind, in the order in which a set has them."""
        detector = _detector(self.edges, self.threads)
        image: Array | None = None
        if detector is not None or plane.shape[2] != self.channels:
            image = with_channels(plane.read(), self.channels)
        if image is not None and plane.shape[2] != self.channels:
            plane = write_chunk(self.keep, image)
        chunks = {
            "image": plane,
            **{what: masks[what] for what in _KINDS if what in masks},
        }
        if detector is not None and image is not None:
            shown = image.astype(np.float32) if image.dtype == np.float16 else image
            chunks["edges"] = write_chunk(self.keep, detector.find(shown))
        if label_confidence is not None:
            chunks["trust"] = label_confidence
        return chunks


def _solid(labels: Labels) -> Labels:
    """Return a mask with three axes: that of an image is one slice."""
    return labels[:, :, None] if labels.ndim == 2 else labels


@lru_cache(maxsize=1)
def _detector(choice: str, threads: int | None) -> EdgeDetector | None:
    """Return the detector, made once in every process."""
    detector = edge_detector(choice)
    if detector is not None and threads is not None:
        import torch

        torch.set_num_threads(threads)
    return detector
