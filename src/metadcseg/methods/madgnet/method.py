"""MADGNet's training (Nam et al., CVPR 2024, arXiv 2405.06284): regions, distances and boundaries at four depths.

The loss of regions is published; those of distances and boundaries are its predecessor's (M3FPolypSegNet, ICIP 2023),
since MADGNet's own training was not released: docs/explanation/condseg-madgnet.md.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from metadcseg.errors import InputError
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy
from metadcseg.methods.base import GoldSupervision, MethodInfo, MethodState, StepReport, Storage, Updater
from metadcseg.methods.common import class_probabilities, descend, require_gold
from metadcseg.methods.madgnet.targets import Targets, targets_of
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, Batch
from metadcseg.validation import check_types

_TASKS = ("region", "distance", "boundary")


@dataclass(frozen=True)
class MADGNet:
    """The sum over depths of three losses: :func:`region_loss`, :func:`distance_loss` and :func:`boundary_loss`.

    All have weight 1. With ``gold="mixed"`` a step descends the loss of the noisy batch and that of a gold batch, each
    batch counting the same.

    Args:
        gold: ``"mixed"`` adds a gold batch to every step; ``"none"`` never looks at one.

    Raises:
        InputError: for an option with a value that is not allowed; in the first step, for a network without these maps.

    Example:
        >>> MADGNet(gold="mixed").info.passes
        6.0
    """

    name: ClassVar[str] = "madgnet"

    gold: GoldSupervision = "none"

    def __post_init__(self) -> None:
        check_types(self)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs."""
        mixed = self.gold == "mixed"
        return MethodInfo(
            needs_gold=mixed,
            supervises_gold=mixed,
            passes=6.0 if mixed else 3.0,
            network=self.name,
            keeps_weights=False,
        )

    def start(
        self, network: nn.Module, updater: Updater, generator: Generator, storage: Storage
    ) -> MethodState:
        """Return the state before the first step; nothing of it is the method's own."""
        return MethodState(network, updater, generator)

    def step(self, state: MethodState, noisy: Batch, gold: Batch | None) -> StepReport:
        """Train on one noisy batch, and on a gold batch of equal weight where mixed."""
        verified = require_gold(gold, self.name) if self.gold == "mixed" else None

        def loss_of(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            return cascaded_loss(state.network(batch.images), batch)

        return descend(state, noisy, verified, loss_of)

    def weights(self, state: MethodState, noisy: Batch) -> None:
        """Return None: what a pixel counts follows from its mask alone."""

    def predict(self, state: MethodState, images: Tensor) -> Tensor:
        """Return (N, L, H, W) class probabilities for (N, C, H, W) images."""
        return class_probabilities(state.network, images)


def cascaded_loss(output: Output, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the sum over depths of region, distance and boundary loss, and these of the last depth, detached.

    Args:
        output: of the network, with the auxiliary maps ``region_d`` (the last depth's are the logits), ``distance_d``
            and ``boundary_d``, d = 1 .. depths, (N, L, H, W) each.
        batch: the images' labels.

    Raises:
        InputError: where maps are missing, or have another shape than the logits.
    """
    depths = _depths(output)
    labels = batch.labels
    if batch.label_confidence is not None:  # what nobody trusts says nothing about its neighbours either
        labels = labels.masked_fill(batch.label_confidence == 0, IGNORE)
    targets = targets_of(labels, output.logits.shape[1])
    total = output.logits.new_zeros(())
    parts: dict[str, Tensor] = {}
    for depth in range(1, depths + 1):
        region = output.logits if depth == depths else output.auxiliary[f"region_{depth}"]
        parts = {
            "region": region_loss(region, targets, batch),
            "distance": distance_loss(output.auxiliary[f"distance_{depth}"], targets, batch),
            "boundary": boundary_loss(output.auxiliary[f"boundary_{depth}"], targets, batch),
        }
        total = total + torch.stack(list(parts.values())).sum()
    return total, {name: part.detach() for name, part in parts.items()}


def region_loss(logits: Tensor, targets: Targets, batch: Batch) -> Tensor:
    """Return the weighted cross-entropy, sum q CE / sum q, plus the weighted IoU loss, as the mean over images.

    The IoU loss is  1 - (I + 1) / (U - I + 1)  with  I = sum q p y  and  U = sum q (p + y), averaged over the
    foreground classes. Sums run over the pixels of an image; each term counts by its label confidence.

    Args:
        logits: (N, L, H, W).
        targets: of the batch.
        batch: the images' labels.
    """
    space = tuple(range(1, batch.labels.ndim))
    weight, trusted = targets.weight, batch.weigh_by_confidence(targets.weight)
    losses = pixel_cross_entropy(logits.float(), batch.labels)
    entropy = (trusted * losses).sum(dim=space) / weight.sum(dim=space).clamp(min=1.0)
    probabilities = logits.float().softmax(dim=1)[:, 1:].masked_fill(weight.unsqueeze(1) == 0, 0.0)
    space = tuple(range(2, logits.ndim))
    common = (trusted.unsqueeze(1) * probabilities * targets.masks).sum(dim=space)  # (N, L-1)
    both = (trusted.unsqueeze(1) * (probabilities + targets.masks)).sum(dim=space)
    union = 1 - ((common + 1) / (both - common + 1)).mean(dim=1)
    return (entropy + union).sum() / batch.global_batch_size.images


def distance_loss(logits: Tensor, targets: Targets, batch: Batch) -> Tensor:
    """Return the mean squared error of sigmoid(logits) as distance, over pixels and foreground classes.

    Args:
        logits: (N, L, H, W); the background's take no part.
        targets: of the batch.
        batch: the images' labels.
    """
    errors = (logits.float()[:, 1:].sigmoid() - targets.distance).square().mean(dim=1)
    return mean_over_pixels(batch.weigh_by_confidence(errors), batch.labels, batch.global_batch_size.pixels)


def boundary_loss(logits: Tensor, targets: Targets, batch: Batch) -> Tensor:
    """Return the mean binary cross-entropy of sigmoid(logits) as boundary, over pixels and foreground classes.

    Pixels beside ignored ones cost nothing, as no one knows whether a boundary runs there.

    Args:
        logits: (N, L, H, W); the background's take no part.
        targets: of the batch.
        batch: the images' labels.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float()[:, 1:], targets.boundary, reduction="none")
    known = losses.mean(dim=1).masked_fill(targets.beside_ignored, 0.0)
    return mean_over_pixels(batch.weigh_by_confidence(known), batch.labels, batch.global_batch_size.pixels)


def _depths(output: Output) -> int:
    """Return how many depths a network has, whose maps are all there."""
    depths = max(1, sum(name.startswith("boundary_") for name in output.auxiliary))
    wanted = [f"{task}_{depth}" for depth in range(1, depths + 1) for task in _TASKS]
    wanted.remove(f"region_{depths}")
    shape = tuple(output.logits.shape)
    for name in wanted:
        if name not in output.auxiliary or tuple(output.auxiliary[name].shape) != shape:
            got = ", ".join(output.auxiliary) or "none"
            raise InputError(
                "method 'madgnet' needs a network with the auxiliary maps region_d, distance_d and boundary_d of every "
                f"depth d, each {shape} as the logits, got {got}: --network.name madgnet has "
                "them (in Python create_network(NetworkOptions(name='madgnet'), ...)), for images and not for volumes"
            )
    return depths
