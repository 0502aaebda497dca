"""ConDSeg (Lei et al., AAAI 2025, arXiv 2412.08345): first the encoder, by consistency, then the whole network.

The right reading of its paper, where its published code departs from it: docs/explanation/condseg-madgnet.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from metadcseg.errors import InputError
from metadcseg.losses import mean_cross_entropy, mean_over_pixels
from metadcseg.methods.base import GoldSupervision, MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import class_probabilities, descend, require_gold, supervised_loss
from metadcseg.methods.condseg.views import colour_view
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, AllReduceMean, Batch
from metadcseg.validation import check_range, check_types

_HEADS = ("foreground", "background", "uncertainty")
_AREA = 12.0  # images in a published batch: there the area is summed over them
_MOST = 10.0


@dataclass(frozen=True)
class ConDSeg:
    """Two stages: the encoder learns to see a view and its colour-changed twin alike, then all is trained.

    With l = mean cross-entropy + ``dice`` * mean soft Dice loss, the first stage descends
    l(p, y) + l(q, y) + CE(p, argmax q) + CE(q, argmax p)  of the encoder's own head, p of the image, q of its twin.
    The second descends  l(mask, y) + b_f l(fg, y > 0) + b_b l(bg, y = 0) + overlap  (:func:`overlap`,
    :func:`area_weight`). Gold, where mixed, adds the same loss of a gold batch.

    Args:
        gold: ``"mixed"`` adds a gold batch to every step; ``"none"`` never looks at one.
        warmup: epochs of the first stage, at least 0; a third of the training is about what is published. The epoch
            that is kept is chosen among those of the second stage, where there are any.
        dice: weight of the soft Dice loss, at least 0.

    Raises:
        InputError: for an option with a value that is not allowed; when training starts, for a network without these
            stages and heads.

    Example:
        >>> ConDSeg(gold="mixed").info.needs_gold
        True
    """

    name: ClassVar[str] = "condseg"

    gold: GoldSupervision = "none"
    warmup: int = 33
    dice: float = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        for option in ("warmup", "dice"):
            check_range(self, option, at_least=0)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs: in the second stage; the first makes two passes of the encoder alone."""
        mixed = self.gold == "mixed"
        return MethodInfo(
            needs_gold=mixed,
            supervises_gold=mixed,
            passes=6.0 if mixed else 3.0,
            warmup=self.warmup,
            kept_from=self.warmup,
            network=self.name,
            keeps_weights=False,
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step; what lasts, the stage, is the network's own."""
        _to_stage(network, encoder_only=updater.epoch < self.warmup)
        return MethodState(network, updater, generator)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Train on one noisy batch, and on a gold batch of equal weight where mixed, in the stage of the epoch."""
        first = state.updater.epoch < self.warmup
        _to_stage(state.network, encoder_only=first)
        verified = require_gold(gold, self.name) if self.gold == "mixed" else None
        return descend(state, noisy, verified, partial(self._reinforce if first else self._segment, state))

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: all pixels count alike."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images: of the stage that the network is in."""
        return class_probabilities(state.network, images)

    def _reinforce(self, state: MethodState, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the first stage, and its parts by name, detached."""
        seed = int(torch.randint(2**32, (), generator=state.generator))
        # an image's view follows from the step and its number, whoever shares its batch or device
        generators = [Generator().manual_seed(seed + image) for image in batch.indices.tolist()]
        view = colour_view(batch.images, batch.labels != IGNORE, generators)
        own, twin = state.network(batch.images).logits, state.network(view).logits
        loss, scalars = supervised_loss(own, batch, self.dice)
        agreement = _taught_by(own, twin, batch) + _taught_by(twin, own, batch)
        loss = loss + supervised_loss(twin, batch, self.dice)[0] + agreement
        return loss, {**scalars, "consistency": agreement.detach()}

    def _segment(self, state: MethodState, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the second stage, and its parts by name, detached."""
        output: Output = state.network(batch.images)
        heads = _heads_of(output)
        loss, scalars = supervised_loss(output.logits, batch, self.dice)
        for name, labels in (("foreground", batch.labels > 0), ("background", batch.labels == 0)):
            targets = labels.long().masked_fill(batch.labels == IGNORE, IGNORE)
            logits = torch.cat(
                [torch.zeros_like(heads[name]), heads[name]], dim=1
            )  # softmax is then the sigmoid
            part, _ = supervised_loss(logits, replace(batch, labels=targets), self.dice)
            loss = loss + area_weight(heads[name], batch, state.updater.mean) * part
            scalars[name] = part.detach()
        crossed = overlap(torch.cat([heads[name] for name in _HEADS], dim=1), batch)
        return loss + crossed, {**scalars, "overlap": crossed.detach()}


def overlap(maps: Tensor, batch: Batch) -> Tensor:
    """Return the mean over pixels of P_f P_b + P_f P_u + P_b P_u, P the softmax over the three maps; a scalar.

    It is 0 where one of them is certain of a pixel, and 1 / 3 where all are equal.

    Args:
        maps: (N, 3, H, W) logits: foreground, background, uncertainty.
        batch: tells which pixels count.

    Example:
        >>> from metadcseg.warp import Warp
        >>> batch = Batch(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2).long(), torch.arange(1), Warp.identity(1))
        >>> round(overlap(torch.zeros(1, 3, 2, 2), batch).item(), 6)
        0.333333
    """
    foreground, background, uncertainty = maps.softmax(dim=1).unbind(dim=1)
    crossed = foreground * background + foreground * uncertainty + background * uncertainty
    return mean_over_pixels(crossed, batch.labels, batch.global_batch_size.pixels)


def area_weight(logits: Tensor, batch: Batch, all_reduce_mean: AllReduceMean) -> Tensor:
    """Return b = 1 / tanh(12 a), at most 10: what a map's loss counts, by the mean probability a in it, as a constant.

    So the head of small objects counts more. Published is 1 / tanh of the areas summed over a batch, which is of 12.

    Args:
        logits: (N, 1, H, W).
        batch: tells which pixels count.
        all_reduce_mean: over the devices that share the batch.

    Example:
        >>> from metadcseg.warp import Warp
        >>> batch = Batch(torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 2).long(), torch.arange(1), Warp.identity(1))
        >>> logits = torch.tensor([0.02, 0.02]).logit().view(1, 1, 1, 2)
        >>> round(area_weight(logits, batch, dict).item(), 4)  # 1 / tanh(0.24)
        4.2464
    """
    area = mean_over_pixels(logits.detach()[:, 0].sigmoid(), batch.labels, batch.global_batch_size.pixels)
    weight: Tensor = 1.0 / torch.tanh(_AREA * all_reduce_mean({"area": area})["area"])
    return weight.clamp(max=_MOST)


def _taught_by(logits: Tensor, other: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross-entropy with the most probable class of another view, a scalar."""
    teaches = other.detach().argmax(dim=1).masked_fill(batch.labels == IGNORE, IGNORE)
    return mean_cross_entropy(logits, replace(batch, labels=teaches, label_confidence=None))


def _heads_of(output: Output) -> Mapping[str, Tensor]:
    if not set(_HEADS) <= set(output.auxiliary):
        raise InputError(_lacking(f"the auxiliary maps {', '.join(_HEADS)}", ", ".join(output.auxiliary)))
    return output.auxiliary


def _to_stage(network: nn.Module, *, encoder_only: bool) -> None:
    """Tell a network which of its stages it is in."""
    switches: list[Any] = [part for part in network.modules() if hasattr(part, "train_encoder")]
    if not switches:
        raise InputError(_lacking("two stages (train_encoder)", ""))
    for part in switches:
        part.train_encoder(encoder_only)


def _lacking(what: str, got: str) -> str:
    told = f"method 'condseg' needs a network with {what}, got {got or 'none'}"
    network = "in Python create_network(NetworkOptions(name='condseg'), ...)"
    return f"{told}: --network.name condseg has them ({network}), for images and not for volumes"
