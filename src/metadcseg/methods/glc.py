"""Gold loss correction (Hendrycks et al., NeurIPS 2018): a confusion matrix counted on gold corrects the loss.

The paper estimates C[k][j] = P(given j | true k) from a network that was trained on noisy labels: ``matrix="network"``.
Where the gold images come with the masks they replaced, C is counted: the baseline with what ``calibrated`` knows.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Generator, Tensor, nn

from metadcseg.errors import InputError
from metadcseg.losses import mean_over_pixels, soft_dice_loss
from metadcseg.methods.base import MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import (
    class_probabilities,
    descend,
    descend_gold,
    require_gold,
    supervised_loss,
)
from metadcseg.methods.confusion import Confusion
from metadcseg.methods.initial_weights import InitialWeights
from metadcseg.methods.pair_table import known_labels
from metadcseg.tensors import IGNORE, Batch
from metadcseg.validation import check_range, check_types


@dataclass(frozen=True)
class GLC:
    """Forward correction: noisy pixels descend -log sum_k C[k][y] p_k, gold pixels plain cross-entropy.

    p is the network's softmax, y the given label. The Dice term compares y with the corrected probabilities
    sum_k C[k][j] p_k. Each batch counts the same. A class without a gold pixel is taken as never mistaken.

    With ``matrix="network"`` the first ``warmup`` epochs train on noisy labels alone. In the last of them the network
    is asked about gold: C[k][j] is the mean of its p_j over gold pixels of class k. Then network, moving
    average and momentum begin anew with the first weights; the schedule goes on. Both parts count in the budget.

    Args:
        matrix: ``"pairs"`` counts C on the masks that gold replaced; ``"network"``, as published, needs none of them.
        warmup: with ``"network"``, epochs of the first part, at least 1.
        by_distance: one matrix for each bin of the distance to the outline of the given label, in place of one for all.
        dice: weight of the soft Dice loss, at least 0.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> GLC(by_distance=True).info.uses_pairs
        True
    """

    name: ClassVar[str] = "glc"

    matrix: Literal["pairs", "network"] = "pairs"
    warmup: int = 15
    by_distance: bool = False
    dice: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "dice", at_least=0)
        check_range(self, "warmup", at_least=1)
        if self.matrix == "network" and self.by_distance:
            raise InputError(
                "glc.by_distance needs the masks that gold replaced: leave it out, or take glc.matrix pairs"
            )

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs; with ``matrix="network"`` in the second part, the first takes half."""
        first = self.warmup if self.matrix == "network" else 0
        pairs = self.matrix == "pairs"
        return MethodInfo(
            needs_gold=True,
            supervises_gold=True,
            passes=6.0,
            asks_gold=not pairs,
            uses_pairs=pairs,
            warmup=first,
            kept_from=first,
            keeps_weights=False,
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: no pair seen."""
        parts: dict[str, nn.Module] = {"confusion": Confusion(self.by_distance, updater.mean)}
        if self.matrix == "network":
            parts["initial"] = InitialWeights(network)
        return MethodState(network, updater, generator, parts)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Count the pairs of the gold batch, then descend the corrected loss and that of gold."""
        verified = require_gold(gold, self.name)
        confusion: Confusion = state.parts["confusion"]
        if self.matrix == "network":
            if (epoch := state.updater.epoch) < self.warmup:
                if epoch == self.warmup - 1:
                    confusion.add_expected(verified, class_probabilities(state.network, verified.images))
                return descend(state, noisy, None, partial(self._plainly, state))
            if state.parts["initial"].put_back_once(state.network):
                state.updater.begin_anew()
        logits = state.network(noisy.images).logits
        if self.matrix == "pairs":
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

    def _plainly(self, state: MethodState, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return supervised_loss(state.network(batch.images).logits, batch, self.dice)

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: a correction is no weight of a pixel."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)


def forward_corrected(logits: Tensor, confusion: Tensor) -> Tensor:
    """Return log sum_k C[k][j] p_k of every given class j, (N, L, H, W).

    Args:
        logits: (N, L, H, W) float.
        confusion: C, (N, L, L, H, W), true class before given class; of rows that sum to 1. A label that no class
            explains (C[k][j] = 0 for every k) costs much, but has no gradient: 0 counts as 1e-30.

    Example:
        >>> import torch
        >>> matrix = torch.tensor([[0.9, 0.1], [0.3, 0.7]]).view(1, 2, 2, 1, 1)
        >>> logits = torch.tensor([0.2, 0.8]).log().view(1, 2, 1, 1)
        >>> [round(-value, 5) for value in forward_corrected(logits, matrix).flatten().tolist()]
        [0.8675, 0.54473]
    """
    return (logits.log_softmax(dim=1).unsqueeze(2) + confusion.clamp(min=1e-30).log()).logsumexp(dim=1)
