"""MAXFormer's training (Liang et al., Knowledge-Based Systems 280:110987, 2023): cross-entropy and Dice of a batch."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor, nn

from metadcseg.losses import mean_cross_entropy
from metadcseg.methods.base import GoldSupervision, MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import class_numbers, class_probabilities, descend, require_gold
from metadcseg.tensors import IGNORE, AllReduceMean, Batch
from metadcseg.validation import check_types

_SMOOTH = 1e-5
_PIXEL, _DICE = 0.4, 0.6


@dataclass(frozen=True)
class MAXFormer:
    """0.4 cross-entropy + 0.6 Dice, over all classes with background, as MAXFormer's authors train it.

    The Dice loss has sums over the whole batch and squares in its denominator (:func:`batch_dice_loss`). It trains any
    network; ``--network.name maxformer`` makes it the published pair. Nothing in it expects wrong labels.

    Args:
        gold: ``"none"`` as published; ``"mixed"`` adds the same loss of a gold batch to every step: our extension, so
            that the comparison with equal gold can be made.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> MAXFormer().info.needs_gold, MAXFormer(gold="mixed").info.passes
        (False, 6.0)
    """

    name: ClassVar[str] = "maxformer"

    gold: GoldSupervision = "none"

    def __post_init__(self) -> None:
        check_types(self)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs with these options."""
        mixed = self.gold == "mixed"
        passes = 6.0 if mixed else 3.0
        return MethodInfo(needs_gold=mixed, supervises_gold=mixed, passes=passes, keeps_weights=False)

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step; nothing of it is the method's own."""
        return MethodState(network, updater, generator)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Train on one noisy batch, and on a gold batch of equal weight where mixed."""
        verified = require_gold(gold, self.name) if self.gold == "mixed" else None

        def loss_of(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            logits = state.network(batch.images).logits
            pixel = mean_cross_entropy(logits, batch)
            region = batch_dice_loss(logits.float().softmax(dim=1), batch, state.updater.mean)
            return _PIXEL * pixel + _DICE * region, {"pixel": pixel.detach(), "dice": region.detach()}

        return descend(state, noisy, verified, loss_of)

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: all pixels count alike."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)


def batch_dice_loss(probabilities: Tensor, batch: Batch, all_reduce_mean: AllReduceMean = dict) -> Tensor:
    """Return 1 - mean_k (2 sum p_k y_k + s) / (sum p_k^2 + sum y_k^2 + s), k = 0 .. L-1, a scalar.

    Sums run over all pixels of the whole batch that are not ``IGNORE``, each times its label confidence; s = 1e-5. On
    several devices the sums are those of all; the gradient is such that its average over the devices is the joint one.

    Args:
        probabilities: p, (N, L, H, W) float32, from 0 to 1, background included.
        batch: y, its labels.
        all_reduce_mean: over the devices that share the batch.

    Example:
        >>> import torch
        >>> from metadcseg.warp import Warp
        >>> labels = torch.tensor([[[1, 0]]])
        >>> batch = Batch(torch.zeros(1, 1, 1, 2), labels, torch.arange(1), Warp.identity(1))
        >>> p = torch.tensor([0.8, 0.4]).view(1, 1, 1, 2)  # class 1: 1 - 1.6 / 1.8; class 0: 1 - 1.2 / 1.4
        >>> round(batch_dice_loss(torch.cat([1 - p, p], dim=1), batch).item(), 4), round((1 / 9 + 1 / 7) / 2, 4)
        (0.127, 0.127)
    """
    valid = (batch.labels != IGNORE).unsqueeze(1)
    counted = (batch.labels.unsqueeze(1) == class_numbers(probabilities.shape[1], batch.labels)).float()
    confidence = batch.weigh_by_confidence(valid.squeeze(1).float()).unsqueeze(1)
    over = [0, *range(2, probabilities.dim())]
    own = {
        "overlap": (probabilities * counted * confidence).sum(over),
        "sizes": ((probabilities.square() + counted) * confidence).sum(over),
    }
    world = batch.global_batch_size.world_size
    whole = all_reduce_mean({name: value.detach() for name, value in own.items()})
    overlap, sizes = (world * (whole[name] + own[name] - own[name].detach()) for name in ("overlap", "sizes"))
    return 1 - ((2 * overlap + _SMOOTH) / (sizes + _SMOOTH)).mean()
