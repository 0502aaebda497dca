"""Looking one step ahead: what trusting a pixel would do to the gold loss (eq. 21, 28-30).

With v the gradient of the gold loss, the derivative with respect to the weight of one pixel is
-lr * <v, gradient of that pixel's loss> (eq. 29). For all pixels at once that is one derivative of the logits
in the direction v, carried along by a single forward pass; no graph of second order is ever built.

Nothing here moves the network: its parameters, buffers, training mode, the grad mode and the random state are
after every function what they were before, also when it raises. Everything is computed in the parameters' own
precision with autocast off (tangents under autocast were measured to be off by 14-19 %).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from metadcseg.algorithm.meta_weights import PixelGradients, weighted_pixel_loss
from metadcseg.errors import InputError, unknown_name
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy
from metadcseg.tensors import IGNORE, Batch, WeightMaps

__all__ = [
    "MetaStep",
    "Parameters",
    "PixelGradients",
    "Virtual",
    "gold_gradient",
    "gradient_of",
    "meta_gradients",
    "pixel_meta_gradients",
    "trainable",
    "virtual_step",
]

Parameters = dict[str, Tensor]
"""One tensor for every trainable parameter, by its name in the network (values, gradients or a direction)."""

Virtual = Literal["exact", "linearised"]

_SIGNS_OF_A_MISSING_RULE = ("forward AD", "forward-mode", "functorch")
"""What torch's messages hold where an operation has no forward-mode rule."""


@dataclass(frozen=True)
class MetaStep:
    """What looking ahead has found.

    Args:
        gradients: the derivative of the gold loss with respect to every pixel's weights.
        gold_loss: the mean gold cross-entropy where ``gold_gradient`` was taken, a scalar.
        gold_gradient: v; in linearised steps that of the network as it is, ready for a supervised gold step.
    """

    gradients: PixelGradients
    gold_loss: Tensor
    gold_gradient: Parameters


def trainable(network: nn.Module) -> Parameters:
    """Return the network's own trainable parameters; one that is shared appears once.

    Raises:
        InputError: where every parameter is frozen.

    Example:
        >>> list(trainable(nn.Conv2d(1, 2, 1)))
        ['weight', 'bias']
    """
    found: Parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    if not found:
        raise InputError(
            f"network {type(network).__name__} has no trainable parameter, so there is nothing to learn: "
            f"set requires_grad on those that shall be trained"
        )
    return found


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
    network: nn.Module, parameters: Parameters, images: Tensor, labels: Tensor
) -> tuple[Tensor, Parameters]:
    """Return the mean gold cross-entropy and its gradient v, at given values of the parameters.

    Running statistics are read but not updated: the pass works on copies of the buffers.

    Args:
        network: called as ``network(images)``, returns an object with ``.logits``.
        parameters: the values at which to compute, such as :func:`trainable` or :func:`virtual_step` return.
        images: (N, C, H, W).
        labels: (N, H, W) int64, verified, or ``IGNORE``.

    Returns:
        The detached loss, a scalar, and its gradient by parameter name.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    with torch.enable_grad(), _apart(images):
        loss = mean_over_pixels(pixel_cross_entropy(_logits(network, leaves, images), labels), labels)
        return loss.detach(), _gradient(loss, leaves)


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


def pixel_meta_gradients(
    network: nn.Module, images: Tensor, labels: Tensor, pseudo: Tensor, direction: Parameters, lr: float
) -> PixelGradients:
    """Return the derivative of the gold loss with respect to the weights of all pixels (eq. 29).

    With ``direction`` the gradient of the gold loss L_val at the stepped parameters this is exactly the
    derivative of L_val(theta - lr * gradient of mean_over_pixels(alpha * f + beta * g)) with respect to
    alpha and beta.
    Cost: one forward pass that carries a tangent, by its operations three forward passes.

    Dropout: masks are drawn from the random state as it is, and that state is put back. They are not those of
    a training pass that came before.

    Args:
        network: called as ``network(images)``, returns an object with ``.logits``. Frozen parameters are
            constants; shared parameters count once; the mode (training or evaluation) is taken as it is.
        images: (N, C, H, W).
        labels: (N, H, W) int64, what was given, or ``IGNORE``.
        pseudo: (N, H, W) int64.
        direction: v, by parameter name.
        lr: the learning rate of the virtual step.

    Returns:
        Detached gradients, 0 where ``labels`` are ``IGNORE``.

    Raises:
        InputError: where the network uses an operation without a forward-mode rule.
    """
    _load_forward_rules()
    # channels-last tensors and views go: the forward-mode rule of group_norm knows contiguous ones only
    images = images.contiguous()
    values = {name: value.detach().contiguous() for name, value in trainable(network).items()}
    tangents = {name: direction[name].detach().contiguous() for name in values}

    def logits_at(parameters: Parameters) -> Tensor:
        return _logits(network, parameters, images)

    # fused attention has no forward-mode rule, the MATH backend has
    with torch.no_grad(), _apart(images), sdpa_kernel(SDPBackend.MATH):
        try:
            logits, change = jvp(logits_at, (values,), (tangents,))[:2]
        except RuntimeError as error:
            if not any(sign in str(error) for sign in _SIGNS_OF_A_MISSING_RULE):
                raise
            raise _no_forward_rule(network, error) from error
        valid = labels != IGNORE
        count = valid.sum().clamp(min=1)  # of the mean over pixels

        def derivative(targets: Tensor) -> Tensor:
            return (-lr * _loss_change(logits, change, targets) / count).masked_fill(~valid, 0.0)

        return PixelGradients(derivative(labels), derivative(pseudo))


def meta_gradients(
    network: nn.Module,
    noisy: Batch,
    gold: Batch,
    pseudo: Tensor,
    weights: WeightMaps,
    *,
    lr: float,
    virtual: Virtual,
    training_gradient: Parameters | None = None,
) -> MetaStep:
    """Return how the gold loss after a virtual step depends on every noisy pixel's weights (eq. 21, 28-30).

    Args:
        network: called as ``network(images)``, returns an object with ``.logits``.
        noisy: the training batch.
        gold: the verified batch.
        pseudo: (N, H, W) int64, the pseudo-labels of the training batch.
        weights: alpha and beta with which the virtual step is taken.
        lr: the learning rate of the virtual step.
        virtual: ``"exact"`` takes v at the virtually stepped parameters (eq. 21); ``"linearised"`` takes it
            at the parameters as they are, the limit of a small lr, which saves the training gradient and
            makes v serve a supervised gold step as well.
        training_gradient: the gradient of the mean weighted pixel loss (eq. 3) where it is known already; an
            exact step computes it where it is None.

    Returns:
        The meta-gradients with the gold loss and gradient that they come from.

    Raises:
        InputError: for an unknown kind of virtual step, and see :func:`pixel_meta_gradients`.
    """
    if virtual not in get_args(Virtual):
        raise unknown_name("virtual", virtual, get_args(Virtual))
    where = trainable(network)
    if virtual == "exact":
        if training_gradient is None:
            training_gradient = _training_gradient(network, noisy, pseudo, weights)
        where = virtual_step(network, training_gradient, lr)
    gold_loss, v = gold_gradient(network, where, gold.images, gold.labels)
    return MetaStep(pixel_meta_gradients(network, noisy.images, noisy.labels, pseudo, v, lr), gold_loss, v)


def _training_gradient(network: nn.Module, noisy: Batch, pseudo: Tensor, weights: WeightMaps) -> Parameters:
    leaves = {name: value.detach().requires_grad_() for name, value in trainable(network).items()}
    with torch.enable_grad(), _apart(noisy.images):
        logits = _logits(network, leaves, noisy.images)
        pixels = weighted_pixel_loss(logits, noisy.labels, pseudo, weights)
        return _gradient(mean_over_pixels(pixels, noisy.labels), leaves)


def _gradient(loss: Tensor, parameters: Parameters, retain_graph: bool = False) -> Parameters:
    gradients = torch.autograd.grad(
        loss, list(parameters.values()), retain_graph=retain_graph, allow_unused=True, materialize_grads=True
    )
    return {name: gradient.detach() for name, gradient in zip(parameters, gradients, strict=True)}


def _logits(network: nn.Module, parameters: Parameters, images: Tensor) -> Tensor:
    """Call the network with other parameters and with copies of its buffers, which it may write to."""
    stand_ins = {id(own): parameters[name] for name, own in trainable(network).items()}
    # copied in here and not outside: inside jvp only tensors born there may be changed in place
    stand_ins |= {id(own): own.clone() for own in network.buffers()}
    replaced = {place: stand_ins[id(own)] for place, own in _places(network) if id(own) in stand_ins}
    output = functional_call(network, replaced, (images,), tie_weights=False)
    logits: Tensor = output.logits
    return logits


def _places(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every place that holds a parameter or buffer, once; a shared tensor has several places.

    functional_call can find shared tensors itself, but visits a module that has two names twice, and then
    leaves the stand-in behind in the network.
    """
    for prefix, module in network.named_modules():
        held = [*module.named_parameters(prefix, recurse=False, remove_duplicate=False)]
        yield from [*held, *module.named_buffers(prefix, recurse=False, remove_duplicate=False)]


def _loss_change(logits: Tensor, change: Tensor, targets: Tensor) -> Tensor:
    """Return the change of every pixel's cross-entropy, (softmax - one-hot target) . change of the logits."""
    own = change.gather(1, targets.masked_fill(targets == IGNORE, 0).unsqueeze(1))  # (N, 1, H, W)
    # softmax sums to one, so this is the same; the difference first keeps confident pixels accurate
    return (logits.softmax(dim=1) * (change - own)).sum(dim=1)


@contextmanager
def _apart(images: Tensor) -> Iterator[None]:
    """Put the random state back afterwards, and compute without autocast."""
    kind = images.device.type
    devices = [images.device] if kind == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.autocast(kind, enabled=False):
        yield


@cache
def _load_forward_rules() -> None:
    """Let torch load its forward-mode rules: at the first use it warns about its own use of TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


def _no_forward_rule(network: nn.Module, error: RuntimeError) -> InputError:
    message = str(error).split("\n")[0].split(". ")[0]
    return InputError(
        f"network {type(network).__name__} cannot take a meta step, which needs a forward-mode rule of "
        f"every operation: write the operation out in plain ones, or choose a method without "
        f"meta step (torch says: {message})"
    )
