"""Binned weights: pixels that look alike share their trust. Ours, grown out of the paper's method; not the paper's.

One step, as :meth:`Binned.step` takes it, beside :mod:`metadcseg.methods.metadcseg.method`; what differs is marked *:

1. * A gold batch is split: some of its images are asked, the others trained on (:mod:`metadcseg.methods.gold_turns`).
2. * The gold gradient is taken where the network stands, before the virtual step of eq. 21, and joins a running mean;
   so the training pass itself carries the derivative of its logits in that direction (eq. 28-30).
3. * The pseudo-label of a pixel is the most probable class but the given one, by the moving average of the network.
4. * What gold says of a pixel goes to its cell of a table (:mod:`.binned_weights`): given class, runner-up class,
   probability, distance to the outline. Each cell has one alpha, and beta is 1 - alpha (3.2.3 of the paper).
5. The boundary's pixels are weighed by dynamic centers (eq. 5-12), * without gradient through their weights.
6. The network descends the weighted loss, that of the boundary and Dice (eq. 13), * which compares with both labels as
   far as they are trusted; * gold images that were not asked are trained on as well.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from metadcseg.algorithm.center_distance import DynamicCenterDistance
from metadcseg.algorithm.lookahead import pixel_gradients, training_gradient, virtual_step
from metadcseg.algorithm.meta_weights import initial_weights, weighted_pixel_loss
from metadcseg.algorithm.objective import total_objective
from metadcseg.errors import InputError
from metadcseg.forward_mode.call import Parameters, gradient_at, trainable
from metadcseg.forward_mode.jvp import LogitChange, jvp
from metadcseg.losses import soft_dice_loss
from metadcseg.methods.base import MethodState, StepReport, Storage, Updater
from metadcseg.methods.binned.binned_weights import BinnedWeights
from metadcseg.methods.binned.gradient_average import RunningMean
from metadcseg.methods.binned.options import BinnedOptions
from metadcseg.methods.binned.prediction import Prediction, prediction_of
from metadcseg.methods.common import (
    as_trained,
    believed,
    class_probabilities,
    descend_gold,
    evaluating,
    report,
    require_gold,
    supervised_loss,
    where_labeled,
)
from metadcseg.methods.gold_turns import take_turns, turns_of
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, Batch, PixelGradients, WeightMaps


@dataclass(frozen=True)
class Binned(BinnedOptions):
    """The default method; what it can be told is in its options, :class:`BinnedOptions`.

    Example:
        >>> Binned(clean_supervision=False).info.supervises_gold
        False
    """

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: no pixel and no center seen.

        Raises:
            InputError: where the pseudo-labels shall come from a moving average that is switched off.
        """
        if self.pseudo_labels == "ema" and updater.ema_model is None:
            raise InputError(
                "binned.pseudo_labels 'ema' needs the moving average of the network: switch it on "
                "with training.ema_decay (of attach: ema_decay), or take 'current'"
            )
        boundary = DynamicCenterDistance(
            self.regions, self.boundary_ratio, self.tau, self.temperature, self.detach_boundary_weights
        )
        parts = {
            "weights": BinnedWeights(
                updater.mean, self.min_runner_up_probability, self.discount_symmetric_noise
            ),
            "boundary": boundary,
            "gold_mean": RunningMean(self.gold_momentum),
        }
        return MethodState(network, updater, generator, parts)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Ask gold about the cells of the batch's pixels, then train with their weights (eq. 13)."""
        supervising, asked = self._gold_parts(state, gold)
        known = self._gold_gradient_before(state, asked)
        output, change = self._forward(state, noisy, known)
        prediction = self._prediction(state, output, noisy)
        if self._asks_gold(state) and change is None:
            change = self._change_after(state, output, prediction, noisy, asked)
        weights = believed(self._weights(state, noisy, prediction, change), noisy)
        edges = noisy.edges_above(self.edge_threshold) if self.dcd else None
        boundary = torch.zeros_like(weights.gamma)
        if self.dcd:  # eq. 5-12
            boundary = state.parts["boundary"](
                output.logits,
                output.features,
                weights.gamma,
                noisy.labels != IGNORE,
                edges,
                state.updater.mean,
            )
        weights = where_labeled(weights, noisy)
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
        return report(objective, gold_loss, boundary, weights, edges, noisy)

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps | None:
        """Return what the table says of a batch's pixels; None where nothing is learned of them."""
        if not self.meta:
            return None
        ema_model = state.updater.ema_model if self.pseudo_labels == "ema" else None
        prediction = self._teacher_prediction(ema_model or state.network, noisy)
        return as_trained(state.parts["weights"].read(noisy, prediction), noisy)

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)

    def _learns_weights(self, state: MethodState) -> bool:
        return self.meta and state.updater.epoch >= self.warmup

    def _asks_gold(self, state: MethodState) -> bool:
        """Return whether this step is a meta step."""
        return self._learns_weights(state) and state.updater.steps % self.meta_every == 0

    def _prediction(self, state: MethodState, output: Output, noisy: Batch) -> Prediction:
        ema_model = state.updater.ema_model
        if self.pseudo_labels == "current" or ema_model is None or not self._learns_weights(state):
            return prediction_of(output.logits).against(noisy.labels)
        return self._teacher_prediction(ema_model, noisy)

    def _teacher_prediction(self, network: nn.Module, noisy: Batch) -> Prediction:
        with evaluating(network) as still:
            return prediction_of(still(noisy.images).logits).against(noisy.labels)

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
        loss, v = self._gold_gradient(state, trainable(state.network), gold)
        return loss, state.updater.mean(v)

    def _gold_gradient(
        self, state: MethodState, parameters: Parameters, gold: Batch | None
    ) -> tuple[Tensor, Parameters]:
        """Return the mean gold loss and v, its gradient at given parameters."""
        verified = require_gold(gold, self.name)

        def loss_of(logits: Tensor) -> Tensor:
            return supervised_loss(logits, verified, self._gold_dice)[0]

        return gradient_at(state.network, parameters, verified.images, loss_of)

    def _forward(
        self, state: MethodState, noisy: Batch, known: tuple[Tensor, Parameters] | None
    ) -> tuple[Output, LogitChange | None]:
        """Run the training pass, which carries the derivative in the direction v where v is known."""
        if known is None:
            return state.network(noisy.images), None
        mean: Parameters = state.parts["gold_mean"](known[1])
        return jvp(state.network, noisy.images, mean, mode=self.forward_mode, training_pass=True)

    def _change_after(
        self, state: MethodState, output: Output, prediction: Prediction, noisy: Batch, gold: Batch | None
    ) -> LogitChange:
        """Take the virtual step (eq. 21) on the graph that training goes on to use, and v where it leads."""
        weights = believed(state.parts["weights"].read(noisy, prediction), noisy)
        gradient = training_gradient(state.network, noisy, prediction.labels, weights, output.logits)
        ahead = virtual_step(state.network, state.updater.mean(gradient), state.updater.lr)
        _, v = self._gold_gradient(state, ahead, gold)
        mean: Parameters = state.parts["gold_mean"](state.updater.mean(v))
        return jvp(state.network, noisy.images, mean, mode=self.forward_mode)[1]

    def _weights(
        self, state: MethodState, noisy: Batch, prediction: Prediction, change: LogitChange | None
    ) -> WeightMaps:
        """Return the weights to train with, moved by the meta-gradients of a meta step."""
        if not self._learns_weights(state):
            return initial_weights(noisy.labels.shape, noisy.labels.device)
        model: BinnedWeights = state.parts["weights"]
        if change is None:
            return model.read(noisy, prediction)
        # a weight is of one pixel among those of all devices
        pixels = noisy.global_batch_size.pixels * noisy.global_batch_size.world_size
        found = pixel_gradients(change, noisy.labels, prediction.labels, state.updater.lr, pixels)
        return model.update(
            noisy, prediction, PixelGradients(noisy.weigh_by_confidence(found.alpha), found.beta)
        )

    def _dice(self, output: Output, noisy: Batch, prediction: Prediction, weights: WeightMaps) -> Tensor:
        probabilities = output.logits.softmax(dim=1)
        if self.dice == "given":
            return soft_dice_loss(probabilities, noisy.labels, noisy.label_confidence)
        return soft_dice_loss(probabilities, noisy.labels, weights.alpha, (prediction.labels, weights.beta))

    def _supervise_gold(
        self, state: MethodState, gold: Batch | None, known: tuple[Tensor, Parameters] | None
    ) -> Tensor | None:
        """Add the gradient of the mean gold loss; return that loss, None where nothing is added."""
        if not self.clean_supervision:
            return None
        if known is not None:
            state.updater.backward(_linear_in(state.network, known[1]))
            return known[0]
        return descend_gold(state, require_gold(gold, self.name), self._gold_dice)

    @property
    def _gold_dice(self) -> float:
        return self.lambda_dice if self.dice == "weighted" else 0.0


def _linear_in(network: nn.Module, gradient: Parameters) -> Tensor:
    """Return a loss whose gradient is the one given, so that the updater adds it as it adds any other."""
    parameters = trainable(network)
    return torch.stack([(parameters[name] * direction).sum() for name, direction in gradient.items()]).sum()
