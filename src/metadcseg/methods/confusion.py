"""Which class was given where another is true: counted on the masks that gold replaced, or expected of a network."""

import torch
from torch import Tensor

from metadcseg.methods.common import class_numbers
from metadcseg.methods.late_buffers import LateBuffers
from metadcseg.methods.pair_table import FAR, distance_bins
from metadcseg.tensors import IGNORE, AllReduceMean, Batch


class Confusion(LateBuffers):
    """Counts of (bin, true class, given class) over the pairs seen, as shares of their images.

    Args:
        by_distance: a matrix for each bin, in place of one for all.
        all_reduce_mean: over the devices that share every batch.

    Attributes:
        counts: (B or 1, L, L) float32; empty until the first batch tells L.
    """

    counts: Tensor

    def __init__(self, by_distance: bool, all_reduce_mean: AllReduceMean = dict) -> None:
        super().__init__(counts=(FAR + 1 if by_distance else 1, "L", "L"))
        self._by_distance = by_distance
        self._all_reduce_mean = all_reduce_mean

    def update(self, gold: Batch, classes: int) -> None:
        """Count the pairs of a gold batch; pixels that either mask ignores do not count."""
        if not len(self.counts):
            bins = FAR + 1 if self._by_distance else 1
            self.counts = torch.zeros((bins, classes, classes), device=gold.labels.device)
        given = torch.full_like(gold.labels, IGNORE) if gold.given is None else gold.given
        valid = (given != IGNORE) & (gold.labels != IGNORE)
        cell = (self._bins(given, classes) * classes + gold.labels) * classes + given
        found = torch.bincount(cell[valid], minlength=self.counts.numel()).float() / given[0].numel()
        total = self._all_reduce_mean({"counts": found})["counts"] * gold.global_batch_size.world_size
        self.counts = self.counts.to(total.device) + total.view(self.counts.shape)

    def add_expected(self, gold: Batch, probabilities: Tensor) -> None:
        """Count what a network says of the gold pixels of each class, in shares, as if it had drawn their given label.

        Args:
            gold: the batch; pixels that its mask ignores do not count.
            probabilities: (N, L, H, W), of the network.
        """
        classes = probabilities.shape[1]
        if not len(self.counts):
            self.counts = torch.zeros((1, classes, classes), device=gold.labels.device)
        said = probabilities.movedim(1, -1)
        rows = [said[gold.labels == true].sum(dim=0) for true in range(classes)]
        found = torch.stack(rows) / gold.labels[0].numel()
        total = self._all_reduce_mean({"counts": found})["counts"] * gold.global_batch_size.world_size
        self.counts = self.counts.to(total.device) + total

    def right_shares(self, classes: int) -> Tensor:
        """Return P(given label right | given class) of every class, (L,) float32; 1 for a class that was never given.

        Example:
            >>> confusion = Confusion(by_distance=False)
            >>> confusion.counts = torch.tensor([[[6.0, 2.0], [0.0, 2.0]]])  # true class before given class
            >>> confusion.right_shares(2).tolist()
            [1.0, 0.5]
        """
        if not len(self.counts):
            return torch.ones(classes)
        counts = self.counts.sum(dim=0)
        given = counts.sum(dim=0)
        return torch.where(given > 0, counts.diagonal() / given.clamp(min=1e-30), 1.0)

    def right_share(self) -> Tensor:
        """Return P(given label right) over all classes, 0-dimensional; 1 before the first pair."""
        total = self.counts.sum()
        right = self.counts.sum(dim=0).diagonal().sum() if len(self.counts) else total
        return torch.where(total > 0, right / total.clamp(min=1e-30), 1.0)

    def of(self, labels: Tensor, classes: int) -> Tensor:
        """Return C[k][j] = P(given j | true k) at every pixel, (N, L, L, H, W); rows (over j) sum to 1."""
        if not len(self.counts):  # nothing was counted: no label is mistaken
            self.counts = torch.zeros((1, classes, classes), device=labels.device)
        counts = self.counts.to(labels.device)  # read from a checkpoint it may still be elsewhere
        total = counts.sum(dim=2, keepdim=True)
        identity = torch.eye(classes, device=labels.device).expand(counts.shape)
        matrix = torch.where(total > 0, counts / total.clamp(min=torch.finfo(torch.float32).tiny), identity)
        return matrix[self._bins(labels, classes)].movedim((-2, -1), (1, 2))

    def _bins(self, labels: Tensor, classes: int) -> Tensor:
        """Return the bin of the distance to the nearest pixel of another class, (N, H, W) int64; 0 without bins."""
        if not self._by_distance:
            return torch.zeros_like(labels)
        own = labels.unsqueeze(1) == class_numbers(classes, labels)
        return distance_bins(labels, classes).masked_fill(own, FAR).amin(dim=1).clamp(max=FAR)
