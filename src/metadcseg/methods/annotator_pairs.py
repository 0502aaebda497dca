"""Pairs by annotator: where batches say who drew a mask, each has a table of their own, drawn to that of all."""

from dataclasses import replace

import torch
from torch import Tensor

from metadcseg.methods.pair_table import PairTable, error_table, mean_shares
from metadcseg.tensors import AllReduceMean, Batch

OTHERS = 1.0
"""So many mean pairs of all annotators count beside an annotator's own."""


class AnnotatorPairTable(PairTable):
    """A :class:`.PairTable` that keeps the pairs of J annotators, and of those who are not known, apart.

    What it says without naming somebody is counted over all of them; the image stays the unit of evidence. Where
    batches do not say who drew what, it is a :class:`.PairTable`.

    Args:
        images: K, how many gold images there are.
        all_reduce_mean: as for :class:`.PairTable`.

    Attributes:
        pixels: as of :class:`.PairTable`, ((J + 1) K, L, L, B): annotator by annotator, unknown ones last.
        truly: likewise.

    Example:
        >>> from metadcseg.warp import Warp
        >>> given, verified = torch.tensor([[[0, 0, 1, 1]]] * 2), torch.tensor([[[0, 0, 0, 1]], [[0, 0, 1, 1]]])
        >>> anna, ben = torch.eye(2, dtype=torch.bool)
        >>> held = (torch.zeros(2, 1, 1, 4), verified, torch.arange(2), Warp.identity(2))
        >>> table = AnnotatorPairTable(images=2)
        >>> table.update(Batch(*held, given=given, annotators=torch.stack([anna, ben])), classes=2)
        >>> own, _ = table.of(torch.stack([anna, ben]))  # anna: 1 of 2 pixels, beside a mean pair of both: 0.5 of 2
        >>> own[:, 1, 0, -1].tolist(), table.pooled()[1, 0, -1].item()
        ([0.375, 0.125], 0.25)
    """

    def __init__(self, images: int, all_reduce_mean: AllReduceMean = dict) -> None:
        super().__init__(images, all_reduce_mean)
        self._gold = images

    def update(self, gold: Batch, classes: int) -> None:
        """Take in the pairs of a gold batch; pixels that either mask ignores do not count.

        Raises:
            InputError: for an image whose number is not below K, or where a table of other annotators was loaded.
        """
        self._images = self._gold
        if gold.annotators is not None and int(gold.indices.max()) < self._gold:  # others are refused below
            self._images = self._gold * (gold.annotators.shape[1] + 1)
            gold = replace(gold, indices=gold.indices + self._gold * _numbers(gold.annotators))
        super().update(gold, classes)

    def seen(self) -> tuple[Tensor, Tensor]:
        """Return ``pixels`` and ``truly`` of the pairs seen by image, (K', L, L, B) with K' <= K."""
        if not len(self.pixels):
            return self.pixels, self.truly
        pixels, truly = self._apart().sum(dim=1).unbind()
        chosen = pixels.flatten(1).sum(dim=1) > 0
        return pixels[chosen], truly[chosen]

    def both(self, scale: Tensor | None = None) -> tuple[Tensor, Tensor] | None:
        """Return T of everybody, (L, L, B), and the shares over all distances, (L, L); None before two images.

        Args:
            scale: (L, L), by how much errors at any distance count more or less; None: 1.
        """
        table, shares = self.pooled(scale=scale), self.shares()
        if table is None or shares is None:
            return None
        return table, shares if scale is None else shares * scale

    def of(self, annotators: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return T of each image's annotator, (N, L, L, B), and the shares over all distances, (N, L, L).

        Args:
            annotators: (N, J) bool, who drew each image; all False: everybody's table.

        Returns:
            None before two images were seen.
        """
        if self.pooled() is None:
            return None
        held = self._apart()
        pairs = (held[0].flatten(2).sum(dim=2) > 0).sum()
        mean = held.sum(dim=(1, 2)) / pairs
        own = held[:, :-1].sum(dim=2) + OTHERS * mean.unsqueeze(1)
        pixels, truly = torch.cat([own, mean.unsqueeze(1)], dim=1)
        number = _numbers(annotators).to(truly.device)
        table = error_table(truly, pixels, mean[0])[number]
        return table, mean_shares(truly, pixels)[number]

    def _apart(self) -> Tensor:
        """Return ``pixels`` and ``truly``, (2, J + 1, K, L, L, B)."""
        return torch.stack([self.pixels, self.truly]).view(2, -1, self._gold, *self.pixels.shape[1:])


def _numbers(annotators: Tensor) -> Tensor:
    """Return the number of each image's annotator, (N,) int64, J where nobody is known."""
    nobody = torch.full((len(annotators),), annotators.shape[1])
    return torch.where(annotators.any(dim=1), annotators.int().argmax(dim=1), nobody.to(annotators.device))
