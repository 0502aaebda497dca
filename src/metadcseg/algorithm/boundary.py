"""The boundary and which of its pixels matter: regions, centers, distance, weights (eq. 5-12, 46-47).

Everything here knows one foreground. For several classes call it once per map of
:func:`foreground_probability`; the features h (eq. 5) are what the network returns beside its logits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from metadcseg.errors import InputError, unknown_name
from metadcseg.tensors import AllReduceMean, check_shape

ForegroundOf = Literal["foreground", "per_class"]

_LEAST_TRUST = 1e-6
"""A region whose pixels' mean gamma is not above this has no reliable center (A.5.1, case 2)."""


@dataclass(frozen=True)
class Regions:
    """The three parts of every image (eq. 6-8).

    Args:
        foreground: (N, H, W) bool.
        background: (N, H, W) bool, disjoint from ``foreground``.
        boundary: (N, H, W) bool; edge pixels are in it and in one of the others as well.
    """

    foreground: Tensor
    background: Tensor
    boundary: Tensor

    def stacked(self) -> Tensor:
        """Return (N, 3, H, W) bool: foreground, background, boundary, the order of all centers."""
        return torch.stack([self.foreground, self.background, self.boundary], dim=1)


@dataclass(frozen=True)
class Centers:
    """The feature centers of every image (eq. 10).

    Args:
        values: (N, 3, D) float, of foreground, background and boundary.
        counted: (N, 3) bool, False where the default stands in (eq. 47).
    """

    values: Tensor
    counted: Tensor


def foreground_probability(probabilities: Tensor, regions: ForegroundOf) -> Tensor:
    """Return the probability maps whose regions are wanted (M-hat of eq. 6-8).

    Args:
        probabilities: (N, L, H, W) float, from 0 to 1; index 0 of L is background.
        regions: ``"foreground"`` (1 - P(background), so K = 1) or ``"per_class"`` (K = L - 1 maps).

    Returns:
        (N, K, H, W).

    Raises:
        InputError: for an unknown name.

    Example:
        >>> foreground_probability(torch.tensor([[[[0.25]], [[0.5]], [[0.25]]]]), "foreground").item()
        0.75
    """
    if regions not in get_args(ForegroundOf):
        raise unknown_name("regions", regions, get_args(ForegroundOf))
    return 1.0 - probabilities[:, :1] if regions == "foreground" else probabilities[:, 1:]


def decompose_regions(
    foreground_probability: Tensor,
    *,
    ratio: float | None = None,
    tau: float | None = None,
    edges: Tensor | None = None,
    valid: Tensor | None = None,
) -> Regions:
    """Decompose images into foreground, background and boundary (eq. 6-8).

    As printed, edges join the boundary and leave the other two regions as they are. Without edges the three
    regions are a partition of the valid pixels.

    Args:
        foreground_probability: (N, H, W) float, from 0 to 1.
        ratio: the share of each image's valid pixels, from 0 to 1, that the boundary may take before edges
            join ("boundary ratio" of table 8): the most uncertain pixels, so that tau follows image by image.
            Pixels that tie at the border of the share stay out, so that a saturated or a constant network
            makes a smaller boundary, never a larger one.
        tau: the confidence of eq. 6-8 itself, from 0.5 to below 1. Give either ``ratio`` or ``tau``.
        edges: (N, H, W) bool, P_edge of eq. 8.
        valid: (N, H, W) bool; other pixels are in no region.

    Raises:
        InputError: where not exactly one of ``ratio`` and ``tau`` is given, or it is out of range.

    Example:
        >>> probability = torch.tensor([[[0.95, 0.6, 0.3, 0.02]]])
        >>> decompose_regions(probability, tau=0.9).boundary.int().tolist()
        [[[0, 1, 1, 0]]]
        >>> decompose_regions(probability, ratio=0.25).boundary.int().tolist()
        [[[0, 1, 0, 0]]]
    """
    probability = foreground_probability.detach()
    everywhere = torch.ones_like(probability, dtype=torch.bool)
    valid = everywhere if valid is None else valid
    if tau is not None and ratio is None:
        if not 0.5 <= tau < 1.0:
            raise InputError(f"tau must lie in [0.5, 1), got {tau}")
        foreground, background = probability > tau, probability < 1.0 - tau
    elif ratio is not None and tau is None:
        if not 0.0 <= ratio <= 1.0:
            raise InputError(f"boundary_ratio must lie in [0, 1], got {ratio}")
        band = _most_uncertain(probability, ratio, valid)
        foreground, background = ~band & (probability > 0.5), ~band & (probability <= 0.5)
    else:
        raise InputError(f"decompose_regions takes either ratio or tau, got ratio={ratio} and tau={tau}")
    boundary = ~foreground & ~background
    if edges is not None:
        boundary = boundary | edges
    return Regions(foreground & valid, background & valid, boundary & valid)


def region_centers(
    features: Tensor, gamma: Tensor, regions: Regions, default: Tensor | None, min_pixels: int = 10
) -> Centers:
    """Return the feature center of each region, every pixel counting as much as it is trusted (eq. 10, 47).

    Args:
        features: (N, D, H, W) float (h of eq. 5); gradients flow to them.
        gamma: (N, H, W) float, at least 0 (eq. 9, from rectified weights before normalization).
        regions: see :func:`decompose_regions`.
        default: (3, D), what stands in for a region with fewer than ``min_pixels`` pixels or (nearly) no
            trust. Where it is None, or a row of it NaN (not known yet, see :class:`RunningCenters`), the plain
            mean over all regions of the image stands in.
        min_pixels: tau_min of eq. 47.

    Returns:
        Centers, float32 at least.

    Example:
        >>> features = torch.tensor([[[[1.0, 3.0, 8.0]]]])
        >>> regions = decompose_regions(torch.tensor([[[0.9, 0.8, 0.1]]]), tau=0.7)
        >>> trust = torch.tensor([[[3.0, 1.0, 1.0]]])
        >>> region_centers(features, trust, regions, default=None, min_pixels=1).values.flatten().tolist()
        [1.5, 8.0, 4.0]
    """
    check_shape("gamma", gamma, (features.shape[0], *features.shape[2:]))
    features = _at_least_float(features)
    masks = regions.stacked()  # (N, 3, H, W)
    weights = masks * gamma.to(features.dtype).unsqueeze(1)
    with torch.autocast(features.device.type, enabled=False):  # half precision overflows in these sums
        sums = torch.einsum("nkp,ndp->nkd", weights.flatten(2), features.flatten(2))
    trust, pixels = weights.flatten(2).sum(dim=2), masks.flatten(2).sum(dim=2)  # (N, 3)
    counted = (pixels >= max(min_pixels, 1)) & (trust > _LEAST_TRUST * pixels)
    means = sums / torch.where(counted, trust, 1.0).unsqueeze(2)
    stand_in = _mean_over(masks.any(dim=1), features).unsqueeze(1).expand_as(means)
    if default is not None:
        check_shape("default", default, (3, features.shape[1]))
        default = default.to(features)
        stand_in = torch.where(default.isnan(), stand_in, default)
    return Centers(torch.where(counted.unsqueeze(2), means, stand_in), counted)


class RunningCenters:
    """The default centers of eq. 47: an exponential running mean of the centers seen in training.

    Features drift while the network learns, so old centers must fade: each update keeps ``decay`` of what was
    there. The first center seen of a region is taken as it is.

    Args:
        decay: from 0 to below 1.

    Raises:
        InputError: for a decay out of range.

    Example:
        >>> running = RunningCenters(decay=0.5)
        >>> running.values is None
        True
        >>> seen = torch.tensor([[True, True, False]])
        >>> running.update(Centers(torch.tensor([[[1.0], [2.0], [3.0]]]), seen))
        >>> running.update(Centers(torch.tensor([[[2.0], [2.0], [3.0]]]), seen))
        >>> running.values.flatten().tolist()
        [1.5, 2.0, nan]
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0.0 <= decay < 1.0:
            raise InputError(f"decay must lie in [0, 1), got {decay}")
        self.decay = decay
        self._values = torch.empty(3, 0)

    @property
    def values(self) -> Tensor | None:
        """(3, D), the ``default`` to use; NaN rows for regions never seen; None before any update."""
        return self._values if self._values.shape[1] else None

    def update(self, centers: Centers, all_reduce_mean: AllReduceMean = dict) -> None:
        """Take in the centers of one batch; those that a default stands in for do not count.

        Args:
            centers: of the images at hand.
            all_reduce_mean: over the devices that share the batch, where several do: each then learns of all images.
        """
        counted = centers.counted.unsqueeze(2)  # (N, 3, 1)
        sums = centers.values.detach().masked_fill(~counted, 0.0).sum(dim=0)
        batch = all_reduce_mean({"sums": sums, "seen": counted.sum(dim=0).to(sums.dtype)})
        sums, seen = batch["sums"], batch["seen"]  # (3, D), (3, 1)
        means = sums / torch.where(seen > 0, seen, 1.0)
        old = self._values.to(means) if self._values.shape[1] else torch.full_like(means, torch.nan)
        mixed = torch.where(old.isnan(), means, self.decay * old + (1.0 - self.decay) * means)
        self._values = torch.where(seen > 0, mixed, old)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the running mean, (3, D), or (3, 0) before the first update."""
        return {"values": self._values}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`state_dict` returned."""
        check_shape("running centers", state["values"], (3, None))
        self._values = state["values"].clone()


def dynamic_center_distance(
    features: Tensor, centers: Centers, *, epsilon: float = 1e-8, maximum: float = 100.0
) -> Tensor:
    """Return the dynamic center distance of every pixel, clipped (eq. 11, 46).

    Its bounds, with R the largest feature norm and centers that are means of features (A.4.2): eq. 37-40 hold
    as printed. Eq. 41 is off in its last term: the derivative of the denominator is
    (h - c_bd) / ||h - c_bd||, where the paper divides by ||h - c_bd|| + epsilon. Eq. 42 (gradient at most
    6 R / epsilon) does not hold near the boundary's center, where that term reaches the order of
    4 R^2 / epsilon^2. What holds, thanks to the clip, is (4 R + maximum) / epsilon.

    Args:
        features: (N, D, H, W) float.
        centers: see :func:`region_centers`.
        epsilon: keeps the denominator above 0.
        maximum: DCD_max of eq. 46; clipped pixels have no gradient.

    Returns:
        (N, H, W), from 0 to ``maximum``, float32 at least; its gradient is finite everywhere, also where a
        feature meets a center (a norm's derivative at 0 is taken as 0).

    Example:
        >>> centers = Centers(torch.tensor([[[0.0], [4.0], [2.0]]]), torch.ones(1, 3, dtype=torch.bool))
        >>> dynamic_center_distance(torch.tensor([[[[1.0, 2.0]]]]), centers).tolist()
        [[[3.0, 100.0]]]
    """
    pixels = _at_least_float(features).movedim(1, -1).contiguous()  # a norm over strided values is slow
    values = centers.values.to(pixels.dtype)
    everywhere = (1,) * (features.ndim - 2)

    def distance(region: int) -> Tensor:
        center = values[:, region].view(len(values), *everywhere, -1)
        away: Tensor = torch.linalg.vector_norm(pixels - center, dim=-1)
        return away

    return (distance(0) * distance(1) / (distance(2) + epsilon)).clamp(max=maximum)


def boundary_weights(distance: Tensor, boundary: Tensor, temperature: float) -> Tensor:
    """Return how much each boundary pixel matters: a softmax over the boundary of each image (eq. 12).

    Args:
        distance: (N, H, W) float, see :func:`dynamic_center_distance`.
        boundary: (N, H, W) bool.
        temperature: tau_dcd, above 0; smaller is sharper.

    Returns:
        (N, H, W), at least 0; sums to 1 over each image's boundary, 0 elsewhere, and 0 everywhere in an image
        without boundary.

    Raises:
        InputError: for a temperature that is not above 0.

    Example:
        >>> on = torch.tensor([[[True, True, False]]])
        >>> boundary_weights(torch.tensor([[[100.0, 100.0, 3.0]]]), on, temperature=0.5).tolist()
        [[[0.5, 0.5, 0.0]]]
    """
    if not temperature > 0.0:
        raise InputError(f"tau_dcd must be above 0, got {temperature}")
    flat = boundary.flatten(1)  # (N, HW)
    # an image without boundary keeps finite scores: a softmax of nothing but -inf is NaN, and so its gradient
    elsewhere = ~flat & flat.any(dim=1, keepdim=True)
    scores = (distance.flatten(1) / temperature).masked_fill(~flat, 0.0).masked_fill(elsewhere, -torch.inf)
    return (scores.softmax(dim=1) * flat).view_as(distance)


def effective_pixels(weights: Tensor) -> Tensor:
    """Return how many pixels share the boundary's weight: the exponential of its entropy.

    Args:
        weights: (N, H, W), see :func:`boundary_weights`.

    Returns:
        (N,), from 1 (a single pixel has it all) to the size of the boundary; 0 without boundary.

    Example:
        >>> effective_pixels(torch.tensor([[[0.5, 0.5, 0.0]], [[0.0, 0.0, 0.0]]])).tolist()
        [2.0, 0.0]
    """
    flat = weights.flatten(1)
    entropy: Tensor = torch.special.entr(flat).sum(dim=1)
    return entropy.exp() * (flat.sum(dim=1) > 0)


def _most_uncertain(probability: Tensor, ratio: float, valid: Tensor) -> Tensor:
    """Return the band that holds at most that share of each image's valid pixels, most uncertain first."""
    certainty = (probability - 0.5).abs().masked_fill(~valid, torch.inf).flatten(1)  # (N, HW)
    allowed = (ratio * valid.flatten(1).sum(dim=1)).round().long()  # (N,)
    ranked = torch.nn.functional.pad(certainty.sort(dim=1).values, (0, 1), value=torch.inf)
    first_outside = ranked.gather(1, allowed.unsqueeze(1))  # (N, 1)
    return (certainty < first_outside).view_as(probability)


def _mean_over(mask: Tensor, features: Tensor) -> Tensor:
    """Return the mean feature of each image's pixels in the mask, (N, D); 0 where there is none."""
    sums = features.masked_fill(~mask.unsqueeze(1), 0.0).flatten(2).sum(dim=2)
    return sums / mask.flatten(1).sum(dim=1).clamp(min=1).unsqueeze(1)


def _at_least_float(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
