"""Networks that choose for each other what to learn from: pixels of small loss, which are rarely wrong.

Every network ranks the pixels of a class in the batch by its loss. The share R of them with the smallest loss is easy
to it, and each network learns from the pixels that are easy to *all others*. With two networks this is co-teaching
(Han et al., NeurIPS 2018), with three TriNet (Zhang et al., MICCAI 2020); the two differ also in how R falls from 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from metadcseg.errors import InputError
from metadcseg.losses import pixel_cross_entropy, soft_dice_loss
from metadcseg.methods.base import GoldSupervision, MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import class_probabilities, require_gold
from metadcseg.methods.confusion import Confusion
from metadcseg.methods.peers import committee_of, descend_each
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, AllReduceMean, Batch, check_tensor
from metadcseg.validation import check_range, check_types

_HALF = 16  # bits: a loss is ranked by the upper half of its 32, then by the lower


@dataclass(frozen=True)
class CoTeaching:
    """Two networks; each learns from the pixels that are easy to its peer.

    A network descends the mean cross-entropy + ``dice`` * mean soft Dice loss of its pixels. R falls from 1 to
    ``select_ratio`` as R = 1 - (1 - ``select_ratio``) exp(-5 (1 - t)^2), t = epoch / ``ramp``, at most 1. The methods
    that these rows are compared with do not know how many labels are wrong, so neither does ``select_ratio``.

    Args:
        select_ratio: R after the ramp: the share of pixels that is easy, above 0 and at most 1.
        ramp: epochs over which R falls, at least 0.
        ranks: ``"class"`` keeps the share R of the pixels of every given class; ``"batch"``, as published, of all
            pixels together: a class of few pixels may then lose all of them.
        pairs: R after the ramp is counted for every given class, on the masks that gold replaced, in place of
            ``select_ratio``: the share of its pixels that is right. Needs gold to be mixed in.
        gold: ``"mixed"`` adds a gold batch to every step of each network; ``"none"`` never looks at one.
        dice: weight of the soft Dice loss, at least 0.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> CoTeaching().info.networks, round(CoTeaching().ratio(epoch=0), 4), CoTeaching().ratio(epoch=10)
        (2, 0.9987, 0.8)
    """

    name: ClassVar[str] = "coteaching"
    networks: ClassVar[int] = 2

    select_ratio: float = 0.8
    ramp: int = 10
    ranks: Literal["class", "batch"] = "class"
    pairs: bool = False
    gold: GoldSupervision = "none"
    dice: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "select_ratio", above=0, at_most=1)
        for option in ("ramp", "dice"):
            check_range(self, option, at_least=0)
        if self.pairs and self.gold == "none":
            raise InputError(
                f"{self.name}.pairs true counts on gold: add --{self.name}.gold mixed, or leave it out"
            )

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs."""
        mixed = self.gold == "mixed"
        passes = (6.0 if mixed else 3.0) * self.networks
        return MethodInfo(
            needs_gold=mixed,
            supervises_gold=mixed,
            networks=self.networks,
            passes=passes,
            uses_pairs=self.pairs,
            keeps_weights=False,
        )

    def ratio(self, epoch: int, last: float | None = None) -> float:
        """Return R of an epoch, from 0, that falls to ``last``, by default ``select_ratio``."""
        risen = self._risen(min(epoch / self.ramp, 1.0) if self.ramp else 1.0)
        return 1 - (1 - (self.select_ratio if last is None else last)) * risen

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: where pairs are counted, none seen."""
        parts = (
            {"confusion": Confusion(by_distance=False, all_reduce_mean=updater.mean)} if self.pairs else {}
        )
        return MethodState(committee_of(network, self.name, self.networks), updater, generator, parts)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Let each network choose for the others, then train all of them."""
        committee, mean = committee_of(state.network, self.name, self.networks), state.updater.mean
        answers = committee.answers(noisy.images)
        losses = [pixel_cross_entropy(answer.logits, noisy.labels) for answer in answers]
        ranked = noisy.labels != IGNORE
        if noisy.label_confidence is not None:
            ranked = ranked & (noisy.label_confidence > 0)  # a label that nobody trusts takes nobody's place
        classes = answers[0].logits.shape[1]
        groups = [ranked]
        if self.ranks == "class":
            groups = [ranked & (noisy.labels == number) for number in range(classes)]
        verified = require_gold(gold, self.name) if self.gold == "mixed" else None
        kept = chosen_by_others(losses, groups, self._ratios(state, verified, classes, len(groups)), mean)
        counts = mean({str(place): one.sum().float() for place, one in enumerate([*kept, ranked])})
        sizes = [torch.where(count > 0, count, 1.0) for count in counts.values()]
        parts = []
        for answer, loss, own, size in zip(answers, losses, kept, sizes, strict=False):
            pixel = noisy.weigh_by_confidence(loss).masked_fill(~own, 0.0).sum() / size
            dice = self._dice(answer, noisy, own)
            total = pixel + self.dice * dice
            parts.append({"loss": total, "pixel": pixel, "dice": dice, "kept": size / sizes[-1]})
        return descend_each(state, committee, parts, verified, self.dice)

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: whom a batch puts among the easy ones depends on who else is in it."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images, of the mean of the logits."""
        return class_probabilities(state.network, images)

    def _ratios(self, state: MethodState, gold: Batch | None, classes: int, groups: int) -> list[float]:
        """Return R of every group of pixels, and count the pairs of a gold batch first."""
        epoch = state.updater.epoch
        if not self.pairs or gold is None:
            return [self.ratio(epoch)] * groups
        confusion: Confusion = state.parts["confusion"]
        confusion.update(gold, classes)
        right = confusion.right_shares(classes) if groups > 1 else confusion.right_share().view(1)
        return [self.ratio(epoch, last) for last in right.tolist()]

    def _dice(self, answer: Output, noisy: Batch, kept: Tensor) -> Tensor:
        trust = noisy.weigh_by_confidence(kept.float())
        images = soft_dice_loss(answer.logits.softmax(dim=1), noisy.labels, trust)
        return images.sum() / noisy.global_batch_size.images

    def _risen(self, t: float) -> float:
        """Return how far R has fallen, from 0 to 1, at t of the ramp."""
        return exp(-5 * (1 - t) ** 2)


@dataclass(frozen=True)
class TriNet(CoTeaching):
    """Three networks; each learns from the pixels that are easy to both others.

    As :class:`CoTeaching`, but R falls linearly: R = 1 - (1 - ``select_ratio``) t.

    Args:
        select_ratio: R after the ramp: the share of pixels that is easy, above 0 and at most 1.
        ramp: epochs over which R falls, at least 0.
        ranks: ``"class"`` keeps the share R of the pixels of every given class; ``"batch"``, as published, of all
            pixels together: a class of few pixels may then lose all of them.
        pairs: R after the ramp is counted for every given class, on the masks that gold replaced, in place of
            ``select_ratio``: the share of its pixels that is right. Needs gold to be mixed in.
        gold: ``"mixed"`` adds a gold batch to every step of each network; ``"none"`` never looks at one.
        dice: weight of the soft Dice loss, at least 0.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> TriNet().info.networks, TriNet().ratio(epoch=0), round(TriNet().ratio(epoch=5), 4)
        (3, 1.0, 0.9)
    """

    name: ClassVar[str] = "trinet"
    networks: ClassVar[int] = 3

    def _risen(self, t: float) -> float:
        """Return how far R has fallen, from 0 to 1, at t of the ramp."""
        return t


def chosen_by_others(
    losses: list[Tensor],
    groups: list[Tensor],
    ratios: Sequence[float],
    all_reduce_mean: AllReduceMean = dict,
) -> list[Tensor]:
    """Return for each network the pixels that are easy to all others, (N, H, W) bool.

    Args:
        losses: of each network, (N, H, W) float, at least 0.
        groups: each (N, H, W) bool, pixels that are ranked among themselves; in no two of them.
        ratios: R, the share of each group that is easy.
        all_reduce_mean: over the devices that share the batch.

    Example:
        >>> mine, yours = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.tensor([[[8.0, 5.0, 7.0, 6.0]]])
        >>> chosen = chosen_by_others([mine, yours], [torch.ones(1, 1, 4, dtype=torch.bool)], ratios=[0.5])
        >>> [one.flatten().tolist() for one in chosen]
        [[False, True, False, True], [True, True, False, False]]
    """
    easy = [
        torch.stack(
            [
                easiest(loss, group, ratio, all_reduce_mean)
                for group, ratio in zip(groups, ratios, strict=True)
            ]
        ).any(dim=0)
        for loss in losses
    ]
    return [
        torch.stack([one for place, one in enumerate(easy) if place != own]).all(dim=0)
        for own in range(len(easy))
    ]


def easiest(losses: Tensor, ranked: Tensor, ratio: float, all_reduce_mean: AllReduceMean = dict) -> Tensor:
    """Return the pixels whose loss is among the smallest of the whole batch, (N, H, W) bool; ties are all in.

    The bits of numbers that are not negative are ordered as the numbers are. So the largest loss that is still in is
    found in two counts of 65 536 cells, exactly and whatever the number of devices.

    Args:
        losses: (N, H, W) float, at least 0; ranked in single precision.
        ranked: (N, H, W) bool, the pixels that take part; no other is in.
        ratio: the share of them that is in.
        all_reduce_mean: over the devices that share the batch.

    Example:
        >>> losses = torch.tensor([[[0.3, 0.1, 0.2, 0.4, 0.0]]])
        >>> easiest(losses, losses > 0, ratio=0.75).tolist()
        [[[True, True, True, False, False]]]
    """
    check_tensor("losses", losses, "float", ("N", ...))
    check_tensor("ranked", ranked, "bool", tuple(losses.shape))
    bits = losses.detach().float().abs().contiguous().view(torch.int32).long()
    upper, lower = bits >> _HALF, bits & (2**_HALF - 1)

    def counted(cells: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
        ones = torch.zeros(2**_HALF, device=losses.device)
        ones = ones.scatter_add(0, cells.flatten(), among.flatten().float())
        ones = all_reduce_mean({"counts": ones})["counts"]
        return ones, ones.cumsum(dim=0)

    counts, below = counted(upper, ranked)
    wanted = ratio * counts.sum() - 1e-3  # less than a pixel of rounding
    last = (below < wanted).sum().clamp(max=2**_HALF - 1)
    rest = wanted - (below[last] - counts[last])
    _, within = counted(lower, ranked & (upper == last))
    limit = (last << _HALF) + (within < rest).sum().clamp(max=2**_HALF - 1)
    return ranked & (bits <= limit)
