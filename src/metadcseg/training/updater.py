"""How the network changes: gradient descent, its schedule, clipping and the moving average of the weights."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from metadcseg.methods.updater import OptimizerUpdater
from metadcseg.training.distributed.process_group import ProcessGroup
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


class SgdUpdater(OptimizerUpdater):
    """The trainer's own: SGD with momentum, its schedule, and the gradients of all devices that share a batch.

    Where several devices share a batch, each step begins with the average of their gradients, taken by hand on
    the bare network, and with it of running statistics: so networks that began equal stay equal, bit for bit.

    Args:
        network: the bare network, on its device.
        options: learning rate and all that goes with it.
        fabric: runs the backward pass in the precision chosen.
        process_group: the devices that share every batch; by default this one alone.
        gold_images: how many verified images there are in all.
    """

    def __init__(
        self,
        network: nn.Module,
        options: TrainingOptions,
        fabric: Fabric,
        process_group: ProcessGroup | None = None,
        gold_images: int = 0,
    ) -> None:
        self._options = options
        self._fabric = fabric
        self._process_group = process_group or ProcessGroup()
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        super().__init__(
            network,
            torch.optim.SGD(
                self._parameters, lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay
            ),
            clip=options.clip,
            ema_decay=options.ema_decay,
            gold_images=gold_images,
            gold_batch=options.gold_batch,
        )
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Set the epoch (from 0) and with it the learning rate."""
        self.epoch = epoch
        options = self._options
        factor = lr_factor(epoch, epochs=options.epochs, warmup=options.warmup, decay=options.decay)
        for group in self._optimizer.param_groups:
            group["lr"] = options.lr * factor

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss`` to the parameters' ``.grad``."""
        self._fabric.backward(loss)

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the average over the devices that share a batch; on one device, what was given."""
        return self._process_group.mean(tensors)

    def step(self) -> None:
        """Average over the devices, clip the norm, take one optimizer step, clear the gradients, move the EMA."""
        if self._process_group.world_size > 1:
            self._all_reduce_gradients()
        super().step()

    @torch.no_grad()
    def _all_reduce_gradients(self) -> None:
        """Average gradients and running statistics over the devices, all as one flat tensor.

        A gradient that this device lacks counts as zeros; one that all lack stays away, since to the optimizer
        (weight decay, momentum) none and zeros are not the same.
        """
        lacking = torch.tensor([float(parameter.grad is None) for parameter in self._parameters])
        mine: dict[str, Tensor] = {"lacking": lacking.to(self._fabric.device)}
        for n, parameter in enumerate(self._parameters):
            gradient = parameter.grad
            mine[f"gradient {n}"] = torch.zeros_like(parameter) if gradient is None else gradient
        buffers = {n: b for n, b in enumerate(self._network.buffers()) if b.is_floating_point()}
        mine |= {f"buffer {n}": buffer for n, buffer in buffers.items()}
        common = self._process_group.mean(mine)
        if lacking.any():  # only then is it worth waiting for the device
            lacking = common["lacking"].cpu()
        for n, parameter in enumerate(self._parameters):
            parameter.grad = None if lacking[n] == 1.0 else common[f"gradient {n}"]
        for n, buffer in buffers.items():
            buffer.copy_(common[f"buffer {n}"])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; how to descend say the options and the epoch that is running."""
        own = self._optimizer.state_dict()["param_groups"]
        super().load_state_dict({**state, "optimiser": {**state["optimiser"], "param_groups": own}})
        for parameter, held in self._optimizer.state.items():  # of SGD: the momentum
            if any(part is not None and part.shape != parameter.shape for part in held.values()):
                raise ValueError("the optimizer's state is of parameters of other shapes")
        self.begin_epoch(self.epoch)
