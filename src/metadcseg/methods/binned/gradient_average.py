"""A running mean of the gold gradient: what more gold images say than those of one batch."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class RunningMean:
    """An exponential mean of gradients by parameter name, without the bias of its start.

    Args:
        momentum: how much of the mean stays at each update, from 0 (none, nothing is kept) to below 1.

    Example:
        >>> import torch
        >>> mean = RunningMean(0.5)
        >>> mean.update({"weight": torch.tensor(3.0)})["weight"].item()
        3.0
        >>> mean.update({"weight": torch.tensor(0.0)})["weight"].item()
        1.0
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self._sums: dict[str, Tensor] = {}
        self._weight = 0.0

    def update(self, gradient: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take in a gradient and return the mean."""
        if self.momentum == 0:
            return dict(gradient)
        self._weight = self.momentum * self._weight + (1 - self.momentum)
        for name, value in gradient.items():
            if name in self._sums:
                before = self._sums[name].to(value.device)  # a checkpoint is read on the CPU
                self._sums[name] = before.mul_(self.momentum).add_(value, alpha=1 - self.momentum)
            else:
                self._sums[name] = (1 - self.momentum) * value
        return {name: total / self._weight for name, total in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only."""
        return {"sums": dict(self._sums), "weight": self._weight}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._sums = {name: value.clone() for name, value in state["sums"].items()}
        self._weight = float(state["weight"])
