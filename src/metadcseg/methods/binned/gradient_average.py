"""A running mean of the gold gradient: what more gold images say than those of one batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class RunningMean(nn.Module):
    """An exponential mean of gradients by parameter name, without the bias of its start.

    Its buffers are ``sums``, (P,), all parameters one after another and empty before the first gradient, and
    ``weight``, how much all gradients so far count in them together, from 0 to below 1.

    Args:
        momentum: how much of the mean stays at each update, from 0 (none, nothing is kept) to below 1.

    Example:
        >>> mean = RunningMean(0.5)
        >>> mean({"weight": torch.tensor(3.0)})["weight"].item()
        3.0
        >>> mean({"weight": torch.tensor(0.0)})["weight"].item()
        1.0
    """

    sums: Tensor
    weight: Tensor

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("sums", torch.zeros(0))
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

    def forward(self, gradient: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take in a gradient, always of the same parameters in the same order, and return the mean."""
        if self.momentum == 0:
            return dict(gradient)
        flat = torch.cat([value.flatten() for value in gradient.values()])
        before = (
            self.sums.to(flat) if len(self.sums) else torch.zeros_like(flat)
        )  # a checkpoint is on the CPU
        self.sums = (before * self.momentum).add_(flat, alpha=1 - self.momentum)
        self.weight = self.momentum * self.weight + (1 - self.momentum)
        parts = torch.split(self.sums / self.weight, [value.numel() for value in gradient.values()])
        return {  # in each gradient's own order in memory
            name: torch.empty_like(value).copy_(part.view_as(value))
            for (name, value), part in zip(gradient.items(), parts, strict=True)
        }

    def _load_from_state_dict(self, state: Any, prefix: str, *more: Any) -> None:
        if (saved := state.get(f"{prefix}sums")) is not None:
            self.sums = torch.empty_like(saved, device=self.sums.device)  # as many as were saved
        super()._load_from_state_dict(state, prefix, *more)
