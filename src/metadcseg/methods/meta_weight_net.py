"""Meta-Weight-Net (Shu et al., NeurIPS 2019), for every pixel: a small network turns a pixel's loss into its weight.

What ``metadcseg`` learns for each pixel apart, and ``binned`` for pixels that look alike, is here one function of the
loss. It learns from the same meta-gradient: how the gold loss after a virtual step depends on every pixel's weight.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from metadcseg.algorithm.lookahead import meta_gradients
from metadcseg.algorithm.meta_weights import pseudo_labels
from metadcseg.forward_mode.jvp import ForwardMode
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy, soft_dice_loss
from metadcseg.methods.base import MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import (
    as_trained,
    believed,
    class_probabilities,
    descend_gold,
    evaluating,
    require_gold,
    where_labeled,
)
from metadcseg.tensors import AllReduceMean, Batch, WeightMaps
from metadcseg.validation import check_range, check_types

_HIDDEN = 100


@dataclass(frozen=True)
class MetaWeightNet:
    """A weight in (0, 1) for every pixel, the answer of a perceptron 1-100-1 to its loss.

    A step moves the perceptron down the gold loss after a virtual step (eq. 21 of MetaDCSeg), by Adam. Then it descends
    mean(w f) + ``dice`` * mean soft Dice loss, each pixel counting by w = V(f), f the cross-entropy with its label.

    Args:
        eta: learning rate of the perceptron, above 0.
        clean_supervision: the gold batch also enters the training loss, by cross-entropy and Dice with weight 1; as
            published it does not.
        dice: weight of the soft Dice loss, at least 0.
        forward_mode: how the derivative of the logits in the direction of the gold gradient is computed: ``"engine"``,
            ``"torch"``, ``"differences"`` (central finite differences), or ``"auto"``, the engine where it can.

    Raises:
        InputError: for an option with a value that is not allowed.

    Example:
        >>> MetaWeightNet().info.passes, MetaWeightNet().info.supervises_gold
        (11.0, False)
    """

    name: ClassVar[str] = "meta_weight_net"

    eta: float = 1e-3
    clean_supervision: bool = False
    dice: float = 0.1
    forward_mode: ForwardMode = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "eta", above=0)
        check_range(self, "dice", at_least=0)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs."""
        training, meta_step, gold_step = 3.0, 8.0, 3.0  # as in MetaDCSeg
        passes = training + meta_step + gold_step * self.clean_supervision
        return MethodInfo(
            needs_gold=True, supervises_gold=self.clean_supervision, passes=passes, asks_gold=True
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step: a perceptron that has learned nothing."""
        net = LossToWeight(self.eta, generator, updater.mean)
        return MethodState(network, updater, generator, {"net": net})

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Ask gold how the weights of the batch should move, then train with those that follow."""
        updater, verified, net = state.updater, require_gold(gold, self.name), state.parts["net"]
        logits = state.network(noisy.images).logits
        losses = pixel_cross_entropy(logits, noisy.labels)
        found = meta_gradients(
            state.network,
            noisy,
            verified,
            pseudo_labels(logits),
            believed(net.weights(losses, noisy), noisy),
            lr=updater.lr,
            logits=logits,
            all_reduce_mean=updater.mean,
            forward_mode=self.forward_mode,
        )
        # Adam does not ask how long a gradient is: that of a plain step of length 1 is far from its epsilon
        asked = found.alpha / max(updater.lr, 1e-12)
        net.learn(losses, noisy.weigh_by_confidence(asked), noisy)
        weights = believed(net.weights(losses, noisy), noisy)
        whole = noisy.global_batch_size
        pixel = mean_over_pixels(weights.alpha * losses, noisy.labels, whole.pixels)
        dice = soft_dice_loss(logits.softmax(dim=1), noisy.labels, weights.alpha).sum() / whole.images
        loss = pixel + self.dice * dice
        updater.backward(loss)
        scalars = {"loss": loss.detach(), "pixel": pixel.detach(), "dice": dice.detach()}
        if self.clean_supervision:
            scalars["gold"] = descend_gold(state, verified, self.dice)
            scalars["loss"] = scalars["loss"] + scalars["gold"]
        updater.step()
        scalars["alpha"] = mean_over_pixels(weights.alpha, noisy.labels, whole.pixels)
        return StepReport(scalars, weights)

    def weights(self, state: MethodState, noisy: Batch) -> WeightMaps:
        """Return V(f) of a batch's pixels, f as the network in evaluation mode has it; beta is 0."""
        with evaluating(state.network) as still:
            losses = pixel_cross_entropy(still(noisy.images).logits, noisy.labels)
        return as_trained(state.parts["net"].weights(losses, noisy), noisy)

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)


class LossToWeight(nn.Module):
    """V, a perceptron 1-100-1 with a sigmoid behind it, and the Adam that trains it.

    Args:
        eta: learning rate.
        generator: where the initial weights come from.
        all_reduce_mean: over the devices that share every batch.

    Example:
        >>> net = LossToWeight(1e-3, torch.Generator().manual_seed(0))
        >>> sum(parameter.numel() for parameter in net.parameters())
        301
    """

    def __init__(self, eta: float, generator: Generator, all_reduce_mean: AllReduceMean = dict) -> None:
        super().__init__()
        self._all_reduce_mean = all_reduce_mean

        def drawn(*shape: int, inputs: int) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * inputs**-0.5)

        self.first, self.shift = drawn(_HIDDEN, inputs=1), drawn(_HIDDEN, inputs=1)
        self.second, self.bias = drawn(_HIDDEN, inputs=_HIDDEN), drawn(1, inputs=_HIDDEN)
        self._adam = torch.optim.Adam(self.parameters(), lr=eta)

    def forward(self, losses: Tensor) -> Tensor:
        """Return weights, float32 from 0 to 1, of losses of any shape."""
        with torch.autocast(losses.device.type, enabled=False):
            hidden = (losses.float().unsqueeze(-1) * self.first + self.shift).relu()
            return (hidden @ self.second + self.bias).sigmoid()

    @torch.no_grad()
    def weights(self, losses: Tensor, noisy: Batch) -> WeightMaps:
        """Return V(f) as alpha, without graph, 0 where labels are ignored; beta is 0."""
        if self.bias.device != losses.device:
            self.to(losses.device)
            self._adam.load_state_dict(self._adam.state_dict())  # moves what it remembers
        alpha = self(losses.detach())
        return where_labeled(WeightMaps(alpha, torch.zeros_like(alpha)), noisy)

    def learn(self, losses: Tensor, gradients: Tensor, noisy: Batch) -> None:
        """Take a step of Adam down the gradient of the gold loss by every pixel's weight.

        Args:
            losses: f, (N, H, W).
            gradients: of the gold loss by V(f), (N, H, W), 0 where labels are ignored.
            noisy: the batch, which may be one device's part.
        """
        parameters = dict(self.named_parameters())
        moved = torch.autograd.grad((gradients * self(losses.detach())).sum(), list(parameters.values()))
        mean = self._all_reduce_mean(dict(zip(parameters, moved, strict=True)))
        for name, parameter in parameters.items():
            parameter.grad = mean[name] * noisy.global_batch_size.world_size
        self._adam.step()
        self._adam.zero_grad()

    def get_extra_state(self) -> dict[str, Any]:
        """Return what Adam remembers, with the weights in a checkpoint."""
        return {"adam": self._adam.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_extra_state` returned."""
        self._adam.load_state_dict(state["adam"])
