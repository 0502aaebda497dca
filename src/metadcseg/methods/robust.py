"""Losses that a wrong label moves little: generalized and symmetric cross-entropy, noise-robust Dice.

All three are bounded in p, the probability of the given label, so that a label which the network is sure to be wrong
stops pulling. They know nothing of gold, of pixels that look alike, or of where masks are wrong.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from metadcseg.losses import mean_over_pixels, mean_soft_dice, pixel_cross_entropy
from metadcseg.methods.base import GoldSupervision, MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import (
    class_numbers,
    class_probabilities,
    descend_gold,
    require_gold,
    supervised_loss,
)
from metadcseg.tensors import IGNORE, Batch, check_classes, check_tensor
from metadcseg.validation import check_range, check_types

_CERTAIN = 4.0  # -A of the paper: what ln 0 of the other label's probability counts as
_TINY = 1e-5


@dataclass(frozen=True)
class Robust:
    """Plain supervision whose cross-entropy gives way to a robust loss after a warm-up.

    A step descends the mean of the robust loss + ``dice`` * mean soft Dice loss; with ``loss="nr-dice"`` the
    noise-robust Dice loss stands in place of both. Gold is trained on as in ``supervised``.

    Args:
        loss: ``"gce"`` (:func:`generalized_cross_entropy`), ``"sce"`` (:func:`symmetric_cross_entropy`) or
            ``"nr-dice"`` (:func:`noise_robust_dice`).
        gold: ``"mixed"`` adds a gold batch to every step; ``"none"`` never looks at one.
        q: of gce, above 0 and at most 1: near 0 it is cross-entropy, at 1 the mean absolute error.
        a: weight of the cross-entropy in sce, at least 0.
        b: weight of the reverse cross-entropy in sce, at least 0.
        exponent: of nr-dice, from 1 (mean absolute error) to 2.
        warmup: epochs of plain cross-entropy and Dice before, since gce and nr-dice start slowly; at least 0.
        dice: weight of the soft Dice loss, at least 0.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> Robust(loss="sce", gold="mixed").info.needs_gold
        True
    """

    name: ClassVar[str] = "robust"

    loss: Literal["gce", "sce", "nr-dice"] = "gce"
    gold: GoldSupervision = "none"
    q: float = 0.7
    a: float = 0.1
    b: float = 1.0
    exponent: float = 1.5
    warmup: int = 5
    dice: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "q", above=0, at_most=1)
        check_range(self, "exponent", at_least=1, at_most=2)
        for option in ("a", "b", "warmup", "dice"):
            check_range(self, option, at_least=0)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs."""
        mixed = self.gold == "mixed"
        return MethodInfo(
            needs_gold=mixed,
            supervises_gold=mixed,
            passes=6.0 if mixed else 3.0,
            warmup=self.warmup,
            keeps_weights=False,
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step; nothing of it is the method's own."""
        return MethodState(network, updater, generator)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Train on one noisy batch, and on a gold batch of equal weight where mixed."""
        logits = state.network(noisy.images).logits
        if state.updater.epoch < self.warmup:
            loss, scalars = supervised_loss(logits, noisy, self.dice)
        else:
            loss, scalars = self._robust_loss(logits, noisy)
        state.updater.backward(loss)
        loss = loss.detach()
        if self.gold == "mixed":
            scalars["gold"] = descend_gold(state, require_gold(gold, self.name), self.dice)
            loss = loss + scalars["gold"]
        state.updater.step()
        return StepReport({"loss": loss, **scalars})

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: a loss is no weight of a pixel."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)

    def _robust_loss(self, logits: Tensor, noisy: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is descended, and its parts by name, detached."""
        if self.loss == "nr-dice":
            classes = noise_robust_dice(
                logits.softmax(dim=1), noisy.labels, self.exponent, noisy.label_confidence
            )
            region = classes.mean(dim=1).sum() / noisy.global_batch_size.images
            return region, {"dice": region.detach()}
        if self.loss == "gce":
            pixels = generalized_cross_entropy(logits, noisy.labels, self.q)
        else:
            pixels = symmetric_cross_entropy(logits, noisy.labels, self.a, self.b)
        whole = noisy.global_batch_size.pixels
        pixel = mean_over_pixels(noisy.weigh_by_confidence(pixels), noisy.labels, whole)
        region = mean_soft_dice(logits, noisy)
        return pixel + self.dice * region, {"pixel": pixel.detach(), "dice": region.detach()}


def generalized_cross_entropy(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """Return (1 - p^q) / q of every pixel (Zhang and Sabuncu, NeurIPS 2018).

    Its gradient is that of the cross-entropy times p^q: the less the network believes a label, the less it counts.

    Args:
        logits: (N, L, H, W) float.
        labels: (N, H, W) int64, class 0 .. L-1, or ``IGNORE``.
        q: above 0 and at most 1.

    Returns:
        (N, H, W) float, from 0 to 1 / q; exactly 0 where labels are ``IGNORE``.

    Example:
        >>> loss = generalized_cross_entropy(torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1).long(), q=0.7)
        >>> round(loss.item(), 5)  # p = 0.5
        0.54918
    """
    return -torch.expm1(-q * pixel_cross_entropy(logits, labels)) / q


def symmetric_cross_entropy(logits: Tensor, labels: Tensor, a: float, b: float) -> Tensor:
    """Return -a ln p + 4 b (1 - p) of every pixel (Wang et al., ICCV 2019, with A = -4).

    The second term is the cross-entropy with label and prediction in each other's place, ln 0 taken as A.

    Args:
        logits: (N, L, H, W) float.
        labels: (N, H, W) int64, class 0 .. L-1, or ``IGNORE``.
        a: weight of the first term.
        b: weight of the second.

    Returns:
        (N, H, W) float, at least 0; exactly 0 where labels are ``IGNORE``.

    Example:
        >>> loss = symmetric_cross_entropy(torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1).long(), a=0.1, b=1.0)
        >>> round(loss.item(), 5)  # p = 0.5
        2.06931
    """
    forward = pixel_cross_entropy(logits, labels)
    return a * forward - b * _CERTAIN * torch.expm1(-forward)


def noise_robust_dice(
    probabilities: Tensor, labels: Tensor, exponent: float, label_confidence: Tensor | None = None
) -> Tensor:
    """Return sum |p_k - y_k|^g / (sum p_k + sum y_k + 1e-5) of every image and class (Wang et al., TMI 2020).

    Sums run over the pixels of an image that are not ``IGNORE``, each counting by its trust. Background is a class as
    any other, as in the published code; that sums over the batch, where here each image has a loss of its own.

    Args:
        probabilities: p, (N, L, H, W) float, from 0 to 1.
        labels: (N, H, W) int64, class 0 .. L-1, or ``IGNORE``.
        exponent: g, from 1 to 2.
        label_confidence: (N, H, W) float, how much each pixel counts in all sums; fully by default.

    Returns:
        (N, L), from 0 to 1; float32 at least.

    Example:
        >>> p = torch.tensor([0.8, 0.4]).view(1, 1, 1, 2)
        >>> loss = noise_robust_dice(torch.cat([1 - p, p], dim=1), torch.tensor([[[1, 0]]]), exponent=1.5)
        >>> round(loss[0, 1].item(), 5)
        0.15565
    """
    shape = check_classes("probabilities", probabilities)
    check_tensor("labels", labels, "int64", shape)
    counted = (labels != IGNORE).to(torch.promote_types(probabilities.dtype, torch.float32))
    if label_confidence is not None:
        check_tensor("label_confidence", label_confidence, "float", shape)
        counted = counted * label_confidence
    weight = counted.unsqueeze(1)
    own = (labels.unsqueeze(1) == class_numbers(probabilities.shape[1], labels)).to(weight.dtype)
    space = tuple(range(2, probabilities.ndim))
    predicted = probabilities.to(weight.dtype).masked_fill(weight == 0, 0.0)  # 0 * NaN would be NaN
    errors = ((predicted - own).abs() ** exponent * weight).sum(dim=space)
    return errors / (((predicted + own) * weight).sum(dim=space) + _TINY)
