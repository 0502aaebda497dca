"""MetaDCSeg: pixel-wise meta-weights (eq. 1-4, 21-24), boundaries weighted by dynamic centers (eq. 5-13)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metadcseg.algorithm.boundary import effective_pixels
from metadcseg.algorithm.lookahead import (
    gold_gradient,
    gradient_of,
    pixel_gradients,
    virtual_step,
)
from metadcseg.algorithm.meta_weights import (
    PixelGradients,
    initial_weights,
    normalize_weights,
    weighted_pixel_loss,
)
from metadcseg.algorithm.objective import Objective, total_objective
from metadcseg.errors import InputError
from metadcseg.forward_mode.jvp import (
    LogitChange,
    Parameters,
    forward_with_change,
    logit_change,
    trainable,
)
from metadcseg.losses import mean_over_pixels, soft_dice_loss
from metadcseg.methods.base import MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import class_probabilities, evaluating, require_gold, supervised_loss
from metadcseg.methods.metadcseg.binned_weights import BinnedWeights
from metadcseg.methods.metadcseg.boundary_term import BoundaryTerm
from metadcseg.methods.metadcseg.cross_fit import take_turns, turns_of
from metadcseg.methods.metadcseg.gradient_average import RunningMean
from metadcseg.methods.metadcseg.options import MetaDCSegOptions
from metadcseg.methods.metadcseg.pixel_weights import PixelWeights, StatelessWeights, WeightModel
from metadcseg.methods.metadcseg.prediction import Prediction, prediction_of
from metadcseg.networks.contract import Output, parameters_of
from metadcseg.tensors import IGNORE, Batch, WeightMaps


@dataclass(frozen=True)
class MetaDCSeg(MetaDCSegOptions):
    """The method of the paper; what it can be told is in its options, :class:`MetaDCSegOptions`."""

    def start(
        self, network: nn.Module, updater: Updater, generator: torch.Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: no pixel and no center seen.

        Raises:
            InputError: where the pseudo-labels shall come from a moving average that is switched off, or the
                network does not tell which parameters its decoder or head has.
        """
        if self.pseudo_labels == "ema" and updater.ema_model is None:
            raise InputError(
                "metadcseg.pseudo_labels 'ema' needs the moving average of the network: switch it on "
                "with training.ema_decay, or take 'current'"
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
        supervising, asked = self._gold_parts(state, gold)
        known = self._gold_gradient_before(state, asked)
        output, change = self._forward(state, noisy, known)  # p of eq. 1, h of eq. 5
        prediction = self._prediction(state, output, noisy)  # eq. 1
        if self._asks_gold(state) and change is None:
            change = self._change_after(state, output, prediction, noisy, asked)
        rectified = self._weights(state, noisy, prediction, change)  # eq. 22-23
        weights = normalize_weights(  # eq. 24
            rectified, self.normalization, noisy.labels != IGNORE, state.updater.mean
        )
        rectified, weights = _trusted(rectified, noisy), _trusted(weights, noisy)
        boundary = self._boundary_weights(state, output, noisy, rectified.gamma)  # eq. 5-12
        objective = total_objective(  # eq. 13
            weighted_pixel_loss(output.logits, noisy.labels, prediction.labels, weights),
            boundary,
            self._dice(output, noisy, prediction, weights),
            noisy.labels,
            self.lambda_boundary,
            self.lambda_dice,
            noisy.global_batch_size,
        )
        state.updater.backward(objective.total)
        gold_loss = self._supervise_gold(state, supervising, known if supervising is asked else None)
        state.updater.step()
        report = _report(objective, gold_loss, boundary, weights, noisy)
        return self._with_edges(report, state, noisy)

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps | None:
        """Return what is kept of a batch's pixels; None where nothing is."""
        if not self.meta or self.memory == "none":
            return None
        average = state.updater.ema_model if self.pseudo_labels == "ema" else None
        prediction = self._teacher_prediction(average or state.network, noisy)
        kept: WeightMaps = state.parts["weights"].read(noisy, prediction)
        return kept

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)

    def _weight_model(self, updater: Updater, storage: Storage) -> WeightModel:
        if self.memory == "shared":
            return BinnedWeights(updater.mean, self.min_runner_up_probability, self.discount_symmetric_noise)
        if self.memory == "none":
            return StatelessWeights(self.eta, self.meta_scaling)
        return PixelWeights(self.eta, self.meta_scaling, storage)

    def _learns_weights(self, state: MethodState) -> bool:
        return self.meta and state.updater.epoch >= self.warmup

    def _prediction(self, state: MethodState, output: Output, noisy: Batch) -> Prediction:
        average = state.updater.ema_model
        if self.pseudo_labels == "current" or average is None or not self._learns_weights(state):
            return self._predicted_by(output, noisy)
        return self._teacher_prediction(average, noisy)

    def _teacher_prediction(self, network: nn.Module, noisy: Batch) -> Prediction:
        with evaluating(network) as still:
            return self._predicted_by(still(noisy.images), noisy)

    def _predicted_by(self, output: Output, noisy: Batch) -> Prediction:
        """Return what a network's output says; where weights are shared, against the given labels."""
        prediction = prediction_of(output.logits)
        return prediction.against(noisy.labels) if self.memory == "shared" else prediction

    def _asks_gold(self, state: MethodState) -> bool:
        """Return whether this step is a meta step."""
        return self._learns_weights(state) and state.updater.steps % self.meta_every == 0

    def _gold_parts(self, state: MethodState, gold: Batch | None) -> tuple[Batch | None, Batch | None]:
        """Return the gold images to train on and those that the meta step asks."""
        if gold is None or not (self.cross_fit and self.clean_supervision and self._learns_weights(state)):
            return gold, gold
        updater = state.updater
        turns = turns_of(updater.gold_images, updater.gold_batch)
        return (gold, gold) if turns == 1 else take_turns(gold, updater.epoch, turns, updater.mean)

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
        self, state: MethodState, output: Output, prediction: Prediction, noisy: Batch, gold: Batch | None
    ) -> LogitChange:
        """Take the virtual step (eq. 21) on the graph that training goes on to use, and v where it leads."""
        weights = _trusted(state.parts["weights"].read(noisy, prediction), noisy)
        pixel_loss = weighted_pixel_loss(output.logits, noisy.labels, prediction.labels, weights)
        training_loss = mean_over_pixels(pixel_loss, noisy.labels, noisy.global_batch_size.pixels)
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
        self, state: MethodState, noisy: Batch, prediction: Prediction, change: LogitChange | None
    ) -> WeightMaps:
        """Return the rectified weights to train with, moved by the meta-gradients of a meta step."""
        if not self._learns_weights(state):
            return initial_weights(noisy.labels.shape, noisy.labels.device)
        model: WeightModel = state.parts["weights"]
        if change is None:
            return model.read(noisy, prediction)
        # a weight is of one pixel among those of all devices
        pixels = noisy.global_batch_size.pixels * noisy.global_batch_size.world_size
        found = pixel_gradients(change, noisy.labels, prediction.labels, state.updater.lr, pixels)
        return model.update(
            noisy, prediction, PixelGradients(noisy.weigh_by_confidence(found.alpha), found.beta)
        )

    def _boundary_weights(self, state: MethodState, output: Output, noisy: Batch, gamma: Tensor) -> Tensor:
        if not self.dcd:
            return torch.zeros_like(gamma)
        weights: Tensor = state.parts["boundary"].weigh(output, noisy, gamma, state.updater.mean)
        return weights

    def _dice(self, output: Output, noisy: Batch, prediction: Prediction, weights: WeightMaps) -> Tensor:
        probabilities = output.logits.softmax(dim=1)
        if self.dice == "given":
            return soft_dice_loss(probabilities, noisy.labels, noisy.label_confidence)
        return soft_dice_loss(probabilities, noisy.labels, weights.alpha, (prediction.labels, weights.beta))

    def _with_edges(self, report: StepReport, state: MethodState, noisy: Batch) -> StepReport:
        """Add the share of pixels that are edges, where the boundary has some."""
        edges: Tensor | None = state.parts["boundary"].edges(noisy) if self.dcd else None
        if edges is None:
            return report
        share = mean_over_pixels(edges.float(), noisy.labels, noisy.global_batch_size.pixels)
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
        loss, _ = supervised_loss(state.network(verified.images).logits, verified, self._gold_dice)
        state.updater.backward(loss)
        return loss.detach()

    @property
    def _gold_dice(self) -> float:
        return self.lambda_dice if self.dice == "weighted" else 0.0


def _trusted(weights: WeightMaps, noisy: Batch) -> WeightMaps:
    """Return weights whose alpha is that of the loss: times the trust that the label came with."""
    return WeightMaps(noisy.weigh_by_confidence(weights.alpha), weights.beta)


def _linear_in(network: nn.Module, gradient: Parameters) -> Tensor:
    """Return a loss whose gradient is the one given, so that the updater adds it as it adds any other."""
    parameters = trainable(network)
    return torch.stack([(parameters[name] * direction).sum() for name, direction in gradient.items()]).sum()


def _report(
    objective: Objective, gold_loss: Tensor | None, boundary: Tensor, weights: WeightMaps, noisy: Batch
) -> StepReport:
    whole = noisy.global_batch_size
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
