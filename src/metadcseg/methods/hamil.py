"""HAMIL's second stage (Zhong et al., IEEE TMI 2023): three networks, each taught in turn by the other two.

The published method makes pseudo-masks from image labels first. Here the given masks stand in their place: "HAMIL
(stage 2, adapted)", with the grid's own network for all three.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from metadcseg.losses import mean_over_pixels, pixel_cross_entropy, soft_dice_loss
from metadcseg.methods.base import MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import class_probabilities, require_gold, supervised_loss
from metadcseg.methods.peers import committee_of, descend_each
from metadcseg.tensors import Batch, check_classes, check_tensor
from metadcseg.validation import check_range, check_types

_NETWORKS = 3


@dataclass(frozen=True)
class HAMIL:
    """Three networks; where two agree, their label counts more for the third, and it follows their mean.

    Network i descends mean(q f_i) + ``distillation`` * KD_i + ``dice`` * mean soft Dice loss, each pixel counting by q.
    f_i is its cross-entropy with the given label. q is ``agree`` where both others predict the same class, whatever the
    label says, else ``disagree``. KD_i pulls it to the mean of the others' logits (:func:`distillation_loss`).

    Args:
        agree: q where the two others agree, at least 0.
        disagree: q where they do not, at least 0.
        distillation: weight of KD, at least 0.
        temperature: T of KD, above 0.
        gold: ``"mixed"`` adds a gold batch to every step of each network (ours: the published method knows no gold);
            ``"finetune"`` goes on with gold alone after ``warmup`` epochs (ours, too); ``"none"`` never looks at one.
        warmup: with ``"finetune"``, epochs of the method itself before, at least 1.
        dice: weight of the soft Dice loss, at least 0; the published method has none.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> HAMIL().info.networks, HAMIL(gold="mixed").info.passes
        (3, 18.0)
    """

    name: ClassVar[str] = "hamil"

    agree: float = 2.0
    disagree: float = 0.5
    distillation: float = 0.2
    temperature: float = 30.0
    gold: Literal["none", "mixed", "finetune"] = "none"
    warmup: int = 25
    dice: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "temperature", above=0)
        check_range(self, "warmup", at_least=1)
        for option in ("agree", "disagree", "distillation", "dice"):
            check_range(self, option, at_least=0)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs."""
        gold = self.gold != "none"
        passes = (6.0 if self.gold == "mixed" else 3.0) * _NETWORKS
        warmup = self.warmup if self.gold == "finetune" else 0
        return MethodInfo(
            needs_gold=gold,
            supervises_gold=gold,
            networks=_NETWORKS,
            passes=passes,
            warmup=warmup,
            keeps_weights=False,
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step; nothing of it is the method's own."""
        return MethodState(committee_of(network, self.name, _NETWORKS), updater, generator)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Teach each network by the two others, all in one step; or, fine-tuning, by gold."""
        committee = committee_of(state.network, self.name, _NETWORKS)
        if self.gold == "finetune" and state.updater.epoch >= self.warmup:
            held = require_gold(gold, self.name)
            losses = [supervised_loss(one.logits, held, self.dice) for one in committee.answers(held.images)]
            return descend_each(
                state, committee, [{"loss": loss, **said} for loss, said in losses], None, self.dice
            )
        logits = [answer.logits for answer in committee.answers(noisy.images)]
        parts = [
            self.loss_of(logits[own], logits[own - 2].detach(), logits[own - 1].detach(), noisy)
            for own in range(_NETWORKS)
        ]
        verified = require_gold(gold, self.name) if self.gold == "mixed" else None
        return descend_each(state, committee, parts, verified, self.dice)

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: whether two networks agree says nothing of the given label."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images, of the mean of the logits."""
        return class_probabilities(state.network, images)

    def loss_of(self, logits: Tensor, second: Tensor, third: Tensor, noisy: Batch) -> dict[str, Tensor]:
        """Return what one network descends (``loss``) and its parts, scalars.

        Args:
            logits: (N, L, H, W), its own.
            second: (N, L, H, W), of one of the others, without graph.
            third: (N, L, H, W), of the other, without graph.
            noisy: the batch.
        """
        whole = noisy.global_batch_size

        def mean(maps: Tensor) -> Tensor:
            return mean_over_pixels(maps, noisy.labels, whole.pixels)

        agreed = second.max(dim=1).indices == third.max(dim=1).indices
        q = torch.where(agreed, self.agree, self.disagree)
        pixel = mean(noisy.weigh_by_confidence(q * pixel_cross_entropy(logits, noisy.labels)))
        taught = mean(distillation_loss(logits, (second.float() + third.float()) / 2, self.temperature))
        images = soft_dice_loss(logits.softmax(dim=1), noisy.labels, noisy.weigh_by_confidence(q))
        dice = images.sum() / whole.images
        return {
            "loss": pixel + self.distillation * taught + self.dice * dice,
            "pixel": pixel,
            "distillation": taught,
            "dice": dice,
            "agreement": mean(agreed.float()),
        }


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(teacher / T) || softmax(logits / T)) of every pixel, in nats.

    At T = 30 it is within 0.1 % of sum_c (d_c - mean d)^2 / (2 L), d = teacher - logits, for logits of a few units: a
    pull of the logits themselves, which grows with them.

    Args:
        logits: (N, L, H, W) float.
        teacher: (N, L, H, W) float, of the same shape.
        temperature: T, above 0.

    Returns:
        (N, H, W) float32, at least 0; 0 where both are equal up to a constant.

    Example:
        >>> teacher = torch.tensor([1.5, 0.0]).view(1, 2, 1, 1)
        >>> found = distillation_loss(torch.zeros(1, 2, 1, 1), teacher, temperature=30.0)
        >>> round(found.item(), 3)  # (0.75^2 + 0.75^2) / 4 = 0.28125
        0.281
    """
    shape = check_classes("logits", logits)
    check_tensor("teacher", teacher, "float", (shape[0], logits.shape[1], *shape[1:]))
    taught, own = (one.float().div(temperature).log_softmax(dim=1) for one in (teacher, logits))
    apart, share = own - taught, taught.exp()
    near = share * apart.clamp(max=1).expm1()  # = exp(own) - exp(taught): exact where they are close
    more = torch.where(apart > 1, own.exp() - share, near)  # exp(apart) may overflow
    return temperature**2 * (more - share * apart).sum(dim=1)
