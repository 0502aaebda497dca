"""Looking one step ahead: what trusting a pixel would do to the gold loss (eq. 21, 28-30).

With v the gradient of the gold loss, the derivative with respect to the weight of one pixel is
-lr * <v, gradient of that pixel's loss> (eq. 29). For all pixels at once that is one derivative of the logits
in the direction v, carried along by a single forward pass; no graph of second order is ever built.

Where v is known before the training pass (a linearized virtual step), the training pass itself can carry it, see
:func:`metadcseg.forward_mode.jvp.jvp`. Nothing here moves the network, also when it raises.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from metadcseg.algorithm.meta_weights import PixelGradients, weighted_pixel_loss
from metadcseg.errors import InputError, unknown_name
from metadcseg.forward_mode.call import Parameters, call_with, set_apart, trainable
from metadcseg.forward_mode.jvp import ForwardMode, LogitChange, jvp
from metadcseg.losses import mean_cross_entropy, mean_over_pixels, mean_soft_dice
from metadcseg.tensors import IGNORE, AllReduceMean, Batch, WeightMaps, check_classes, check_tensor

Virtual = Literal["exact", "linearized"]


@dataclass(frozen=True)
class MetaStep:
    """What looking ahead has found.

    Args:
        gradients: the derivative of the gold loss with respect to every pixel's weights.
        gold_loss: the mean gold cross-entropy where ``gold_gradient`` was taken, a scalar.
        gold_gradient: v; in linearized steps that of the network as it is, ready for a supervised gold step.
    """

    gradients: PixelGradients
    gold_loss: Tensor
    gold_gradient: Parameters


def gradient_of(loss: Tensor, network: nn.Module, retain_graph: bool = False) -> Parameters:
    """Return the gradient of a loss with respect to every trainable parameter, without touching ``.grad``.

    Args:
        loss: a scalar that was computed with the network's own parameters.
        network: the network.
        retain_graph: keep the graph of ``loss`` for another backward pass.

    Returns:
        Detached gradients by parameter name; zeros for a parameter that the loss does not depend on.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> gradient_of(layer(torch.ones(1, 2)).sum(), layer)["bias"].tolist()
        [1.0]
    """
    return _gradient(loss, trainable(network), retain_graph)


def gold_gradient(
    network: nn.Module, parameters: Parameters, gold: Batch, dice: float = 0.0
) -> tuple[Tensor, Parameters]:
    """Return the gold loss and its gradient v, at given values of the parameters.

    The loss is the mean cross-entropy, plus ``dice`` times the mean soft Dice loss.
    Running statistics are read but not updated: the pass works on copies of the buffers.

    Args:
        network: called as ``network(images)``, returns an object with ``.logits``.
        parameters: the values at which to compute, such as :func:`trainable` or :func:`virtual_step` return.
        gold: the verified batch.
        dice: weight of the Dice loss; 0 is the L_val of eq. 21, cross-entropy alone.

    Returns:
        The detached loss, a scalar, and its gradient by parameter name.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    with torch.enable_grad(), set_apart(gold.images):
        logits = call_with(network, leaves, gold.images, apart=True).logits
        loss = mean_cross_entropy(logits, gold)
        if dice:
            loss = loss + dice * mean_soft_dice(logits, gold)
        return loss.detach(), _gradient(loss, leaves)


def training_gradient(
    network: nn.Module, noisy: Batch, pseudo: Tensor, weights: WeightMaps, logits: Tensor | None = None
) -> Parameters:
    """Return the gradient of the mean weighted pixel loss (eq. 3), which the virtual step descends.

    Args:
        network: called as ``network(images)``, returns an object with ``.logits``.
        noisy: the training batch.
        pseudo: (N, H, W) int64, its pseudo-labels.
        weights: alpha and beta, (N, H, W).
        logits: (N, L, H, W) with the graph of the training pass, which is kept; where it is None, or torch.compile has
            made the pass one whose graph cannot be kept, there is a pass of its own.

    Returns:
        Detached gradients by parameter name.
    """

    def loss(logits: Tensor) -> Tensor:
        pixels = weighted_pixel_loss(logits, noisy.labels, pseudo, weights)
        return mean_over_pixels(pixels, noisy.labels, noisy.global_batch_size.pixels)

    if logits is not None:
        try:
            return gradient_of(loss(logits), network, retain_graph=True)
        except RuntimeError as error:
            if "donated buffers" not in str(error):
                raise
    leaves = {name: value.detach().requires_grad_() for name, value in trainable(network).items()}
    with torch.enable_grad(), set_apart(noisy.images):
        return _gradient(loss(call_with(network, leaves, noisy.images, apart=True).logits), leaves)


def virtual_step(network: nn.Module, gradient: Parameters, lr: float) -> Parameters:
    """Return where one plain gradient step would take the parameters; the network stays put (eq. 21).

    Args:
        network: the network.
        gradient: of the training loss, by parameter name.
        lr: the learning rate (lambda of eq. 21).

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> ahead = virtual_step(layer, {"weight": torch.ones(1, 1)}, lr=0.5)
        >>> round((layer.weight - ahead["weight"]).item(), 6)
        0.5
    """
    return {name: value.detach() - lr * gradient[name] for name, value in trainable(network).items()}


def pixel_gradients(
    found: LogitChange, labels: Tensor, pseudo: Tensor, lr: float, pixels: Tensor | None = None
) -> PixelGradients:
    """Return the derivative of the gold loss with respect to the weights of all pixels (eq. 29).

    With ``found`` in the direction of the gradient of the gold loss L_val at the stepped parameters this is
    exactly the derivative of L_val(theta - lr * gradient of mean_over_pixels(alpha * f + beta * g)) with
    respect to alpha and beta.

    Args:
        found: the change of the logits in the direction v.
        labels: (N, H, W) int64, what was given, or ``IGNORE``.
        pseudo: (N, H, W) int64.
        lr: the learning rate of the virtual step.
        pixels: of the whole batch, where this is one device's part of it (:attr:`Batch.global_batch_size`).

    Returns:
        Detached gradients, 0 where ``labels`` are ``IGNORE``.
    """
    size = check_classes("found.logits", found.logits)
    check_tensor("found.change", found.change, "float", tuple(found.logits.shape))
    check_tensor("labels", labels, "int64", size)
    check_tensor("pseudo", pseudo, "int64", size)
    valid = labels != IGNORE
    count = valid.sum().clamp(min=1) if pixels is None else pixels  # of the mean over pixels

    def derivative(targets: Tensor) -> Tensor:
        return (-lr * _loss_change(found, targets) / count).masked_fill(~valid, 0.0)

    return PixelGradients(derivative(labels), derivative(pseudo))


def meta_gradients(
    network: nn.Module,
    noisy: Batch,
    gold: Batch,
    pseudo: Tensor,
    weights: WeightMaps,
    *,
    lr: float,
    virtual: Virtual = "exact",
    logits: Tensor | None = None,
    all_reduce_mean: AllReduceMean = dict,
    forward_mode: ForwardMode = "auto",
) -> MetaStep:
    """Return how the gold loss after a virtual step depends on every noisy pixel's weights (eq. 21, 28-30).

    Args:
        network: called as ``network(images)``, returns an object with ``.logits``.
        noisy: the training batch.
        gold: the verified batch.
        pseudo: (N, H, W) int64, the pseudo-labels of the training batch.
        weights: alpha and beta with which the virtual step is taken.
        lr: the learning rate of the virtual step.
        virtual: ``"exact"`` takes v at the virtually stepped parameters (eq. 21); ``"linearized"`` takes it
            at the parameters as they are, the limit of a small lr, which saves the training gradient and
            makes v serve a supervised gold step as well.
        logits: (N, L, H, W), what the network says of the noisy batch, with its graph, where the training pass was made
            already: see :func:`training_gradient`.
        all_reduce_mean: over the devices that share the batches, where several do.
        forward_mode: how the derivative of the logits is computed (:func:`~metadcseg.forward_mode.jvp.jvp`).

    Returns:
        The meta-gradients with the gold loss and gradient that they come from.

    Raises:
        InputError: for an unknown kind of virtual step, and see :func:`~metadcseg.forward_mode.jvp.jvp`.
    """
    if virtual not in get_args(Virtual):
        raise unknown_name("virtual", virtual, get_args(Virtual))
    check_tensor("pseudo", pseudo, "int64", tuple(noisy.labels.shape))
    check_tensor("weights", weights.alpha, "float", tuple(noisy.labels.shape))
    where = trainable(network)
    if virtual == "exact":
        gradient = training_gradient(network, noisy, pseudo, weights, logits)
        where = virtual_step(network, dict(all_reduce_mean(gradient)), lr)
    gold_loss, v = gold_gradient(network, where, gold)
    v = dict(all_reduce_mean(v))
    _, found = jvp(network, noisy.images, v, mode=forward_mode)
    whole = noisy.global_batch_size
    pixels = whole.pixels * whole.world_size  # a weight is of one pixel among those of all devices
    return MetaStep(pixel_gradients(found, noisy.labels, pseudo, lr, pixels), gold_loss, v)


def _gradient(loss: Tensor, parameters: Parameters, retain_graph: bool = False) -> Parameters:
    wanted = list(parameters.values())
    try:
        gradients = torch.autograd.grad(
            loss, wanted, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
        )
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise InputError(
            "the network uses torch.utils.checkpoint in its reentrant form, which can take no meta step: call it "
            "with use_reentrant=False"
        ) from error
    return {name: gradient.detach() for name, gradient in zip(parameters, gradients, strict=True)}


def _loss_change(found: LogitChange, targets: Tensor) -> Tensor:
    """Return the change of every pixel's cross-entropy, (softmax - one-hot target) . change of the logits."""
    own = found.change.gather(1, targets.masked_fill(targets == IGNORE, 0).unsqueeze(1))  # (N, 1, H, W)
    # softmax sums to one, so this is the same; the difference first keeps confident pixels accurate
    return (found.logits.softmax(dim=1) * (found.change - own)).sum(dim=1)
