"""L2B (Zhou et al., CVPR 2024): weights from zero at every step, for labels and averaged pseudo-labels."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from metadcseg.algorithm.lookahead import gold_gradient, pixel_meta_gradients, trainable
from metadcseg.algorithm.meta_weights import update_weights, weighted_pixel_loss
from metadcseg.errors import InputError
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy
from metadcseg.methods.common import class_probabilities, require_gold
from metadcseg.methods.contract import Declaration, MethodState, StepReport, Updater
from metadcseg.methods.options import check_range, check_types
from metadcseg.methods.views import (
    View,
    averaged_pseudo_labels,
    draw_views,
    own_view,
    view_images,
    view_labels,
)
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, Batch, WeightMaps

_VIEWS = 5


@dataclass(frozen=True)
class L2B:
    """Learning to bootstrap, as the paper and its published segmentation script have it.

    Every step begins with weights of zero for the label and the pseudo-label of every pixel, asks a gold batch
    which of them would help, keeps those, scales them to a weighted mean over the batch and takes one
    optimiser step with it; a second, plainly supervised one on the gold batch follows. All of it is computed on
    five views of every image. docs/explanation/l2b.md has each step and where we deviate.

    Args:
        views: True computes on five views; False on the image alone, with the network's own prediction as
            pseudo-label, as in the paper's classification experiments: a fifth of the work.
        zoom_least: least margin by which views are zoomed, as a share of the frame's side, at least 0.
        zoom_most: largest such margin, from ``zoom_least`` to below 0.5.
        clean_supervision: the second step, on the gold batch; False leaves it out.

    Raises:
        InputError: for an option with a value that is not allowed.
    """

    name: ClassVar[str] = "l2b"

    views: bool = True
    zoom_least: float = 0.03
    zoom_most: float = 0.21
    clean_supervision: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "zoom_least", at_least=0)
        check_range(self, "zoom_most", at_least=0, below=0.5)
        if self.zoom_most < self.zoom_least:
            raise InputError(
                f"l2b.zoom_most must be at least l2b.zoom_least ({self.zoom_least:g}), got {self.zoom_most:g}"
            )

    @property
    def declaration(self) -> Declaration:
        """What the method needs and costs with these options."""
        training, gold_direction, tangent, gold_step = 3.0, 3.0, 3.0, 3.0 if self.clean_supervision else 0.0
        return Declaration(
            needs_gold=True,
            supervises_gold=self.clean_supervision,
            passes=(_VIEWS if self.views else 1) * (training + gold_direction + tangent + gold_step),
        )

    def start(self, network: nn.Module, updater: Updater, generator: Generator) -> MethodState:
        """Return the state before the first step; nothing is kept from step to step."""
        return MethodState(network, updater, generator)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Weigh the pixels of the noisy batch, train with the weights, then on the gold batch."""
        verified = require_gold(gold, self.name)
        views, gold_views = self._draw_views(state, noisy), self._draw_views(state, verified)
        images = view_images(views, noisy.images)
        output: Output = state.network(images)
        classes = output.logits.shape[1]
        training = _Viewed.of(state, images, view_labels(views, noisy.labels, classes))
        trusted = _Viewed.of(
            state,
            view_images(gold_views, verified.images),
            view_labels(gold_views, verified.labels, classes),
        )
        pseudo = averaged_pseudo_labels(views, output.logits.softmax(dim=1), training.labels)
        weights = _normalised(state, _rectified(state, training, trusted, pseudo), training)
        pixel_loss = weighted_pixel_loss(output.logits, training.labels, pseudo, weights)
        loss = training.mean(pixel_loss)
        state.updater.backward(loss)
        state.updater.step()
        gold_loss = self._supervise_gold(state, trusted)
        return _report(loss, gold_loss, weights, training, len(views))

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images, each seen as it is."""
        return class_probabilities(state.network, images)

    def _draw_views(self, state: MethodState, batch: Batch) -> tuple[View, ...]:
        if not self.views:
            return (own_view(len(batch.images)),)
        # an image's views follow from the step and its number, whoever shares its batch or device
        seed = int(torch.randint(2**32, (), generator=state.generator))
        generators = [Generator().manual_seed(seed + image) for image in batch.indices.tolist()]
        _, height, width = batch.labels.shape
        return draw_views(generators, height, width, self.zoom_least, self.zoom_most)

    def _supervise_gold(self, state: MethodState, trusted: "_Viewed") -> Tensor | None:
        """Take a second optimiser step, on the mean gold cross-entropy; return that loss."""
        if not self.clean_supervision:
            return None
        logits = state.network(trusted.images).logits
        loss = trusted.mean(pixel_cross_entropy(logits, trusted.labels))
        state.updater.backward(loss)
        state.updater.step()
        return loss.detach()


@dataclass(frozen=True)
class _Viewed:
    """A batch as its views show it.

    Args:
        images: (N K, C, H, W).
        labels: (N K, H, W) int64.
        pixels: a scalar, those that are not ignored.
        whole: the same over all devices that share the batch, divided by their number; what means divide by.
    """

    images: Tensor
    labels: Tensor
    pixels: Tensor
    whole: Tensor

    @classmethod
    def of(cls, state: MethodState, images: Tensor, labels: Tensor) -> "_Viewed":
        pixels = (labels != IGNORE).sum().float()
        return cls(images, labels, pixels, state.updater.mean({"pixels": pixels})["pixels"].clamp(min=1.0))

    def mean(self, maps: Tensor) -> Tensor:
        """Return this device's part of the mean over the pixels of the whole batch."""
        return mean_over_pixels(maps, self.labels, self.whole)


def _rectified(state: MethodState, training: _Viewed, trusted: _Viewed, pseudo: Tensor) -> WeightMaps:
    """Return max(-gradient, 0) of the gold loss with respect to weights of zero.

    With zero weights the virtual step leads nowhere, so that the gold gradient at the parameters as they are
    is exact.
    """
    here = trainable(state.network)
    _, own = gold_gradient(state.network, here, trusted.images, trusted.labels)
    share = trusted.pixels / trusted.whole  # that gradient was of the mean over this device's pixels
    direction = state.updater.mean({name: share * gradient for name, gradient in own.items()})
    # the learning rate would only scale all weights alike, which their normalisation takes back
    gradients = pixel_meta_gradients(
        state.network, training.images, training.labels, pseudo, direction, lr=1.0
    )
    zero = WeightMaps(torch.zeros_like(gradients.alpha), torch.zeros_like(gradients.beta))
    valid = training.labels != IGNORE
    moved = update_weights(zero, gradients, eta=1.0, scaling="none", valid=valid)
    # the script weighs a sum over pixels; the gradients are those of this device's mean
    return WeightMaps(moved.alpha * training.pixels, moved.beta * training.pixels)


def _normalised(state: MethodState, weights: WeightMaps, training: _Viewed) -> WeightMaps:
    """Scale rectified weights so that alpha + beta averages 1 over all views of the batch; all-zero stays zero.

    Their mean loss is then the script's sum with weights that add up to 1.
    """
    size = state.updater.mean({"size": weights.gamma.sum()})["size"] / training.whole
    divisor = torch.where(size > 0, size, 1.0)
    return WeightMaps(weights.alpha / divisor, weights.beta / divisor)


def _report(
    loss: Tensor, gold_loss: Tensor | None, weights: WeightMaps, training: _Viewed, views: int
) -> StepReport:
    pixel = loss.detach()
    scalars = {
        "loss": pixel if gold_loss is None else pixel + gold_loss,
        "pixel": pixel,
        "alpha": training.mean(weights.alpha),
        "beta": training.mean(weights.beta),
    }
    if gold_loss is not None:
        scalars["gold"] = gold_loss
    as_it_is = WeightMaps(weights.alpha[::views], weights.beta[::views])
    return StepReport(scalars, as_it_is)
