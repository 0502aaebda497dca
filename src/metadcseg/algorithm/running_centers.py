"""Centers and distance as modules: what training remembers of the boundary, saved and moved with the network."""

from typing import Any

import torch
from torch import Tensor, nn

from metadcseg.algorithm.boundary import Centers, Regions, dynamic_center_distance, region_centers
from metadcseg.errors import InputError
from metadcseg.tensors import AllReduceMean, check_shape, check_tensor


class RunningCenters(nn.Module):
    """The default centers of eq. 47: m = decay m + (1 - decay) c of the mean centers c of every batch.

    Features drift while the network learns, so old centers must fade. A region's first center is taken as it is.
    Its only buffer is ``values``, (3, D): NaN in rows never seen, (3, 0) before any update.

    Args:
        decay: from 0 to below 1.

    Raises:
        InputError: for a decay out of range.

    Example:
        >>> running, seen = RunningCenters(decay=0.5), torch.tensor([[True, True, False]])
        >>> running.update(Centers(torch.tensor([[[1.0], [2.0], [3.0]]]), seen))
        >>> running.update(Centers(torch.tensor([[[2.0], [2.0], [3.0]]]), seen))
        >>> running.values.flatten().tolist()
        [1.5, 2.0, nan]
    """

    values: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        if not 0.0 <= decay < 1.0:
            raise InputError(f"decay must lie in [0, 1), got {decay}")
        self.decay = decay
        self.register_buffer("values", torch.empty(3, 0))

    def update(self, centers: Centers, all_reduce_mean: AllReduceMean = dict) -> None:
        """Take in the centers of one batch; those that a default stands in for do not count.

        Args:
            centers: of the images at hand.
            all_reduce_mean: over the devices that share the batch: each then learns of all images.
        """
        known = self.values.shape[1] or None  # D
        check_shape("centers.values", centers.values, ("N", 3, known))
        counted = centers.counted.unsqueeze(2)  # (N, 3, 1)
        sums = centers.values.detach().masked_fill(~counted, 0.0).sum(dim=0)
        batch = all_reduce_mean({"sums": sums, "seen": counted.sum(dim=0).to(sums.dtype)})
        sums, seen = batch["sums"], batch["seen"]  # (3, D), (3, 1)
        means = sums / torch.where(seen > 0, seen, 1.0)
        old = self.values.to(means) if known else torch.full_like(means, torch.nan)
        mixed = torch.where(old.isnan(), means, self.decay * old + (1.0 - self.decay) * means)
        self.values = torch.where(seen > 0, mixed, old)

    def _load_from_state_dict(self, state: Any, prefix: str, *more: Any) -> None:
        if (saved := state.get(f"{prefix}values")) is not None:
            check_tensor("running centers", saved, "float", (3, None))
            self.values = torch.empty_like(saved, device=self.values.device)  # D is that of what was saved
        super()._load_from_state_dict(state, prefix, *more)


class DynamicCenterDistance(nn.Module):
    """Eq. 10, 11, 46 and 47 in a row: :func:`region_centers`, then :func:`dynamic_center_distance`.

    Default centers come from ``running``, which learns from every batch in training mode only, as batch norm does.

    Args:
        min_pixels: tau_min of eq. 47.
        maximum: DCD_max of eq. 46.
        epsilon: of eq. 11.
        decay: of the running centers.

    Example:
        >>> from metadcseg.algorithm.boundary import decompose_regions
        >>> distance = DynamicCenterDistance(min_pixels=1)
        >>> regions = decompose_regions(torch.tensor([[[0.9, 0.6, 0.1]]]), tau=0.7)
        >>> distance(torch.tensor([[[[4.0, 1.0, 0.0]]]]), torch.ones(1, 1, 3), regions).tolist()
        [[[0.0, 100.0, 0.0]]]
        >>> distance.running.values.flatten().tolist()
        [4.0, 0.0, 1.0]
    """

    def __init__(
        self, min_pixels: int = 10, maximum: float = 100.0, *, epsilon: float = 1e-8, decay: float = 0.99
    ) -> None:
        super().__init__()
        self.min_pixels, self.maximum, self.epsilon = min_pixels, maximum, epsilon
        self.running = RunningCenters(decay)

    def forward(
        self, features: Tensor, gamma: Tensor, regions: Regions, all_reduce_mean: AllReduceMean = dict
    ) -> Tensor:
        """Return (N, H, W); for the arguments see :func:`region_centers` and :meth:`RunningCenters.update`."""
        centers = region_centers(features, gamma, regions, self.running.values, self.min_pixels)
        if self.training:
            self.running.update(centers, all_reduce_mean)
        return dynamic_center_distance(features, centers, epsilon=self.epsilon, maximum=self.maximum)
