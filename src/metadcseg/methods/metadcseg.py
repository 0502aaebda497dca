"""MetaDCSeg: pixel-wise meta-weights (eq. 1-4, 21-24), boundaries weighted by dynamic centres (eq. 5-13)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from metadcseg.algorithm.boundary import ForegroundOf, effective_pixels
from metadcseg.algorithm.logit_change import (
    LogitChange,
    Parameters,
    forward_with_change,
    logit_change,
    trainable,
)
from metadcseg.algorithm.lookahead import (
    Virtual,
    gold_gradient,
    gradient_of,
    pixel_gradients,
    virtual_step,
)
from metadcseg.algorithm.meta_weights import (
    Normalisation,
    PixelGradients,
    Scaling,
    initial_weights,
    normalise_weights,
    weighted_pixel_loss,
)
from metadcseg.algorithm.objective import Objective, total_objective
from metadcseg.errors import InputError
from metadcseg.losses import mean_over_pixels, soft_dice_loss
from metadcseg.methods.boundary_term import BoundaryTerm
from metadcseg.methods.common import class_probabilities, evaluating, mean_cross_entropy, require_gold
from metadcseg.methods.contract import Declaration, MethodState, StepReport, Storage, Updater
from metadcseg.methods.gold_mean import RunningMean
from metadcseg.methods.opinion import Opinion, opinion_of
from metadcseg.methods.options import check_range, check_types
from metadcseg.methods.shared_weights import SharedWeights
from metadcseg.methods.weight_models import NoMemory, PersistentWeights, WeightModel
from metadcseg.networks.contract import Output, parameters_of
from metadcseg.tensors import IGNORE, Batch, WeightMaps


@dataclass(frozen=True)
class MetaDCSeg:
    """The method of the paper; every reading of it is an option.

    Args:
        eta: meta-learning rate of eq. 22, above 0.
        meta_scaling: ``"rms"`` divides the meta-gradient of every image by its root mean square, so that
            ``eta`` does not depend on learning rate, image size and network; ``"none"`` is eq. 22 as printed.
        normalisation: eq. 24 per image (``"image"``) or over the batch (``"batch"``), both scaled to mean
            one, or alpha + beta = 1 in every pixel (``"complementary"``, section 3.2.3).
        memory: ``"persistent"`` keeps a pair for every training pixel, ``"none"`` always starts from eq. 2.
        pseudo_labels: arg max of the network as it stands (``"current"``, eq. 1) or of its moving average.
        virtual_step: ``"exact"`` takes the gold gradient after the virtual step (eq. 21-22),
            ``"linearised"`` before it, which saves the virtual step, a second gold pass and a second noisy pass.
        meta_every: steps from one meta step to the next; the weights rest in between (1: eq. 22 at every step).
            Above 1 only with ``memory="persistent"``, since other weights would be (1, 0) in between.
        tangents: the parameters whose part in the derivative counts: ``"all"`` (exact), or those of the network's
            ``"decoder"`` or ``"head"`` alone (cheaper, not exact: docs/results/meta-step.md).
        gold_momentum: of a running mean of the gold gradient, by which the meta step asks more gold images than
            those of one batch; from 0 (this batch alone) to below 1.
        clean_supervision: the gold batch also enters the training loss, as its mean cross-entropy with
            weight 1 (without Dice, so that one gold gradient serves this and the meta step).
        warmup: epochs with weights (1, 0) and without meta step; gold supervision stays on.
        regions: ``"foreground"`` divides the image by 1 - P(background), ``"per_class"`` once for each class.
        boundary_ratio: share of the pixels that the boundary may take (table 8), above 0 and below 1.
        tau: the confidence of eq. 6-8, above 0.5 and below 1, in place of ``boundary_ratio``.
        edge_threshold: the least probability of an edge that joins the boundary (eq. 8), above 0 and at most 1.
            "Grad thresh" of table 8 has 0.08 to 0.12; the default served the shipped detector best on drawn
            validation scenes (docs/results/edges.md).
        temperature: tau_dcd of eq. 12, above 0. Table 8 has 0.5 to 0.9, which on unscaled features gives nearly
            all the weight to a few dozen pixels; the default was chosen on validation images
            (docs/results/defaults.md).
        lambda_boundary: lambda_1 of eq. 13, at least 0.
        lambda_dice: lambda_2 of eq. 13, at least 0; 0 takes Dice out.
        detach_boundary_weights: keeps the gradient from flowing through w of eq. 12 (eq. 44 lets it).
        min_region_pixels: tau_min of eq. 47; a smaller region takes the running centre.
        dcd_maximum: DCD_max of eq. 46, above 0.
        meta: False leaves the weights at (1, 0): table 5 "without meta".
        dcd: False takes the boundary term out: table 5 "without DCD".

    Raises:
        InputError: for an option with a value that is not allowed.
    """

    name: ClassVar[str] = "metadcseg"

    eta: float = 0.01
    meta_scaling: Scaling = "rms"
    normalisation: Normalisation = "image"
    memory: Literal["shared", "persistent", "none"] = "persistent"
    pseudo_labels: Literal["current", "average"] = "current"
    virtual_step: Virtual = "linearised"
    meta_every: int = 2
    tangents: Literal["all", "decoder", "head"] = "all"
    gold_momentum: float = 0.0
    clean_supervision: bool = True
    doubt: float = 0.5
    dice_target: Literal["given", "weighted"] = "given"
    gold_dice: bool = False
    warmup: int = 0
    regions: ForegroundOf = "foreground"
    boundary_ratio: float = 0.11
    tau: float | None = None
    edge_threshold: float = 0.25
    temperature: float = 20.0
    lambda_boundary: float = 0.33
    lambda_dice: float = 0.12
    detach_boundary_weights: bool = True
    min_region_pixels: int = 10
    dcd_maximum: float = 100.0
    meta: bool = True
    dcd: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        for option in ("eta", "temperature", "dcd_maximum"):
            check_range(self, option, above=0)
        for option in ("warmup", "lambda_boundary", "lambda_dice"):
            check_range(self, option, at_least=0)
        check_range(self, "boundary_ratio", above=0, below=1)
        check_range(self, "tau", above=0.5, below=1)
        check_range(self, "gold_momentum", at_least=0, below=1)
        for option in ("min_region_pixels", "meta_every"):
            check_range(self, option, at_least=1)
        if self.meta_every > 1 and self.memory == "none":
            raise InputError(
                f"metadcseg.meta_every {self.meta_every} needs weights that last from step to step: set "
                "metadcseg.memory persistent, or metadcseg.meta_every 1"
            )
        check_range(self, "edge_threshold", above=0, at_most=1)

    @property
    def declaration(self) -> Declaration:
        """What the method needs and costs with these options, after the warm-up."""
        return Declaration(
            needs_gold=self.meta or self.clean_supervision,
            supervises_gold=self.clean_supervision,
            passes=self._passes(),
            uses_edges=self.dcd,
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: torch.Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: no pixel and no centre seen.

        Raises:
            InputError: where the pseudo-labels shall come from a moving average that is switched off, or the
                network does not tell which parameters its decoder or head has.
        """
        if self.pseudo_labels == "average" and updater.averaged is None:
            raise InputError(
                "metadcseg.pseudo_labels 'average' needs the moving average of the network: switch it on "
                "with training.average, or take 'current'"
            )
        boundary = BoundaryTerm(
            regions=self.regions,
            ratio=self.boundary_ratio,
            tau=self.tau,
            edge_threshold=self.edge_threshold,
            temperature=self.temperature,
            min_pixels=self.min_region_pixels,
            maximum=self.dcd_maximum,
            detach=self.detach_boundary_weights,
        )
        if self.tangents != "all":
            parameters_of(network, self.tangents)  # who cannot tell them is refused before training
        parts = {
            "weights": self._weight_model(updater, storage),
            "boundary": boundary,
            "gold_mean": RunningMean(self.gold_momentum),
        }
        return MethodState(network, updater, generator, parts)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Update the weights of the batch's pixels (eq. 21-24), then train with them (eq. 13)."""
        known = self._gold_gradient_before(state, gold)
        output, change = self._forward(state, noisy, known)  # p of eq. 1, h of eq. 5
        opinion = self._opinion(state, output, noisy)  # eq. 1
        if self._asks_gold(state) and change is None:
            change = self._change_after(state, output, opinion, noisy, gold)
        rectified = self._weights(state, noisy, opinion, change)  # eq. 22-23
        weights = normalise_weights(  # eq. 24
            rectified, self.normalisation, noisy.labels != IGNORE, state.updater.mean
        )
        rectified, weights = _trusted(rectified, noisy), _trusted(weights, noisy)
        boundary = self._boundary_weights(state, output, noisy, rectified.gamma)  # eq. 5-12
        objective = total_objective(  # eq. 13
            weighted_pixel_loss(output.logits, noisy.labels, opinion.labels, weights),
            boundary,
            self._dice(output, noisy, opinion, weights),
            noisy.labels,
            self.lambda_boundary,
            self.lambda_dice,
            noisy.whole,
        )
        state.updater.backward(objective.total)
        gold_loss = self._supervise_gold(state, gold, known)
        state.updater.step()
        report = _report(objective, gold_loss, boundary, weights, noisy)
        return self._with_edges(report, state, noisy)

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps | None:
        """Return what is kept of a batch's pixels; None where nothing is."""
        if not self.meta or self.memory == "none":
            return None
        network = state.updater.averaged if self.pseudo_labels == "average" else None
        with evaluating(network or state.network) as asked:
            opinion = opinion_of(asked(noisy.images).logits).against(noisy.labels)
        kept: WeightMaps = state.parts["weights"].read(noisy, opinion)
        return kept

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)

    def _weight_model(self, updater: Updater, storage: Storage) -> WeightModel:
        if self.memory == "shared":
            return SharedWeights(updater.mean, self.doubt)
        if self.memory == "none":
            return NoMemory(self.eta, self.meta_scaling)
        return PersistentWeights(self.eta, self.meta_scaling, storage)

    def _learns_weights(self, state: MethodState) -> bool:
        return self.meta and state.updater.epoch >= self.warmup

    def _opinion(self, state: MethodState, output: Output, noisy: Batch) -> Opinion:
        average = state.updater.averaged
        if self.pseudo_labels == "current" or average is None or not self._learns_weights(state):
            return opinion_of(output.logits)
        with evaluating(average) as averaged:
            opinion = opinion_of(averaged(noisy.images).logits)
        return opinion.against(noisy.labels) if self.memory == "shared" else opinion

    def _asks_gold(self, state: MethodState) -> bool:
        """Return whether this step is a meta step."""
        return self._learns_weights(state) and state.updater.steps % self.meta_every == 0

    def _gold_gradient_before(
        self, state: MethodState, gold: Batch | None
    ) -> tuple[Tensor, Parameters] | None:
        """Return gold loss and v where v is that of the network as it is, and so known before the noisy pass."""
        if self.virtual_step == "exact" or not self._asks_gold(state):
            return None
        verified = require_gold(gold, self.name)
        loss, v = gold_gradient(state.network, trainable(state.network), verified, self._gold_dice)
        return loss, state.updater.mean(v)

    def _forward(
        self, state: MethodState, noisy: Batch, known: tuple[Tensor, Parameters] | None
    ) -> tuple[Output, LogitChange | None]:
        """Run the training pass, which carries the derivative in the direction v where v is known."""
        if known is None:
            return state.network(noisy.images), None
        return forward_with_change(state.network, noisy.images, self._direction(state, known[1]))

    def _change_after(
        self, state: MethodState, output: Output, opinion: Opinion, noisy: Batch, gold: Batch | None
    ) -> LogitChange:
        """Take the virtual step (eq. 21) on the graph that training goes on to use, and v where it leads."""
        weights = _trusted(state.parts["weights"].read(noisy, opinion), noisy)
        pixel_loss = weighted_pixel_loss(output.logits, noisy.labels, opinion.labels, weights)
        training_loss = mean_over_pixels(pixel_loss, noisy.labels, noisy.whole.pixels)
        gradient = gradient_of(training_loss, state.network, retain_graph=True)
        ahead = virtual_step(state.network, state.updater.mean(gradient), state.updater.lr)
        _, v = gold_gradient(state.network, ahead, require_gold(gold, self.name), self._gold_dice)
        direction = self._direction(state, state.updater.mean(v))
        return logit_change(state.network, noisy.images, direction)

    def _direction(self, state: MethodState, v: Parameters) -> Parameters:
        """Return what the tangents start from: v or its running mean, of the parameters that count."""
        mean: Parameters = state.parts["gold_mean"].update(v)
        if self.tangents == "all":
            return mean
        counted = parameters_of(state.network, self.tangents)
        return {name: value for name, value in mean.items() if name in counted}

    def _weights(
        self, state: MethodState, noisy: Batch, opinion: Opinion, change: LogitChange | None
    ) -> WeightMaps:
        """Return the rectified weights to train with, moved by the meta-gradients of a meta step."""
        if not self._learns_weights(state):
            return initial_weights(noisy.labels.shape, noisy.labels.device)
        model: WeightModel = state.parts["weights"]
        if change is None:
            return model.read(noisy, opinion)
        lr, pixels = state.updater.lr, noisy.whole.pixels
        found = pixel_gradients(change, noisy.labels, opinion.labels, lr, pixels)
        return model.update(noisy, opinion, PixelGradients(noisy.trusted(found.alpha), found.beta))

    def _boundary_weights(self, state: MethodState, output: Output, noisy: Batch, gamma: Tensor) -> Tensor:
        if not self.dcd:
            return torch.zeros_like(gamma)
        weights: Tensor = state.parts["boundary"].weigh(output, noisy, gamma, state.updater.mean)
        return weights

    def _dice(self, output: Output, noisy: Batch, opinion: Opinion, weights: WeightMaps) -> Tensor:
        probabilities = output.logits.softmax(dim=1)
        if self.dice_target == "given":
            return soft_dice_loss(probabilities, noisy.labels, noisy.trust)
        return soft_dice_loss(probabilities, noisy.labels, weights.alpha, (opinion.labels, weights.beta))

    def _with_edges(self, report: StepReport, state: MethodState, noisy: Batch) -> StepReport:
        """Add the share of pixels that are edges, where the boundary has some."""
        edges: Tensor | None = state.parts["boundary"].edges(noisy) if self.dcd else None
        if edges is None:
            return report
        share = mean_over_pixels(edges.float(), noisy.labels, noisy.whole.pixels)
        return StepReport({**report.scalars, "edge_pixels": share}, report.maps)

    def _supervise_gold(
        self, state: MethodState, gold: Batch | None, known: tuple[Tensor, Parameters] | None
    ) -> Tensor | None:
        """Add the gradient of the mean gold cross-entropy; return that loss, None where nothing is added."""
        if not self.clean_supervision:
            return None
        if known is not None:
            state.updater.backward(_linear_in(state.network, known[1]))
            return known[0]
        verified = require_gold(gold, self.name)
        logits = state.network(verified.images).logits
        loss = mean_cross_entropy(logits, verified)
        if self.gold_dice:
            region = soft_dice_loss(logits.softmax(dim=1), verified.labels).sum() / verified.whole.images
            loss = loss + self.lambda_dice * region
        state.updater.backward(loss)
        return loss.detach()

    @property
    def _gold_dice(self) -> float:
        return self.lambda_dice if self.gold_dice else 0.0

    def _passes(self) -> float:
        """Count forward-equivalents: forward 1, backward 2, tangents 2 at most, next to none of a head."""
        passes = 3.0  # the training pass
        gold_pass = 3.0
        if not self.meta:
            return passes + (gold_pass if self.clean_supervision else 0.0)
        meta_step = gold_pass + (0.0 if self.tangents == "head" else 2.0)
        if self.virtual_step == "exact":
            # a backward pass, and a forward pass for the tangents, which otherwise ride along
            meta_step += 3.0
        passes += meta_step / self.meta_every
        passes += 1.0 if self.pseudo_labels == "average" else 0.0
        shared = 1 / self.meta_every if self.virtual_step == "linearised" else 0.0
        return passes + (gold_pass * (1 - shared) if self.clean_supervision else 0.0)


def _trusted(weights: WeightMaps, noisy: Batch) -> WeightMaps:
    """Return weights whose alpha is that of the loss: times the trust that the label came with."""
    return WeightMaps(noisy.trusted(weights.alpha), weights.beta)


def _linear_in(network: nn.Module, gradient: Parameters) -> Tensor:
    """Return a loss whose gradient is the one given, so that the updater adds it as it adds any other."""
    parameters = trainable(network)
    return torch.stack([(parameters[name] * direction).sum() for name, direction in gradient.items()]).sum()


def _report(
    objective: Objective, gold_loss: Tensor | None, boundary: Tensor, weights: WeightMaps, noisy: Batch
) -> StepReport:
    whole = noisy.whole
    loss = objective.total if gold_loss is None else objective.total + gold_loss
    scalars = {
        "loss": loss,
        "pixel": objective.pixel,
        "boundary": objective.boundary,
        "dice": objective.dice,
        "effective_boundary_pixels": effective_pixels(boundary).sum() / whole.images,
        "alpha": mean_over_pixels(weights.alpha, noisy.labels, whole.pixels),
        "beta": mean_over_pixels(weights.beta, noisy.labels, whole.pixels),
    }
    if gold_loss is not None:
        scalars["gold"] = gold_loss
    return StepReport({name: value.detach() for name, value in scalars.items()}, weights)
