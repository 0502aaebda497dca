"""The baseline that uses the pairs, too: their table as soft target. No network is asked, nothing is meta-learned.

So nobody can say that the information alone did it: where ``calibrated`` is ahead of this row, it is the method.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor, nn

from metadcseg.algorithm.meta_weights import weighted_pixel_loss
from metadcseg.losses import mean_over_pixels, soft_dice_loss
from metadcseg.methods.annotator_pairs import AnnotatorPairTable
from metadcseg.methods.base import MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import (
    as_trained,
    believed,
    class_probabilities,
    descend_gold,
    require_gold,
    where_labeled,
)
from metadcseg.methods.pair_table import (
    Trust,
    class_posterior,
    distance_bins,
    full_trust,
    known_labels,
    trust_of,
)
from metadcseg.tensors import Batch, WeightMaps
from metadcseg.validation import check_range, check_types


@dataclass(frozen=True)
class Pairs:
    """Cross-entropy and soft Dice with the table of all pairs as target: alpha of the given class, beta of the next.

    A step descends mean(alpha f + beta g) + ``dice`` * Dice + l(gold), with alpha = 1 - sum_r T(c, r, b_r) and beta =
    1 - alpha for the most probable other class (:mod:`.pair_table`).

    Args:
        dice: weight of the soft Dice loss, at least 0.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> Pairs().info.uses_pairs
        True
    """

    name: ClassVar[str] = "pairs"

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
            network, updater, generator, {"pairs": AnnotatorPairTable(updater.gold_images, updater.mean)}
        )

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Take in the pairs of the gold batch, train on the table's targets and on gold."""
        verified = require_gold(gold, self.name)
        logits = state.network(noisy.images).logits
        state.parts["pairs"].update(verified, logits.shape[1])
        trust = self._trust(state, noisy)
        weights = believed(trust.weights, noisy)
        whole = noisy.global_batch_size
        pixels = weighted_pixel_loss(logits, noisy.labels, trust.candidates, weights)
        pixel = mean_over_pixels(pixels, noisy.labels, whole.pixels)
        second = (trust.candidates, weights.beta)
        dice = soft_dice_loss(logits.softmax(dim=1), noisy.labels, weights.alpha, second).sum() / whole.images
        loss = pixel + self.dice * dice
        state.updater.backward(loss)
        gold_loss = descend_gold(state, verified, self.dice)
        state.updater.step()
        scalars = {"loss": loss + gold_loss, "pixel": pixel, "dice": dice, "gold": gold_loss}
        return StepReport(
            {name: value.detach() for name, value in scalars.items()}, where_labeled(weights, noisy)
        )

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps:
        """Return what the table says of a batch's pixels."""
        return as_trained(self._trust(state, noisy).weights, noisy)

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)

    def _trust(self, state: MethodState, noisy: Batch) -> Trust:
        labels, pairs = known_labels(noisy), state.parts["pairs"]
        told = pairs.both() if noisy.annotators is None else pairs.of(noisy.annotators)
        if told is None:
            return full_trust(labels)
        table = told[0]
        return trust_of(class_posterior(table, labels, distance_bins(labels, table.shape[-2])), labels)
