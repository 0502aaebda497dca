"""Gold loss correction (Hendrycks et al., NeurIPS 2018): a confusion matrix counted on gold corrects the loss.

The paper estimates C[k][j] = P(given j | true k) from a network that was trained on noisy labels. Here the gold images
come with the masks they replaced, so C is counted: the baseline with the same information as ``calibrated``.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from metadcseg.losses import mean_over_pixels, soft_dice_loss
from metadcseg.methods.base import MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import class_numbers, class_probabilities, descend_gold, require_gold
from metadcseg.methods.late_buffers import LateBuffers
from metadcseg.methods.pair_table import BINS, distance_bins, known_labels
from metadcseg.tensors import IGNORE, AllReduceMean, Batch
from metadcseg.validation import check_range, check_types


@dataclass(frozen=True)
class GLC:
    """Forward correction: noisy pixels descend -log sum_k C[k][y] p_k, gold pixels plain cross-entropy.

    p is the network's softmax, y the given label. The Dice term compares y with the corrected probabilities
    sum_k C[k][j] p_k. Each batch counts the same. A class without a gold pixel is taken as never mistaken.

    Args:
        by_distance: one matrix for each bin of the distance to the outline of the given label, in place of one for all.
        dice: weight of the soft Dice loss, at least 0.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> GLC(by_distance=True).info.uses_pairs
        True
    """

    name: ClassVar[str] = "glc"

    by_distance: bool = False
    dice: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "dice", at_least=0)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs."""
        return MethodInfo(needs_gold=True, supervises_gold=True, passes=6.0, uses_pairs=True)

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: no pair seen."""
        return MethodState(
            network, updater, generator, {"confusion": Confusion(self.by_distance, updater.mean)}
        )

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Count the pairs of the gold batch, then descend the corrected loss and that of gold."""
        verified = require_gold(gold, self.name)
        confusion: Confusion = state.parts["confusion"]
        logits = state.network(noisy.images).logits
        confusion.update(verified, logits.shape[1])
        corrected = forward_corrected(
            logits, confusion.of(known_labels(noisy), logits.shape[1])
        )  # log P(given)
        valid = noisy.labels != IGNORE
        losses = -corrected.gather(1, noisy.labels.masked_fill(~valid, 0).unsqueeze(1)).squeeze(1)
        whole = noisy.global_batch_size
        pixel = mean_over_pixels(noisy.weigh_by_confidence(losses), noisy.labels, whole.pixels)
        dice = soft_dice_loss(corrected.exp(), noisy.labels, noisy.label_confidence).sum() / whole.images
        loss = pixel + self.dice * dice
        state.updater.backward(loss)
        gold_loss = descend_gold(state, verified, self.dice)
        state.updater.step()
        scalars = {"loss": loss + gold_loss, "pixel": pixel, "dice": dice, "gold": gold_loss}
        return StepReport({name: value.detach() for name, value in scalars.items()})

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: a correction is no weight of a pixel."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)


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
        super().__init__("counts")
        self._by_distance = by_distance
        self._all_reduce_mean = all_reduce_mean

    def update(self, gold: Batch, classes: int) -> None:
        """Count the pairs of a gold batch; pixels that either mask ignores do not count."""
        if not len(self.counts):
            bins = BINS if self._by_distance else 1
            self.counts = torch.zeros((bins, classes, classes), device=gold.labels.device)
        given = torch.full_like(gold.labels, IGNORE) if gold.given is None else gold.given
        valid = (given != IGNORE) & (gold.labels != IGNORE)
        cell = (self._bins(given, classes) * classes + gold.labels) * classes + given
        found = torch.bincount(cell[valid], minlength=self.counts.numel()).float() / given[0].numel()
        total = self._all_reduce_mean({"counts": found})["counts"] * gold.global_batch_size.world_size
        self.counts = self.counts.to(total.device) + total.view(self.counts.shape)

    def of(self, labels: Tensor, classes: int) -> Tensor:
        """Return C[k][j] = P(given j | true k) at every pixel, (N, L, L, H, W); rows (over j) sum to 1."""
        total = self.counts.sum(dim=2, keepdim=True)
        identity = torch.eye(classes, device=labels.device).expand(self.counts.shape)
        counts = self.counts.to(labels.device)
        matrix = torch.where(total > 0, counts / total.clamp(min=torch.finfo(torch.float32).tiny), identity)
        return matrix[self._bins(labels, classes)].movedim((-2, -1), (1, 2))

    def _bins(self, labels: Tensor, classes: int) -> Tensor:
        """Return the bin of the distance to the nearest pixel of another class, (N, H, W) int64; 0 without bins."""
        if not self._by_distance:
            return torch.zeros_like(labels)
        own = labels.unsqueeze(1) == class_numbers(classes, labels)
        return distance_bins(labels, classes).masked_fill(own, BINS - 1).amin(dim=1)


def forward_corrected(logits: Tensor, confusion: Tensor) -> Tensor:
    """Return log sum_k C[k][j] p_k of every given class j, (N, L, H, W).

    Args:
        logits: (N, L, H, W) float.
        confusion: C, (N, L, L, H, W), true class before given class; of rows that sum to 1. A label that no class
            explains (C[k][j] = 0 for every k) costs much, but has no gradient: 0 counts as 1e-30.

    Example:
        >>> matrix = torch.tensor([[0.9, 0.1], [0.3, 0.7]]).view(1, 2, 2, 1, 1)
        >>> logits = torch.tensor([0.2, 0.8]).log().view(1, 2, 1, 1)
        >>> [round(-value, 5) for value in forward_corrected(logits, matrix).flatten().tolist()]
        [0.8675, 0.54473]
    """
    return (logits.log_softmax(dim=1).unsqueeze(2) + confusion.clamp(min=1e-30).log()).logsumexp(dim=1)
