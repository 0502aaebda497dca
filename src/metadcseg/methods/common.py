"""What the steps of methods have in common: losses, the gold batch asked for, predictions, and the report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from metadcseg.algorithm.effective_pixels import effective_pixels
from metadcseg.algorithm.objective import Objective
from metadcseg.errors import InputError
from metadcseg.losses import mean_cross_entropy, mean_over_pixels, mean_soft_dice
from metadcseg.methods.base import MethodState, StepReport
from metadcseg.methods.deep_supervision import at_every_depth, every_pixel
from metadcseg.networks.contract import Output
from metadcseg.tensors import IGNORE, Batch, WeightMaps


def supervised_loss(logits: Tensor, batch: Batch, dice: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Return mean cross-entropy + ``dice`` * mean soft Dice loss, and both by name, before the factor, detached."""
    pixel = mean_cross_entropy(logits, batch)
    region = mean_soft_dice(logits, batch)
    return pixel + dice * region, {"pixel": pixel.detach(), "dice": region.detach()}


def output_loss(output: Output, batch: Batch, dice: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Return :func:`supervised_loss` of all that a network supervises deeply, and its parts for the final logits."""
    loss, parts = supervised_loss(output.logits, batch, dice)

    def loss_at(logits: Tensor, every: int) -> Tensor:
        return supervised_loss(logits, every_pixel(batch, every), dice)[0]

    return at_every_depth(loss, output, loss_at), parts


def require_gold(gold: Batch | None, method: str) -> Batch:
    """Return the gold batch.

    Raises:
        InputError: where there is none, which only a loop that overlooks the method's declaration can cause.
    """
    if gold is None:
        raise InputError(f"method '{method}' declares that it needs gold batches, but this step got none")
    return gold


def descend(
    state: MethodState,
    noisy: Batch,
    gold: Batch | None,
    loss_of: Callable[[Batch], tuple[Tensor, dict[str, Tensor]]],
) -> StepReport:
    """Take a step down the loss of a noisy batch and, where there is one, of a gold batch of equal weight.

    Args:
        state: of the method.
        noisy: the batch.
        gold: a verified batch, or None.
        loss_of: returns the loss of a batch, a scalar, and its parts by name, detached.

    Returns:
        ``loss``, the sum of both, the parts of the noisy one, and ``gold``, the loss of gold.
    """
    loss, scalars = loss_of(noisy)
    state.updater.backward(loss)
    total = loss.detach()
    if gold is not None:
        gold_loss, _ = loss_of(gold)
        state.updater.backward(gold_loss)
        scalars["gold"] = gold_loss.detach()
        total = total + scalars["gold"]
    state.updater.step()
    return StepReport({"loss": total, **scalars})


def descend_gold(state: MethodState, gold: Batch, dice: float = 0.0, *, deep: bool = False) -> Tensor:
    """Add the gradient of the gold loss (:func:`supervised_loss`), and return that loss without graph.

    Args:
        state: of the method.
        gold: a verified batch.
        dice: weight of the soft Dice loss.
        deep: it is that of every depth (:func:`output_loss`), for a method whose noisy loss is, too.
    """
    output: Output = state.network(gold.images)
    loss, _ = output_loss(output, gold, dice) if deep else supervised_loss(output.logits, gold, dice)
    state.updater.backward(loss)
    return loss.detach()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Put a network in evaluation mode without gradients, and every part back in its own mode afterwards."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield network
    finally:
        for part, mode in modes:
            part.training = mode


def class_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """Return (N, L, H, W) softmax probabilities for (N, C, H, W) images, in evaluation mode."""
    with evaluating(network):
        probabilities: Tensor = network(images).logits.softmax(dim=1)
        return probabilities


def class_numbers(classes: int, like: Tensor) -> Tensor:
    """Return 0 .. L-1 as (1, L, 1, 1), to compare with maps (N, 1, H, W); of volumes one axis more."""
    return torch.arange(classes, device=like.device).view(1, -1, *(1 for _ in like.shape[1:]))


def runner_up(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the most probable class but the given one, (N, H, W) int64.

    Args:
        probabilities: (N, L, H, W) float.
        labels: (N, H, W) int64; where they are no class, the most probable of all.
    """
    own = labels.unsqueeze(1) == class_numbers(probabilities.shape[1], labels)
    return probabilities.masked_fill(own, -1.0).max(dim=1).indices


def check_kept_grid(batch: Batch, kept: tuple[int, ...]) -> None:
    """Raise unless the maps that are kept of the training images have the batch's grid, or it is a patch of a volume.

    Args:
        batch: its warp says where in a volume a patch lies.
        kept: (H, W) or (Z, H, W) of the maps.

    Raises:
        InputError: with both grids.
    """
    grid = tuple(batch.labels.shape[1:])
    if grid != kept and not len(grid) == 3 == len(kept):
        raise InputError(
            f"the weights kept for the training images have {kept} pixels, but this batch has {grid}: continue with "
            "the grid size that the storage was opened with"
        )


def where_labeled(weights: WeightMaps, noisy: Batch) -> WeightMaps:
    """Return weights that are 0 where the label is ignored; with alpha + beta = 1 elsewhere, eq. 24 is met."""
    ignored = noisy.labels == IGNORE
    return WeightMaps(weights.alpha.masked_fill(ignored, 0.0), weights.beta.masked_fill(ignored, 0.0))


def believed(weights: WeightMaps, noisy: Batch) -> WeightMaps:
    """Return weights whose alpha is that of the loss: times the confidence that the given label came with."""
    return WeightMaps(noisy.weigh_by_confidence(weights.alpha), weights.beta)


def as_trained(weights: WeightMaps, noisy: Batch) -> WeightMaps:
    """Return weights as a loss has them: alpha times the confidence of the given label, both 0 where it is ignored."""
    return where_labeled(believed(weights, noisy), noisy)


def report(
    objective: Objective,
    gold_loss: Tensor | None,
    boundary: Tensor,
    weights: WeightMaps,
    edges: Tensor | None,
    noisy: Batch,
) -> StepReport:
    """Return what happened in a step that descended eq. 13.

    Args:
        objective: what was descended.
        gold_loss: what was descended beside it, a scalar, or None.
        boundary: (N, H, W), the boundary weights.
        weights: those that the step trained with.
        edges: (N, H, W) bool, the edges that joined the boundary, or None.
        noisy: the batch.
    """
    whole = noisy.global_batch_size

    def mean(maps: Tensor) -> Tensor:
        return mean_over_pixels(maps, noisy.labels, whole.pixels)

    scalars = {
        "loss": objective.total if gold_loss is None else objective.total + gold_loss,
        "pixel": objective.pixel,
        "boundary": objective.boundary,
        "dice": objective.dice,
        "effective_boundary_pixels": effective_pixels(boundary).sum() / whole.images,
        "alpha": mean(weights.alpha),
        "beta": mean(weights.beta),
    }
    if gold_loss is not None:
        scalars["gold"] = gold_loss
    if edges is not None:
        scalars["edge_pixels"] = mean(edges.float())
    return StepReport({name: value.detach() for name, value in scalars.items()}, weights)
