"""The weights of the boundary as a method uses them: eq. 5-12 in a row, for one foreground or every class."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metadcseg.algorithm.boundary import (
    ForegroundOf,
    boundary_weights,
    decompose_regions,
    foreground_probability,
)
from metadcseg.algorithm.running_centers import DynamicCenterDistance
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, AllReduceMean, Batch


@dataclass
class BoundaryTerm:
    """How much each boundary pixel matters; remembers the centers it has seen (eq. 47).

    Args:
        regions: one foreground (``"foreground"``), or every class with regions and centers of its own
            (``"per_class"``), whose weights are then averaged over the classes that have a boundary.
        ratio: share of the pixels that a boundary may take, before edges join; unused where ``tau`` is given.
        tau: the confidence of eq. 6-8, or None.
        edge_threshold: the least probability of an edge that joins the boundary (eq. 8).
        temperature: tau_dcd of eq. 12.
        detach: keep gradients from flowing through the weights.
    """

    regions: ForegroundOf
    ratio: float
    tau: float | None
    edge_threshold: float
    temperature: float
    detach: bool
    _distances: list[DynamicCenterDistance] = field(default_factory=list)  # one for each foreground

    def weigh(
        self, output: Output, batch: Batch, gamma: Tensor, all_reduce_mean: AllReduceMean = dict
    ) -> Tensor:
        """Return w of eq. 12 and take the batch's centers into the running ones.

        Args:
            output: the network's logits and features for the batch.
            batch: its labels tell which pixels count, its edges join the boundary (eq. 8).
            gamma: (N, H, W), the trust of eq. 9.
            all_reduce_mean: over the devices that share the batch, where several do: running centers are common.

        Returns:
            (N, H, W), at least 0; sums to 1 over each image's boundary, or to 0 where there is none.
        """
        features = output.features.detach() if self.detach else output.features
        foregrounds = foreground_probability(
            output.logits.detach().softmax(dim=1), self.regions
        )  # (N, K, H, W)
        maps = [
            self._weigh_one(foreground, features, batch, gamma, self._distance_of(number), all_reduce_mean)
            for number, foreground in enumerate(foregrounds.unbind(dim=1))
        ]
        weights = torch.stack(maps, dim=1)  # (N, K, H, W)
        with_boundary = weights.detach().flatten(2).sum(dim=2) > 0  # (N, K)
        counted = with_boundary.sum(dim=1).clamp(min=1).view(-1, *(1 for _ in gamma.shape[1:]))
        return weights.sum(dim=1) / counted

    def edges(self, batch: Batch) -> Tensor | None:
        """Return P_edge of eq. 8, (N, H, W) bool: the edges of pixels that count; None where none are known."""
        if batch.edges is None:
            return None
        return (batch.edges >= self.edge_threshold) & (batch.labels != IGNORE)

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return the running centers of every foreground, by its number."""
        return {str(number): dict(one.running.state_dict()) for number, one in enumerate(self._distances)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._distances = []
        for number in range(len(state)):
            self._distance_of(number).running.load_state_dict(state[str(number)])

    def _weigh_one(
        self,
        foreground: Tensor,
        features: Tensor,
        batch: Batch,
        gamma: Tensor,
        distance_of: DynamicCenterDistance,
        all_reduce_mean: AllReduceMean,
    ) -> Tensor:
        regions = decompose_regions(  # eq. 6-8
            foreground,
            ratio=self.ratio if self.tau is None else None,
            tau=self.tau,
            edges=self.edges(batch),
            valid=batch.labels != IGNORE,
        )
        distance = distance_of(features, gamma, regions, all_reduce_mean)  # eq. 10, 11, 46, 47
        return boundary_weights(distance, regions.boundary, self.temperature)  # eq. 12

    def _distance_of(self, number: int) -> DynamicCenterDistance:
        while len(self._distances) <= number:
            self._distances.append(DynamicCenterDistance())
        return self._distances[number]
