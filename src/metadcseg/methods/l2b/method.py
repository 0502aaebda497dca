"""L2B (Zhou et al., CVPR 2024): weights from zero at every step, for labels and averaged pseudo-labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from metadcseg.algorithm.center_distance import DynamicCenterDistance
from metadcseg.algorithm.lookahead import gold_gradient, pixel_gradients
from metadcseg.algorithm.meta_weights import update_weights, weighted_pixel_loss
from metadcseg.algorithm.objective import total_objective
from metadcseg.errors import InputError
from metadcseg.forward_mode.call import trainable
from metadcseg.forward_mode.jvp import ForwardMode, LogitChange, jvp
from metadcseg.losses import mean_over_pixels, soft_dice_loss
from metadcseg.methods.base import MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import class_probabilities, descend_gold, require_gold
from metadcseg.methods.l2b.views import View, averaged_pseudo_labels, draw_views, own_view, view_batch
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize, PixelGradients, WeightMaps
from metadcseg.validation import check_range, check_types

_VIEWS = 5


@dataclass(frozen=True)
class L2B:
    """Learning to bootstrap, as the paper and its published segmentation script have it.

    Every step begins with weights of zero for the label and the pseudo-label of every pixel, asks a gold batch
    which of them would help, keeps those, scales them to a weighted mean over the batch and takes one
    optimizer step with it; a second, plainly supervised one on the gold batch follows. All of it is computed on
    five views of every image. docs/explanation/l2b.md has each step and where we deviate.

    With the lambdas above 0 the first step descends eq. 13 of the paper (MetaDCSeg) with these weights: most likely
    what its authors ran, and what the presets ``paper-code-...`` train.

    Args:
        views: True computes on five views; False on the image alone, with the network's own prediction as
            pseudo-label, as in the paper's classification experiments: a fifth of the work.
        zoom_least: least margin by which views are zoomed, as a share of the grid's side, at least 0.
        zoom_most: largest such margin, from ``zoom_least`` to below 0.5.
        clean_supervision: the second step, on the gold batch; False leaves it out.
        lambda_boundary: lambda_1 of eq. 13, at least 0; 0 leaves the boundary term out, as L2B does.
        lambda_dice: lambda_2 of eq. 13, at least 0; 0 leaves the Dice loss out, as L2B does.
        boundary_ratio: of the boundary term: the share of the pixels that the boundary may take, above 0 and below 1.
        edge_threshold: likewise: the least probability of an edge that joins the boundary, above 0 and at most 1.
        temperature: likewise: tau_dcd of eq. 12, above 0.
        forward_mode: how the derivative of the logits in the direction of the gold gradient is computed: ``"engine"``,
            ``"torch"``, ``"differences"`` (central finite differences), or ``"auto"``, the engine where it can.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> L2B(views=False).info.passes * 5 == L2B().info.passes  # a fifth of the work
        True
    """

    name: ClassVar[str] = "l2b"

    views: bool = True
    zoom_least: float = 0.03
    zoom_most: float = 0.21
    clean_supervision: bool = True
    lambda_boundary: float = 0.0
    lambda_dice: float = 0.0
    boundary_ratio: float = 0.11
    edge_threshold: float = 0.10
    temperature: float = 0.5
    forward_mode: ForwardMode = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "zoom_least", at_least=0)
        check_range(self, "zoom_most", at_least=0, below=0.5)
        for option in ("lambda_boundary", "lambda_dice"):
            check_range(self, option, at_least=0)
        check_range(self, "boundary_ratio", above=0, below=1)
        check_range(self, "edge_threshold", above=0, at_most=1)
        check_range(self, "temperature", above=0)
        if self.zoom_most < self.zoom_least:
            raise InputError(
                f"l2b.zoom_most must be at least l2b.zoom_least ({self.zoom_least:g}), got {self.zoom_most:g}"
            )

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs with these options."""
        training, gold_direction, tangents = 3.0, 3.0, 2.0
        gold_step = 3.0 if self.clean_supervision else 0.0
        return MethodInfo(
            needs_gold=True,
            supervises_gold=self.clean_supervision,
            passes=(_VIEWS if self.views else 1) * (training + gold_direction + tangents + gold_step),
            uses_edges=self.lambda_boundary > 0,
            asks_gold=True,
            keeps_weights=False,
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step; from step to step only the centers of the boundary term are kept."""
        if not self.lambda_boundary:
            return MethodState(network, updater, generator)
        boundary = DynamicCenterDistance(ratio=self.boundary_ratio, temperature=self.temperature)
        return MethodState(network, updater, generator, {"boundary": boundary})

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Weigh the pixels of the noisy batch, train with the weights, then on the gold batch."""
        verified = require_gold(gold, self.name)
        views = self._draw_views(state, noisy)
        training = _seen(state, views, noisy)
        trusted = _seen(state, self._draw_views(state, verified), verified)
        # with weights of zero the virtual step leads nowhere: the gold gradient where the network stands is exact
        _, v = gold_gradient(state.network, trainable(state.network), trusted)
        output, change = jvp(
            state.network, training.images, state.updater.mean(v), mode=self.forward_mode, training_pass=True
        )
        pseudo = averaged_pseudo_labels(views, output.logits.softmax(dim=1), training.labels)
        weights = _weights(state, training, pseudo, change)
        pixels = weighted_pixel_loss(output.logits, training.labels, pseudo, weights)
        losses = self._losses(state, output, training, pixels, weights)
        state.updater.backward(losses["loss"])
        state.updater.step()
        gold_loss = self._supervise_gold(state, trusted)
        return _report(losses, gold_loss, weights, training, len(views))

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: weights are found anew in every step, and none is kept."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images, each seen as it is."""
        return class_probabilities(state.network, images)

    def _draw_views(self, state: MethodState, batch: Batch) -> tuple[View, ...]:
        if not self.views:
            return (own_view(len(batch.images), batch.labels.ndim - 1),)
        # an image's views follow from the step and its number, whoever shares its batch or device
        seed = int(torch.randint(2**32, (), generator=state.generator))
        generators = [Generator().manual_seed(seed + image) for image in batch.indices.tolist()]
        return draw_views(generators, batch.labels.shape[1:], self.zoom_least, self.zoom_most)

    def _losses(
        self, state: MethodState, output: Output, training: Batch, pixels: Tensor, weights: WeightMaps
    ) -> dict[str, Tensor]:
        """Return what is descended (``loss``) and what it is made of: the weighted loss, and the terms of eq. 13."""
        if not (self.lambda_boundary or self.lambda_dice):
            pixel = _mean(pixels, training)
            return {"loss": pixel, "pixel": pixel}
        boundary = torch.zeros_like(pixels)
        if self.lambda_boundary:  # eq. 5-12; the centers do not depend on the scale of the weights
            boundary = state.parts["boundary"](
                output.logits,
                output.features,
                weights.gamma,
                training.labels != IGNORE,
                training.edges_above(self.edge_threshold),
                state.updater.mean,
            )
        dice = soft_dice_loss(output.logits.softmax(dim=1), training.labels, training.label_confidence)
        sizes, lambdas = training.global_batch_size, (self.lambda_boundary, self.lambda_dice)
        found = total_objective(pixels, boundary, dice, training.labels, *lambdas, sizes)  # eq. 13
        return {
            "loss": found.total,
            "pixel": found.pixel,
            "boundary": found.boundary,
            "dice": found.dice,
        }

    def _supervise_gold(self, state: MethodState, trusted: Batch) -> Tensor | None:
        """Take a second optimizer step, on the mean gold cross-entropy; return that loss."""
        if not self.clean_supervision:
            return None
        loss = descend_gold(state, trusted)
        state.updater.step()
        return loss


def _seen(state: MethodState, views: Sequence[View], batch: Batch) -> Batch:
    """Return a batch of all views, which knows how many pixels they have on all devices together."""
    seen = view_batch(views, batch)
    counted = (seen.labels != IGNORE).sum().float()
    pixels = state.updater.mean({"pixels": counted})["pixels"]
    pixels = torch.where(pixels > 0, pixels, 1.0)  # nothing counts anywhere: means are 0, not 0 / 0
    return replace(seen, shard_of=GlobalBatchSize(pixels, len(views) * batch.global_batch_size.images))


def _mean(maps: Tensor, seen: Batch) -> Tensor:
    return mean_over_pixels(maps, seen.labels, seen.global_batch_size.pixels)


def _weights(state: MethodState, training: Batch, pseudo: Tensor, change: LogitChange) -> WeightMaps:
    """Return max(-gradient, 0) of the gold loss at weights of zero, scaled to average 1 over the whole batch.

    The mean loss with these weights is the script's sum with weights that add up to 1. Where every weight is
    zero, all stay zero.
    """
    # the learning rate would scale all weights alike, which is taken back below
    pixels = training.global_batch_size.pixels
    gradients = pixel_gradients(change, training.labels, pseudo, lr=1.0, pixels=pixels)
    zero = WeightMaps(torch.zeros_like(gradients.alpha), torch.zeros_like(gradients.beta))
    valid = training.labels != IGNORE
    gradients = PixelGradients(training.weigh_by_confidence(gradients.alpha), gradients.beta)
    rectified = update_weights(zero, gradients, eta=1.0, valid=valid)
    size = state.updater.mean({"size": rectified.gamma.sum()})["size"] / pixels
    divisor = torch.where(size > 0, size, 1.0)
    return WeightMaps(rectified.alpha / divisor, rectified.beta / divisor)


def _report(
    losses: dict[str, Tensor], gold_loss: Tensor | None, weights: WeightMaps, training: Batch, views: int
) -> StepReport:
    losses = {name: value.detach() for name, value in losses.items()}
    scalars = {
        **losses,
        "loss": losses["loss"] if gold_loss is None else losses["loss"] + gold_loss,
        "alpha": _mean(weights.alpha, training),
        "beta": _mean(weights.beta, training),
    }
    if gold_loss is not None:
        scalars["gold"] = gold_loss
    as_it_is = WeightMaps(weights.alpha[::views], weights.beta[::views])  # of the first view
    return StepReport(scalars, as_it_is)
