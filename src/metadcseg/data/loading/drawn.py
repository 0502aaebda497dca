"""Cases as they were drawn for a step: maps in their own grids, and how each case is to be moved.

Moving is the same work wherever the maps lie. For a processor, whoever makes batches moves case by case; to a GPU the
maps of a batch cross as they are kept, labels and edges in a byte for each pixel, and are moved there all at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from metadcseg.constants import IGNORE
from metadcseg.data.loading.input_grid import Size
from metadcseg.data.loading.intensity import change_intensity
from metadcseg.tensors import Batch
from metadcseg.warp import Mode, Warp

_MAPS = ("images", "labels", "edges", "label_confidence", "given")


@dataclass(frozen=True)
class Sample:
    """One image in the input grid.

    Args:
        image: (C, S, S) float32, normalized; a volume's maps have slices before rows.
        label: (S, S) int64, class number or ``IGNORE``.
        edges: (S, S) float32, the probability of an edge from 0 to 1, or None where the set has no edges.
        index: the image's number within its role.
        label_confidence: (S, S) float32 from 0 to 1, or None where nothing is known of any case.
        warp: (2, 3) float32, from the augmented grid to the image's own grid.
        given: (S, S) int64, the mask that a verified label replaced, ``IGNORE`` everywhere where the case has none; or
            None where no case of the role has one or the view was not asked for it.
        annotators: (J,) bool, who of the set's annotators drew the label, or of a verified one ``given``; all False of
            a fused one; or None where the view shows fused labels only.
    """

    image: Tensor
    label: Tensor
    edges: Tensor | None
    index: int
    warp: Tensor
    label_confidence: Tensor | None = None
    given: Tensor | None = None
    annotators: Tensor | None = None


@dataclass(frozen=True)
class Drawn:
    """Cases in the input grid, not moved yet.

    Args:
        images: (N, C, *grid) float32, normalized.
        labels: (N, *grid) uint8, class numbers or ``IGNORE``.
        edges: (N, *grid) uint8, 255 times the probability of an edge, or None.
        label_confidence: (N, *grid) uint8, 255 times the trust in labels, or None.
        given: (N, *grid) uint8, masks that verified labels replaced, or None.
        indices: (N,) int64, numbers of the cases within their role.
        warp: from what is seen to the cases' own grids; it stays on the host.
        size: of what is seen: of the grid, or of a patch.
        mode: how images are resampled; all else takes the nearest pixel.
        seeds: of each image's intensities (:func:`.change_intensity`), or None: they stay.
        annotators: (N, J) bool, see :class:`metadcseg.tensors.Batch`.
    """

    images: Tensor
    labels: Tensor
    edges: Tensor | None
    label_confidence: Tensor | None
    given: Tensor | None
    indices: Tensor
    warp: Warp
    size: Size
    mode: Mode
    seeds: tuple[int, ...] | None = None
    annotators: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence["Drawn"]) -> "Drawn":
        """Return the cases of all parts, which are of one view."""
        first = parts[0]
        maps: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name in (*_MAPS, "indices", "annotators")
            if getattr(first, name) is not None
        }
        warp = Warp(torch.cat([part.warp.matrix for part in parts]))
        seeds = None if first.seeds is None else tuple(seed for part in parts for seed in part.seeds or ())
        return replace(first, **maps, warp=warp, seeds=seeds)

    def pin_memory(self) -> "Drawn":
        """Return the same with maps in memory that a GPU reads without waiting for the processor."""
        return self._with(lambda maps: maps.pin_memory())

    def to(self, device: torch.device | None) -> "Drawn":
        """Return the same with its maps on a device; None leaves them where they are."""
        return self if device is None else self._with(lambda maps: maps.to(device, non_blocking=True))

    def moved(self) -> Batch:
        """Return the cases as they are seen, on the device where their maps lie.

        How many cases are moved at once changes no bit on a processor. Nothing waits for the device, unless intensities
        change.
        """

        def seen(maps: Tensor, fill: float) -> Tensor:
            return self.warp.apply(maps.unsqueeze(1).float(), "nearest", fill, self.size)[:, 0]

        images = self.warp.apply(self.images, self.mode, 0.0, self.size)
        if self.seeds is not None:
            changed = zip(images, self.seeds, strict=True)
            images = torch.stack([change_intensity(image, seed) for image, seed in changed])
        trust = self.label_confidence
        return Batch(
            images=images,
            labels=seen(self.labels, IGNORE).long(),
            indices=self.indices,
            warp=self.warp,
            edges=None if self.edges is None else seen(self.edges, 0.0) / 255,
            label_confidence=None if trust is None else seen(trust, 255) / 255,
            given=None if self.given is None else seen(self.given, IGNORE).long(),
            annotators=self.annotators,
        )

    def sample(self) -> Sample:
        """Return the first case as it is seen."""
        seen = self.moved()
        found = {name: getattr(seen, name) for name in ("edges", "label_confidence", "given", "annotators")}
        first = {name: None if maps is None else maps[0] for name, maps in found.items()}
        return Sample(
            seen.images[0], seen.labels[0], index=int(seen.indices[0]), warp=seen.warp.matrix[0], **first
        )

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Drawn":
        held = {name: getattr(self, name) for name in _MAPS}
        changed: dict[str, Any] = {name: change(maps) for name, maps in held.items() if maps is not None}
        return replace(self, **changed)
