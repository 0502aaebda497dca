"""The cases of one role with what one of their annotators drew, somebody else in each epoch: no mask is left out.

Of training cases the outline takes the place of the fused label, of verified ones that of the fused mask that was
replaced. Who is shown is drawn with equal chances among those who drew the whole case, from (seed, role, epoch, repeat,
id) alone.
"""

from typing import Any

import torch
from torch import Tensor

from metadcseg.data.loading.dataset import Grid, SegmentationDataset, generator_for
from metadcseg.data.loading.input_grid import InputCache, labels_to_input
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError


class OutlinesDataset(SegmentationDataset):
    """A :class:`.SegmentationDataset` that shows an outline in place of the label that was fused of all.

    A case of which nobody is known shows the label of the set. Samples say who drew what they show.

    Args:
        prepared: the set; its annotators are known.
        role: whose cases are shown.
        *args: the further arguments of :class:`.SegmentationDataset`.
        **others: likewise, by name.

    Raises:
        InputError: where the set knows no annotators, or its labels are trusted as far as these agree.
    """

    def __init__(self, prepared: PreparedSet, role: str, *args: Any, **others: Any) -> None:
        super().__init__(prepared, role, *args, **others)
        if not prepared.annotators:
            raise InputError(
                f"training.outlines 'each' needs a set that knows what annotators drew, and {prepared.path} does not: "
                "take 'fused'"
            )
        if prepared.source.get("confidence") is not None:
            raise InputError(
                f"training.outlines 'each' shows outlines, and the labels of {prepared.path} are trusted as far as "
                "these agree: prepare it without --confidence, or take 'fused'"
            )
        self._outlines = InputCache[Tensor]()
        self._names = prepared.annotators

    def _shown(self, row: int, epoch: int, repeat: int) -> tuple[Grid, Tensor | None]:
        """Return all maps of a case as it is shown in one epoch, not augmented, and who drew what is shown."""
        maps, _ = super()._shown(row, epoch, repeat)
        image, label, edges, label_confidence, given = maps
        who = torch.zeros(len(self._names), dtype=torch.bool)
        cases = self._stacks[self.ids[row]]
        drew = [name for name in self._names if all(name in case.annotators for case in cases)]
        if not drew or (self.role == "gold" and given is None):
            return maps, who
        generator = generator_for("annotator", self.seed, self.role, epoch, repeat, self.ids[row])
        number = self._names.index(drew[int(torch.randint(len(drew), (), generator=generator))])
        who[number] = True
        outline = self._outlines.get(
            row * len(self._names) + number, lambda: self._drawn(row, number), lambda grid: grid.nbytes
        )
        if self.role == "gold":
            return (image, label, edges, label_confidence, outline), who
        return (image, outline, edges, label_confidence, given), who

    def _drawn(self, row: int, number: int) -> Tensor:
        """Return what an annotator drew of a case in the grid, uint8."""
        cases = self._stacks[self.ids[row]]
        stack = [self._prepared.outlines(case)[self._names[number]] for case in cases]
        return labels_to_input(stack, self.grid)
