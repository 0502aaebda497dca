"""MetaDCSeg, the paper's method: a pair of weights for every pixel, and a boundary weighed by dynamic centers.

One step, as :meth:`MetaDCSeg.step` takes it; equations are numbered as in the paper (docs/explanation/paper.md):

1. The network sees a noisy batch; its most probable class is the pseudo-label of every pixel (eq. 1).
2. A gold batch is asked what one step of training would do to its loss (eq. 21), and so how much trust in each pixel's
   given label (alpha) and in its pseudo-label (beta) would help (eq. 28-30).
3. The pair of every pixel moves by that much (eq. 22), stays at least 0 (eq. 23) and is kept for the next visit; what
   the step trains with is scaled to average one (eq. 24).
4. The boundary's pixels are weighed by their distance to the centers of foreground, background and boundary (eq. 5-12).
5. The network descends the weighted loss, that of the boundary and Dice (eq. 13).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from metadcseg.algorithm.boundary import ForegroundOf
from metadcseg.algorithm.center_distance import DynamicCenterDistance
from metadcseg.algorithm.lookahead import meta_gradients
from metadcseg.algorithm.meta_weights import (
    Normalization,
    initial_weights,
    normalize_weights,
    pseudo_labels,
    weighted_pixel_loss,
)
from metadcseg.algorithm.objective import total_objective
from metadcseg.forward_mode.jvp import ForwardMode
from metadcseg.losses import soft_dice_loss
from metadcseg.methods.base import MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import (
    as_trained,
    believed,
    class_probabilities,
    descend_gold,
    report,
    require_gold,
)
from metadcseg.methods.deep_supervision import weighted_at_every_depth
from metadcseg.methods.metadcseg.pixel_weights import PixelWeights
from metadcseg.methods.metadcseg.scaling import Scaling, in_sums
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, Batch, PixelGradients, WeightMaps
from metadcseg.validation import check_range, check_types


@dataclass(frozen=True)
class MetaDCSeg:
    """The method of the paper, read as literally as it can be.

    The defaults are those of section 4.1 and of MSD Heart in table 8; the presets ``paper-...`` have the other sets'.

    Args:
        eta: meta-learning rate of eq. 22, above 0.
        meta_scaling: ``"sums"`` reads eq. 21-24 in sums, ``eta`` being a factor on the learning rate; ``"none"`` in
            means: weights hardly move; ``"rms"`` divides by the root mean square of an image: ``eta`` is the step.
        normalization: eq. 24 per image (``"image"``) or over the batch (``"batch"``), both scaled to mean one, or
            alpha + beta = 1 in every pixel (``"complementary"``, section 3.2.3).
        warmup: epochs with weights (1, 0) and without meta step, at least 0.
        clean_supervision: the gold batch also enters the training loss, by cross-entropy with weight 1.
        regions: ``"foreground"`` divides the image by 1 - P(background), ``"per_class"`` once for each class.
        boundary_ratio: share of the pixels that the boundary may take (table 8), above 0 and below 1.
        tau: the confidence of eq. 6-8, above 0.5 and below 1, in place of ``boundary_ratio``.
        edge_threshold: the least probability of an edge that joins the boundary (eq. 8), above 0 and at most 1.
        temperature: tau_dcd of eq. 12, above 0.
        detach_boundary_weights: keeps the gradient from flowing through w of eq. 12 (eq. 44 lets it).
        lambda_boundary: lambda_1 of eq. 13, at least 0.
        lambda_dice: lambda_2 of eq. 13, at least 0.
        forward_mode: how the derivative of the logits in the direction of the gold gradient is computed: ``"engine"``,
            ``"torch"``, ``"differences"`` (central finite differences), or ``"auto"``, the engine where it can.
        meta: False leaves the weights at (1, 0): table 5 "without meta".
        dcd: False takes the boundary term out: table 5 "without DCD".

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> MetaDCSeg(meta=False).info.needs_gold
        False
    """

    name: ClassVar[str] = "metadcseg"

    eta: float = 0.01
    meta_scaling: Scaling = "none"
    normalization: Normalization = "image"
    warmup: int = 10
    clean_supervision: bool = False
    regions: ForegroundOf = "foreground"
    boundary_ratio: float = 0.11
    tau: float | None = None
    edge_threshold: float = 0.10
    temperature: float = 0.5
    detach_boundary_weights: bool = False
    lambda_boundary: float = 0.33
    lambda_dice: float = 0.12
    forward_mode: ForwardMode = "auto"
    meta: bool = True
    dcd: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        for option in ("eta", "temperature"):
            check_range(self, option, above=0)
        for option in ("warmup", "lambda_boundary", "lambda_dice"):
            check_range(self, option, at_least=0)
        check_range(self, "boundary_ratio", above=0, below=1)
        check_range(self, "tau", above=0.5, below=1)
        check_range(self, "edge_threshold", above=0, at_most=1)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs with these options, after the warm-up."""
        meta_step = 8.0  # gradients of training loss (3) and gold loss (3), tangents (2)
        return MethodInfo(
            needs_gold=self.meta or self.clean_supervision,
            supervises_gold=self.clean_supervision,
            passes=3.0 * (1 + self.clean_supervision) + meta_step * self.meta,
            uses_edges=self.dcd,
            asks_gold=self.meta,
            warmup=self.warmup if self.meta else 0,
            keeps_weights=self.meta,
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: no pixel and no center seen."""
        boundary = DynamicCenterDistance(
            self.regions, self.boundary_ratio, self.tau, self.temperature, self.detach_boundary_weights
        )
        weights = PixelWeights(self.eta, self.meta_scaling, storage)
        return MethodState(network, updater, generator, {"weights": weights, "boundary": boundary})

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Move the weights of the batch's pixels, then train with them."""
        updater, valid = state.updater, noisy.labels != IGNORE
        output: Output = state.network(noisy.images)  # logits of p in eq. 1, h of eq. 5
        pseudo = pseudo_labels(output.logits)  # eq. 1
        rectified = self._meta_step(state, output.logits, pseudo, noisy, gold)  # eq. 21-23, 28-30
        weights = normalize_weights(rectified, self.normalization, valid, updater.mean)  # eq. 24
        rectified, weights = believed(rectified, noisy), believed(weights, noisy)

        edges = noisy.edges_above(self.edge_threshold) if self.dcd else None
        seen = (output.logits, output.features, rectified.gamma, valid, edges, updater.mean)  # eq. 5-12
        boundary = state.parts["boundary"](*seen) if self.dcd else torch.zeros_like(rectified.gamma)
        objective = total_objective(  # eq. 13
            weighted_pixel_loss(output.logits, noisy.labels, pseudo, weights),  # eq. 1
            boundary,
            soft_dice_loss(output.logits.softmax(dim=1), noisy.labels, noisy.label_confidence),
            noisy.labels,
            self.lambda_boundary,
            self.lambda_dice,
            noisy.global_batch_size,
        )
        updater.backward(weighted_at_every_depth(objective.total, output, noisy, pseudo, weights))
        gold_loss = None
        if self.clean_supervision:
            gold_loss = descend_gold(state, require_gold(gold, self.name), deep=True)
        updater.step()
        return report(objective, gold_loss, boundary, weights, edges, noisy)

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps | None:
        """Return the pairs that are kept of a batch's pixels; None where nothing is learned of them."""
        return as_trained(state.parts["weights"].read(noisy), noisy) if self.meta else None

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)

    def _meta_step(
        self, state: MethodState, logits: Tensor, pseudo: Tensor, noisy: Batch, gold: Batch | None
    ) -> WeightMaps:
        """Return the rectified weights to train with, moved by what the gold batch says of them."""
        updater = state.updater
        if not self.meta or updater.epoch < self.warmup:
            return initial_weights(noisy.labels.shape, noisy.labels.device)  # eq. 2
        kept: PixelWeights = state.parts["weights"]
        found = meta_gradients(  # eq. 21, 28-30
            state.network,
            noisy,
            require_gold(gold, self.name),
            pseudo,
            believed(kept.read(noisy), noisy),
            lr=updater.lr,
            logits=logits,
            all_reduce_mean=updater.mean,
            forward_mode=self.forward_mode,
        )
        gradients = PixelGradients(noisy.weigh_by_confidence(found.alpha), found.beta)
        if self.meta_scaling == "sums":
            gradients = in_sums(gradients, noisy, require_gold(gold, self.name), updater.lr)
        return kept.update(noisy, gradients)  # eq. 22, 23
