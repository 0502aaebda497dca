"""One optimizer step, the same in every loop: clip, descend, clear the gradients, move the average."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from metadcseg.networks.committee import members_of


class OptimizerUpdater:
    """Owns clipping and averaging around any torch optimizer; see :class:`metadcseg.methods.base.Updater`.

    The moving average starts without bias: after t steps its decay is min(ema_decay, (1 + t) / (10 + t)), so
    that it follows the weights closely at first and is not held back by the random start. Where a method begins
    anew, t counts from there. Buffers (running statistics) are copied, not averaged.

    Args:
        network: called as ``network(images) -> Output``.
        optimizer: of its parameters.
        clip: largest norm of the gradient of all parameters that the optimizer has, in a committee of each member's
            own; 0: not clipped.
        ema_decay: of the moving average of the weights, from 0 (none) to below 1.
        gold_images: how many verified images there are in all.
        gold_batch: how many of them a step gets.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        clip: float,
        ema_decay: float,
        gold_images: int,
        gold_batch: int,
    ) -> None:
        self.epoch = 0
        self.steps = 0
        self.gold_images = gold_images
        self.gold_batch = gold_batch
        self.ema_model: nn.Module | None = None
        self._network = network
        self._optimizer = optimizer
        self._clip = clip
        self._ema_decay = ema_decay
        self._average_since = 0
        if ema_decay:
            self.ema_model = deepcopy(network).eval().requires_grad_(False)

    @property
    def lr(self) -> float:
        """The learning rate of this step (lambda of eq. 21): the optimizer's, of several groups the largest."""
        return max(float(group["lr"]) for group in self._optimizer.param_groups)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss`` to the parameters' ``.grad``."""
        loss.backward()  # type: ignore[no-untyped-call]

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what was given: one device has the whole batch."""
        return dict(tensors)

    def step(self) -> None:
        """Clip the norm, take one optimizer step, clear the gradients, average."""
        if self._clip:
            self._clip_gradients()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        if self.ema_model is not None:
            self._average(self.ema_model)

    def begin_anew(self) -> None:
        """Forget momentum and the like, and let the average be the network as it is; the schedule goes on."""
        self._optimizer.state.clear()
        self._average_since = self.steps
        if self.ema_model is not None:
            self.ema_model.load_state_dict(self._network.state_dict())

    def _clip_gradients(self) -> None:
        held = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        members = members_of(self._network)
        for member in members[1:]:  # what belongs to no member goes with the first
            own = {id(parameter) for parameter in member.parameters()}
            nn.utils.clip_grad_norm_([parameter for parameter in held if id(parameter) in own], self._clip)
            held = [parameter for parameter in held if id(parameter) not in own]
        nn.utils.clip_grad_norm_(held, self._clip)

    @torch.no_grad()
    def _average(self, ema_model: nn.Module) -> None:
        taken = self.steps - self._average_since
        decay = min(self._ema_decay, (1 + taken) / (10 + taken))
        for mean, current in zip(ema_model.parameters(), self._network.parameters(), strict=True):
            mean.lerp_(current, 1 - decay)
        for kept, buffer in zip(ema_model.buffers(), self._network.buffers(), strict=True):
            kept.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only; the network's own weights are not among them."""
        return {
            "steps": self.steps,
            "average_since": self._average_since,
            "optimiser": self._optimizer.state_dict(),  # as in checkpoints that are there already
            "ema_model": None if self.ema_model is None else dict(self.ema_model.state_dict()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.steps = int(state["steps"])
        self._average_since = int(state.get("average_since", 0))  # earlier runs never began anew
        self._optimizer.load_state_dict(dict(state["optimiser"]))
        if self.ema_model is not None:
            self.ema_model.load_state_dict(state["ema_model"])
