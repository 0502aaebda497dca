"""The boundary and how much each of its pixels matters (eq. 5-12, sections 3.3 and A.5.1 of the paper).

One foreground at a time: for several classes call it once per map of :func:`foreground_probability`. The features h
(eq. 5) are what the network returns beside its logits. A wrong axis or dtype of any argument is an InputError.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from metadcseg.errors import InputError, unknown_name
from metadcseg.tensors import check_classes, check_shape, check_tensor

ForegroundOf = Literal["foreground", "per_class"]

_LEAST_TRUST = 1e-6  # a region whose mean gamma is not above this has no reliable center (A.5.1, case 2)


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

    def __post_init__(self) -> None:
        check_tensor("foreground", self.foreground, "bool", ("N", ...))
        for name in ("background", "boundary"):
            check_tensor(name, getattr(self, name), "bool", tuple(self.foreground.shape))


@dataclass(frozen=True)
class Centers:
    """The feature centers of every image (eq. 10).

    Args:
        values: (N, 3, D) float, of foreground, background and boundary.
        counted: (N, 3) bool, False where the default stands in (eq. 47).
    """

    values: Tensor
    counted: Tensor

    def __post_init__(self) -> None:
        check_tensor("centers.values", self.values, "float", ("N", 3, "D"))
        check_tensor("centers.counted", self.counted, "bool", (len(self.values), 3))


def foreground_probability(probabilities: Tensor, regions: ForegroundOf) -> Tensor:
    """Return the maps M whose regions are wanted (M-hat of eq. 6-8): M_1 = 1 - p_0, or M_k = p_k for k = 1 .. L-1.

    Args:
        probabilities: (N, L, H, W) float, from 0 to 1; index 0 of L is background, L >= 2.
        regions: ``"foreground"`` (K = 1 map) or ``"per_class"`` (K = L - 1 maps).

    Returns:
        (N, K, H, W), from 0 to 1.

    Raises:
        InputError: for an unknown name, a single class, or a wrong axis or dtype.

    Example:
        >>> foreground_probability(torch.tensor([[[[0.25]], [[0.5]], [[0.25]]]]), "foreground").item()
        0.75
    """
    check_classes("probabilities", probabilities)
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
    """Return foreground {M > tau}, background {M < 1 - tau} and boundary {1 - tau <= M <= tau} | edges (eq. 6-8).

    As printed, an edge pixel joins the boundary and stays in its other region as well.

    Args:
        foreground_probability: M, (N, H, W) float, from 0 to 1.
        ratio: share of each image's valid pixels, from 0 to 1, that the boundary may take before edges join
            ("boundary ratio" of table 8), most uncertain first; pixels that tie at its end stay out.
        tau: the confidence itself, from 0.5 to below 1. Give either ``ratio`` or ``tau``.
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
    check_tensor("foreground_probability", foreground_probability, "float", ("N", ...))
    for name, mask in (("edges", edges), ("valid", valid)):
        if mask is not None:
            check_tensor(name, mask, "bool", tuple(foreground_probability.shape))
    probability = foreground_probability.detach()
    valid = torch.ones_like(probability, dtype=torch.bool) if valid is None else valid
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
    """Return c_k = sum_i gamma_i h_i / sum_i gamma_i over the pixels i of each region k (eq. 10, 47).

    Args:
        features: h, (N, D, H, W) float; gradients flow to them.
        gamma: (N, H, W) float, at least 0 (eq. 9, from rectified weights before normalization).
        regions: see :func:`decompose_regions`.
        default: (3, D) float, for a region with fewer than ``min_pixels`` pixels or (nearly) no trust. Where it
            is None, or a row of it NaN (not known yet), the image's plain mean stands in.
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
    check_tensor("features", features, "float", ("N", "D", ...))
    count, depth, *size = features.shape
    check_tensor("gamma", gamma, "float", (count, *size))
    check_shape("regions", regions.foreground, (count, *size))
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    masks = torch.stack([regions.foreground, regions.background, regions.boundary], dim=1)  # (N, 3, H, W)
    weights = masks * gamma.to(features.dtype).unsqueeze(1)
    with torch.autocast(features.device.type, enabled=False):  # half precision overflows in these sums
        sums = torch.einsum("nkp,ndp->nkd", weights.flatten(2), features.flatten(2))
    trust, pixels = weights.flatten(2).sum(dim=2), masks.flatten(2).sum(dim=2)  # (N, 3)
    counted = (pixels >= max(min_pixels, 1)) & (trust > _LEAST_TRUST * pixels)
    means = sums / torch.where(counted, trust, 1.0).unsqueeze(2)
    inside = masks.any(dim=1, keepdim=True)
    total = features.masked_fill(~inside, 0.0).flatten(2).sum(dim=2, keepdim=True)  # (N, D, 1)
    mean = total / inside.flatten(2).sum(dim=2, keepdim=True).clamp(min=1)
    stand_in = mean.transpose(1, 2).expand_as(means)
    if default is not None:
        check_tensor("default", default, "float", (3, depth))
        default = default.to(features)
        stand_in = torch.where(default.isnan(), stand_in, default)
    return Centers(torch.where(counted.unsqueeze(2), means, stand_in), counted)


def dynamic_center_distance(
    features: Tensor, centers: Centers, *, epsilon: float = 1e-8, maximum: float = 100.0
) -> Tensor:
    """Return DCD = min(||h - c_fg|| ||h - c_bg|| / (||h - c_bd|| + epsilon), maximum) of every pixel (eq. 11, 46).

    Large where both sides are far and the boundary's center is near. The printed bound on its gradient (eq. 42) fails
    near c_bd; (4 R + maximum) / epsilon holds, R being the largest norm of h (tests/properties/test_dcd_bounds.py).

    Args:
        features: h, (N, D, H, W) float.
        centers: see :func:`region_centers`, of the same N images and D features.
        epsilon: keeps the denominator above 0.
        maximum: DCD_max of eq. 46; clipped pixels have no gradient.

    Returns:
        (N, H, W), from 0 to ``maximum`` in units of the features, float32 at least; its gradient is finite also
        where a feature meets a center (a norm's derivative at 0 is taken as 0).

    Example:
        >>> centers = Centers(torch.tensor([[[0.0], [4.0], [2.0]]]), torch.ones(1, 3, dtype=torch.bool))
        >>> dynamic_center_distance(torch.tensor([[[[1.0, 2.0]]]]), centers).tolist()
        [[[3.0, 100.0]]]
    """
    check_tensor("features", features, "float", ("N", "D", ...))
    check_shape("centers.values", centers.values, (len(features), 3, features.shape[1]))
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    pixels = features.movedim(1, -1).contiguous()  # (N, H, W, D): a norm over strided values is slow
    each = centers.values.to(pixels.dtype).view(len(pixels), 3, *(1 for _ in features.shape[2:]), -1)
    foreground, background, boundary = (
        torch.linalg.vector_norm(pixels - center, dim=-1) for center in each.unbind(dim=1)
    )
    distance: Tensor = foreground * background / (boundary + epsilon)
    return distance.clamp(max=maximum)


def boundary_weights(distance: Tensor, boundary: Tensor, temperature: float) -> Tensor:
    """Return w_i = exp(DCD_i / tau_dcd) / sum_j exp(DCD_j / tau_dcd), i and j on an image's boundary (eq. 12).

    Args:
        distance: DCD, (N, H, W) float, see :func:`dynamic_center_distance`.
        boundary: (N, H, W) bool.
        temperature: tau_dcd, above 0, in units of ``distance``; smaller is sharper.

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
    check_tensor("distance", distance, "float", ("N", ...))
    check_tensor("boundary", boundary, "bool", tuple(distance.shape))
    if not temperature > 0.0:
        raise InputError(f"tau_dcd must be above 0, got {temperature}")
    flat = boundary.flatten(1)  # (N, HW)
    # an image without boundary keeps finite scores: a softmax of nothing but -inf is NaN, and so its gradient
    elsewhere = ~flat & flat.any(dim=1, keepdim=True)
    scores = (distance.flatten(1) / temperature).masked_fill(~flat, 0.0).masked_fill(elsewhere, -torch.inf)
    return (scores.softmax(dim=1) * flat).view_as(distance)


def _most_uncertain(probability: Tensor, ratio: float, valid: Tensor) -> Tensor:
    """Return the band that holds at most that share of each image's valid pixels, most uncertain first."""
    certainty = (probability - 0.5).abs().masked_fill(~valid, torch.inf).flatten(1)  # (N, HW)
    allowed = (ratio * valid.flatten(1).sum(dim=1)).round().long()  # (N,)
    ranked = torch.nn.functional.pad(certainty.sort(dim=1).values, (0, 1), value=torch.inf)
    first_outside = ranked.gather(1, allowed.unsqueeze(1))  # (N, 1)
    return (certainty < first_outside).view_as(probability)
