"""Averages of a method's scalars over an epoch, without waiting for the device at every step."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from metadcseg.tensors import AllReduceMean


class MetricAverages:
    """Sums of scalars on the device, read once per epoch (and now and then by the progress bar).

    Example:
        >>> averages = MetricAverages()
        >>> averages.add({"loss": torch.tensor(1.0)}, step=0)
        >>> averages.add({"loss": torch.tensor(3.0)}, step=1)
        >>> averages.read()
        {'loss': 2.0}
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._latest: dict[str, Tensor] = {}
        self._bad: Tensor | None = None

    def add(self, scalars: Mapping[str, Tensor], step: int) -> None:
        """Add one step's scalars: name -> 0-dimensional tensor."""
        self._latest = {name: value.detach().float() for name, value in scalars.items()}
        for name, value in self._latest.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1
        if "loss" in self._latest:
            loss = self._latest["loss"]
            bad = torch.full_like(loss, -1.0) if self._bad is None else self._bad
            self._bad = torch.where((bad < 0) & ~torch.isfinite(loss), torch.full_like(bad, step), bad)

    def read(self, all_reduce_mean: AllReduceMean = dict) -> dict[str, float]:
        """Return name -> mean over the steps that reported it.

        Args:
            all_reduce_mean: over the devices, where several share the batches.
        """
        return {
            name: float(total) / self._counts[name] for name, total in all_reduce_mean(self._sums).items()
        }

    def latest(self, name: str) -> float | None:
        """Return the newest value of one scalar, None where it was never reported."""
        return float(self._latest[name]) if name in self._latest else None

    def first_bad_step(self) -> int | None:
        """Return the first step whose loss was not a finite number, None where all were."""
        first = -1 if self._bad is None else int(self._bad)
        return first if first >= 0 else None

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only."""
        return {"sums": {k: v.cpu() for k, v in self._sums.items()}, "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore what :meth:`state_dict` returned."""
        if (
            any(total.dim() for total in state["sums"].values())
            or state["sums"].keys() != state["counts"].keys()
        ):
            raise ValueError("sums of averages must be numbers, each with its count")
        self._sums = {name: total.to(device) for name, total in state["sums"].items()}
        self._counts = {name: int(count) for name, count in state["counts"].items()}


def own_averages(states: Sequence[Mapping[str, Any]], rank: int, size: int) -> Mapping[str, Any]:
    """Return what one device goes on from, of the sums that all devices had when they were saved.

    Args:
        states: of :meth:`MetricAverages.state_dict`, in the order of the devices that were.
        rank: the device now.
        size: how many there are now; if they are as many as before, each goes on from its own.

    Example:
        >>> saved = [{"sums": {"loss": torch.tensor(value)}, "counts": {"loss": 1}} for value in (1.0, 3.0)]
        >>> [float(own_averages(saved, 1, size)["sums"]["loss"]) for size in (2, 4)]
        [3.0, 2.0]
    """
    if len(states) == size:
        return states[rank]
    sums = {name: sum(state["sums"][name] for state in states) / len(states) for name in states[0]["sums"]}
    return {"sums": sums, "counts": states[0]["counts"]}


def plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return the values as JSON can hold them: what is not a finite number becomes None."""
    return {name: value if isfinite(value) else None for name, value in values.items()}
