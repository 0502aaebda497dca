"""Plain supervision: the baselines that every method has to beat, and the upper bound."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Generator, Tensor, nn

from metadcseg.methods.base import GoldSupervision, MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import class_probabilities, descend, output_loss, require_gold
from metadcseg.tensors import Batch
from metadcseg.validation import check_range, check_types


@dataclass(frozen=True)
class Supervised:
    """Cross-entropy and soft Dice on the labels as they are.

    With l(batch) = mean cross-entropy + ``dice`` * mean soft Dice loss, a step descends l(noisy), or, with
    ``gold="mixed"``, l(noisy) + l(gold): each batch counts the same, whatever its size, so that a gold pixel
    counts more than a noisy one where gold batches are smaller. This is the equal-gold baseline. Networks with deep
    supervision learn at every depth (:mod:`metadcseg.methods.deep_supervision`).

    Args:
        gold: ``"mixed"`` adds a gold batch to every step; ``"none"`` never looks at one.
        labels: ``"clean"`` trains on the reference masks in place of the given ones: the upper bound.
        dice: weight of the soft Dice loss, at least 0.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> Supervised(gold="mixed").info.needs_gold
        True
    """

    name: ClassVar[str] = "supervised"

    gold: GoldSupervision = "none"
    labels: Literal["noisy", "clean"] = "noisy"
    dice: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "dice", at_least=0)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs with these options."""
        mixed = self.gold == "mixed"
        return MethodInfo(
            needs_gold=mixed,
            supervises_gold=mixed,
            labels="truth" if self.labels == "clean" else "given",
            passes=6.0 if mixed else 3.0,
            keeps_weights=False,
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step; nothing of it is the method's own."""
        return MethodState(network, updater, generator)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Train on one noisy batch, and on a gold batch of equal weight where mixed."""
        verified = require_gold(gold, self.name) if self.gold == "mixed" else None

        def loss_of(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            return output_loss(state.network(batch.images), batch, self.dice)

        return descend(state, noisy, verified, loss_of)

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: all pixels count alike."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)
