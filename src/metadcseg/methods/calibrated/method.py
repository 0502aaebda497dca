"""Calibrated trust: what verified masks say about those they replaced, and the network as second witness. Ours.

One step, as :meth:`Calibrated.step` takes it, beside :mod:`metadcseg.methods.metadcseg.method`; * marks what differs:

1. * The pairs of the gold batch join a table: P(true class | given class, distance to the other class)
   (:mod:`metadcseg.methods.pair_table`); * of a direction of errors counts what pairs agree on
   (:mod:`.directions`). Without pairs a network that has learned from given masks alone draws gold as
   they would: its prediction stands in for the mask replaced (``stand_in``), less what it gets wrong of given masks as
   well. A meta step only where asked for.
2. The training pass. * Its softmax q is what the network says of every pixel. In a meta step the pass carries the
   derivative of its logits in the direction of the gold gradient (eq. 28-30), * where the network stands.
3. * What q says is corrected such that on average as much is doubted as the pairs say: they know how much of a class
   is wrong, the network knows where (:mod:`.shares`).
4. * alpha = P(given class is true) by Bayes' rule from table and q, beta = 1 - alpha goes to the most probable other
   class. Where no pair has any doubt alpha is exactly 1. * What groups of gold images agree to speak against
   (:mod:`.evidence`) is doubted more.
5. The boundary's pixels are weighed by dynamic centers (eq. 5-12), * without gradient through their weights.
6. The network descends the weighted loss, that of the boundary and Dice (eq. 13), * which compares with both labels as
   far as they are trusted; * gold images are trained on as well.
"""

from dataclasses import dataclass, replace
from warnings import warn

import torch
from torch import Generator, Tensor, nn

from metadcseg.algorithm.center_distance import DynamicCenterDistance
from metadcseg.algorithm.lookahead import pixel_gradients
from metadcseg.algorithm.meta_weights import weighted_pixel_loss
from metadcseg.algorithm.objective import total_objective
from metadcseg.errors import InputError, Note
from metadcseg.forward_mode.call import gradient_at, trainable
from metadcseg.forward_mode.jvp import LogitChange, jvp
from metadcseg.losses import soft_dice_loss
from metadcseg.methods.annotator_pairs import AnnotatorPairTable
from metadcseg.methods.base import MethodState, StepReport, Storage, Updater
from metadcseg.methods.calibrated.directions import scale_of_directions
from metadcseg.methods.calibrated.evidence import GROUPS, LEAST_GROUPS, GoldEvidence
from metadcseg.methods.calibrated.options import CalibratedOptions
from metadcseg.methods.calibrated.shares import MatchedShares, with_floor
from metadcseg.methods.calibrated.stand_ins import as_pairs, drawn, without_own_errors
from metadcseg.methods.common import (
    as_trained,
    class_probabilities,
    descend_gold,
    evaluating,
    report,
    require_gold,
    runner_up,
    supervised_loss,
)
from metadcseg.methods.deep_supervision import weighted_at_every_depth
from metadcseg.methods.gold_turns import take_turns, turn_of
from metadcseg.methods.pair_table import (
    PairTable,
    Trust,
    class_posterior,
    distance_bins,
    full_trust,
    known_labels,
    trust_of,
)
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, Batch, WeightMaps


@dataclass(frozen=True)
class Calibrated(CalibratedOptions):
    """The method for gold images whose careless masks were kept; its options are :class:`CalibratedOptions`.

    Example:
        >>> Calibrated().info.uses_pairs, Calibrated(pairs=False).info.uses_pairs
        (True, False)
    """

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: no pair and no center seen.

        Raises:
            InputError: where the witness shall be a moving average that is switched off.
        """
        if self.meta and updater.gold_images < LEAST_GROUPS:
            warn(
                f"calibrated.meta: {updater.gold_images} gold images are too few, of fewer than {LEAST_GROUPS} it says "
                "nothing: verify more, or leave it out",
                Note,
                stacklevel=2,
            )
        if self.witness == "ema" and self.heard and updater.ema_model is None:
            raise InputError(
                "calibrated.witness 'ema' needs the moving average of the network: switch it on with "
                "training.ema_decay (of attach: ema_decay), or take 'current'"
            )
        boundary = DynamicCenterDistance(
            self.regions, self.boundary_ratio, temperature=self.temperature, detach=True
        )
        parts = {
            "pairs": AnnotatorPairTable(updater.gold_images, updater.mean),
            "shares": MatchedShares(updater.mean),
            "errors": PairTable(1, updater.mean),
            "evidence": GoldEvidence(_groups(updater), updater.mean),
            "boundary": boundary,
        }
        return MethodState(network, updater, generator, parts)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Take in the pairs of the gold batch, then train with the trust that all pairs seen give."""
        verified = require_gold(gold, self.name)
        if self._drawing(state):
            verified = drawn(state, verified)
        supervising, asked = self._gold_parts(state, verified)
        output, change = self._forward(state, noisy, asked)
        logits = output.logits
        if self.pairs or self._drawing(state):
            state.parts["pairs"].update(verified, logits.shape[1])
        if self._drawing(state):
            state.parts["errors"].update(as_pairs(state, noisy), logits.shape[1])
        witness = self._witness(state, noisy, logits)
        trust = self._trust(state, noisy, logits.shape[1], witness, change, learn=True)
        weights = as_trained(trust.weights, noisy)
        edges = noisy.edges_above(self.edge_threshold) if self.dcd else None
        boundary = torch.zeros_like(weights.gamma)
        if self.dcd:  # eq. 5-12
            valid, mean = noisy.labels != IGNORE, state.updater.mean
            boundary = state.parts["boundary"](logits, output.features, weights.gamma, valid, edges, mean)
        second = (trust.candidates, weights.beta)
        objective = total_objective(  # eq. 13
            weighted_pixel_loss(logits, noisy.labels, trust.candidates, weights),
            boundary,
            soft_dice_loss(logits.softmax(dim=1), noisy.labels, weights.alpha, second),
            noisy.labels,
            self.lambda_boundary,
            self.lambda_dice,
            noisy.global_batch_size,
        )
        state.updater.backward(
            weighted_at_every_depth(objective.total, output, noisy, trust.candidates, weights)
        )
        gold_loss = objective.total.detach() * 0
        if not self._waits(state):
            gold_loss = descend_gold(state, supervising, self.lambda_dice, deep=True)
        state.updater.step()
        return report(objective, gold_loss, boundary, weights, edges, noisy)

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps | None:
        """Return the trust in a batch's pixels with the EMA network as witness; None where all are trusted."""
        if not self.heard:
            return None
        with evaluating(state.updater.ema_model or state.network) as still:
            probabilities = still(noisy.images).logits.float().softmax(dim=1)
        witness = None if self.witness == "none" else probabilities
        return as_trained(self._trust(state, noisy, probabilities.shape[1], witness).weights, noisy)

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)

    def _waits(self, state: MethodState) -> bool:
        """Whether the network learns from given masks alone, for the stand-ins."""
        enough = state.updater.gold_images > 1  # one says nothing
        return not self.pairs and enough and state.updater.epoch < self.stand_in

    def _drawing(self, state: MethodState) -> bool:
        """Whether what the network draws on gold images stands in for pairs."""
        return self._waits(state) and state.updater.epoch >= self.stand_in // 2

    def _learns(self, state: MethodState) -> bool:
        enough = state.updater.gold_images >= LEAST_GROUPS  # of fewer, evidence never says a word
        return self.meta and enough and state.updater.epoch >= self.warmup and not self._waits(state)

    def _gold_parts(self, state: MethodState, gold: Batch) -> tuple[Batch, Batch | None]:
        """Return the gold images to train on and those that this step asks, None where it is no meta step."""
        if not self._learns(state):
            return gold, None
        updater = state.updater
        kept, asked = take_turns(gold, updater.epoch, _groups(updater), updater.mean)
        alone = gold.shard_of is None  # what other devices ask is not known here
        nobody = alone and bool((asked.labels == IGNORE).all())
        return kept, None if nobody or updater.steps % self.meta_every else asked

    def _forward(
        self, state: MethodState, noisy: Batch, asked: Batch | None
    ) -> tuple[Output, LogitChange | None]:
        """Run the training pass; in a meta step it carries the derivative in the direction of the gold gradient."""
        if asked is None:
            return state.network(noisy.images), None

        def loss_of(logits: Tensor) -> Tensor:
            return supervised_loss(logits, asked, self.lambda_dice)[0]

        _, v = gradient_at(state.network, trainable(state.network), asked.images, loss_of)
        mean = state.updater.mean(v)
        return jvp(state.network, noisy.images, mean, mode=self.forward_mode, training_pass=True)

    def _witness(self, state: MethodState, noisy: Batch, logits: Tensor) -> Tensor | None:
        """Return q, (N, L, H, W) float32 without graph; None where the network has no say."""
        if (
            self.witness == "none"
            or not self.heard
            or self._waits(state)
            or state.updater.epoch < self.warmup
        ):
            return None
        ema_model = state.updater.ema_model
        if self.witness == "ema" and ema_model is not None:
            with evaluating(ema_model) as still:
                logits = still(noisy.images).logits
        return logits.detach().float().softmax(dim=1)

    @torch.no_grad()
    def _trust(
        self,
        state: MethodState,
        noisy: Batch,
        classes: int,
        witness: Tensor | None,
        change: LogitChange | None = None,
        *,
        learn: bool = False,
    ) -> Trust:
        """Return what pairs, witness and gold say of every pixel; what a training batch tells is taken in first."""
        labels = known_labels(noisy)
        if not self.heard or self._waits(state):
            return full_trust(labels)
        bins = distance_bins(labels, classes)
        trust = self._by_pairs(state, noisy, labels, bins, witness, learn)
        if witness is None or not self.meta:
            return trust
        evidence: GoldEvidence = state.parts["evidence"]
        if not self.tells:
            trust = replace(trust, candidates=runner_up(witness, labels))
        cells = evidence.cells(labels, trust.candidates, bins, witness)
        if change is not None:
            pixels = noisy.global_batch_size.pixels
            found = pixel_gradients(change, labels, trust.candidates, 1.0, pixels)
            turn = turn_of(state.updater.epoch, _groups(state.updater))
            evidence.update(turn, cells, found.beta - found.alpha)
        return evidence.weigh(trust, cells, prior=not self.tells)

    def _by_pairs(
        self,
        state: MethodState,
        noisy: Batch,
        labels: Tensor,
        bins: Tensor,
        witness: Tensor | None,
        learn: bool,
    ) -> Trust:
        pairs: AnnotatorPairTable = state.parts["pairs"]
        if self.pairs and noisy.annotators is not None:
            told = pairs.of(noisy.annotators)
        else:
            seen = pairs.seen()
            shrunk = self.pairs and self.shrink_directions and len(seen[0]) > 1
            told = pairs.both(scale_of_directions(*seen) if shrunk else None)
            told = told and without_own_errors(*told, pairs, state.parts["errors"])
        if told is None:
            return full_trust(labels)
        table = with_floor(*told)
        if witness is None or not self.match_shares:
            return trust_of(class_posterior(table, labels, bins, witness), labels)
        shares: MatchedShares = state.parts["shares"]
        if learn:
            shares.update(table, labels, bins, witness)
        return trust_of(class_posterior(table, labels, bins, witness, shares.held()), labels)


def _groups(updater: Updater) -> int:
    """Return how many groups of gold images take turns."""
    return min(updater.gold_images, GROUPS)
