"""The boundary's weights as a module: eq. 5-12 in a row, with the centers that training remembers (eq. 47)."""

from typing import Any

import torch
from torch import Tensor, nn

from metadcseg.algorithm.boundary import (
    Centers,
    ForegroundOf,
    boundary_weights,
    decompose_regions,
    dynamic_center_distance,
    foreground_probability,
    region_centers,
)
from metadcseg.errors import InputError
from metadcseg.tensors import AllReduceMean, check_classes, check_shape, check_tensor


class DynamicCenterDistance(nn.Module):
    """How much each boundary pixel matters, by its distance to the centers of its image (section 3.3).

    Default centers are m = decay m + (1 - decay) c of the mean centers c of every batch (eq. 47): features drift while
    the network learns, so old centers must fade. They are learned in training mode only, as batch norm does it.
    The one buffer is ``centers``, (K, 3, D) for K foregrounds: NaN in rows never seen, (0, 3, 0) before any batch.

    Args:
        regions: ``"foreground"`` divides the image by 1 - P(background), ``"per_class"`` once for each class; weights
            are then averaged over the classes that have a boundary.
        ratio: share of the pixels that a boundary may take, before edges join; unused where ``tau`` is given.
        tau: the confidence of eq. 6-8.
        temperature: tau_dcd of eq. 12, above 0.
        detach: keep gradients from flowing through the weights (eq. 44 lets them).
        min_pixels: tau_min of eq. 47.
        decay: of the default centers, from 0 to below 1; a region's first center is taken as it is.

    Raises:
        InputError: for a decay out of range.

    Example:
        >>> distance = DynamicCenterDistance(tau=0.7, temperature=50.0, min_pixels=1)
        >>> logits = torch.tensor([[[[0.0, 0.0, 0.0, 0.0]], [[5.0, 0.5, -0.5, -5.0]]]])
        >>> features = torch.tensor([[[[4.0, 1.0, 3.0, 0.0]]]])
        >>> distance(logits, features, torch.ones(1, 1, 4)).tolist()
        [[[0.0, 0.5, 0.5, 0.0]]]
        >>> distance.centers.flatten().tolist()
        [4.0, 0.0, 2.0]
    """

    centers: Tensor

    def __init__(
        self,
        regions: ForegroundOf = "foreground",
        ratio: float = 0.11,
        tau: float | None = None,
        temperature: float = 0.5,
        detach: bool = False,
        *,
        min_pixels: int = 10,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        if not 0.0 <= decay < 1.0:
            raise InputError(f"decay must lie in [0, 1), got {decay}")
        self.regions, self.ratio, self.tau = regions, (ratio if tau is None else None), tau
        self.temperature, self.detach = temperature, detach
        self.min_pixels, self.decay = min_pixels, decay
        self.register_buffer("centers", torch.empty(0, 3, 0))

    def forward(
        self,
        logits: Tensor,
        features: Tensor,
        gamma: Tensor,
        valid: Tensor | None = None,
        edges: Tensor | None = None,
        all_reduce_mean: AllReduceMean = dict,
    ) -> Tensor:
        """Return w of eq. 12, (N, H, W), at least 0; sums to 1 over each image's boundary, or to 0 where there is none.

        Args:
            logits: (N, L, H, W) float; index 0 of L is background. No gradient flows to them.
            features: h, (N, D, H, W) float.
            gamma: (N, H, W) float, the trust of eq. 9.
            valid: (N, H, W) bool; other pixels are in no region.
            edges: (N, H, W) bool, P_edge of eq. 8.
            all_reduce_mean: over the devices that share the batch, where several do: default centers are common.
        """
        features = features.detach() if self.detach else features
        check_classes("logits", logits)
        maps = foreground_probability(logits.detach().softmax(dim=1), self.regions)  # (N, K, H, W)
        if len(self.centers):
            check_shape("default centers", self.centers, (maps.shape[1], 3, features.shape[1]))
        weights, found = [], []
        for number, foreground in enumerate(maps.unbind(dim=1)):
            parts = decompose_regions(  # eq. 6-8
                foreground, ratio=self.ratio, tau=self.tau, edges=edges, valid=valid
            )
            default = self.centers[number] if len(self.centers) else None
            found.append(region_centers(features, gamma, parts, default, self.min_pixels))  # eq. 10, 47
            distance = dynamic_center_distance(features, found[-1])  # eq. 11, 46
            weights.append(boundary_weights(distance, parts.boundary, self.temperature))  # eq. 12
        if self.training:
            self._remember(found, all_reduce_mean)
        each = torch.stack(weights, dim=1)  # (N, K, H, W)
        counted = (each.detach().flatten(2).sum(dim=2) > 0).sum(dim=1)  # (N,), foregrounds with a boundary
        return each.sum(dim=1) / counted.clamp(min=1).view(-1, *(1 for _ in gamma.shape[1:]))

    def _remember(self, found: list[Centers], all_reduce_mean: AllReduceMean) -> None:
        """Take in the centers of a batch; those that a default stands in for do not count."""
        values = torch.stack([one.values.detach() for one in found], dim=1)  # (N, K, 3, D)
        counted = torch.stack([one.counted for one in found], dim=1).unsqueeze(3)
        sums, seen = values.masked_fill(~counted, 0.0).sum(dim=0), counted.sum(dim=0).to(values.dtype)
        batch = all_reduce_mean({"sums": sums, "seen": seen})  # each device learns of all images
        seen = batch["seen"]  # (K, 3, 1)
        means = batch["sums"] / torch.where(seen > 0, seen, 1.0)
        old = self.centers.to(means) if len(self.centers) else torch.full_like(means, torch.nan)
        mixed = torch.where(old.isnan(), means, self.decay * old + (1.0 - self.decay) * means)
        self.centers = torch.where(seen > 0, mixed, old)

    def _load_from_state_dict(self, state: Any, prefix: str, *more: Any) -> None:
        if (saved := state.get(f"{prefix}centers")) is not None:
            check_tensor("default centers", saved, "float", (None, 3, None))
            self.centers = torch.empty_like(saved, device=self.centers.device)  # K and D are those saved
        super()._load_from_state_dict(state, prefix, *more)
