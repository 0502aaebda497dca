"""From what was decoded of a case to what a set holds of it: class numbers, slices, edges."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.formats.images import with_channels
from metadcseg.data.prepare.edges import EdgeDetector, edge_detector
from metadcseg.data.prepare.facts import CaseFacts
from metadcseg.data.prepare.labels import LabelScheme
from metadcseg.data.prepare.look import Decoded, slices_of
from metadcseg.data.prepare.reading import foreground
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.data.sources.case import RawCase
from metadcseg.data.store.arrays import Chunk, write_chunk
from metadcseg.data.store.layout import Array
from metadcseg.data.store.reader import SetWriter
from metadcseg.data.store.values import checked_mask, checked_reference

_DROPPED_IN = ("train", "gold")  # validation and test predict whole volumes


@dataclass(frozen=True)
class Written:
    """All of one case on disk, ready to be taken into a set.

    Args:
        slices: number in the stack and arrays by kind, of every slice that is kept; of an image there is one.
        reference: of a volume: the label that evaluation compares with, on the grid of its file.
        placement: of a volume: where its slices lie.
        verified: whether the reference is beyond doubt.
    """

    slices: tuple[tuple[int, Mapping[str, Chunk]], ...]
    reference: Chunk | None
    placement: SliceGeometry | None
    verified: bool

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of the slices in memory."""
        return sum(chunk.nbytes for _, chunks in self.slices for chunk in chunks.values())

    def into(self, writer: SetWriter, case: RawCase) -> None:
        """Move it into a set."""
        if self.placement is None or self.reference is None:
            for _, chunks in self.slices:
                writer.take(case.id, case.role, case.group, chunks, spacing=case.spacing)
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
            )


@dataclass(frozen=True)
class WriteCase:
    """Makes what a set holds of one case at a time, in any process.

    Args:
        keep: where arrays go.
        scheme: what the values in the masks mean.
        classes: how many the set has.
        channels: of the set's images.
        edges: who finds them, as for :func:`~metadcseg.data.prepare.edges.edge_detector`.
        drop: whether slices without foreground are left out of training and gold volumes.
        threads: of one process for the edges; None for as many as there are cores.
    """

    keep: Path
    scheme: LabelScheme
    classes: int
    channels: int
    edges: str
    drop: bool = False
    threads: int | None = None

    def __call__(self, item: tuple[RawCase, CaseFacts, Decoded]) -> Written:
        """Return what was made of a case, which was looked at before."""
        case, facts, decoded = item
        held = decoded.masks or {}
        tables = {
            what: self.scheme.apply(np.array(facts.masks[what].levels, np.int64), facts.masks[what])
            for what in held
        }
        verified = case.verified or "truth" in held
        meant = {what: what for what in held}
        if verified:
            meant["truth"] = "truth" if "truth" in held else "label"
        if decoded.placement is None:
            (plane,) = decoded.planes
            masks = self._masks_of_image(case.id, plane, held, tables, meant)
            trust = decoded.label_confidence[0] if decoded.label_confidence else None
            return Written(((0, self._slice(plane, masks, trust)),), None, None, verified)
        whole = {what: np.take(tables[what], chunk.read()) for what, chunk in held.items()}
        best = checked_reference(case.id, whole[meant.get("truth", "label")], decoded.placement, self.classes)
        reference = write_chunk(self.keep, best)
        stacks = {what: slices_of(whole[source], decoded.placement) for what, source in meant.items()}
        slices = []
        for number, plane in enumerate(decoded.planes):
            if self.drop and case.role in _DROPPED_IN and not foreground(stacks["label"][number]).any():
                continue
            masks = {what: self._mask(case.id, what, stack[number], plane) for what, stack in stacks.items()}
            trust = decoded.label_confidence[number] if decoded.label_confidence else None
            slices.append((number, self._slice(plane, masks, trust)))
        return Written(tuple(slices), reference, decoded.placement, verified)

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

    def _slice(self, plane: Chunk, masks: Mapping[str, Chunk], trust: Chunk | None) -> dict[str, Chunk]:
        """Return the arrays of one slice by kind, in the order in which a set has them."""
        detector = _detector(self.edges, self.threads)
        image: Array | None = None
        if detector is not None or plane.shape[2] != self.channels:
            image = with_channels(plane.read(), self.channels)
        if image is not None and plane.shape[2] != self.channels:
            plane = write_chunk(self.keep, image)
        chunks = {
            "image": plane,
            **{what: masks[what] for what in ("label", "truth", "given") if what in masks},
        }
        if detector is not None and image is not None:
            shown = image.astype(np.float32) if image.dtype == np.float16 else image
            chunks["edges"] = write_chunk(self.keep, detector.find(shown))
        if trust is not None:
            chunks["trust"] = trust
        return chunks


@lru_cache(maxsize=1)
def _detector(choice: str, threads: int | None) -> EdgeDetector | None:
    """Return the detector, made once in every process."""
    detector = edge_detector(choice)
    if detector is not None and threads is not None:
        import torch

        torch.set_num_threads(threads)
    return detector
