"""ADELE (Liu et al., CVPR 2022): labels are corrected once early learning has ended, class by class.

Networks fit right labels before they fit wrong ones. The IoU of training predictions with the training labels rises
fast and then slows down; where it does, the predictions are better than the labels, and confident ones replace them.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from metadcseg.losses import mean_over_pixels
from metadcseg.methods.base import (
    GoldSupervision,
    MethodInfo,
    MethodState,
    PixelMaps,
    StepReport,
    Storage,
    Updater,
)
from metadcseg.methods.common import (
    check_kept_grid,
    class_numbers,
    class_probabilities,
    descend_gold,
    require_gold,
    supervised_loss,
    where_labeled,
)
from metadcseg.methods.late_buffers import LateBuffers
from metadcseg.methods.scale_consistency import SCALES, logits_at, mean_of_scales, scale_consistency
from metadcseg.tensors import IGNORE, AllReduceMean, Batch, WeightMaps
from metadcseg.validation import check_range, check_types

_LEARNED = 0.1
"""IoU below which a class has not begun to be learned."""


@dataclass(frozen=True)
class ADELE:
    """Plain supervision on labels that confident predictions replace.

    Before an epoch, f(t) = a (1 - exp(-t^b / c)) is fitted to the IoU of each foreground class after t epochs. The
    class is corrected from the first epoch on in which the slope has fallen: 1 - f'(t) / f'(1) > ``slope``, and again
    every ``every`` epochs. In such an epoch a pixel's label becomes the most probable class where that has more than
    ``confidence``, old and new class are background or being corrected, and the new one occurs in the image's given
    label or is background. Gold images keep their labels.

    Args:
        slope: r of the paper, above 0 and below 1.
        confidence: the least probability of a new label, at least 0 and below 1.
        every: epochs between two corrections of a class, at least 1.
        multiscale: each step sees every image at the scales 0.7, 1 and 1.5; all are trained on, disagreement costs
            (:func:`.scale_consistency`), and their mean corrects. False: one scale, for a quarter of the passes.
        gold: ``"mixed"`` adds a gold batch to every step; ``"none"`` never looks at one.
        dice: weight of the soft Dice loss, at least 0.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> ADELE().info.passes, ADELE(gold="mixed").info.needs_gold
        (3.0, True)
    """

    name: ClassVar[str] = "adele"

    slope: float = 0.9
    confidence: float = 0.7
    every: int = 10
    multiscale: bool = False
    gold: GoldSupervision = "none"
    dice: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "slope", above=0, below=1)
        check_range(self, "confidence", at_least=0, below=1)
        check_range(self, "every", at_least=1)
        check_range(self, "dice", at_least=0)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs."""
        mixed = self.gold == "mixed"
        own = 3.0 * sum(scale**2 for scale in SCALES) if self.multiscale else 3.0
        return MethodInfo(needs_gold=mixed, supervises_gold=mixed, passes=own + 3.0 if mixed else own)

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: no epoch seen, no label corrected."""
        learning = EarlyLearning(self.slope, self.every, updater.mean)
        labels = CorrectedLabels(storage.open("labels"))
        return MethodState(network, updater, generator, {"learning": learning, "labels": labels})

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Correct labels where it is time to, then train on them."""
        learning: EarlyLearning = state.parts["learning"]
        kept: CorrectedLabels = state.parts["labels"]
        found = logits_at(state.network, noisy.images, SCALES if self.multiscale else (1.0,))
        logits = mean_of_scales(found).log() if self.multiscale else found[0]
        current = kept.read(noisy)
        learning.see(logits, current, state.updater.epoch)
        wanted = self._correction(logits.detach(), noisy, current, learning)
        current = kept.write(noisy, current, wanted)
        loss, scalars = self._loss(found, current)
        state.updater.backward(loss)
        loss = loss.detach()
        if self.gold == "mixed":
            scalars["gold"] = descend_gold(state, require_gold(gold, self.name), self.dice)
            loss = loss + scalars["gold"]
        state.updater.step()
        trust = _trust(noisy, current)
        corrected = mean_over_pixels(trust.beta, noisy.labels, noisy.global_batch_size.pixels)
        return StepReport({"loss": loss, **scalars, "corrected": corrected}, trust)

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps:
        """Return alpha = 1 where a label is as given, and beta = 1 where it was corrected."""
        kept: CorrectedLabels = state.parts["labels"]
        return _trust(noisy, kept.read(noisy))

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)

    def _loss(self, found: list[Tensor], current: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean of the supervised loss of each scale, and what disagreement between them costs."""
        if not self.multiscale:
            return supervised_loss(found[0], current, self.dice)
        each = [supervised_loss(logits, current, self.dice) for logits in found]
        parts = {name: torch.stack([one[name] for _, one in each]).mean() for name in each[0][1]}
        disagreement = scale_consistency(found, current)
        mean = torch.stack([loss for loss, _ in each]).mean()
        return mean + disagreement, {**parts, "consistency": disagreement.detach()}

    def _correction(
        self, logits: Tensor, noisy: Batch, current: Batch, learning: "EarlyLearning"
    ) -> Tensor | None:
        """Return the new label of every pixel, (N, H, W) int64, ``IGNORE`` where it stays; None where all do."""
        now = learning.corrected_now(logits.shape[1])
        if now is None:
            return None
        best, new = logits.float().softmax(dim=1).max(dim=1)
        own = noisy.labels.unsqueeze(1) == class_numbers(logits.shape[1], noisy.labels)
        if noisy.label_confidence is not None:
            own = own & (noisy.label_confidence > 0).unsqueeze(1)
        occurs = own.flatten(2).any(dim=2)
        occurs[:, 0] = True
        open_to = now.to(logits.device)  # background, and the classes that are corrected
        known = current.labels != IGNORE
        of_image = occurs.gather(1, new.flatten(1)).view(new.shape)
        there = known & open_to[current.labels.masked_fill(~known, 0)] & open_to[new]
        return new.masked_fill(~(there & of_image & (best > self.confidence)), IGNORE)


class EarlyLearning(LateBuffers):
    """When early learning ends: the IoU of every class and epoch, and from which epoch on a class is corrected.

    Args:
        slope: see :class:`ADELE`.
        every: likewise.
        all_reduce_mean: over the devices that share every batch.

    Attributes:
        overlap: (2, L) float32, intersection and union in the epoch that is running, by trust.
        curves: (E, L) float32, IoU of the epochs before.
        since: (L,) float32, the epoch from which on a class is corrected; -1: not yet.
        epoch: (1,) float32, the epoch that is running.
    """

    overlap: Tensor
    curves: Tensor
    since: Tensor
    epoch: Tensor

    def __init__(self, slope: float, every: int, all_reduce_mean: AllReduceMean = dict) -> None:
        super().__init__(overlap=(2, "L"), curves=("E", "L"), since=("L",), epoch=(1,))
        self._slope, self._every, self._all_reduce_mean = slope, every, all_reduce_mean

    @torch.no_grad()
    def see(self, logits: Tensor, current: Batch, epoch: int) -> None:
        """Count the overlap of a batch's predictions with its labels; close the epoch before where a new one begins."""
        classes = logits.shape[1]
        if not len(self.since):
            self.overlap, self.since = torch.zeros(2, classes), torch.full((classes,), -1.0)
            self.curves, self.epoch = torch.zeros(0, classes), torch.full((1,), float(epoch))
        if epoch > int(self.epoch):
            self._close(epoch)
        numbers = class_numbers(classes, current.labels)
        counted = (current.labels != IGNORE).float()
        weight = current.weigh_by_confidence(counted).unsqueeze(1)
        found = logits.max(dim=1).indices.unsqueeze(1) == numbers
        given = current.labels.unsqueeze(1) == numbers
        space = (0, *range(2, logits.ndim))
        both, any_ = ((maps * weight).sum(dim=space) for maps in (found & given, found | given))
        mean = self._all_reduce_mean({"overlap": torch.stack([both, any_])})["overlap"]
        self.overlap = self.overlap.to(mean.device) + mean

    def corrected_now(self, classes: int) -> Tensor | None:
        """Return which classes are corrected in this epoch, background among them, (L,) bool; None where none is."""
        since = self.since.cpu()
        age = self.epoch.cpu() - since
        now = (since >= 0) & (age % self._every == 0)
        if not now.any():
            return None
        now[0] = True
        return now

    def _close(self, epoch: int) -> None:
        both, any_ = self.overlap.cpu()
        row = torch.where(any_ > 0, both / any_.clamp(min=1e-6), 0.0)
        self.curves = torch.cat([self.curves.cpu(), row.unsqueeze(0)])
        self.overlap, self.epoch = torch.zeros_like(self.overlap), torch.full((1,), float(epoch))
        self.since = self.since.cpu()
        for number in range(1, len(self.since)):
            curve = self.curves[:, number].double().numpy()
            if self.since[number] < 0 and early_learning_ended(curve, self._slope):
                self.since[number] = float(epoch)


class CorrectedLabels(nn.Module):
    """The corrected label of every pixel of every training image, in the image's own grid; 0: as given, else 1 + class.

    They travel to the batch's grid and back like the weights of pixels, nearest neighbor.

    Args:
        maps: where they are kept.
    """

    def __init__(self, maps: PixelMaps) -> None:
        super().__init__()
        self._maps = maps

    def read(self, noisy: Batch) -> Batch:
        """Return the batch with the labels that count now.

        Raises:
            InputError: where the maps that are kept are no grid of the batch.
        """
        check_kept_grid(noisy, self._maps.grid)
        kept = self._maps.read(noisy.indices.tolist()).unsqueeze(1).to(noisy.labels.device)
        kept = noisy.warp.apply(kept, "nearest", fill=0.0, size=noisy.labels.shape[1:])[:, 0]
        return _relabelled(noisy, kept.round().long() - 1)

    def write(self, noisy: Batch, current: Batch, wanted: Tensor | None) -> Batch:
        """Keep new labels, ``IGNORE`` where they stay, and return the batch with those that count now."""
        if wanted is None:
            return current
        marked = torch.where(wanted == IGNORE, 0, wanted + 1).float().unsqueeze(1)
        own = noisy.warp.inverse().apply(marked, "nearest", fill=0.0, size=self._maps.grid)[:, 0].cpu()
        images = noisy.indices.tolist()
        self._maps.write(images, torch.where(own > 0, own, self._maps.read(images)))
        return _relabelled(current, wanted.masked_fill(wanted == IGNORE, -1))


def early_learning_ended(curve: NDArray[np.float64], slope: float) -> bool:
    """Return whether the slope of an IoU curve has fallen by more than a share.

    f(t) = a (1 - exp(-t^b / c)), 0 <= a, b <= 1, is fitted by least squares, errors counting up to ten times as much
    towards the end. Epochs before the class has begun to be learned (IoU below 0.1) are cut off.

    Args:
        curve: IoU after the first, second ... epoch.
        slope: r, from 0 to 1: ended is where 1 - f'(t) / f'(1) > r, t the epochs that are counted.

    Example:
        >>> curve = 0.8 * (1 - np.exp(-np.arange(1, 12) / 2.5))  # 1 - exp(-(t - 1) / 2.5) > 0.9 from t = 6.76 on
        >>> [early_learning_ended(curve[:t], slope=0.9) for t in (6, 7, 11)]
        [False, True, True]
    """
    from scipy.optimize import least_squares  # takes half a second: only when used

    begun = np.flatnonzero(curve >= _LEARNED)
    counted = curve[begun[0] :] if len(begun) else curve[:0]
    if len(counted) < 3:  # as many as parameters
        return False
    t = np.arange(1, len(counted) + 1, dtype=np.float64)
    trust = np.geomspace(1.0, 10.0, len(t))

    def errors(found: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, c = found
        weighed: NDArray[np.float64] = trust * (a * (1 - np.exp(-(t**b) / c)) - counted)
        return weighed

    fitted = least_squares(
        errors, (0.5, 0.5, 1.0), bounds=((0, 0, 1e-2), (1, 1, np.inf)), xtol=1e-12, ftol=1e-12
    )
    _, b, c = fitted.x
    remaining = t[-1] ** (b - 1) * np.exp((1 - t[-1] ** b) / c)  # f'(t) / f'(1)
    return bool(1 - remaining > slope)


def _relabelled(batch: Batch, labels: Tensor) -> Batch:
    """Return a batch with other labels where they are a class and its own are one."""
    changed = (labels >= 0) & (batch.labels != IGNORE)
    return replace(batch, labels=torch.where(changed, labels, batch.labels))


def _trust(noisy: Batch, current: Batch) -> WeightMaps:
    """Return 1 for the given label where it stands, and for the other where it was corrected."""
    stands = (noisy.labels == current.labels).float()
    return where_labeled(WeightMaps(stands, 1 - stands), noisy)
