"""How the network changes: gradient descent, its schedule, clipping and the moving average of the weights."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from metadcseg.training.options import TrainingOptions


def lr_factor(epoch: int, *, epochs: int, warmup: int, decay: float) -> float:
    """Return what the learning rate is multiplied by in one epoch.

    decay / (epoch + decay), times a ramp that reaches one with the last epoch of the warm-up.

    Args:
        epoch: from 0.
        epochs: the number planned; a longer warm-up is cut to it.
        warmup: epochs of warm-up, 0 for none.
        decay: in epochs, above 0.

    Example:
        >>> [round(lr_factor(e, epochs=100, warmup=2, decay=20.0), 3) for e in (0, 1, 2, 20)]
        [0.5, 0.952, 0.909, 0.5]
    """
    ramp = min(warmup, epochs)
    rise = min(1.0, (epoch + 1) / ramp) if ramp else 1.0
    return rise * decay / (epoch + decay)


class SgdUpdater:
    """Owns optimiser, schedule, clipping and averaging; see :class:`metadcseg.methods.contract.Updater`.

    The moving average starts without bias: after t steps its decay is min(average, (1 + t) / (10 + t)), so
    that it follows the weights closely at first and is not held back by the random start. Buffers (running
    statistics) are copied, not averaged.

    Args:
        network: the bare network, on its device.
        options: learning rate and all that goes with it.
        fabric: runs the backward pass in the precision chosen.
    """

    def __init__(self, network: nn.Module, options: TrainingOptions, fabric: Fabric) -> None:
        self.epoch = 0
        self.epochs = options.epochs
        self.averaged: nn.Module | None = None
        self._network = network
        self._options = options
        self._fabric = fabric
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self.steps = 0
        self._optimiser = torch.optim.SGD(
            self._parameters, lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay
        )
        if options.average:
            self.averaged = deepcopy(network).eval().requires_grad_(False)
        self.begin_epoch(0)

    @property
    def lr(self) -> float:
        """The learning rate of this epoch (lambda of eq. 21)."""
        options = self._options
        return options.lr * lr_factor(
            self.epoch, epochs=self.epochs, warmup=options.warmup, decay=options.decay
        )

    def begin_epoch(self, epoch: int) -> None:
        """Set the epoch (from 0) and with it the learning rate."""
        self.epoch = epoch
        for group in self._optimiser.param_groups:
            group["lr"] = self.lr

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss`` to the parameters' ``.grad``."""
        self._fabric.backward(loss)

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the average over the devices that share a batch; on one device, what was given."""
        return dict(tensors)

    def step(self) -> None:
        """Clip the gradient's norm, take one optimiser step, clear the gradients, update the average."""
        if self._options.clip:
            nn.utils.clip_grad_norm_(self._parameters, self._options.clip)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.steps += 1
        if self.averaged is not None:
            self._average(self.averaged)

    @torch.no_grad()
    def _average(self, averaged: nn.Module) -> None:
        decay = min(self._options.average, (1 + self.steps) / (10 + self.steps))
        for mean, current in zip(averaged.parameters(), self._network.parameters(), strict=True):
            mean.lerp_(current, 1 - decay)
        for kept, buffer in zip(averaged.buffers(), self._network.buffers(), strict=True):
            kept.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only; the network's own weights are not among them."""
        return {
            "steps": self.steps,
            "optimiser": self._optimiser.state_dict(),
            "averaged": None if self.averaged is None else dict(self.averaged.state_dict()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.steps = int(state["steps"])
        self._optimiser.load_state_dict(dict(state["optimiser"]))
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.begin_epoch(self.epoch)
